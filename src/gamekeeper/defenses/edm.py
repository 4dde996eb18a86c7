"""Ensemble of diverse models: the members agree on the owner's inputs and disagree elsewhere.

Source      Kariyappa, Prakash, Qureshi, "Protecting DNNs from theft using an ensemble of diverse models" (ICLR 2021)
Equations   mean_i CE(f_i(x), y) + w log sum_{a<b} exp(cos(f_a(x'), f_b(x'))), x' auxiliary, cosines of posteriors; one
            member answers, chosen by a hash of the input
Assumes     the owner's training inputs, and auxiliary inputs like a thief's: the defense depends on how like they are
Deviations  each member starts from the victim's weights, where available, with a fresh last layer; the paper trains
            from scratch. The hash is keyed: signs of secret projections of the input, then HMAC(secret, signs) mod
            members; the paper's is a network trained on an unrelated data set and has no secret. With both,
            neighbouring inputs have the same member unless a border lies between them. We found no w in the paper's
            main text
Keeps       argmax: no

One member answers each query, so a query costs no more than without the defense. There is no strength to vary: the
victim is replaced.
"""

import functools
import hmac
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.defenses.keyed import cells, secret
from gamekeeper.errors import BadConfig
from gamekeeper.models.layout import autocast, image_memory
from gamekeeper.models.network import alone
from gamekeeper.training.fit import Fit, Rows, descend
from gamekeeper.training.outliers import beside, check_data, starting
from gamekeeper.training.surrogate import surrogate_seed
from gamekeeper.types import Batch, Model, Owner, Posterior, Reply

NAME = "EDM"
TUNING = Fit(epochs=3, least_steps=0, rate=0.04)
BITS = 8
"""Number of secret projections: they cut the input space into 256 cells, which are assigned to the members."""


def diversity(y: list[Posterior]) -> Float[Tensor, " n"]:
    """log sum over pairs of exp(cosine similarity); smallest where all members' answers are orthogonal."""
    pairs = [F.cosine_similarity(a, b, dim=1, eps=1e-8) for a, b in combinations(y, 2)]
    return torch.logsumexp(torch.stack(pairs), 0)


@dataclass(frozen=True, eq=False)
class Chooser:
    """Which member answers an input: the same for its neighbours except at borders, unpredictable without the key."""

    centre: Float[Tensor, " d"]
    projections: Float[Tensor, "d bits"] = field(repr=False)
    members: int
    key: bytes = field(repr=False)

    @staticmethod
    def of(x: Batch, members: int, key: bytes) -> "Chooser":
        """Borders pass through the mean of x, so that the owner's inputs are spread evenly over the members."""
        flat = x.flatten(1).double()
        generator = torch.Generator().manual_seed(int.from_bytes(hmac.digest(key, b"projections", "sha256")[:7]))
        drawn = torch.randn(flat.shape[1], BITS, generator=generator, dtype=torch.float64)
        return Chooser(flat.mean(0), drawn, members, key)

    def __call__(self, x: Batch) -> Int[Tensor, " n"]:
        return self.member_of[cells(x.flatten(1), self.centre, self.projections)]

    @functools.cached_property
    def member_of(self) -> Int[Tensor, " cells"]:
        """The member that answers each cell."""
        digests = [hmac.digest(self.key, bytes([cell]), "sha256") for cell in range(2**BITS)]
        return torch.tensor([int.from_bytes(digest[:8]) % self.members for digest in digests])


def head(net: nn.Module) -> nn.Linear | None:
    """The last linear layer."""
    linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
    return linear[-1] if linear else None


def member(victim: Model, owner: Owner, seed: int) -> nn.Module:
    """The victim's network with a freshly initialised last layer."""
    net = starting(victim, owner, seed)
    last = head(net)
    if last is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            last.reset_parameters()
    return net


def ensemble(victim: Model, owner: Owner, other: Batch, recipe: "EDM", seed: int) -> list[nn.Module]:
    """The members, trained together."""
    seeds = [surrogate_seed(f"{NAME} member {i}", seed) for i in range(recipe.members)]
    nets = nn.ModuleList([member(victim, owner, each) for each in seeds])
    x, batches = owner.x.float(), beside(other.float(), seeds[0])
    tuning = replace(TUNING, epochs=recipe.epochs)

    def objective(rows: Rows) -> Tensor:
        both = image_memory(torch.cat([x[rows], next(batches)]))
        with autocast():
            z = [net(both) for net in nets]
        z = [each.float() for each in z]
        right = torch.stack([F.cross_entropy(each[: len(rows)], owner.truth[rows]) for each in z]).mean()
        return right + recipe.weight * diversity([torch.softmax(each[len(rows) :], 1) for each in z]).mean()

    descend(nets, len(x), objective, tuning, seeds[0])
    return list(nets)


@dataclass(frozen=True)
class EDM:
    """Answers each query with one of several networks, which agree on the owner's inputs only.

    weight   of diversity on the auxiliary inputs, relative to accuracy on the owner's
    members  number of networks
    epochs   passes of their joint training over the owner's inputs
    """

    weight: float = 0.5
    members: int = 5
    epochs: int = 3

    permutes: ClassVar[bool] = False  # the answers come from its own networks

    def __post_init__(self) -> None:
        if self.weight < 0 or self.members < 2 or self.epochs < 1:
            raise BadConfig(
                f"EDM needs a weight of at least 0, at least two members and at least one epoch. Got {self}."
            )

    @property
    def keeps_top1(self) -> bool:
        return False

    @property
    def keyed(self) -> bool:
        return True

    def arm(self, victim: Model, owner: Owner, seed: int) -> "Ensemble":
        """Trains the members. Raises Unsuited without the owner's inputs and auxiliary ones."""
        other = check_data(NAME, victim, owner)
        return Ensemble(
            ensemble(victim, owner, other, self, seed),
            Chooser.of(owner.x, self.members, secret(NAME, seed, owner.secret)),
        )


@dataclass(frozen=True, eq=False)
class Ensemble:
    """EDM armed with its members."""

    members: list[nn.Module]
    choose: Chooser

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        chosen, y = self.choose(x), torch.empty_like(reply.y)
        for number in chosen.unique().tolist():
            mine = chosen == number
            y[mine] = alone(self.members[number], x[mine], reply.y.dtype)
        return Reply(y, reply.maps)

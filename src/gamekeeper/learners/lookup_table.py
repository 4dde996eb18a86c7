"""A thief's lookup table: posteriors a victim might have given, each with what the known defense makes of it.

The thief arms the defense themselves: they know the recipe, but neither its seed nor the victim. Their victim is a fresh
student, and they have no data. If the answers depend on the seed, the thief arms the defense with several seeds and keeps
the one whose table is closest to the answers bought: a seed that the answers reveal is no secret.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.errors import Unsuited
from gamekeeper.models.estimators import Fitting
from gamekeeper.models.network import TorchModel
from gamekeeper.types import Armed, Batch, Knowledge, Owner, Posterior, Reply, Transfer

CONCENTRATION = 8.0
"""The parameters of a candidate's Dirichlet sum to this times k by default."""
SPARSEST = 0.01
"""Smallest parameter of the flat half's symmetric Dirichlets, whose samples range from bare labels to uniform over the simplex.
Chosen by tools/choose_defaults.py (decision 007)."""
CHUNK = 2048
CELLS = 2**20
"""How many distances are in memory at a time (4 MB)."""
TRIAL, SAMPLE = 1000, 300
"""Candidates and answers used to score one seed."""


@dataclass(frozen=True)
class LookupTable:
    """Candidates (m, k) and the defended answers to them (m, k)."""

    clean: Posterior
    answered: Posterior

    def with_rows(self, more: "LookupTable") -> "LookupTable":
        return LookupTable(torch.cat([self.clean, more.clean]), torch.cat([self.answered, more.answered]))


@dataclass(frozen=True)
class KnownDefense:
    """The known defenses as the thief armed them, in the order in which they change an answer."""

    armed: tuple[Armed, ...]
    keeps_top1: bool

    def table(self, x: Batch, clean: Float[Tensor, "m k"], rows: Int[Tensor, " m"]) -> LookupTable:
        """What the defense makes of candidate i as the answer to x[rows[i]]; all are queried by one new client.

        Input by input where the defense remembers nothing: the same input again then costs it little (`surrogate.runs`).
        """
        memories = [armed.fresh() for armed in self.armed]
        order = torch.arange(len(rows)) if any(one is not None for one in memories) else rows.argsort(stable=True)
        answered: list[Tensor] = []
        for some, places in zip(clean[order].split(CHUNK), rows[order].split(CHUNK), strict=True):
            inputs, reply = x[places], Reply(some)
            for armed, memory in zip(self.armed, memories, strict=True):
                reply = armed.respond(inputs, reply, memory)
            answered.append(reply.y)
        return LookupTable(clean, torch.cat(answered)[order.argsort()])


def known_defense(transfer: Transfer, knows: Knowledge, guesses: int, seed: int) -> KnownDefense:
    """The defense, armed with the one of `guesses` seeds that best explains the answers.

    Raises Unsuited if the thief cannot arm it.
    """
    y = transfer.reply.y.float()
    clean, rows = candidates(y, TRIAL, CONCENTRATION, seed)
    tried: list[tuple[float, KnownDefense]] = []
    first: LookupTable | None = None
    for guess in range(guesses):
        armed = arm(knows, own_seed(seed, guess))
        table = armed.table(transfer.x, clean, rows)
        if first is not None and torch.equal(table.answered, first.answered):
            break  # this defense does not depend on its seed
        first = first or table
        tried.append((float(match(y[:SAMPLE], table, armed.keeps_top1, 0.0)[1].mean()), armed))
    return min(tried, key=lambda one: one[0])[1]


def own_seed(seed: int, guess: int) -> int:
    """A seed no owner uses: with small numbers the thief could hit on the seed that the run armed the defense with."""
    return int.from_bytes(hashlib.sha256(f"a thief's own defense {seed} {guess}".encode()).digest()[:4])


def arm(knows: Knowledge, seed: int) -> KnownDefense:
    """The known recipes armed for a fresh student, without any training data."""
    x = torch.empty((0, *knows.box.shape))
    # trees have no weights for a defense to work with
    network = Mlp(knows.box.shape, knows.task.classes) if isinstance(knows.student, Fitting) else knows.student
    owner = Owner(x, torch.empty(0, dtype=torch.long), knows.box, network)
    victim = TorchModel(fresh(network, seed), knows.task)
    armed: list[Armed] = []
    for recipe in knows.defenses:
        try:
            armed.append(recipe.arm(victim, owner, seed))
        except Unsuited as error:
            raise Unsuited(
                "recovering answers needs the known defense in the thief's own hands, armed for another network and"
                f" without data; {type(recipe).__name__} refused: {error} Use a learner that does not need it,"
                " such as labels."
            ) from error
    return KnownDefense(tuple(armed), all(recipe.keeps_top1 for recipe in knows.defenses))


def candidates(
    y: Posterior, size: int, concentration: float, seed: int
) -> tuple[Float[Tensor, "m k"], Int[Tensor, " m"]]:
    """`size` posteriors, half `around` y and half `flat`, and the row of y that each belongs to."""
    generator = np.random.default_rng(seed)
    near, rows = around(y, size - size // 2, concentration, generator)
    more = torch.from_numpy(generator.integers(len(y), size=size // 2))
    return torch.cat([near, flat(y.shape[1], size // 2, generator)]), torch.cat([rows, more])


def around(
    y: Posterior, size: int, concentration: float, generator: np.random.Generator
) -> tuple[Float[Tensor, "m k"], Int[Tensor, " m"]]:
    """Samples of Dirichlet(concentration k y_i), cycling over the rows i, and the row of each."""
    rows = torch.from_numpy(generator.permutation(np.arange(size) % len(y)))
    return dirichlet(concentration * y.shape[1] * y[rows].double().numpy(), generator), rows


def flat(k: int, size: int, generator: np.random.Generator) -> Float[Tensor, "m k"]:
    """Symmetric Dirichlets whose parameter is log-uniform from SPARSEST to 1: no class and no sharpness is preferred."""
    parameter = np.exp(generator.uniform(np.log(SPARSEST), 0, size))
    return dirichlet(np.repeat(parameter[:, None], k, 1), generator)


def dirichlet(alpha: np.ndarray, generator: np.random.Generator) -> Float[Tensor, "m k"]:
    """One sample per row; uniform where all of a row's gamma variates underflow to 0."""
    drawn = generator.standard_gamma(alpha)
    total = drawn.sum(1, keepdims=True)
    return torch.from_numpy(
        np.divide(drawn, total, out=np.full_like(drawn, 1 / alpha.shape[1]), where=total > 0)
    ).float()


def match(
    y: Posterior, table: LookupTable, keeps_top1: bool, tolerance: float
) -> tuple[Posterior, Float[Tensor, " n"]]:
    """For each answer, the mean of the candidates whose defended answer is within max(tolerance, least distance) in L1.

    Also returns that least distance. With `keeps_top1`, only candidates with the answer's top class count, if there are any.
    """
    recovered, least = torch.empty_like(y), torch.empty(len(y))
    answered_top, clean_top = y.argmax(1), table.clean.argmax(1)
    groups = answered_top.unique().tolist() if keeps_top1 else [None]
    for group in groups:
        rows = torch.arange(len(y)) if group is None else torch.nonzero(answered_top == group)[:, 0]
        members = torch.nonzero(clean_top == group)[:, 0] if group is not None else torch.empty(0, dtype=torch.long)
        some = LookupTable(table.clean[members], table.answered[members]) if len(members) else table
        for part in rows.split(max(1, CELLS // len(some.clean))):
            recovered[part], least[part] = nearest(y[part], some, tolerance)
    return recovered, least


def nearest(y: Posterior, table: LookupTable, tolerance: float) -> tuple[Posterior, Float[Tensor, " n"]]:
    """`match` over the whole table, all distances at once."""
    distances = torch.cdist(y, table.answered, p=1)
    least = distances.amin(1)
    close = (distances <= least.clamp(min=tolerance)[:, None]).float()
    return close @ table.clean / close.sum(1, keepdim=True), least

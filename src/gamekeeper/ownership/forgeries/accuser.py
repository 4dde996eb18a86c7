"""The accuser's own models: what a forgery is made with instead of the suspect.

Half of the accuser's inputs train the models, the other half is left to forge with. Networks alternate between the
accuser's architecture and a plain one, since what deceives both deceives others.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.attacks.steps import Score
from gamekeeper.data.splits import equal_rows
from gamekeeper.errors import Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.claim import Claim
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Batch, Owner

SHORT = Fit(epochs=10)
"""The training of the accuser's models."""
LEAST = 20
"""Fewer survivors make no claim worth a judge's time."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """nets: the models, as one module. x, truth: the accuser's inputs that no model was trained on, all different."""

    nets: nn.ModuleList
    classes: int
    x: Batch
    truth: Int[Tensor, " n"] = field(repr=False)

    def answers(self, x: Float[Tensor, "n ..."]) -> Int[Tensor, "models n"]:
        """The class that each model answers."""
        models = [TorchModel(net, Classify(self.classes)) for net in self.nets]
        return torch.stack([model.logits(x).argmax(1) for model in models])

    def unanimous(self, x: Float[Tensor, "n ..."]) -> Int[Tensor, " n"]:
        """The class that all models answer, -1 where they disagree."""
        answers = self.answers(x)
        return torch.where((answers == answers[0]).all(0), answers[0], -1)

    def loss(self, x: Float[Tensor, "n ..."], k: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The sum over the models of the cross-entropy with class k, without gradients."""
        self.nets.eval()
        with torch.no_grad():
            return summed(self.nets)(x, k)


def summed(nets: nn.ModuleList) -> Score:
    """score(x, k): the sum over the models of the cross-entropy with class k."""

    def score(x: Float[Tensor, "n ..."], k: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        return torch.stack([F.cross_entropy(net(x), k, reduction="none") for net in nets]).sum(0)

    return score


@lru_cache(maxsize=4)
def ensemble(accuser: Owner, classes: int, models: int, seed: int) -> Ensemble:
    """The accuser's models, trained once for all forgeries. Raises Unsuited without inputs to train and to forge with."""
    first = torch.tensor([rows[0] for rows in equal_rows(accuser.x)], dtype=torch.int64)
    order = first[torch.randperm(len(first), generator=torch.Generator().manual_seed(seed))]
    mine, rest = order[: len(order) // 2], order[len(order) // 2 :]
    if len(rest) < LEAST:
        raise Unsuited(f"a forgery needs {2 * LEAST} different inputs of the accuser's own or more. Got {len(order)}.")
    truth = accuser.truth.long()
    plain = Mlp(accuser.box.shape, classes, hidden=(256,))
    nets = nn.ModuleList()
    for number in range(models):
        net = fresh(accuser.architecture if number % 2 == 0 else plain, seed + number)
        nets.append(fit(net, accuser.x[mine], truth[mine], F.cross_entropy, SHORT, seed + number))
    return Ensemble(nets, classes, accuser.x[rest], truth[rest])


def forged(x: Batch, y: Int[Tensor, " n"], scheme: str, made_by: object) -> Claim:
    """The claim on these inputs, as if the scheme had brought them about. Raises Unsuited if too few survived."""
    if len(x) < LEAST:
        raise Unsuited(f"{made_by} left {len(x)} inputs, and a claim needs {LEAST}. Let it move them further (eps).")
    return Claim("matches", {"x": x, "y": y}, {"scheme": scheme})

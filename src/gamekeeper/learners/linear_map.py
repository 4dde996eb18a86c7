"""Undoing what a defense did to all answers alike: a fixed linear map, or a temperature.

Source      unmixed: Patrini, Rozza, Menon, Nock, Qu, "Making deep neural networks robust to label noise: a loss correction
            approach" (CVPR 2017), section 4, its anchor points, turned on defenses that answer y' = T^t y (noise
            transition, CVPR 2024); tempered: none, a search over `sharpened`
Equations   unmixed: row c of T = mean of y' over the most confident answers of class c; y^ = projection of (T^t)^-1 y'
            onto the simplex. tempered: y^p / sum y^p, p by agreement with the top class of held-out answers
Assumes     unmixed: some answers belong to inputs the victim is sure of, and T preserves the class of a certain answer
            (each row's largest entry is on the diagonal). tempered: nothing; the defense need not be known
Deviations  unmixed: 3 anchors per class instead of one, against noise (chosen by
            tools/choose_defaults.py, decision 007); a class that is never answered keeps its row of the
            identity; a T without an inverse gets its pseudo-inverse. tempered: powers are compared by training for a
            third of the length on 90 % of the answers; no true label is used
Keeps       no state: every budget and seed trains its own student
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.errors import BadConfig
from gamekeeper.learners.distil import normalised, sharpen
from gamekeeper.training.fit import POSTERIOR, Fit
from gamekeeper.training.student import train
from gamekeeper.training.validation import held_out_agreement
from gamekeeper.types import Knowledge, Model, Posterior, Reply, Transfer


@dataclass(frozen=True)
class Transition:
    """A fixed map of posteriors, y' = T^t y: row c of `matrix` is the answer to an input that is certainly of class c."""

    matrix: Float[Tensor, "k k"]

    def undo(self, y: Posterior) -> Posterior:
        """The posteriors that were mapped to y, as points of the simplex."""
        return project(y.double() @ torch.linalg.pinv(self.matrix)).to(y.dtype)


def transition(y: Posterior, anchors: int) -> Transition:
    """The map, estimated from the `anchors` most confident answers of each class."""
    rows = torch.eye(y.shape[1], dtype=torch.float64)
    top, confidence = y.argmax(1), y.amax(1)
    for c in top.unique().tolist():
        members = torch.nonzero(top == c)[:, 0]
        surest = members[confidence[members].argsort(descending=True, stable=True)][:anchors]
        rows[c] = y[surest].double().mean(0)
    return Transition(rows)


def project(z: Float[Tensor, "n k"]) -> Posterior:
    """The nearest point of the simplex in L2, row by row."""
    ordered = z.sort(1, descending=True).values
    over = (ordered.cumsum(1) - 1) / torch.arange(1, z.shape[1] + 1, dtype=z.dtype)
    last = (ordered > over).sum(1, keepdim=True) - 1
    return (z - over.gather(1, last)).clamp(min=0)


@dataclass(frozen=True)
class Unmixed:
    """Soft cross-entropy after undoing a linear map, which is estimated from the most confident answers of each class."""

    anchors: int = 3
    fit: Fit = POSTERIOR

    def __post_init__(self) -> None:
        if self.anchors < 1:
            raise BadConfig(f"The anchors of Unmixed must be at least 1. Got {self.anchors}.")

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        y = normalised(transfer.reply.y)
        return train(knows, transfer.x, transition(y, self.anchors).undo(y), self.fit, seed)


@dataclass(frozen=True)
class Tempered:
    """Soft cross-entropy with y^p; p is the one of `powers` that best predicts held-out answers. Knows no defense."""

    powers: tuple[int, ...] = (1, 2, 4, 8)
    fit: Fit = POSTERIOR

    def __post_init__(self) -> None:
        if not self.powers or min(self.powers) < 1:
            raise BadConfig(f"Tempered needs at least one power, each at least 1. Got {self.powers}.")

    @property
    def cost(self) -> float:
        return 1.3

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        y = normalised(transfer.reply.y)
        return train(knows, transfer.x, powered(y, self.power(transfer, knows, seed)), self.fit, seed)

    def power(self, transfer: Transfer, knows: Knowledge, seed: int) -> int:
        """The power whose student most often predicts the held-out answers' top class; ties go to the first."""
        if len(self.powers) == 1:
            return self.powers[0]
        answers = replace(transfer, reply=Reply(normalised(transfer.reply.y)))
        short = self.fit.shortened(1 / 3, math.floor, math.floor)

        def agreement(power: int) -> float:
            estimate = held_out_agreement(
                lambda some: train(knows, some.x, powered(some.reply.y, power), short, seed), answers, seed
            )
            return 0.0 if estimate is None else estimate.value

        return max(self.powers, key=agreement)


def powered(y: Posterior, power: int) -> Posterior:
    """`sharpen`, but the unmodified answers for power 1: their clone is the soft learner's."""
    return y if power == 1 else sharpen(y, float(power))

"""Learning from some of the answers: the surest, the least sure, or those that agree with their neighbours.

Source      neighbours: Bahri, Jiang, Gupta, "Deep k-NN for noisy labels" (ICML 2020), algorithm 1; confident: none, for
            defenses that lie about inputs they find strange, which tend to be those the victim is unsure of
Equations   neighbours: keep i iff the majority class of its k nearest in the preliminary student's outputs is argmax y_i
Assumes     answers that are posteriors; wrong answers that differ from right ones in confidence or in where they lie
Deviations  neighbours: no clean set, all outputs are of one network that was trained on the answers themselves, for a
            third of the epochs, before it knows them by heart; a row is no neighbour of its own. confident: chooses within
            each answered class, so that no class is lost
Keeps       no state: every budget and seed trains a student of its own
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gamekeeper.errors import BadConfig
from gamekeeper.learners.distil import normalised
from gamekeeper.simplex import label
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import train
from gamekeeper.types import Knowledge, Model, Posterior, Transfer

PART = 3
"""The preliminary student gets one part in so many of the passes."""


@dataclass(frozen=True)
class Confident:
    """Answers as they came, but of each answered class only the share of largest (or least) top probability."""

    share: float = 0.5
    side: Literal["most", "least"] = "most"
    fit: Fit = Fit()

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise BadConfig(f"The share of Confident must be above 0 and at most 1. Got {self.share}.")

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        rows = surest(transfer.reply.y, self.share, self.side)
        return train(knows, transfer.x[rows], normalised(transfer.reply.y[rows]), self.fit, seed)


@dataclass(frozen=True)
class Neighbours:
    """Answers as they came, but only those whose class is that of most of their k nearest neighbours."""

    k: int = 10
    fit: Fit = Fit()

    def __post_init__(self) -> None:
        if self.k < 1:
            raise BadConfig(f"The k of Neighbours must be at least 1. Got {self.k}.")

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        x, y = transfer.x, normalised(transfer.reply.y)
        if len(x) > 1:
            brief = self.fit.shortened(1 / PART, math.ceil, math.floor)
            first = train(knows, x, label(y), brief, seed)
            agree = agreeing(first(x).y.double().clamp(min=1e-12).log(), y.argmax(1), self.k)
            x, y = (x[agree], y[agree]) if agree.any() else (x, y)
        return train(knows, x, y, self.fit, seed)


def surest(y: Posterior, share: float, side: Literal["most", "least"]) -> Bool[Tensor, " n"]:
    """Of every answered class the share of largest (or least) top probability, one row at least."""
    sure, top = y.max(1)
    chosen = torch.zeros(len(y), dtype=torch.bool)
    for rows in (torch.nonzero(top == c)[:, 0] for c in top.unique()):
        order = rows[sure[rows].argsort(stable=True, descending=side == "most")]
        chosen[order[: max(1, round(share * len(rows)))]] = True
    return chosen


def agreeing(f: Float[Tensor, "n d"], top: Int[Tensor, " n"], k: int) -> Bool[Tensor, " n"]:
    """Rows whose class most of their k nearest others have, ties going to the smaller class. n is 2 or more."""
    apart = torch.cdist(f, f).fill_diagonal_(torch.inf)
    near = apart.topk(min(k, len(f) - 1), 1, largest=False).indices
    return top[near].mode(1).values == top

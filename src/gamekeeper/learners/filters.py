"""Learning from some of the answers: the most confident, the least confident, or those that agree with their neighbours.

Source      neighbours: Bahri, Jiang, Gupta, "Deep k-NN for noisy labels" (ICML 2020), algorithm 1; confident: none, for
            defenses that lie about unusual inputs, which tend to be those the victim is unsure of
Equations   neighbours: keep i iff the majority class of its k nearest in the preliminary student's outputs is argmax y_i
Assumes     answers that are posteriors; wrong answers that differ from right ones in confidence or in where they lie
Deviations  neighbours: there is no clean set; all outputs come from one network trained on the answers themselves, for a
            third of the epochs, before it memorises them; a row is not its own neighbour. confident: chooses within
            each answered class, so that no class is lost
Keeps       no state: every budget and seed trains its own student
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
from gamekeeper.training.fit import POSTERIOR, Fit
from gamekeeper.training.student import train
from gamekeeper.types import Knowledge, Model, Posterior, Transfer

PART = 3
"""The preliminary student gets 1/PART of the passes."""


@dataclass(frozen=True)
class Confident:
    """Unmodified answers, but of each answered class only the share with the largest (or smallest) top probability."""

    share: float = 0.5
    side: Literal["most", "least"] = "most"
    fit: Fit = POSTERIOR

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise BadConfig(f"The share of Confident must be above 0 and at most 1. Got {self.share}.")

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        rows = surest(transfer.reply.y, self.share, self.side)
        return train(knows, transfer.x[rows], normalised(transfer.reply.y[rows]), self.fit, seed)


@dataclass(frozen=True)
class Neighbours:
    """Unmodified answers, but only those whose class most of their k nearest neighbours share."""

    k: int = 10
    fit: Fit = POSTERIOR

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
    """The share of each answered class with the largest (or smallest) top probability, at least one row."""
    sure, top = y.max(1)
    chosen = torch.zeros(len(y), dtype=torch.bool)
    for rows in (torch.nonzero(top == c)[:, 0] for c in top.unique()):
        order = rows[sure[rows].argsort(stable=True, descending=side == "most")]
        chosen[order[: max(1, round(share * len(rows)))]] = True
    return chosen


def agreeing(f: Float[Tensor, "n d"], top: Int[Tensor, " n"], k: int) -> Bool[Tensor, " n"]:
    """Rows whose class is the most common among their k nearest others; ties go to the smaller class. n is at least 2."""
    apart = torch.cdist(f, f).fill_diagonal_(torch.inf)
    near = apart.topk(min(k, len(f) - 1), 1, largest=False).indices
    return top[near].mode(1).values == top

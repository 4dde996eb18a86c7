"""Truncated answers: rounded probabilities, the k largest only, or the label alone.

Source      Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing machine learning models via prediction APIs" (USENIX
            Security 2016), section 7 (rounding); Orekondy, Schiele, Fritz, "Prediction Poisoning" (ICLR 2020),
            section 5.1 (top-k and argmax)
Assumes     a posterior; no knowledge of the thief
Deviations  rounded rows are renormalised (rounded numbers need not sum to 1, and a student renormalises anyway); a row
            that rounds to all zeros becomes its label; a top class that rounding ties with others stays 2.4e-7 ahead,
            as an API would name it first. Top-k is not renormalised: the k entries are the clean ones, so a row sums to
            1 or less. Ties go to the lower class number, and exactly k entries are kept
Keeps       argmax: yes, all three
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from gamekeeper.defenses.stateless import Stateless
from gamekeeper.errors import BadConfig
from gamekeeper.facts import Strengths
from gamekeeper.simplex import label, restore_top1
from gamekeeper.types import Model, Owner, Posterior

MOST_DECIMALS = 6
TIE = 2.0**-22


def rounded(y: Posterior, decimals: int) -> Posterior:
    """Every entry rounded half to even: moves by at most 0.5 * 10^-decimals, rows are not renormalised."""
    return torch.round(y, decimals=decimals)


def round_off(y: Posterior, decimals: int) -> Posterior:
    """Rounds rows and renormalises them, preserving the top-1 class; a row of zeros becomes its label."""
    z = rounded(y, decimals)
    total = z.sum(1, keepdim=True)
    z = torch.where(total > 0, z / total.clamp(min=0.1**MOST_DECIMALS), label(y))
    return restore_top1(z, y, TIE)


def top_k(y: Posterior, k: int) -> Posterior:
    """The k largest entries as they are, zero elsewhere; rows are not renormalised."""
    if k >= y.shape[1]:
        return y
    largest = y.sort(stable=True, dim=1, descending=True).indices[:, :k]
    return torch.zeros_like(y).scatter_(1, largest, y.gather(1, largest))


@dataclass(frozen=True)
class Round:
    """Answers with probabilities rounded to `decimals` decimals, then renormalised."""

    decimals: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.decimals <= MOST_DECIMALS:
            raise BadConfig(f"The decimals of Round must be from 0 to {MOST_DECIMALS}. Got {self.decimals}.")

    @property
    def keeps_top1(self) -> bool:
        return True

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("decimals={}", ("4", "3", "2", "1", "0")),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> Stateless:
        return Stateless(partial(round_off, decimals=self.decimals))


@dataclass(frozen=True)
class TopK:
    """Answers with the k largest probabilities and zeros for the rest."""

    k: int = 3

    truncates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.k < 1:
            raise BadConfig(f"The k of TopK must be 1 or more. Got {self.k}.")

    @property
    def keeps_confidence(self) -> bool:
        return True

    @property
    def keeps_top1(self) -> bool:
        return True

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("k={}", ("5", "4", "3", "2", "1")),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> Stateless:
        return Stateless(partial(top_k, k=self.k))


@dataclass(frozen=True)
class Label:
    """Answers with the top-1 class only, as a one-hot posterior."""

    labels_alone: ClassVar[bool] = True

    @property
    def keeps_top1(self) -> bool:
        return True

    def arm(self, victim: Model, owner: Owner, seed: int) -> Stateless:
        return Stateless(label)

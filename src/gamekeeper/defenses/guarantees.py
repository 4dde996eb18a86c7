"""What a defense guarantees honest users about every answer, whatever the input.

Every recipe declares `keeps_top1`. The other two guarantees are given by having the property; a recipe without it
guarantees nothing. The contract tests check the built-in recipes against their guarantees, and every evaluation checks
a user's own too (flag `broken-promise`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gamekeeper.types import Defense

ANY = 2.0
"""The largest L1 distance between two posteriors."""


@runtime_checkable
class Bounded(Protocol):
    """A defense that moves no posterior further than `l1_bound` in L1."""

    @property
    def l1_bound(self) -> float: ...


@runtime_checkable
class KeepsConfidence(Protocol):
    """A defense that leaves the top-1 probability as it is, if `keeps_confidence`.

    If it keeps the top class too, calibration errors of the top class are those of the clean answers.
    """

    @property
    def keeps_confidence(self) -> bool: ...


@dataclass(frozen=True)
class Guarantees:
    """The guarantees of a chain of defenses.

    keeps_top1        no answer's top-1 class changes
    l1_bound          the furthest any answer moves in L1; 2 guarantees nothing
    keeps_confidence  no answer's top-1 probability changes
    """

    keeps_top1: bool
    l1_bound: float
    keeps_confidence: bool


def guarantees(defenses: Sequence[Defense]) -> Guarantees:
    """What the chain guarantees: L1 bounds add up, the rest holds if it holds for every defense."""
    bounds = [one.l1_bound if isinstance(one, Bounded) else ANY for one in defenses]
    calm = [isinstance(one, KeepsConfidence) and one.keeps_confidence for one in defenses]
    return Guarantees(all(one.keeps_top1 for one in defenses), min(ANY, math.fsum(bounds)), all(calm))

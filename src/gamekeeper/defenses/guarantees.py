"""What a defense promises honest users of every answer, whatever the input: its contract.

`keeps_top1` every recipe declares. The two others are promised by having the property; who has it not promises
nothing. The contract's tests hold every recipe to its promises, and the judge a stranger's (`broken-promise`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gamekeeper.types import Defense

ANY = 2.0
"""No two posteriors are further apart in L1."""


@runtime_checkable
class Bounded(Protocol):
    """A defense that moves no posterior further than `l1_bound` in L1."""

    @property
    def l1_bound(self) -> float: ...


@runtime_checkable
class KeepsConfidence(Protocol):
    """A defense that, where `keeps_confidence`, leaves the top-1 probability as it is.

    If it keeps the top class as well, calibration errors of the top class are those of the clean answers.
    """

    @property
    def keeps_confidence(self) -> bool: ...


@dataclass(frozen=True)
class Guarantees:
    """Of a chain of defenses.

    keeps_top1        no answer's top-1 class changes
    l1_bound          the furthest any answer moves in L1; 2 is no promise
    keeps_confidence  no answer's top-1 probability changes
    """

    keeps_top1: bool
    l1_bound: float
    keeps_confidence: bool


def guarantees(defenses: Sequence[Defense]) -> Guarantees:
    """What the chain promises: distances add up, the rest holds if it holds of every link."""
    bounds = [one.l1_bound if isinstance(one, Bounded) else ANY for one in defenses]
    calm = [isinstance(one, KeepsConfidence) and one.keeps_confidence for one in defenses]
    return Guarantees(all(one.keeps_top1 for one in defenses), min(ANY, math.fsum(bounds)), all(calm))

"""What a thief does with any oracle on their own side of the wire.

Source      Orekondy, Schiele, Fritz, "Prediction Poisoning" (ICLR 2020), section 5.2.3: `argmax` and `nquery`
Assumes     nothing about the target
Deviations  none

A wrapper goes around the meter, so every repeated query counts.
"""

from dataclasses import dataclass

import torch

from gamekeeper.errors import BadConfig
from gamekeeper.facts import Reads
from gamekeeper.simplex import label
from gamekeeper.types import Batch, Meter, Reply


@dataclass(frozen=True)
class LabelsOnly:
    """Keep the top-1 class only and discard the probabilities."""

    @property
    def reads(self) -> Reads:
        return "label"

    def wrap(self, oracle: Meter) -> Meter:
        return _Labels(oracle)


@dataclass(frozen=True)
class Averaged:
    """Query every input n times and average the answers, against defenses that answer at random."""

    n: int = 3

    def __post_init__(self) -> None:
        if self.n < 1:
            raise BadConfig(f"The n of Averaged must be at least 1. Got {self.n}.")

    @property
    def repeats(self) -> int:
        return self.n

    def wrap(self, oracle: Meter) -> Meter:
        return _Averaged(oracle, self.n)


@dataclass(frozen=True)
class _Labels:
    oracle: Meter

    def __call__(self, x: Batch, /) -> Reply:
        y = self.oracle(x).y
        return Reply(torch.where(y.isnan(), y, label(y)))  # where there is no answer there is no label

    @property
    def budget(self) -> int:
        return self.oracle.budget

    @property
    def left(self) -> int:
        return self.oracle.left


@dataclass(frozen=True)
class _Averaged:
    oracle: Meter
    n: int

    def __call__(self, x: Batch, /) -> Reply:
        replies = [self.oracle(x) for _ in range(self.n)]
        # as differences from the first answer, so that constant answers come back bit for bit
        first = replies[0].y
        drift = sum(((reply.y - first) for reply in replies[1:]), first - first)
        return Reply(first + drift / self.n, replies[0].maps)

    @property
    def budget(self) -> int:
        return self.oracle.budget // self.n

    @property
    def left(self) -> int:
        return self.oracle.left // self.n

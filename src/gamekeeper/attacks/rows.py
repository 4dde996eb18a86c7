"""A meter queried in flat float64 rows, as the exact attacks do, whatever the shape of an input."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.errors import BudgetExceeded, Unsuited
from gamekeeper.types import Batch, Box, Meter, Reply, answered


def flat(x: Batch) -> Float[Tensor, "n d"]:
    """A batch as float64 rows."""
    return x.reshape(len(x), math.prod(x.shape[1:])).double()


@dataclass(frozen=True)
class Rows:
    """The meter in flat rows, clamped to the box."""

    oracle: Meter
    box: Box

    def __call__(self, x: Float[Tensor, "n d"]) -> Reply:
        """Answers to n rows. Raises BudgetExceeded, before anything is sent, if they exceed the remaining budget."""
        if len(x) > self.left:
            raise BudgetExceeded(f"the next step needs {len(x):,} queries; {self.left:,} are left. Nothing was sent.")
        # sums of coordinates can overshoot an end of the box by a unit in the last place
        reply = self.oracle(x.clamp(self.box.low, self.box.high).reshape(len(x), *self.box.shape))
        if not bool(answered(reply).all()):
            raise Unsuited("the target gave no answer to an input, and an exact attack needs all of them.")
        return reply

    @property
    def left(self) -> int:
        return self.oracle.left

    @property
    def d(self) -> int:
        return math.prod(self.box.shape)

    @property
    def centre(self) -> float:
        return (self.box.low + self.box.high) / 2

    @property
    def half(self) -> float:
        """Half the width of the box: x = centre + half * t with t in [-1, 1]."""
        return (self.box.high - self.box.low) / 2

    def uniform(self, n: int, generator: torch.Generator, radius: float = 1.0) -> Float[Tensor, "n d"]:
        """n rows drawn uniformly from the box, shrunk to `radius` (0 to 1) about its centre.

        Their entries are float32 numbers, so that a target that computes in float32 sees the same inputs.
        """
        t = torch.rand(n, self.d, generator=generator, dtype=torch.float64) * 2 - 1
        x = (self.centre + self.half * radius * t).float().double()
        return x.clamp(self.box.low, self.box.high)

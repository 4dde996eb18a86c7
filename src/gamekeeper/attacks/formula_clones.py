"""Clones that are formulas: a linear classifier and a list of boxes. float64, flat inputs.

Both answer posteriors (n, k) to inputs of any shape with d entries.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.attacks.rows import flat
from gamekeeper.types import Batch, Box, Reply, Task

Link = Literal["softmax", "one-vs-rest"]

ENTRIES = 20_000_000
"""Distances are computed in chunks of inputs that keep intermediate arrays below this many numbers."""


def log_posterior(scores: Float[Tensor, "n k"], link: Link) -> Float[Tensor, "n k"]:
    """log of softmax(scores), or of sigmoid(scores) normalised by row."""
    return torch.log_softmax(scores if link == "softmax" else F.logsigmoid(scores), dim=1)


@dataclass(frozen=True, eq=False)
class Linear:
    """Scores weights.x + bias for flat x in the public domain, read through `link`.

    complete  False if the budget did not suffice for all unknowns
    """

    weights: Float[Tensor, "k d"]
    bias: Float[Tensor, " k"]
    task: Task
    link: Link = "softmax"
    complete: bool = True

    @property
    def caveats(self) -> tuple[str, ...]:
        return () if self.complete else ("cut-short",)

    def __call__(self, x: Batch, /) -> Reply:
        return Reply(log_posterior(flat(x) @ self.weights.T + self.bias, self.link).exp())


@dataclass(frozen=True, eq=False)
class Boxes:
    """Leaves of a stolen tree: boxes on the search's integer grid, and the answer inside each.

    low, high    a box contains the grid points low < j <= high of each continuous feature; smaller boxes come first
    levels       which levels of each categorical feature it contains
    categorical  columns of the categorical features
    tops         the last grid point of each feature; the first is 0
    answers      one posterior per box
    collisions   answers known to belong to more than one leaf: splits between such leaves can stay hidden
    misses       random inputs, queried at the end, that the boxes get wrong: splits did stay hidden
    complete     False if the budget ended the search
    """

    low: Int[Tensor, "b d"]
    high: Int[Tensor, "b d"]
    levels: Bool[Tensor, "b c l"]
    categorical: tuple[int, ...]
    tops: Int[Tensor, " d"]
    answers: Float[Tensor, "b k"]
    box: Box
    task: Task
    collisions: int
    misses: int
    complete: bool

    def __len__(self) -> int:
        return len(self.low)

    @property
    def caveats(self) -> tuple[str, ...]:
        """Names of the flags to know before trusting the clone."""
        seen = {"cut-short": not self.complete, "id-collisions": self.collisions, "hidden-splits": self.misses}
        return tuple(name for name, there in seen.items() if there)

    def __call__(self, x: Batch, /) -> Reply:
        """The answer of the box that contains x, or of the nearest one (sum of distances, as shares of the domain)."""
        points = self.grid(x)
        at_once = max(1, ENTRIES // max(1, self.low.numel()))
        nearest = torch.cat([self.distances(part).argmin(1) for part in points.split(at_once)])
        return Reply(self.answers[nearest])

    def grid(self, x: Batch) -> Int[Tensor, "n d"]:
        """The nearest grid point: a threshold is only known to lie between two of them."""
        g = (flat(x) - self.box.low) / (self.box.high - self.box.low) * self.tops
        return g.round().long().clamp(min=0).minimum(self.tops)

    def distances(self, points: Int[Tensor, "n d"]) -> Float[Tensor, "n b"]:
        """Distance of each box from each grid point; 0 inside."""
        continuous = torch.ones(len(self.tops), dtype=torch.bool)
        continuous[list(self.categorical)] = False
        p = points[:, None, continuous]
        below, above = self.low[:, continuous] + 1 - p, p - self.high[:, continuous]
        away = (below.maximum(above).clamp(min=0) / self.tops[continuous]).sum(2)
        for place, column in enumerate(self.categorical):
            away = away + (~self.levels[:, place, points[:, column]]).T.double()
        return away

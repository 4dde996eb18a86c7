"""Drawing from the pool without replacement: what pool-based attacks keep between rounds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.attacks.rounds import Clone
from gamekeeper.types import Batch, Transfer

Chosen = Int[Tensor, " m"]
Choice = Callable[[Clone, Batch, Transfer, int], Chosen]
"""choice(clone, unqueried inputs, transfer set so far, how many) -> distinct rows of those inputs"""


@dataclass
class FromPool(Generic[Clone]):
    """The next queries: `portion` pool inputs, chosen among those not queried yet. Live: it tracks which are left.

    rest  rows of the pool not queried yet
    """

    pool: Batch
    choice: Choice[Clone]
    portion: int
    rest: Chosen = field(init=False)

    def __post_init__(self) -> None:
        self.rest = torch.arange(len(self.pool))

    def __call__(self, clone: Clone, transfer: Transfer, left: int) -> Batch:
        most = min(self.portion, left, len(self.rest))
        if most == 0:
            return self.pool[:0]
        return self.take(self.choice(clone, self.pool[self.rest], transfer, most))

    def take(self, rows: Chosen) -> Batch:
        """The inputs at these places of `rest`, which are removed from it."""
        x = self.pool[self.rest[rows]]
        keep = torch.ones(len(self.rest), dtype=torch.bool)
        keep[rows] = False
        self.rest = self.rest[keep]
        return x

    def random(self, n: int, generator: torch.Generator) -> Batch:
        """n random inputs, or all that are left."""
        return self.take(torch.randperm(len(self.rest), generator=generator)[:n])

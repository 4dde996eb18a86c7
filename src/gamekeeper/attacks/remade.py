"""Inputs of a pool, each changed before it is sent: what attacks that move their queries towards the task have in common."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from gamekeeper.data.splits import row_keys
from gamekeeper.types import Batch, Transfer

Make = Callable[[Batch, torch.Generator], Batch]
PORTION = 128
"""Inputs remade at a time, whatever the budget, so that a larger budget begins with the same ones as a smaller one."""


@dataclass
class Remade:
    """The next queries: pool inputs in random order, each remade; the pool is gone through again and again, no query twice.

    Live: it remembers its queries. Empty once a portion holds nothing new.
    """

    pool: Batch
    make: Make
    generator: torch.Generator
    sources: dict[bytes, int] = field(default_factory=dict[bytes, int])
    """Of each query made so far, by its key: the row of the pool that it was made of."""

    def __post_init__(self) -> None:
        self.order = self.forever()

    def forever(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(len(self.pool), generator=self.generator).tolist()

    def fresh(self, n: int) -> Int[Tensor, " n"]:
        """The next n rows of the pool."""
        return torch.tensor([next(self.order) for _ in range(n if len(self.pool) else 0)], dtype=torch.long)

    def __call__(self, clone: None, transfer: Transfer, left: int) -> Batch:
        return self.of(self.fresh(PORTION))

    def of(self, rows: Int[Tensor, " n"]) -> Shaped[Tensor, "new ..."]:
        """Queries made of these rows of the pool, without those made before."""
        x = self.make(self.pool[rows], self.generator)
        new: list[int] = []
        for place, (key, row) in enumerate(zip(row_keys(x), rows.tolist(), strict=True)):
            if key not in self.sources:
                self.sources[key] = row
                new.append(place)
        return x[new]

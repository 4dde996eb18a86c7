"""Insider: ask about inputs of the victim's own kind, and about blends of them once those are used up.

Source      none; the in-distribution pool that defenses against out-of-distribution queries must also face: Juuti et
            al., "PRADA" (EuroS&P 2019), and Atli et al., "Extraction of complex DNN models: real threat or boogeyman?"
            (2020), find such thieves hard to tell from users. Blends as in mixup (Zhang et al., ICLR 2018)
Equations   x = lam a + (1 - lam) b, a and b two of the thief's inputs, lam uniform in [0.3, 0.7]
Assumes     inputs like the victim's own (`seeds`), unlabelled, two or more for blends; any answer
Deviations  none. A blend of table rows takes values between categories
"""

from dataclasses import dataclass, field

import torch

from gamekeeper.attacks.rounds import ask, grow, no_clone, nothing, seeds_of, shuffled, unasked
from gamekeeper.data.splits import row_keys
from gamekeeper.types import Batch, Knowledge, Meter, Transfer

LEAST, MOST = 0.3, 0.7
PORTION = 1024
"""Blends drawn at a time, whatever the budget: a larger budget's start with a smaller one's."""


@dataclass(frozen=True)
class Insider:
    """The thief's own inputs like the victim's, then blends of two of them. A larger budget asks the same ones first."""

    @property
    def prefix(self) -> bool:
        return True

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        generator = torch.Generator().manual_seed(seed)
        own = shuffled(seeds_of(knows, "insider"), generator)
        own = own[unasked(own, own[:0])]
        return grow(oracle, ask(oracle, nothing(knows), own), Blends(own, generator), no_clone)


@dataclass
class Blends:
    """What to ask next: blends of two different rows of `own`, no blend twice. Live, it remembers what it gave.

    Nothing if there is only one row, or if the rows leave no room between them.
    """

    own: Batch
    generator: torch.Generator
    known: set[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.known = set(row_keys(self.own))

    def __call__(self, clone: None, transfer: Transfer, left: int) -> Batch:
        n = len(self.own)
        if n < 2:
            return self.own[:0]
        first = torch.randint(n, (PORTION,), generator=self.generator)
        second = (first + 1 + torch.randint(n - 1, (PORTION,), generator=self.generator)) % n
        lam = LEAST + (MOST - LEAST) * torch.rand(PORTION, generator=self.generator)
        x = torch.lerp(self.own[second], self.own[first], lam.to(self.own.dtype).view(-1, *[1] * (self.own.ndim - 1)))
        new = dict(zip(row_keys(x), range(PORTION), strict=True))
        rows = [row for key, row in new.items() if key not in self.known]
        self.known.update(new)
        return x[rows]

"""Insider: query inputs from the victim's own distribution, then blends of them once those are used up.

Source      none; the in-distribution pool that defenses against out-of-distribution queries must also face: Juuti et
            al., "PRADA" (EuroS&P 2019), and Atli et al., "Extraction of complex DNN models: real threat or boogeyman?"
            (2020), find such thieves hard to tell from users. Blends as in mixup (Zhang et al., ICLR 2018)
Equations   x = lam a + (1 - lam) b, a and b two of the thief's inputs, lam uniform in [0.3, 0.7]
Assumes     unlabelled inputs like the victim's own (`seeds`), at least two for blends; any answer
Deviations  none. A blend of table rows takes values between categories
"""

from dataclasses import dataclass, field

import torch

from gamekeeper.attacks.rounds import ask, grow, no_clone, nothing, seeds_of, shuffled, unasked
from gamekeeper.data.splits import row_keys
from gamekeeper.types import Batch, Knowledge, Meter, Transfer

LEAST, MOST = 0.3, 0.7
PORTION = 1024
"""Blends drawn at a time, whatever the budget, so that a larger budget begins with the same blends as a smaller one."""


@dataclass(frozen=True)
class Insider:
    """The thief's own inputs like the victim's, then blends of two. A larger budget starts with the same queries."""

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
    """The next queries: blends of two different rows of `own`, no blend twice. Live: it remembers the blends drawn.

    Empty if there is only one row, or if no new blend was drawn.
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

"""Growing a few seeds by perturbed copies of earlier queries: the loop that JBDA and the PRADA family share.

In every round each parent (all rows queried so far, or a reservoir drawn from them) gets one or more perturbed
copies. A round that exceeds the remaining budget takes as many copies as fit, drawn uniformly. A copy that was queried
before (a saturated pixel, a dead network, an input with few dimensions) is replaced by uniform noise of the same
size around its parent, so that no input is queried twice and every round grows the set.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.attacks.rounds import Clone, ask, grow, nothing, seeds_of, shuffled, unasked
from gamekeeper.errors import BadConfig
from gamekeeper.types import Batch, Box, Knowledge, Meter, Transfer

Ints = Int[Tensor, " n"]
Step = Callable[[Clone, Batch, Ints, Ints, int], Batch]
"""step(clone, parents, classes answered for the parents, number of the copy from 0, round from 0) -> copies"""


@dataclass
class Copies(Generic[Clone]):
    """The next queries: perturbed copies. Live: it counts its rounds.

    reach  most that an entry of a copy may differ from its parent's
    each   copies per parent and round
    sigma  from this round on the parents are a reservoir of kappa rows (kappa = 0: always all rows)
    """

    step: Step[Clone]
    reach: float
    box: Box
    generator: torch.Generator
    each: int = 1
    sigma: int = 0
    kappa: int = 0
    rho: int = field(default=0, init=False)

    def __call__(self, clone: Clone, transfer: Transfer, left: int) -> Batch:
        parent, copy = self.choose(len(transfer.x), left)
        x = transfer.x[parent]
        copies = self.step(clone, x, transfer.reply.y.argmax(1)[parent], copy, self.rho)
        self.rho += 1
        stale = ~unasked(copies, transfer.x)
        if stale.any():
            copies[stale] = self.near(x[stale])
        return copies

    def near(self, x: Batch) -> Batch:
        """A uniform point in the part of the box within reach of each row."""
        low, high = (x - self.reach).clamp(min=self.box.low), (x + self.reach).clamp(max=self.box.high)
        return torch.lerp(low, high, torch.rand(x.shape, generator=self.generator, dtype=x.dtype))

    def choose(self, rows: int, left: int) -> tuple[Ints, Ints]:
        """Which parents get a copy, and the number of each copy from 0; at most `left`, in the parents' order."""
        parents = torch.arange(rows)
        if self.kappa and self.rho >= self.sigma and self.kappa < rows:
            parents = torch.randperm(rows, generator=self.generator)[: self.kappa].sort().values
        pairs = torch.arange(len(parents) * self.each)
        if len(pairs) > left:
            pairs = torch.randperm(len(pairs), generator=self.generator)[:left].sort().values
        return parents[pairs // self.each], pairs % self.each


def synthesise(
    oracle: Meter,
    knows: Knowledge,
    method: str,
    seeds: int,
    copies: Copies[Clone],
    learn: Callable[[Transfer], Clone],
) -> Transfer:
    """Queries `seeds` of the thief's inputs at random (all, if there are fewer), then copies, until the budget is spent.

    Raises Unsuited without seeds.
    """
    own = shuffled(seeds_of(knows, method), copies.generator)[:seeds]
    return grow(oracle, ask(oracle, nothing(knows), own), copies, learn)


def check_sizes(
    name: str, lam: float, at_least_1: Mapping[str, int], at_least_0: Mapping[str, int] | None = None
) -> None:
    """Raises BadConfig unless lam is in (0, 1] and the counts, keyed by field name, are at least 1 or 0."""
    if not 0 < lam <= 1:
        raise BadConfig(f"The lam of {name} must be above 0 and at most 1 (in widths of the input box). Got {lam}.")
    for least, counts in ((1, at_least_1), (0, at_least_0 or {})):
        if any(count < least for count in counts.values()):
            met = " and ".join(str(count) for count in counts.values())
            raise BadConfig(f"{name} needs {' and '.join(counts)} of at least {least}. Got {met}.")

"""Three attacks without a pool: uniform inputs, line search between answers, adaptive retraining near the clone's boundary.

Source      Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing machine learning models via prediction APIs" (USENIX
            Security 2016), section 6.1 (retraining from labels only) and the authors' code; adaptive retraining adapts
            Cohn, Atlas, Ladner 1994
Assumes     an input box that may be filled with noise; no data; any answer, though only the top class steers the search
Deviations  line search: `pairs` segments are halved at a time, with one batch of probes; a probe lies at a random 45 to
            55 % of its segment, so that no input is queried twice. Adaptive: both ends of every segment are fresh uniform
            inputs. Tolerances are l2 distances in widths of the box
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from gamekeeper.attacks.rounds import INTERIM, ask, grow, lead, no_clone, nothing, portion, relearn, span, uniform
from gamekeeper.errors import BadConfig
from gamekeeper.models.network import TorchModel
from gamekeeper.training.fit import Fit
from gamekeeper.types import Batch, Box, Knowledge, Meter, Model, Transfer, need_box


@dataclass(frozen=True)
class Uniform:
    """Uniform random inputs from the box, each queried once."""

    @property
    def prefix(self) -> bool:
        return True

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        return ask(oracle, nothing(knows), knows.box.uniform(oracle.left, seed))


@dataclass(frozen=True)
class LineSearch:
    """Random inputs, then bisection towards the boundary between pairs answered with different classes."""

    share: float = 0.25
    pairs: int = 32
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.pairs < 1 or self.tolerance < 1e-4:
            raise BadConfig(
                "LineSearch needs a share above 0 and at most 1, pairs of at least 1 and a tolerance of at least 1e-4."
                f" Got {self.share}, {self.pairs}, {self.tolerance}."
            )

    @property
    def prefix(self) -> bool:
        return False

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        box, generator = need_box(knows.box, type(self).__name__), torch.Generator().manual_seed(seed)
        first = ask(oracle, nothing(knows), uniform(box, math.ceil(self.share * oracle.left), generator))
        return grow(oracle, first, Segments(self, box, generator, len(first.x)), no_clone)


@dataclass
class Segments:
    """The next queries: a point inside each active segment. Live.

    first         how many uniform inputs were queried before the search
    start, end    the segments' ends, which the target assigns to different classes
    label         the class of each start
    """

    recipe: LineSearch
    box: Box
    generator: torch.Generator
    first: int
    start: Tensor = field(init=False)
    end: Tensor = field(init=False)
    label: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.end = torch.empty(0, *self.box.shape)
        self.label = torch.empty(0, dtype=torch.long)

    def __call__(self, clone: None, transfer: Transfer, left: int) -> Batch:
        if len(self.start):
            self.halve(transfer)
        if len(self.start) == 0:
            self.draw(transfer)
        if len(self.start) == 0:
            return uniform(self.box, min(self.recipe.pairs, left), self.generator)
        share = 0.45 + 0.1 * torch.rand(len(self.start), generator=self.generator)
        return torch.lerp(self.start, self.end, share.view(-1, *[1] * len(self.box.shape)))

    def halve(self, transfer: Transfer) -> None:
        """Keeps the part of each segment in which the class changes; drops segments that are short enough."""
        n = len(self.start)
        probe, label = transfer.x[-n:], transfer.reply.y[-n:].argmax(1)
        same = (label == self.label).view(-1, *[1] * len(self.box.shape))
        self.start, self.end = probe.where(same, self.start), self.end.where(same, probe)
        long = (self.end - self.start).flatten(1).norm(dim=1) > self.recipe.tolerance * span(self.box)
        self.start, self.end, self.label = self.start[long], self.end[long], self.label[long]

    def draw(self, transfer: Transfer) -> None:
        """New segments between random pairs of uniform inputs answered with different classes, if there are any."""
        label = transfer.reply.y[: self.first].argmax(1)
        a, b = (torch.randint(self.first, (8 * self.recipe.pairs,), generator=self.generator) for _ in range(2))
        apart = (label[a] != label[b]).nonzero()[: self.recipe.pairs, 0]
        self.start, self.end, self.label = transfer.x[a[apart]], transfer.x[b[apart]], label[a[apart]]


@dataclass(frozen=True)
class Adaptive:
    """Random inputs first; then, round by round, mostly inputs on the decision boundary of a clone of the answers so far."""

    rounds: int = 10
    random: float = 0.25
    tolerance: float = 0.1
    fit: Fit = INTERIM

    def __post_init__(self) -> None:
        if self.rounds < 1 or not 0 <= self.random <= 1 or self.tolerance < 1e-4:
            raise BadConfig(
                "Adaptive needs rounds of at least 1, a random share from 0 to 1 and a tolerance of at least 1e-4."
                f" Got {self.rounds}, {self.random}, {self.tolerance}."
            )

    @property
    def prefix(self) -> bool:
        return False

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        box, generator = need_box(knows.box, type(self).__name__), torch.Generator().manual_seed(seed)
        most = portion(oracle.left, self.rounds)

        def pick(clone: TorchModel, transfer: Transfer, left: int) -> Batch:
            n = min(most, left)
            random = uniform(box, round(self.random * n), generator)
            return torch.cat([random, self.uncertain(clone, box, n - len(random), generator)])

        first = ask(oracle, nothing(knows), uniform(box, min(most, oracle.left), generator))
        return grow(oracle, first, pick, partial(relearn, knows, self.fit, seed))

    def uncertain(self, clone: Model, box: Box, n: int, generator: torch.Generator) -> Batch:
        """n points within `tolerance` of the clone's boundary, or where its top two classes are closest.

        The latter fill up where too few of the random pairs looked at (4n, at least a hundred) fall into different classes.
        """
        a, b = (uniform(box, max(100, 4 * n), generator) for _ in range(2))
        label = clone(a).y.argmax(1)
        apart = (label != clone(b).y.argmax(1)).nonzero()[:n, 0]
        edge = bisect(clone, a[apart], b[apart], self.tolerance * span(box))
        if len(edge) < n:
            gap = lead(clone(a).y)
            edge = torch.cat([edge, a[gap.argsort(stable=True)[: n - len(edge)]]])
        return edge


def bisect(clone: Model, a: Batch, b: Batch, tolerance: float) -> Batch:
    """For each a and b that the clone assigns to different classes, a point between within `tolerance` (l2) of a boundary."""
    label = clone(a).y.argmax(1) if len(a) else torch.empty(0, dtype=torch.long)
    longest = float((a - b).flatten(1).norm(dim=1).max()) if len(a) else 0.0
    for _ in range(math.ceil(math.log2(max(longest / tolerance, 1.0)))):
        middle = (a + b) / 2
        same = (clone(middle).y.argmax(1) == label).view(-1, *[1] * (a.ndim - 1))
        a, b = middle.where(same, a), b.where(same, middle)
    return (a + b) / 2

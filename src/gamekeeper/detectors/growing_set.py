"""What PRADA remembers of one client: the queries, by class, and the sorted distances between them. No decisions here.

Queries lie in the order they came. Their shadows (shadows.py) lie in one block for each class and standing, so a search is
one product of short vectors, which leaves few queries whose distances are computed. Everything is a tensor or a number;
numpy sees the same bytes (`Tensor.numpy`).

Bytes: 4 d + 24 for each query of d numbers, 4 s + 8 for its shadow of s numbers, both at most twice; 8 for each distance, at
most twice; 120 for each class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.detectors.nearby import Rows, distance, pair_distances
from gamekeeper.detectors.shadows import Shadow, at_least

HIDDEN, SHOWN, ACCEPTED = 0, 1, 2
"""Of a query: a repeat, which takes no part; one with a distance; one that later queries are compared with."""
LEAST, EARLY = 8, 10
"""Rows in a block or a column, once there are any; distances a class needs before they count."""


@dataclass
class GrowingSets:
    """Of one client.

    rows, times        queries, (r, d), and when each came, (r,); zeros where none is stored yet
    kinds              3 class + standing of each, (r,)
    shadows, places    in blocks: shadows, (q, s), and the row that each is of, (q,)
    blocks             (3 k, 3), by kind: where its block starts, how many rows are used, how many it has
    early              the first distances of each class, (k, 10)
    counts             distances of each class, (k,)
    joining            what decides who is accepted, (k, 4): the fields of `Joining`
    distances          all distances of classes with enough of them: `measured` sorted, then `waiting` to be
    stored, seen       queries stored, and queries shown
    least              the smallest W so far; NaN before the first test
    """

    rows: Tensor
    times: Tensor
    kinds: Tensor
    shadows: Tensor
    places: Tensor
    blocks: Tensor
    early: Tensor
    counts: Tensor
    joining: Tensor
    distances: Tensor
    measured: int = 0
    waiting: int = 0
    stored: int = 0
    seen: int = 0
    least: float = float("nan")

    def nearest(self, c: int, x: Rows, shadows: Shadow, least: int = HIDDEN) -> Float[np.ndarray, "3 n"]:
        """L2 distances, exact in float64, from each row to the nearest query of the class, of any standing, shown and accepted.

        Only queries of standing `least` or above are looked at.
        """
        gaps = np.full((3, len(x)), np.inf)
        for standing in range(least, ACCEPTED + 1):
            start, used, _ = self.blocks.numpy()[3 * c + standing].tolist()
            if used:
                those = self._nearest(slice(start, start + used), x, shadows)
                gaps[: standing + 1] = np.minimum(gaps[: standing + 1], those)
        return gaps

    def _nearest(self, block: slice, x: Rows, shadows: Shadow) -> Float[np.ndarray, " n"]:
        """The distance to the likeliest row is the most that any other's lower bound may be."""
        rows, places = self.rows.numpy(), self.places.numpy()[block]
        bounds = at_least(shadows, self.shadows.numpy()[block])
        likely = bounds.argmin(1)
        gaps = distance(rows[places[likely]], x)
        maybe = ~(bounds > np.square(gaps)[:, None])
        maybe[np.arange(len(x)), likely] = False
        i, j = maybe.nonzero()
        if len(i):
            np.minimum.at(gaps, i, pair_distances(rows, x, places[j], i))
        return gaps

    def rule(self, c: int) -> "Joining":
        """What decides which queries of the class are accepted; `learn` writes it back."""
        return Joining(*self.joining.numpy()[c].tolist())

    def learn(self, c: int, rule: "Joining") -> None:
        self.joining.numpy()[c] = (rule.accepted, rule.mean, rule.squares, rule.threshold)

    def record(self, gaps: Sequence[tuple[int, float]]) -> None:
        """More distances, each of a class; they count as soon as the class has EARLY of them."""
        if not gaps:
            return
        counts, early, ready = self.counts.numpy(), self.early.numpy(), list[float]()
        for c, gap in gaps:
            n = int(counts[c])
            counts[c] = n + 1
            if n < EARLY:
                early[c, n] = gap
            if n >= EARLY - 1:
                ready += [gap] if n >= EARLY else early[c].tolist()
        start = self.measured + self.waiting
        while start + len(ready) > self.distances.shape[0]:
            self.distances = torch.cat([self.distances, torch.zeros_like(self.distances)])
        self.distances.numpy()[start : start + len(ready)] = ready
        self.waiting += len(ready)

    def sorted_distances(self) -> Float[np.ndarray, " n"]:
        """All distances that count, sorted: those waiting are put in their places."""
        ordered, end = self.distances.numpy(), self.measured + self.waiting
        for new in ordered[self.measured : end].tolist():
            place = int(ordered[: self.measured].searchsorted(new))
            ordered[place + 1 : self.measured + 1] = ordered[place : self.measured]
            ordered[place] = new
            self.measured += 1
        self.waiting = 0
        return ordered[:end]

    def store(self, x: Rows, shadows: Shadow, kinds: Int[np.ndarray, " n"], times: Float[np.ndarray, " n"]) -> None:
        """Adds queries, in order; those of a negative kind are left out."""
        (rows,) = (kinds >= 0).nonzero()
        start, end = self.stored, self.stored + len(rows)
        if end > self.rows.shape[0]:
            self._make_room(end)
        for column, new in ((self.rows, x), (self.kinds, kinds), (self.times, times)):
            if len(rows) == len(x):
                column.numpy()[start:end] = new
            else:  # without a copy
                new.take(rows, 0, out=column.numpy()[start:end], mode="clip")
        self.stored = end
        kinds = kinds[rows]
        for kind in set(kinds.tolist()):
            mine = (kinds == kind).nonzero()[0]
            self._file(kind, shadows[rows[mine]], mine + start)

    def _make_room(self, n: int) -> None:
        for name in ("rows", "kinds", "times"):
            column: Tensor = getattr(self, name)
            more = column.new_zeros((roomy(len(column), n) - len(column), *column.shape[1:]))
            setattr(self, name, torch.cat([column, more]))

    def _file(self, kind: int, shadows: Shadow, places: Int[np.ndarray, " n"]) -> None:
        blocks = self.blocks.numpy()
        start, used, size = blocks[kind].tolist()
        after = used + len(places)
        if after > size:
            more = roomy(size, after) - size
            for name in ("shadows", "places"):
                column: Tensor = getattr(self, name)
                end = start + size
                parts = [column[:end], column.new_zeros((more, *column.shape[1:])), column[end:]]
                setattr(self, name, torch.cat(parts))
            blocks[kind, 2] += more
            blocks[kind + 1 :, 0] += more
        self.shadows.numpy()[start + used : start + after] = shadows
        self.places.numpy()[start + used : start + after] = places
        blocks[kind, 1] = after

    def queries(self) -> "Queries":
        """All stored queries in the order they came."""
        kinds = self.kinds.numpy()[: self.stored]
        return Queries(self.rows.numpy()[: self.stored], kinds // 3, kinds % 3, self.times.numpy()[: self.stored])


def roomy(size: int, n: int) -> int:
    """The size of something that n must fit into: doubled as often as it takes."""
    size = max(size, LEAST)
    while size < n:
        size *= 2
    return size


@dataclass
class Joining:
    """Of one class: accepted queries, mean and sum of squared deviations of their distances at acceptance, and the threshold."""

    accepted: float
    mean: float
    squares: float
    threshold: float

    def accept(self, gap: float) -> None:
        """Another accepted query at this distance: mean less standard deviation, if larger, is the new threshold."""
        self.accepted += 1
        step = gap - self.mean
        self.mean += step / self.accepted
        self.squares += step * (gap - self.mean)
        self.threshold = max(self.threshold, self.mean - (self.squares / self.accepted) ** 0.5)


class Queries(NamedTuple):
    """Queries in the order they came, with their predicted classes, standings and times."""

    x: Rows
    classes: Int[np.ndarray, " n"]
    standings: Int[np.ndarray, " n"]
    times: Float[np.ndarray, " n"]


def empty(d: int, s: int, k: int, dtype: torch.dtype = torch.float32) -> GrowingSets:
    """The memory of a new client who sends inputs of d numbers, with shadows of s, and gets answers over k classes."""
    real, whole = torch.float64, torch.int64
    return GrowingSets(
        rows=torch.zeros(0, d, dtype=dtype),
        times=torch.zeros(0, dtype=real),
        kinds=torch.zeros(0, dtype=whole),
        shadows=torch.zeros(0, s, dtype=dtype),
        places=torch.zeros(0, dtype=whole),
        blocks=torch.zeros(3 * k, 3, dtype=whole),
        early=torch.zeros(k, EARLY, dtype=real),
        counts=torch.zeros(k, dtype=whole),
        joining=torch.zeros(k, 4, dtype=real),
        distances=torch.zeros(128, dtype=real),
    )

"""What PRADA remembers of one client: the queries, by class, and the sorted distances between them. No decisions here.

Rows of one class and standing lie in runs that double in size and never move, so a search is a matrix product with each
run, and at most half of the rows are empty. Everything is a tensor or a number; numpy sees the same bytes (`Tensor.numpy`).

Bytes: 4 d + 20 for each row, at most twice as many as queries; 8 for each distance, at most twice; 120 for each class.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.detectors.nearby import Rows, closest, pair_distances, products, rounding

HIDDEN, SHOWN, ACCEPTED = 0, 1, 2
"""Of a query: a repeat, which takes no part; one with a distance; one that later queries are compared with."""
COLUMNS = ("rows", "norms", "times", "turns")
RUN, EARLY = 4, 10
"""Rows in the first run of a class and standing; distances a class needs before they count."""


@dataclass
class GrowingSets:
    """Of one client.

    rows, norms        queries and their squared norms, (r, d) and (r,); zeros where none is stored yet
    times, turns       when each came, and as the how-manieth of those stored, (r,)
    runs               (m, 5): class, standing, first row, rows used, rows
    early              the first distances of each class, (k, 10)
    counts             distances of each class, (k,)
    accepted           accepted queries of each class, (k,), with the mean and the sum of squared deviations of their
    mean, squares        distances at acceptance, the first 0, (k,)
    threshold          the distance a query of each class must exceed to be accepted, (k,)
    distances          all distances of classes with enough of them, the first `measured` in use and sorted
    stored, seen       queries stored, and queries shown
    least              the smallest W so far; NaN before the first test
    """

    rows: Tensor
    norms: Tensor
    times: Tensor
    turns: Tensor
    runs: Tensor
    early: Tensor
    counts: Tensor
    accepted: Tensor
    mean: Tensor
    squares: Tensor
    threshold: Tensor
    distances: Tensor
    measured: int = 0
    stored: int = 0
    seen: int = 0
    least: float = float("nan")

    def nearest(self, c: int, x: Rows, least: int = HIDDEN) -> Float[np.ndarray, "3 n"]:
        """L2 distances, exact in float64, from each row to the nearest query of the class, of any standing, shown and accepted.

        Only queries of standing `least` or above are looked at.
        """
        gaps = np.full((3, len(x)), np.inf)
        for standing in range(least, ACCEPTED + 1):
            spans = [(start, start + used) for start, used in self.runs.numpy()[self._of(c, standing), 2:4].tolist()]
            if spans:
                gaps[: standing + 1] = np.minimum(gaps[: standing + 1], self._nearest(spans, x))
        return gaps

    def _nearest(self, spans: list[tuple[int, int]], x: Rows) -> Float[np.ndarray, " n"]:
        rows, all_norms = self.rows.numpy(), self.norms.numpy()
        norms = np.concatenate([all_norms[start:end] for start, end in spans])
        scores = np.concatenate([products(x, rows[start:end]) for start, end in spans], 1)
        scores *= -2
        scores += norms
        i, j = closest(scores, rounding(np.square(x).sum(1), float(norms.max()), x.shape[1])).nonzero()
        where = np.concatenate([np.arange(start, end) for start, end in spans])[j]
        pairs = pair_distances(rows, x, where, i)
        if len(pairs) == len(x):
            return pairs
        least = np.full(len(x), np.inf)
        np.minimum.at(least, i, pairs)
        return least

    def _of(self, c: int, standing: int) -> Int[np.ndarray, " m"]:
        """Which runs hold the queries of this class and standing."""
        runs = self.runs.numpy()
        return ((runs[:, 0] == c) & (runs[:, 1] == standing)).nonzero()[0]

    def joining(self, c: int) -> "Joining":
        """What decides which queries of the class are accepted."""
        return Joining(*(float(a.numpy()[c]) for a in (self.accepted, self.mean, self.squares, self.threshold)))

    def joined(self, c: int, to: "Joining") -> None:
        """Notes what has become of `joining`."""
        columns = (self.accepted, self.mean, self.squares, self.threshold)
        for column, value in zip(columns, (to.accepted, to.mean, to.squares, to.threshold), strict=True):
            column.numpy()[c] = value

    def record(self, c: int, gap: float) -> list[float]:
        """Another distance of the class. Gives the distances that count from now on: none until the class has EARLY of them."""
        counts = self.counts.numpy()
        n = int(counts[c])
        counts[c] = n + 1
        if n >= EARLY:
            return [gap]
        self.early.numpy()[c, n] = gap
        return self.early.numpy()[c].tolist() if n == EARLY - 1 else []

    def insert(self, values: list[float]) -> None:
        """Puts distances in their places among those that count."""
        end = self.measured + len(values)
        while end > len(self.distances):
            self.distances = torch.cat([self.distances, torch.zeros_like(self.distances)])
        ordered, new = self.distances.numpy(), np.sort(values)
        before = ordered[: self.measured]
        ordered[:end] = np.insert(before, np.searchsorted(before, new), new)
        self.measured = end

    def sorted_distances(self) -> Float[np.ndarray, " n"]:
        return self.distances.numpy()[: self.measured]

    def store(
        self, c: int, standing: int, x: Rows, times: Float[np.ndarray, " n"], turns: Int[np.ndarray, " n"]
    ) -> None:
        """Adds queries of one class and standing."""
        columns = (x, np.square(x).sum(1), times, turns)
        done = 0
        while done < len(x):
            run = self._open_run(c, standing)
            start, used, size = self.runs[run, 2:].tolist()
            n = min(size - used, len(x) - done)
            for name, column in zip(COLUMNS, columns, strict=True):
                getattr(self, name).numpy()[start + used : start + used + n] = column[done : done + n]
            self.runs[run, 3] += n
            done += n
        self.stored += len(x)

    def _open_run(self, c: int, standing: int) -> int:
        """A run with an empty row: a new one, as large as all of its kind before it, if there is none."""
        runs, mine = self.runs.numpy(), self._of(c, standing)
        if len(mine) and runs[mine[-1], 3] < runs[mine[-1], 4]:
            return int(mine[-1])
        size = max(RUN, int(runs[mine, 4].sum()))
        self.runs = torch.cat([self.runs, torch.tensor([[c, standing, len(self.rows), 0, size]])])
        for name in COLUMNS:
            column: Tensor = getattr(self, name)
            setattr(self, name, torch.cat([column, column.new_zeros((size, *column.shape[1:]))]))
        return len(self.runs) - 1

    def queries(self) -> "Queries":
        """All stored queries in the order they came."""
        runs = self.runs.tolist()
        where = np.concatenate([np.arange(0), *(np.arange(start, start + used) for _, _, start, used, _ in runs)])
        where = where[np.argsort(self.turns.numpy()[where])]
        classes, standings = np.repeat(self.runs.numpy()[:, :2], self.runs.numpy()[:, 4], 0)[where].T
        return Queries(self.rows.numpy()[where], classes, standings, self.times.numpy()[where])


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


def empty(d: int, k: int, dtype: torch.dtype = torch.float32) -> GrowingSets:
    """The memory of a new client who sends inputs of d numbers and gets answers over k classes."""
    real, whole = torch.float64, torch.int64
    return GrowingSets(
        rows=torch.zeros(0, d, dtype=dtype),
        norms=torch.zeros(0, dtype=dtype),
        times=torch.zeros(0, dtype=real),
        turns=torch.zeros(0, dtype=whole),
        runs=torch.zeros(0, 5, dtype=whole),
        early=torch.zeros(k, EARLY, dtype=real),
        counts=torch.zeros(k, dtype=whole),
        accepted=torch.zeros(k, dtype=whole),
        mean=torch.zeros(k, dtype=real),
        squares=torch.zeros(k, dtype=real),
        threshold=torch.zeros(k, dtype=real),
        distances=torch.zeros(128, dtype=real),
    )

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
RUN, EARLY = 8, 10
"""Rows in the first run of a class and standing; distances a class needs before they count."""


@dataclass
class GrowingSets:
    """Of one client.

    rows, norms        queries and their squared norms, (r, d) and (r,); zeros where none is stored yet
    times, turns       when each came, and as the how-manieth of those stored, (r,)
    runs               (m, 4): 3 class + standing, first row, rows used, rows
    early              the first distances of each class, (k, 10)
    counts             distances of each class, (k,)
    joining            what decides who is accepted, (k, 4): the fields of `Joining`
    distances          all distances of classes with enough of them: `measured` sorted, then `waiting` to be
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
    joining: Tensor
    distances: Tensor
    measured: int = 0
    waiting: int = 0
    stored: int = 0
    seen: int = 0
    least: float = float("nan")

    def nearest(self, c: int, x: Rows, least: int = HIDDEN) -> Float[np.ndarray, "3 n"]:
        """L2 distances, exact in float64, from each row to the nearest query of the class, of any standing, shown and accepted.

        Only queries of standing `least` or above are looked at.
        """
        gaps, runs = np.full((3, len(x)), np.inf), self.runs.numpy()
        for standing in range(least, ACCEPTED + 1):
            mine = runs[runs[:, 0] == 3 * c + standing]
            if len(mine):
                gaps[: standing + 1] = np.minimum(gaps[: standing + 1], self._nearest(mine, x))
        return gaps

    def _nearest(self, runs: Int[np.ndarray, "m 4"], x: Rows) -> Float[np.ndarray, " n"]:
        rows, all_norms = self.rows.numpy(), self.norms.numpy()
        spans = [(start, start + used) for _, start, used, _ in runs.tolist()]
        norms = np.concatenate([all_norms[start:end] for start, end in spans])
        scores = np.concatenate([block for start, end in spans for block in products(x, rows[start:end])], 1)
        scores *= -2
        scores += norms
        i, j = closest(scores, rounding(np.square(x).sum(1), float(norms.max()), x.shape[1])).nonzero()
        ends = runs[:, 2].cumsum()
        shift = runs[:, 1] + runs[:, 2] - ends  # from a place among the scores to a row
        pairs = pair_distances(rows, x, j + shift[ends.searchsorted(j, "right")], i)
        if len(pairs) == len(x):
            return pairs
        least = np.full(len(x), np.inf)
        np.minimum.at(least, i, pairs)
        return least

    def rule(self, c: int) -> "Joining":
        """What decides which queries of the class are accepted; `learn` writes it back."""
        return Joining(*self.joining.numpy()[c].tolist())

    def learn(self, c: int, rule: "Joining") -> None:
        self.joining.numpy()[c] = (rule.accepted, rule.mean, rule.squares, rule.threshold)

    def record(self, c: int, gap: float) -> None:
        """Another distance of the class; it counts as soon as the class has EARLY of them."""
        counts, early = self.counts.numpy(), self.early.numpy()
        n = int(counts[c])
        counts[c] = n + 1
        if n < EARLY:
            early[c, n] = gap
        for value in early[c].tolist() if n == EARLY - 1 else [gap] if n >= EARLY else []:
            end = self.measured + self.waiting
            if end == len(self.distances):
                self.distances = torch.cat([self.distances, torch.zeros_like(self.distances)])
            self.distances.numpy()[end] = value
            self.waiting += 1

    def sorted_distances(self) -> Float[np.ndarray, " n"]:
        """All distances that count, sorted: those waiting are put in their places."""
        ordered = self.distances.numpy()
        end = self.measured + self.waiting
        for new in ordered[self.measured : end].tolist():
            place = int(ordered[: self.measured].searchsorted(new))
            ordered[place + 1 : self.measured + 1] = ordered[place : self.measured]
            ordered[place] = new
            self.measured += 1
        self.waiting = 0
        return ordered[:end]

    def store(
        self, c: int, standing: int, x: Rows, times: Float[np.ndarray, " n"], turns: Int[np.ndarray, " n"]
    ) -> None:
        """Adds queries of one class and standing."""
        columns = (x, np.square(x).sum(1), times, turns)
        done = 0
        while done < len(x):
            run = self._open_run(3 * c + standing)
            _, start, used, size = run.tolist()
            n = min(size - used, len(x) - done)
            for name, column in zip(COLUMNS, columns, strict=True):
                getattr(self, name).numpy()[start + used : start + used + n] = column[done : done + n]
            run[2] += n
            done += n
        self.stored += len(x)

    def _open_run(self, kind: int) -> Int[np.ndarray, "4"]:
        """A run with an empty row: a new one, as large as all of its kind before it, if there is none."""
        runs = self.runs.numpy()
        mine = (runs[:, 0] == kind).nonzero()[0]
        if len(mine) and runs[mine[-1], 2] < runs[mine[-1], 3]:
            return runs[mine[-1]]
        size = max(RUN, int(runs[mine, 3].sum()))
        self.runs = torch.cat([self.runs, torch.tensor([[kind, len(self.rows), 0, size]])])
        for name in COLUMNS:
            column: Tensor = getattr(self, name)
            setattr(self, name, torch.cat([column, column.new_zeros((size, *column.shape[1:]))]))
        return self.runs.numpy()[-1]

    def queries(self) -> "Queries":
        """All stored queries in the order they came."""
        runs = self.runs.tolist()
        where = np.concatenate([np.arange(0), *(np.arange(start, start + used) for _, start, used, _ in runs)])
        kinds = np.concatenate([np.arange(0), *(np.full(used, kind) for kind, _, used, _ in runs)])
        order = np.argsort(self.turns.numpy()[where])
        where, kinds = where[order], kinds[order]
        return Queries(self.rows.numpy()[where], kinds // 3, kinds % 3, self.times.numpy()[where])


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
        runs=torch.zeros(0, 4, dtype=whole),
        early=torch.zeros(k, EARLY, dtype=real),
        counts=torch.zeros(k, dtype=whole),
        joining=torch.zeros(k, 4, dtype=real),
        distances=torch.zeros(128, dtype=real),
    )

"""What PRADA remembers of one client: the queries, by class, and the sorted distances between them. No decisions here.

Rows of one class lie in runs that double in size and never move, so a search is a matrix product with each run, and at
most half of the rows are empty. Everything is a tensor or a number; numpy sees the same bytes (`Tensor.numpy`).

Bytes: 4 d + 21 for each row, at most twice as many as queries; 8 for each distance, at most twice; 120 for each class.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.detectors.nearby import Rows, closest, pair_distances, rounding

HIDDEN, SHOWN, ACCEPTED = 0, 1, 2
"""Of a query: a repeat, which takes no part; one with a distance; one that later queries are compared with."""
COLUMNS = ("rows", "norms", "standing", "times", "turns")
RUN, EARLY = 4, 10
"""Rows in a class's first run; distances a class needs before they count."""


@dataclass
class GrowingSets:
    """Of one client.

    rows, norms        queries and their squared norms, (r, d) and (r,); zeros where none is stored yet
    standing           HIDDEN, SHOWN or ACCEPTED, (r,)
    times, turns       when each came, and as the how-manieth of those stored, (r,)
    runs               (m, 4): class, first row, rows used, rows
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
    standing: Tensor
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

    def of_class(self, c: int) -> Int[np.ndarray, "m 4"]:
        """The runs of one class, as a copy."""
        runs = self.runs.numpy()
        return runs[runs[:, 0] == c]

    def nearest(self, c: int, x: Rows) -> Float[np.ndarray, "3 n"]:
        """L2 distances, exact in float64, from each row to the nearest query of the class, of any standing, shown and accepted."""
        gaps = np.full((3, len(x)), np.inf)
        runs = [(start, used) for _, start, used, _ in self.of_class(c).tolist()]
        if not runs:
            return gaps
        rows = self.rows.numpy()
        where = np.concatenate([np.arange(start, start + used) for start, used in runs])
        norms, standing = self.norms.numpy()[where], self.standing.numpy()[where]
        with np.errstate(over="ignore", invalid="ignore"):
            products = np.concatenate([x @ rows[start : start + used].T for start, used in runs], 1)
            scores = norms - 2 * products
            slack = rounding(np.sqrt(np.square(x).sum(1)), float(np.sqrt(norms.max())), x.shape[1])
            candidates = closest(scores, standing == ACCEPTED, slack)
            for least in (HIDDEN, SHOWN) if (standing < ACCEPTED).any() else ():
                candidates |= closest(scores, standing >= least, slack)
        i, j = candidates.nonzero()
        pairs = pair_distances(rows, x, where[j], i)
        for least in (HIDDEN, SHOWN, ACCEPTED):
            counted = standing[j] >= least
            np.minimum.at(gaps[least], i[counted], pairs[counted])
        return gaps

    def accept(self, c: int, gap: float) -> None:
        """Another accepted query of the class, at this distance: mean less standard deviation, if larger, is the new threshold."""
        accepted, mean, squares, threshold = (
            a.numpy() for a in (self.accepted, self.mean, self.squares, self.threshold)
        )
        n, step = int(accepted[c]) + 1, gap - float(mean[c])
        accepted[c] = n
        mean[c] += step / n
        squares[c] += step * (gap - float(mean[c]))
        threshold[c] = max(float(threshold[c]), float(mean[c]) - (float(squares[c]) / n) ** 0.5)

    def record(self, c: int, gap: float) -> None:
        """Another distance of the class; it counts as soon as the class has EARLY of them."""
        counts, early = self.counts.numpy(), self.early.numpy()
        n = int(counts[c])
        if n < EARLY:
            early[c, n] = gap
        for value in early[c].tolist() if n == EARLY - 1 else [gap] if n >= EARLY else []:
            self._insert(value)
        counts[c] += 1

    def _insert(self, value: float) -> None:
        if self.measured == len(self.distances):
            self.distances = torch.cat([self.distances, torch.zeros_like(self.distances)])
        ordered = self.distances.numpy()
        place = int(np.searchsorted(ordered[: self.measured], value))
        ordered[place + 1 : self.measured + 1] = ordered[place : self.measured]
        ordered[place] = value
        self.measured += 1

    def sorted_distances(self) -> Float[np.ndarray, " n"]:
        return self.distances.numpy()[: self.measured]

    def store(self, c: int, x: Rows, standing: list[int], times: Float[np.ndarray, " n"], turns: list[int]) -> None:
        """Adds queries of one class."""
        with np.errstate(over="ignore"):
            norms = np.square(x).sum(1)
        columns = (x, norms, np.array(standing, np.uint8), times, np.array(turns))
        done = 0
        while done < len(x):
            run = self._open_run(c)
            _, start, used, size = self.runs[run].tolist()
            n = min(size - used, len(x) - done)
            for name, column in zip(COLUMNS, columns, strict=True):
                getattr(self, name).numpy()[start + used : start + used + n] = column[done : done + n]
            self.runs[run, 2] += n
            done += n
        self.stored += len(x)

    def _open_run(self, c: int) -> int:
        """A run of the class with an empty row: a new one, as large as all before it, if there is none."""
        runs = self.runs.numpy()
        mine = (runs[:, 0] == c).nonzero()[0]
        if len(mine) and runs[mine[-1], 2] < runs[mine[-1], 3]:
            return int(mine[-1])
        size = max(RUN, int(runs[mine, 3].sum()))
        self.runs = torch.cat([self.runs, torch.tensor([[c, len(self.rows), 0, size]])])
        for name in COLUMNS:
            column: Tensor = getattr(self, name)
            setattr(self, name, torch.cat([column, column.new_zeros((size, *column.shape[1:]))]))
        return len(self.runs) - 1

    def queries(self) -> tuple[Rows, Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """All stored queries in the order they came, with their classes and times."""
        runs = self.runs.tolist()
        where = np.concatenate([np.arange(0), *(np.arange(start, start + used) for _, start, used, _ in runs)])
        classes = np.concatenate([np.arange(0), *(np.full(used, c) for c, _, used, _ in runs)])
        order = np.argsort(self.turns.numpy()[where])
        return self.rows.numpy()[where[order]], classes[order], self.times.numpy()[where[order]]


def empty(d: int, k: int, dtype: torch.dtype = torch.float32) -> GrowingSets:
    """The memory of a new client who sends inputs of d numbers and gets answers over k classes."""
    real, whole = torch.float64, torch.int64
    return GrowingSets(
        rows=torch.zeros(0, d, dtype=dtype),
        norms=torch.zeros(0, dtype=dtype),
        standing=torch.zeros(0, dtype=torch.uint8),
        times=torch.zeros(0, dtype=real),
        turns=torch.zeros(0, dtype=whole),
        runs=torch.zeros(0, 4, dtype=whole),
        early=torch.zeros(k, EARLY, dtype=real),
        counts=torch.zeros(k, dtype=whole),
        accepted=torch.zeros(k, dtype=whole),
        mean=torch.zeros(k, dtype=real),
        squares=torch.zeros(k, dtype=real),
        threshold=torch.zeros(k, dtype=real),
        distances=torch.zeros(128, dtype=real),
    )

"""Paired bootstrap: whether a difference between two thieves is more than luck.

Source      Efron and Tibshirani, "An introduction to the bootstrap" (1993), chapters 6 and 13; Student (1908)
Equations   percentile intervals over replicates that redraw test inputs with replacement and move the mean over s seeds by
            sum_i u_i (a_i - mean a), u = g sqrt((s-1) / chi2_{s-1}) / sqrt(s (s-1)), g standard normal: Student's t of the paired
            differences, t_{s-1} sd / sqrt(s)
Assumes     one test set for all rows; seeds that are independent of each other
Deviations  all rows of a run share the replicates, so that every difference between them is paired: two clones that err on
            the same inputs are told apart by the other inputs. Seeds are not redrawn: of three, a quarter of all differences without
            cause has one sign on all, and redrawing would call these clear. With one seed the spread over seeds cannot be seen at
            all (the flag single-seed says so)

A row holds, as packed bits, which test inputs its clone got right. For a row without them (written by an older version),
the same number of inputs is drawn at random and taken as right: its differences are then those of unpaired rates.
"""

import base64
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

from gamekeeper.results import Row

REPLICATES = 1000
LOW, HIGH = 0.025, 0.975

Values = Float[np.ndarray, " replicates"]


def packed(right: Iterable[bool]) -> str:
    """Booleans as text: eight per byte, base64."""
    return base64.b64encode(np.packbits(np.fromiter(right, bool)).tobytes()).decode()


def unpacked(row: Row) -> Bool[np.ndarray, " n"]:
    """Which test inputs a row's clone got right."""
    assert row.clone is not None
    n, text = row.clone.accuracy.n, row.clone.right
    if text is not None:
        return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=n).astype(bool)
    generator = np.random.default_rng(zlib.crc32(row.cell.encode()))
    return generator.permutation(n) < round(row.clone.accuracy.value * n)


@lru_cache(maxsize=4)
def draws(n: int, size: int, seed: int) -> Float[np.ndarray, "size n"]:
    """The share of n draws with replacement that picks each of n things; `size` times."""
    picked = np.random.default_rng(seed).integers(n, size=(size, n)) + n * np.arange(size)[:, None]
    return np.bincount(picked.ravel(), minlength=size * n).reshape(size, n).astype(np.float32) / n


@lru_cache(maxsize=4)
def moves(seeds: int, size: int) -> Float[np.ndarray, "size seeds"]:
    """By how many standard errors each of at least two seeds moves a mean: multivariate t with seeds - 1 degrees of freedom."""
    generator = np.random.default_rng(1)
    normal, squares = generator.standard_normal((size, seeds)), generator.chisquare(seeds - 1, (size, 1))
    return (normal * np.sqrt((seeds - 1) / squares)).astype(np.float32)


@dataclass(frozen=True)
class Replicates:
    """One set of draws for a whole summary: of the n test inputs and of the run's seeds."""

    n: int
    seeds: tuple[int, ...]
    size: int = REPLICATES

    def accuracy(self, rows: Sequence[Row]) -> Values:
        """Mean accuracy over the rows' seeds in each replicate; the rows differ only in their seed.

        If the row of a seed is missing, the mean is over the others. Values may lie outside [0, 1].
        """
        right = np.stack([unpacked(row) for row in rows]).astype(np.float32)
        middle = draws(self.n, self.size, 0) @ right.mean(0)
        if len(rows) == 1:
            return middle
        moved = moves(len(self.seeds), self.size)[:, [self.seeds.index(row.seed) for row in rows]]
        measured = right.mean(1)
        return middle + moved @ (measured - measured.mean()) / np.sqrt(len(rows) * (len(rows) - 1))


def interval(values: Values) -> tuple[float, float]:
    """The middle 95 % of the replicates; NaNs are left out."""
    low, high = np.nanquantile(values, (LOW, HIGH))
    return float(low), float(high)


def direction(difference: Values) -> str:
    """`lower` or `higher` if the middle 95 % of a difference lies on one side of 0, else `same`."""
    low, high = interval(difference)
    return "lower" if high < 0 else "higher" if low > 0 else "same"

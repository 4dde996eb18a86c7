"""Paired bootstrap: how far a difference between two thieves is more than luck.

Source      Efron and Tibshirani, "An introduction to the bootstrap" (1993), chapters 6 and 13
Equations   percentile intervals over replicates in which test inputs and seeds are drawn anew, with replacement
Assumes     one test set for all rows; seeds that are independent of each other
Deviations  all rows of a run share the replicates, so that every difference between them is paired: two clones that err on
            the same inputs are told apart by the others. With s seeds their spread is underestimated by sqrt((s-1)/s);
            one seed's spread is not seen at all (the flag single-seed says so)

Which test inputs a clone got right stands in its row as packed bits. A row without them (written by an older version)
is taken as right on as many inputs, drawn at random: its differences are then those of unpaired rates.
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
    """Booleans as text: eight a byte, base64."""
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
    """How often each of n things is drawn in n draws with replacement, as a share; `size` times."""
    picked = np.random.default_rng(seed).integers(n, size=(size, n)) + n * np.arange(size)[:, None]
    return np.bincount(picked.ravel(), minlength=size * n).reshape(size, n).astype(np.float32) / n


@dataclass(frozen=True)
class Replicates:
    """One set of draws for a whole summary: of n test inputs, and of the run's seeds."""

    n: int
    seeds: tuple[int, ...]
    size: int = REPLICATES

    def accuracy(self, rows: Sequence[Row]) -> Values:
        """Mean accuracy over the rows' seeds in every replicate; rows differ in the seed only.

        Where a seed's row is missing, the others stand for it; a replicate that drew none of them takes them all.
        """
        right = np.stack([unpacked(row) for row in rows]).astype(np.float32)
        weight = draws(len(self.seeds), self.size, 1)[:, [self.seeds.index(row.seed) for row in rows]]
        weight = np.where(weight.sum(1, keepdims=True) > 0, weight, 1.0)
        each = draws(self.n, self.size, 0) @ right.T
        return (each * weight).sum(1) / weight.sum(1)


def interval(values: Values) -> tuple[float, float]:
    """The middle 95 % of the replicates; those that are no number are left out."""
    low, high = np.nanquantile(values, (LOW, HIGH))
    return float(low), float(high)


def verdict(difference: Values) -> str:
    """`lower`, `higher` or `same`: whether the middle 95 % of a difference lie on one side of 0."""
    low, high = interval(difference)
    return "lower" if high < 0 else "higher" if low > 0 else "same"

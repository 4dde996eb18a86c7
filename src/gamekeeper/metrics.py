"""Rates with confidence intervals, calibration, and the price of a theft. Pure functions, without torch.

Source      Wilson 1927 (score interval); Bonett and Price 2006 (ratio of paired rates); Guo et al. 2017 (expected
            calibration error, 15 equal bins); price to steal: `crossing`, log-linear between measured budgets
Deviations  a mean of numbers in [0, 1] gets Wilson's interval as well (see `average`)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from gamekeeper.errors import BadConfig

Number = int | float
Z95 = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""


@dataclass(frozen=True)
class Estimate:
    """A fraction with its sample size and a 95 % interval: Wilson's, or over seeds that of `over_seeds`.

    Also a mean of numbers in [0, 1] (`average`), and a ratio of two fractions, which may exceed 1 (`ratio`).
    """

    value: float
    low: float
    high: float
    n: int


def wilson(right: int, n: int) -> Estimate:
    """`right` of `n` trials with Wilson's 95 % score interval. Raises BadConfig unless 0 <= right <= n and n >= 1."""
    if not 0 <= right <= n or n < 1:
        raise BadConfig(f"a rate needs 0 <= right <= n and at least one trial. Got {right} of {n}. Give a test set.")
    p = right / n
    low, high = wilson_limits(p, n)
    return Estimate(p, 0.0 if right == 0 else low, 1.0 if right == n else high, n)


def wilson_limits(p: float, n: int, z: float = Z95) -> tuple[float, float]:
    """The limits of Wilson's interval around the fraction p of n trials, for the normal quantile z."""
    centre = p + z**2 / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def average(values: Shaped[Any, " n"]) -> Estimate:
    """Mean of numbers in [0, 1] with a conservative 95 % interval: Wilson's around the mean.

    No variable in [0, 1] varies more than a coin of the same mean, for which that interval is made. Raises BadConfig
    for an empty array or numbers outside [0, 1].
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) == 0 or not (numbers.min() >= 0 and numbers.max() <= 1):
        met = f"{numbers.min()} to {numbers.max()}" if len(numbers) else "none"
        raise BadConfig(f"an average needs numbers between 0 and 1. Got {met}.")
    mean = float(numbers.mean())
    low, high = wilson_limits(mean, len(numbers))
    return Estimate(mean, min(low, mean), max(high, mean), len(numbers))


def ratio(right: Bool[Any, " n"], reference: Bool[Any, " n"]) -> Estimate | None:
    """Rate of `right` over the rate of `reference` on the same n inputs, with Bonett and Price's 95 % interval.

    Both rates get Wilson's interval, with the quantile chosen so that dividing their limits crosswise gives the
    variance that remains after pairing. None if `reference` is never right.
    """
    a, b = np.asarray(right, dtype=bool), np.asarray(reference, dtype=bool)
    x, y, n, odd = (int(count.sum()) for count in (a, b, a | b, a ^ b))
    if y == 0:
        return None
    together = math.sqrt((odd + 2) / ((x + 1) * (y + 1)))
    apart = sum(math.sqrt((1 - (count + 1) / (n + 2)) / (count + 1)) for count in (x, y))
    z = Z95 * together / apart
    (low, high), (least, most) = wilson_limits(x / n, n, z), wilson_limits(y / n, n, z)
    return Estimate(x / y, min(low / most, x / y), max(high / least, x / y), len(a))


UNSHIFTED = "unshifted"


@dataclass(frozen=True)
class ShiftHarm:
    """What a defense does to n inputs of honest users that are shifted as `name` says; UNSHIFTED: as they are.

    right                clean answers that are correct
    lost, gained         clean answers that are correct and defended ones that are not, and the reverse
    sure, sure_defended  wrong answers with a top probability of at least 0.9: clean, and defended
    """

    name: str
    n: int
    right: int
    lost: int
    gained: int
    sure: int
    sure_defended: int

    @property
    def loss(self) -> float:
        """Accuracy that the defense costs, -1 to 1."""
        return (self.lost - self.gained) / self.n


@dataclass(frozen=True)
class Spread:
    """Standard deviation over seeds and its degrees of freedom; with 0 degrees it is unknown."""

    sd: float
    freedom: int


def spread(groups: Sequence[Sequence[float]]) -> Spread:
    """Spread over seeds, pooled over groups whose values differ in the seed alone; groups of one add nothing."""
    freedom = sum(len(group) - 1 for group in groups if group)
    if freedom == 0:
        return Spread(0.0, 0)
    squares = sum(float(np.square(np.asarray(group) - np.mean(group)).sum()) for group in groups if group)
    return Spread(math.sqrt(squares / freedom), freedom)


def over_seeds(rates: Sequence[Estimate], seeds: Spread) -> Estimate:
    """Mean over seeds of rates on one test set, with a 95 % interval for both sources of chance.

    Test inputs: Wilson's interval around the mean, with n counted once, since all seeds share the test set.
    Seeds: Student's t times sd / sqrt(number of seeds). The two half-widths add in quadrature, separately on each side.
    One seed gives Wilson's interval alone. Raises BadConfig if there are no rates.
    """
    if not rates:
        raise BadConfig("a mean over seeds needs at least one rate. Got none.")
    mean = sum(rate.value for rate in rates) / len(rates)
    n = min(rate.n for rate in rates)
    low, high = wilson_limits(mean, n) if len(rates) > 1 else (rates[0].low, rates[0].high)
    known = len(rates) > 1 and seeds.freedom > 0
    error = float(stdtrit(seeds.freedom, 0.975)) * seeds.sd / math.sqrt(len(rates)) if known else 0.0
    if error == 0:
        return Estimate(mean, min(low, mean), max(high, mean), n)
    below, above = math.hypot(mean - low, error), math.hypot(high - mean, error)
    return Estimate(mean, max(0.0, mean - below), min(1.0, mean + above), n)


def ece(y: Float[Any, "n k"], truth: Shaped[Any, " n"], bins: int = 15) -> float:
    """Expected calibration error, 0 to 1: mean |accuracy - confidence| over equal bins of the top-1 probability.

    Arrays or detached tensors. A confidence on the edge of two bins counts in the lower bin. Raises BadConfig if n = 0.
    """
    posterior = np.asarray(y, dtype=np.float64)
    if len(posterior) == 0:
        raise BadConfig("calibration needs at least one answer. Got an empty test set.")
    confidence = posterior.max(axis=1)
    right = posterior.argmax(axis=1) == np.asarray(truth)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(posterior))


@dataclass(frozen=True)
class Crossing:
    """How many queries it takes to reach a level.

    exact      interpolated between two measured budgets
    at most    the smallest measured budget already reached it; fewer queries were not tried
    more than  no measured budget reached it; `queries` is the largest
    """

    queries: Number
    bound: Literal["exact", "at most", "more than"]


def crossing(queries: Sequence[Number], values: Sequence[Number], level: float) -> Crossing:
    """Where `values` first reaches `level`: linear in log(queries) between measured points, never beyond them.

    `queries` are positive and strictly increasing. Raises BadConfig otherwise, or if there are none.
    """
    increasing = all(a < b for a, b in pairwise(queries))
    if not queries or len(queries) != len(values) or queries[0] <= 0 or not increasing:
        raise BadConfig(f"a price needs values at increasing numbers of queries above 0. Got {list(queries)}.")
    first = next((i for i, value in enumerate(values) if value >= level), None)
    if first is None:
        return Crossing(queries[-1], "more than")
    if first == 0:
        return Crossing(queries[0], "at most")
    before, after = values[first - 1], values[first]
    share = (level - before) / (after - before)
    return Crossing(math.exp((1 - share) * math.log(queries[first - 1]) + share * math.log(queries[first])), "exact")

"""The Shapiro-Wilk statistic W: how much a sample looks like one from a normal distribution, 1 at best.

Source      Royston, "Remark AS R94: a remark on algorithm AS 181: the W-test for normality" (Applied Statistics 1995)
Equations   W = (sum_i a_i x_(i))^2 / sum_i (x_i - mean)^2; a from normal quantiles m_i = Phi^-1((i - 3/8) / (n + 1/4)),
            the two outermost by polynomials in n^-1/2
Assumes     at least 6 values, already sorted
Deviations  - only the statistic, no p-value: those are unreliable above 5,000 values
            - from 512 values on, the quantiles are taken from those of a near n by three terms of their Taylor series in
              log(n + 1/4): a growing sample needs no new ones. W changes by less than 1e-9
"""

from functools import lru_cache
from math import log

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

OUTERMOST = (-2.706056, 4.434685, -2.07119, -0.147981, 0.221157, 0.0)
SECOND = (-3.582633, 5.682633, -1.752461, -0.293762, 0.042981, 0.0)
LEAST, EXACT = 6, 9
"""Values that W needs; bits of an n from which quantiles are shared, by 2^9 values at 2^17."""


def weights(n: int) -> Float[np.ndarray, " h"]:
    """The weights a_n, a_(n-1), ... of the upper half of n sorted values, positive and falling; the lower half mirrors them."""
    m = quantiles(n)
    total, root = 2.0 * float(m @ m), n**-0.5
    first, second = (polynomial(c, root) - m[i] / total**0.5 for i, c in enumerate((OUTERMOST, SECOND)))
    rest = (total - 2 * m[0] ** 2 - 2 * m[1] ** 2) / (1 - 2 * first**2 - 2 * second**2)
    a = m / -(rest**0.5)
    a[:2] = first, second
    return a


def polynomial(coefficients: tuple[float, ...], x: float) -> float:
    """The highest power first."""
    value = 0.0
    for each in coefficients:
        value = value * x + each
    return value


def quantiles(n: int) -> Float[np.ndarray, " h"]:
    """m_1, m_2, ... of the lower half of n values, rising to 0."""
    step = 1 << max(0, n.bit_length() - EXACT)
    near = n - n % step
    if step == 1:
        return series(near, n // 2)[0]
    t = log((near + 0.25) / (n + 0.25))
    return (np.array([1, t, t**2 / 2, t**3 / 6]) @ series(near, (near + step) // 2))[: n // 2]


@lru_cache(maxsize=64)
def series(n: int, half: int) -> Float[np.ndarray, "4 h"]:
    """The first quantiles of n values, and their first three derivatives by log p = -log(n + 1/4)."""
    p = (np.arange(1, half + 1) - 0.375) / (n + 0.25)
    m = ndtri(p)
    r = p * np.sqrt(2 * np.pi) * np.exp(m**2 / 2)
    second = r * (1 + m * r)
    return np.stack([m, r, second, second * (1 + 2 * m * r) + r**3])


def w(ordered: Float[np.ndarray, " n"]) -> float:
    """W of a sorted sample of at least 6 values; 1 if all are equal, as in scipy."""
    assert len(ordered) >= LEAST, f"W needs at least {LEAST} values; got {len(ordered)}"
    if ordered[0] == ordered[-1]:
        return 1.0
    half = len(ordered) // 2
    spread = float(weights(len(ordered)) @ (ordered[: -half - 1 : -1] - ordered[:half]))
    centred = ordered - ordered.mean()
    return spread**2 / float(centred @ centred)

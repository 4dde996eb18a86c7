"""The Shapiro-Wilk statistic W: how much a sample looks like one from a normal distribution, 1 at best.

Source      Royston, "Remark AS R94: a remark on algorithm AS 181: the W-test for normality" (Applied Statistics 1995)
Equations   W = (sum_i a_i x_(i))^2 / sum_i (x_i - mean)^2; a from normal quantiles m_i = Phi^-1((i - 3/8) / (n + 1/4)),
            the two outermost by polynomials in n^-1/2
Assumes     at least 6 values, already sorted
Deviations  only the statistic, no p-value: those are unreliable above 5,000 values
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

OUTERMOST = (-2.706056, 4.434685, -2.07119, -0.147981, 0.221157, 0.0)
SECOND = (-3.582633, 5.682633, -1.752461, -0.293762, 0.042981, 0.0)
LEAST = 6


@lru_cache(maxsize=512)
def weights(n: int) -> Float[np.ndarray, " h"]:
    """The weights a_n, a_(n-1), ... of the upper half of n sorted values, positive and falling; the lower half mirrors them."""
    m = ndtri((np.arange(1, n // 2 + 1) - 0.375) / (n + 0.25))
    total, root = 2.0 * float(m @ m), n**-0.5
    first, second = (float(np.polyval(c, root)) - m[i] / total**0.5 for i, c in enumerate((OUTERMOST, SECOND)))
    rest = (total - 2 * m[0] ** 2 - 2 * m[1] ** 2) / (1 - 2 * first**2 - 2 * second**2)
    return np.concatenate([[first, second], -m[2:] / rest**0.5])


def w(ordered: Float[np.ndarray, " n"]) -> float:
    """W of a sorted sample of at least 6 values; 1 if all are equal, as in scipy."""
    assert len(ordered) >= LEAST, f"W needs at least {LEAST} values; got {len(ordered)}"
    if ordered[0] == ordered[-1]:
        return 1.0
    half = len(ordered) // 2
    spread = float(weights(len(ordered)) @ (ordered[: -half - 1 : -1] - ordered[:half]))
    return spread**2 / float(np.square(ordered - ordered.mean()).sum())

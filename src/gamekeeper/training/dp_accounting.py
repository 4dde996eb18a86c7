"""How much privacy a number of noisy steps spends: Rényi differential privacy of the subsampled Gaussian mechanism.

Source      Mironov, Talwar, Zhang, "Renyi differential privacy of the sampled Gaussian mechanism" (2019), section 3.3;
            the conversion is Proposition 12 of Canonne, Kamath, Steinke, "The discrete Gaussian for differential
            privacy" (NeurIPS 2020)
Equations   A(a) = sum_i binom(a, i) (1 - q)^(a - i) q^i exp((i^2 - i) / (2 sigma^2)), i = 0 to a; a step costs
            log A(a) / (a - 1) at order a, and T steps T times that
            eps = min over a of rdp(a) + log((a - 1) / a) - (log delta + log a) / (a - 1)
Assumes     each example joins a step independently at random (Poisson sampling); neighbours differ by one example
Deviations  integer orders only, for which the sum is finite and exact; fractional ones lower eps by little
"""

import functools
from typing import cast

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, xlog1py, xlogy

ORDERS = (*range(2, 64), 80, 96, 128, 192, 256, 384, 512, 1024)
MOST_NOISE = 1e4


def rdp(q: float, noise: float, order: int) -> float:
    """The cost of one step at a Rényi order, for sampling rate q and noise in units of the clipping norm."""
    if q == 0:
        return 0.0
    if noise == 0:
        return np.inf
    if q == 1:
        return order / (2 * noise**2)
    i = np.arange(order + 1)
    binomials = gammaln(order + 1) - gammaln(i + 1) - gammaln(order - i + 1)
    terms = binomials + xlog1py(order - i, -q) + xlogy(i, q) + (i * i - i) / (2 * noise**2)
    return float(np.logaddexp.reduce(terms)) / (order - 1)


def epsilon(q: float, noise: float, steps: int, delta: float) -> float:
    """The eps of (eps, delta)-differential privacy after this many steps; infinite without noise."""
    spent = [steps * rdp(q, noise, a) + np.log1p(-1 / a) - (np.log(delta) + np.log(a)) / (a - 1) for a in ORDERS]
    return max(0.0, float(min(spent)))


@functools.cache
def noise_for(target: float, q: float, steps: int, delta: float) -> float:
    """The least noise for which eps is at most `target`, to a thousandth."""

    def excess(noise: float) -> float:
        return min(epsilon(q, noise, steps, delta), 1e6) - target

    return cast(float, brentq(excess, 1e-2, MOST_NOISE, xtol=1e-4)) + 1e-4

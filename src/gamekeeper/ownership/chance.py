"""Chance: how likely a model that copied nothing is to agree with a claim as often as the suspect does.

    binomial     P(X >= k), X ~ Bin(n, q): right only if hits are independent given q, as when labels were drawn by a beacon
    panel_rate   q is the larger of guessing and what a panel of independent models cannot exclude (Clopper-Pearson, 99 %)
    predictive   X ~ BetaBin(n, mu, rho): models differ in how often they hit, with mean mu and intra-model correlation rho.
                 Averaged over all mu in (0, 1) and rho in (0, 1), each weighed by the likelihood of the panel's hits
    rank         among the panel: (1 + how many hit at least as often) / (1 + panel), right for any panel and suspect alike

A binomial p-value against a panel is too small when models differ, and so is a beta-binomial one with moments fitted to
few models: with ten models whose rates differ by .05, n = 100 and mu = .1, p <= .001 came up 27 and 4 times too often in
4,000 simulated claims. The average is there for what a small panel leaves open. It asks for larger panels: where all of
100 marks are answered, ten models that hit 1 to 9 of them back 1e-6, and ten that never hit back .02, since nobody can
tell from them how models differ.

Every p-value is a log10, computed as one, so that none is 0. All tails are one-sided: more hits are more suspicious.

Source      Clopper and Pearson 1934; Skellam 1948 (beta-binomial); Holm 1979; Davison and Hinkley 1997 (ranks)
Assumes     the panel is to a model that copied nothing as such models are to each other
Deviations  the uniform weights of mu and rho are ours, chosen since the simulations in the tests stay below their level
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import betaln, gammaln, logsumexp, xlog1py, xlogy
from scipy.stats import beta

from gamekeeper.detectors.limits import upper_bound
from gamekeeper.errors import Unsuited

CONFIDENCE = 0.99
MOST_SPREAD = 0.99
"""The largest correlation that `predictive` considers: with it, a model hits nearly always or hardly ever."""
EVEN, DENSE = 48, 32
"""Nodes of the average for mu: evenly spaced, and where the panel puts it."""
ENDS = np.geomspace(1e-5, 0.02, 16)
"""More of them at both ends, for panels that never hit, or always."""
SPREADS = np.unique(np.concatenate([np.geomspace(1e-4, 0.05, 12), np.linspace(0.05, MOST_SPREAD, 20)]))
"""Nodes for rho: fine near 0, where p depends on it most."""


def binomial(k: int, n: int, q: float) -> float:
    """log10 P(X >= k) for n independent trials of chance q. 0 for k = 0; -inf only where q = 0. Raises Unsuited."""
    counted(k, n)
    if not 0 <= q <= 1:
        raise Unsuited(f"the chance of a hit must lie in [0, 1]. Got {q}.")
    j = np.arange(n + 1)
    return float(tails(ways(n) + xlogy(j, q) + xlog1py(n - j, -q))[k])


def beta_binomial(k: int, n: int, mean: float, spread: float) -> float:
    """log10 P(X >= k) for trials that share a chance, which differs between models around `mean`. Raises Unsuited.

    spread  the correlation of two trials of one model, in [0, 1); the chance has the variance mean (1 - mean) spread
    """
    if spread == 0:
        return binomial(k, n, mean)
    counted(k, n)
    if not (0 < mean < 1 and 0 < spread < 1):
        raise Unsuited(f"the mean must lie in (0, 1) and the spread in [0, 1). Got {mean} and {spread}.")
    return float(tails(log_chances(n, np.array([[mean]]), np.array([[spread]]))[0, 0])[k])


def panel_rate(hits: Sequence[int], n: int, classes: int) -> float:
    """The chance of a hit that is held against a claim: of guessing, or the most that the panel cannot exclude.

    hits  of n, for each model of the panel. The 99 % bound is of all trials together. Raises Unsuited without a panel.
    """
    counted(max(hits, default=0), n)
    if not hits or classes < 2:
        raise Unsuited(f"the chance of a hit needs a panel and two classes. Got {len(hits)} models, {classes} classes.")
    return max(1 / classes, upper_bound(sum(hits), n * len(hits), CONFIDENCE))


def predictive(hits: Sequence[int], n: int) -> Float[ndarray, " counts"]:
    """log10 P(X >= k) of another model like those of the panel, for every k from 0 to n. Raises Unsuited without a panel.

    hits  of n, for each model of the panel
    """
    counted(max(hits, default=0), n)
    if not hits:
        raise Unsuited("the chance of a hit needs a panel of independent models. Got none; train some.")
    mean = nodes(sum(hits), n * len(hits))
    chances = log_chances(n, mean[:, None], SPREADS[None, :])
    weight = chances[..., list(hits)].sum(-1) + np.log(np.outer(np.gradient(mean), np.gradient(SPREADS)))
    averaged = logsumexp((weight - logsumexp(weight))[..., None] + chances, axis=(0, 1))
    return tails(averaged)


def nodes(successes: int, trials: int) -> Float[ndarray, " nodes"]:
    """Values of mu in (0, 1) between which to interpolate: closer at the ends and where the panel's share of hits is."""
    even, dense = ((np.arange(count) + 0.5) / count for count in (EVEN, DENSE))
    near = beta.ppf(dense, successes + 1, trials - successes + 1)
    return np.unique(np.clip(np.concatenate([even, near, ENDS, 1 - ENDS]), 1e-9, 1 - 1e-9))


def rank(value: int | float, panel: Sequence[int | float]) -> float:
    """log10 of the p-value by rank: ties count against the claim. At best log10 1/(1 + len(panel))."""
    return math.log10((1 + sum(other >= value for other in panel)) / (1 + len(panel)))


def holm(log10_p: Mapping[str, float]) -> Mapping[str, float]:
    """log10 of Holm's adjusted p-values over everything that was registered; what was not tested takes part with 0."""
    adjusted: dict[str, float] = {}
    highest = -math.inf
    for place, name in enumerate(sorted(log10_p, key=lambda name: log10_p[name])):
        highest = max(highest, min(0.0, math.log10(len(log10_p) - place) + log10_p[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in log10_p}


def counted(k: int, n: int) -> None:
    if not 0 <= k <= n or n < 1:
        raise Unsuited(f"hits must lie between 0 and the number of trials, which is at least 1. Got {k} of {n}.")


def ways(n: int) -> Float[ndarray, " counts"]:
    """log of the binomial coefficients."""
    j = np.arange(n + 1)
    return gammaln(n + 1) - gammaln(j + 1) - gammaln(n - j + 1)


def log_chances(n: int, mean: Float[ndarray, "a #b"], spread: Float[ndarray, "#a b"]) -> Float[ndarray, "..."]:
    """log P(X = j) of beta-binomials, shape (a, b, n + 1)."""
    size = (1 / spread - 1)[..., None]
    a, b, j = mean[..., None] * size, (1 - mean[..., None]) * size, np.arange(n + 1)
    return ways(n) + betaln(j + a, n - j + b) - betaln(a, b)


def tails(log_chance: Float[ndarray, " counts"]) -> Float[ndarray, " counts"]:
    """log10 of the sums from each k on, by way of the smaller side: of a value near 1 the distance to 1 is right too."""
    above = np.logaddexp.accumulate(log_chance[::-1])[::-1]
    below = np.concatenate([[-math.inf], np.logaddexp.accumulate(log_chance)[:-1]])
    rest = np.log1p(-np.exp(np.minimum(below, math.log(0.9))))
    return np.minimum(0.0, np.where(below < above, rest, above)) / math.log(10)

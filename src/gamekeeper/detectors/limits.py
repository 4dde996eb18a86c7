"""Limits: the one place where a score becomes an alarm, and what backs the promise that alarms are rare.

A watch gives a score after each query. Alarms are raised at a few looks only (after the 20th query, the 50th, …), so that
the chance of a false alarm over a client's whole life can be stated: the looks share it. What honest clients score is a
null; it turns a score at a look into a p-value that counts all looks. What a null rests on is written beside it:

    binomial  exact where a client's queries are independent draws: from the share of m benign inputs that is flagged,
              taken at its upper confidence bound
    streams   drawn from m benign inputs. It is worth what these inputs are worth: the streams overlap
    clients   real clients believed to be honest; the only kind that knows how much honest clients differ
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from scipy.stats import beta, betabinom, binom
from torch import Tensor

from gamekeeper.errors import BadConfig, Unsuited

LOOKS = (20, 50, 100, 150, 200, 250, 350, 500)
"""New queries after which a client is judged, ever rarer: a thief who is noticed late has learnt most of it anyway."""
Kind = Literal["binomial", "streams", "clients"]


def upper_bound(successes: int, trials: int, confidence: float = 0.95) -> float:
    """The one-sided upper Clopper-Pearson bound on a probability; 1 without trials."""
    if successes >= trials:
        return 1.0
    return float(beta.ppf(confidence, successes + 1, trials - successes))


@dataclass(frozen=True)
class Backing:
    """What a null was measured on, and what became of honest clients who had no part in it.

    inputs   different benign inputs
    clients  honest clients who share no input, neither with each other nor with the null
    alarmed  how many of them alarm
    """

    kind: Kind
    inputs: int
    clients: int
    alarmed: int = 0

    def bound(self, confidence: float = 0.95) -> float:
        """False alarms per 1,000 clients that these clients cannot exclude (Clopper-Pearson, one-sided)."""
        return 1_000 * upper_bound(self.alarmed, self.clients, confidence)


@runtime_checkable
class Null(Protocol):
    """What honest clients score. `looks` ascend."""

    @property
    def looks(self) -> tuple[int, ...]: ...
    def p(self, look: int, score: float) -> float:
        """The p-value of a score at the look of this index, corrected for all looks: the least of a client's is a p-value.

        P(p <= a) <= a for an honest client; 1 for a score that is NaN.
        """
        ...


@dataclass(frozen=True)
class Binomial:
    """Of a detector that counts: a score is how many queries were flagged, of a client who draws them independently.

    rate  the share of honest queries that is flagged, or an upper bound of it
    """

    looks: tuple[int, ...]
    rate: float

    def __post_init__(self) -> None:
        ascending(self.looks)
        if not 0 <= self.rate <= 1:
            raise BadConfig(f"the rate of flagged honest queries must lie in [0, 1]. Got {self.rate}.")

    def p(self, look: int, score: float) -> float:
        if math.isnan(score):
            return 1.0
        return min(1.0, len(self.looks) * float(binom.sf(score - 1, self.looks[look], self.rate)))


@dataclass(frozen=True)
class BetaBinomial:
    """The same for clients who differ: each has a rate of their own, drawn from a beta distribution.

    rate            the mean share of honest queries that is flagged, or an upper bound of it; above 0 and below 1
    overdispersion  the correlation of two queries of one client, above 0 and below 1
    """

    looks: tuple[int, ...]
    rate: float
    overdispersion: float

    def __post_init__(self) -> None:
        ascending(self.looks)
        if not (0 < self.rate < 1 and 0 < self.overdispersion < 1):
            raise BadConfig(
                f"rate and overdispersion must lie above 0 and below 1. Got {self.rate} and {self.overdispersion}."
            )

    def p(self, look: int, score: float) -> float:
        if math.isnan(score):
            return 1.0
        spread = 1 / self.overdispersion - 1
        tail = betabinom.sf(score - 1, self.looks[look], self.rate * spread, (1 - self.rate) * spread)
        return min(1.0, len(self.looks) * float(tail))


@dataclass(frozen=True)
class Ranked:
    """Of any score: its rank among N honest clients, all looks together.

    A score at a look is compared by how many spreads it lies above the centre there; the highest of a client's looks is
    ranked among the highest of each honest client, `highest`, in ascending order.
    """

    looks: tuple[int, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    highest: tuple[float, ...]

    def __post_init__(self) -> None:
        ascending(self.looks)
        if not len(self.looks) == len(self.centre) == len(self.spread) or list(self.highest) != sorted(self.highest):
            raise BadConfig("a null needs a centre and a spread for every look, and its clients in ascending order.")

    @staticmethod
    def of(scores: Float[Tensor, "clients looks"], looks: tuple[int, ...]) -> "Ranked":
        """From the scores of honest clients at each look; NaN where a client did not come so far, or gave no verdict."""
        scores = scores.double()
        centre = scores.nanmedian(0).values
        spread = (scores.nanquantile(0.95, 0) - centre).clamp(min=1e-12)
        heights = ((scores - centre) / spread).nan_to_num(-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        highest = heights.amax(1).sort().values
        return Ranked(looks, tuple(centre.tolist()), tuple(spread.tolist()), tuple(highest.tolist()))

    def p(self, look: int, score: float) -> float:
        height = (score - self.centre[look]) / self.spread[look]
        if math.isnan(height):  # no verdict, or a look that no honest client reached
            return 1.0
        return (1 + len(self.highest) - bisect_left(self.highest, height)) / (len(self.highest) + 1)


def ascending(looks: tuple[int, ...]) -> None:
    if not looks or looks[0] < 1 or list(looks) != sorted(set(looks)):
        raise BadConfig(f"looks must ascend from at least 1. Got {looks}.")


@dataclass(frozen=True)
class Limits:
    """When one watch raises an alarm: at the first look whose p-value is at most alpha.

    alpha  the chance of a false alarm that a client runs over all looks, this detector alone
    """

    null: Null
    alpha: float
    backing: Backing

    def __post_init__(self) -> None:
        if isinstance(self.null, Ranked) and self.alpha < 1 / (len(self.null.highest) + 1):
            n = len(self.null.highest)
            raise Unsuited(
                f"an alarm at most once in {1 / self.alpha:,.0f} clients needs a null of {1 / self.alpha - 1:,.0f} honest"
                f" clients at least; got {n:,}. Give more, or accept one in {n + 1:,} (--alpha {1 / (n + 1):.2g})."
            )

    def passed(self, before: int, after: int) -> list[int]:
        """Indices of the looks after more than `before` and at most `after` queries."""
        return [i for i, look in enumerate(self.null.looks) if before < look <= after]


def shared(alpha: float, names: Sequence[str]) -> Mapping[str, float]:
    """The part of a false alarm rate that each of several detectors may use: equal parts.

    This is the first step of Holm, and all of it for the question whether a client raises any alarm.
    """
    return dict.fromkeys(names, alpha / max(1, len(names)))


def holm(p: Mapping[str, float]) -> Mapping[str, float]:
    """Holm's adjusted p-values: at most alpha for each detector whose alarm stands at the family-wise rate alpha."""
    adjusted: dict[str, float] = {}
    least = 0.0
    for place, name in enumerate(sorted(p, key=lambda name: p[name])):
        least = max(least, min(1.0, (len(p) - place) * p[name]))
        adjusted[name] = least
    return {name: adjusted[name] for name in p}

"""Limits: the one place where a score becomes an alarm, and what backs the promise that alarms are rare.

A watch gives a score after each query. Alarms are raised at a few looks only (after the 20th query, the 50th, …), so that
the chance of a false alarm over a client's whole life can be stated: the looks share it.

What a threshold rests on is written beside it (`Backing`):

    binomial  exact where a client's queries are independent draws: from the share of m benign inputs that is flagged,
              taken at its upper confidence bound
    streams   drawn from m benign inputs. It is worth what these inputs are worth: the streams overlap
    clients   real clients believed to be honest; the only kind that knows how much honest clients differ
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool
from scipy.stats import beta
from torch import Tensor

from gamekeeper.errors import BadConfig
from gamekeeper.types import Scores

LOOKS = (20, 50, 100, 150, 250, 500, 1_000, 2_000, 5_000)
"""Queries after which a client is judged, ever rarer: a thief who is noticed late has learnt most of it anyway."""
Kind = Literal["binomial", "streams", "clients"]


@dataclass(frozen=True)
class Backing:
    """What a threshold was set on.

    inputs   different benign inputs
    clients  clients who share none of these inputs; for binomial and streams the most that can be cut from them
    alarmed  how many of these clients alarm
    """

    kind: Kind
    inputs: int
    clients: int
    alarmed: int = 0

    def bound(self, confidence: float = 0.95) -> float:
        """False alarms per 1,000 clients that these clients cannot exclude (Clopper-Pearson, one-sided)."""
        return 1_000 * upper_bound(self.alarmed, self.clients, confidence)


def upper_bound(successes: int, trials: int, confidence: float = 0.95) -> float:
    """The one-sided upper Clopper-Pearson bound on a probability; 1 without trials."""
    if successes >= trials:
        return 1.0
    return float(beta.ppf(confidence, successes + 1, trials - successes))


@dataclass(frozen=True)
class Limits:
    """Of one watch: a score above thresholds[i] after query looks[i] is an alarm. An infinite one never alarms.

    alpha  the chance of a false alarm over all looks that the thresholds aim at
    """

    looks: tuple[int, ...]
    thresholds: tuple[float, ...]
    alpha: float
    backing: Backing = field(compare=False)

    def __post_init__(self) -> None:
        if (
            len(self.looks) != len(self.thresholds)
            or list(self.looks) != sorted(set(self.looks))
            or self.looks[:1] < (1,)
        ):
            raise BadConfig(f"limits need one threshold for each of ascending looks of at least 1. Got {self}.")

    def alarms(self, seen: int, scores: Scores) -> Bool[Tensor, " n"]:
        """Which of a client's rows raise an alarm; `seen` queries came before them. NaN is no verdict."""
        above = torch.full((len(scores),), torch.inf, dtype=torch.float64)
        for look, threshold in zip(self.looks, self.thresholds, strict=True):
            if seen < look <= seen + len(scores):
                above[look - seen - 1] = threshold
        return scores.double() > above


def shared(alpha: float, names: Sequence[str]) -> Mapping[str, float]:
    """The part of a false alarm rate that each of several detectors may use: equal parts, the first step of Holm.

    Whoever asks whether any alarm is justified needs no more than this step; `holm` orders several p-values of a client.
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

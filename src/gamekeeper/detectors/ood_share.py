"""Share of strange queries: counts the queries of a client that do not look like the owner's inputs.

Source      Atli, Szyller, Juuti, Marchal, Asokan, "Extraction of complex DNN models: real threat or boogeyman?"
            (EDSMLS 2020), who judge each query; the scores' own papers are in detectors/ood.py
Equations   flagged iff s(x) < t, with t the fpr quantile of s on benign inputs; alarm iff f of n queries are flagged and
            P(Bin(n, q) >= f) <= alpha (`limits.Binomial`), q a bound on the share of benign inputs that is flagged
Assumes     what the score assumes; benign inputs like a user's. The binomial bound assumes that a client's queries are
            independent draws; honest clients who differ as clients do (a thick pen, another camera) break it
Deviations  queries are counted per client, where the paper answers each on its own; thresholds come from benign inputs
            alone. The `detector` trains on the owner's auxiliary inputs, never on a thief's queries
Keeps       of a client: two numbers, sums over the queries. Merging is exact

"Not like the owner's data" is not "stealing". A thief whose inputs are like the users' is never seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Bool
from torch import Tensor

from gamekeeper.detectors.benign import Basis
from gamekeeper.detectors.ood import SCORERS, ScoreName, Scorer, below, calibrated
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.types import Batch, Model, Owner, Reply, Scores

Flags = Callable[[Batch, Reply], Bool[Tensor, " n"]]


@dataclass
class FlagMemory:
    """Of one client: queries seen, and those that were flagged."""

    seen: int = 0
    flagged: int = 0

    @property
    def share(self) -> float:
        return self.flagged / self.seen if self.seen else 0.0


@dataclass(frozen=True, eq=False)
class FlagCount:
    """Counts the queries whose benign score is below a threshold. The score of a client is the number of flags so far.

    flags  which inputs are flagged, (n,), whoever sent them
    fpr    the share of benign inputs that may be; to bound the share of fresh ones, count flags on other benign inputs
    basis  the benign inputs that set the threshold
    """

    flags: Flags
    fpr: float
    basis: Basis

    def fresh(self) -> FlagMemory:
        return FlagMemory()

    def score(self, x: Batch, clean: Reply, at: float, memory: FlagMemory) -> Scores:
        counts = memory.flagged + self.flags(x, clean).cumsum(0)
        memory.seen += len(counts)
        memory.flagged = int(counts[-1]) if len(counts) else memory.flagged
        return counts.double()

    def merged(self, memories: Sequence[FlagMemory]) -> FlagMemory:
        return FlagMemory(sum(each.seen for each in memories), sum(each.flagged for each in memories))


def flag_count(scorer: Scorer, fpr: float, victim: Model, owner: Owner, seed: int) -> FlagCount:
    """Counts flags of this score. Raises Unsuited where there are too few benign inputs for a threshold at fpr."""
    fitted = calibrated(scorer, victim, owner, seed)
    basis = Basis(len(fitted.benign), owner.natural is not None)
    threshold = fitted.threshold(fpr)
    if threshold == -torch.inf:
        raise Unsuited(
            f"flags at fpr={fpr:g} need at least {round(1 / fpr) - 1} benign inputs to set the threshold; there are {basis}."
            " Give more natural inputs (data.natural in a target file), or raise fpr."
        )
    return FlagCount(below(fitted.score, threshold), fpr, basis)


def need_share(method: str, fpr: float) -> None:
    """Raises BadConfig unless fpr is above 0 and below 1."""
    if not 0 < fpr < 1:
        raise BadConfig(f"The fpr of {method} must be above 0 and below 1. Got {fpr}.")


@dataclass(frozen=True)
class OodShare:
    """Counts queries that do not look like the owner's inputs.

    score  measures how much an input looks like the owner's
    fpr    the share of benign queries that may be flagged
    """

    score: ScoreName = "mahalanobis"
    fpr: float = 0.01

    def __post_init__(self) -> None:
        need_share("OodShare", self.fpr)
        if self.score not in get_args(ScoreName):
            raise BadConfig(f"The score of OodShare must be {' or '.join(get_args(ScoreName))}. Got {self.score}.")

    def arm(self, victim: Model, owner: Owner, seed: int) -> FlagCount:
        """Raises Unsuited if the victim or the owner lacks what the score needs."""
        return flag_count(SCORERS[self.score], self.fpr, victim, owner, seed)

"""Defenses compared at equal real loss: what the strongest thief gets if honest users lose at most a given accuracy.

Source      none. Losses are those of the test set, not the ones that a strength was chosen by
Equations   points (loss, clone accuracy) of no defense and of every strength, by growing loss; the cumulative minimum of the clone
            accuracy, since an owner who may lose more can still take a cheaper strength; linear between the points
Assumes     that between two strengths there are others, whose loss and theft lie between theirs
Deviations  no extrapolation: a defense that never loses that much is compared at its largest loss. A negative loss counts as 0. Of
            strengths at one loss, the one that leaves thieves least is taken on the same rows that score it: with noise, slightly too
            good. The loss's noise is drawn once per defense and scaled to each strength, since what a gate refuses it also refuses
            when it is stricter; it is taken as independent of the thief's
"""

import zlib
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from gamekeeper.analysis.bootstrap import Values, direction, interval
from gamekeeper.analysis.families import Family, families
from gamekeeper.analysis.summary import DefenseSummary, Stolen, Summary
from gamekeeper.metrics import Estimate

LOSSES = (0.005, 0.01, 0.02, 0.05)
"""Accuracies that honest users may lose."""
LEAST = 2
"""Strengths needed, beside no defense."""


@dataclass(frozen=True)
class AtLoss:
    """What the strongest thief gets at a loss of honest users.

    may_lose  the loss asked about; loses: the same, or the largest loss of any strength if that is smaller
    stolen    clone accuracy with a 95 % interval; values: the same in each replicate of the bootstrap
    """

    may_lose: float
    loses: float
    stolen: Estimate
    values: Values = field(compare=False, repr=False)

    @property
    def capped(self) -> bool:
        """Whether the defense never loses as much as was asked."""
        return self.may_lose - self.loses > 1e-9  # accuracies are counts over n, up to rounding


@dataclass(frozen=True)
class EqualLoss:
    """One defense over its strengths: its name with `*` for the number, and the strongest thief at each of the losses asked.

    largest   the largest accuracy that any of its strengths costs honest users
    strengths how many were measured; seeds: on how many seeds at least
    """

    name: str
    largest: float
    strengths: int
    seeds: int
    at: tuple[AtLoss, ...]


def equal_losses(summary: Summary, losses: tuple[float, ...] = LOSSES) -> tuple[EqualLoss, ...]:
    """Every defense of a run with at least LEAST strengths; none without an undefended thief."""
    start = summary.undefended.worst if summary.undefended else None
    if start is None:
        return ()
    return tuple(equal_loss(family, start, losses) for family in families(summary, LEAST))


def equal_loss(family: Family, undefended: Stolen, losses: tuple[float, ...] = LOSSES) -> EqualLoss:
    """What a defense leaves its strongest thief at each of the losses; no defense is the point of loss 0."""
    thefts = [undefended, *(line.worst for line in family.lines if line.worst)]
    costs, noise = [0.0, *(loss(line) for line in family.lines)], [0.0, *(loss_sd(line) for line in family.lines)]
    drawn = np.random.default_rng(zlib.crc32(family.name.encode())).standard_normal(len(undefended.values))
    lost = np.array(costs)[:, None] + np.array(noise)[:, None] * drawn
    stolen = np.stack([one.values for one in thefts])
    return EqualLoss(
        name=family.name,
        largest=max(costs),
        strengths=len(family.lines),
        seeds=min(one.seeds for one in thefts),
        at=tuple(at_loss(thefts, np.array(costs), lost, stolen, each) for each in losses),
    )


def at_loss(
    thefts: list[Stolen],
    costs: Float[np.ndarray, " points"],
    lost: Float[np.ndarray, "points replicates"],
    stolen: Float[np.ndarray, "points replicates"],
    may_lose: float,
) -> AtLoss:
    """One loss: the value from the means, the interval from the replicates, moved so that their median is the value.

    Resampled points have a lower minimum than the measured ones; without the move, the interval would inherit that.
    """
    value = left_at(costs, np.array([one.accuracy.value for one in thefts]), may_lose)
    values = np.array([left_at(x, y, may_lose) for x, y in zip(lost.T, stolen.T, strict=True)])
    values += value - np.median(values)
    low, high = interval(values)
    n = min(one.accuracy.n for one in thefts)
    estimate = Estimate(value, max(0.0, low), min(1.0, high), n)
    return AtLoss(may_lose, min(may_lose, max(0.0, float(costs.max()))), estimate, values)


def left_at(lost: Float[np.ndarray, " points"], stolen: Float[np.ndarray, " points"], may_lose: float) -> float:
    """The clone accuracy left at a loss: never more at a larger one, constant beyond the largest. may_lose: 0 or more."""
    x = np.maximum(lost, 0.0)
    order = np.lexsort((stolen, x))
    least = np.minimum.accumulate(stolen[order])
    last = np.append(x[order][1:] > x[order][:-1], True)
    return float(np.interp(may_lose, x[order][last], least[last]))


def loss(line: DefenseSummary) -> float:
    """Accuracy that a strength costs honest users on the test set, mean over seeds."""
    return line.utility.loss if line.utility else 0.0


def loss_sd(line: DefenseSummary) -> float:
    return line.utility.loss_sd if line.utility else 0.0


def compared_at(one: AtLoss, other: AtLoss, seeds: int) -> str:
    """`lower`, `higher` or `same`: what one defense leaves at a loss against another; always `same` on one seed."""
    return (
        "same" if seeds < 2 else direction(np.round(one.values - other.values, 9))
    )  # 0 up to rounding is no difference

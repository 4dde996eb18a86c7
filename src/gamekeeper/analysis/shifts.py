"""Harm under benign shift: how much accuracy honest users lose whose inputs are a little unlike the test set, from rows.

Source      Agresti and Min, "Simple improved confidence intervals for comparing matched proportions" (Statistics in
            Medicine 2005): half an observation is added to each of the four cells
Equations   loss = (lost - gained) / n, its variance (lost + gained + 1 - (lost - gained)^2 / (n + 2)) / (n + 2)^2; over
            seeds Student's t times sd / sqrt(seeds) is added in quadrature
Deviations  the interval is centred on the observed loss. All seeds share the inputs, so n is counted once. The loss
            beyond that of unshifted inputs is given the sum of both variances, as if their inputs were not the same ones:
            its interval is too wide, if anything
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from gamekeeper.metrics import UNSHIFTED, ShiftHarm, Spread, spread
from gamekeeper.results import Row

MARGIN = 0.05
"""Accuracy lost to shift beyond the loss on unshifted inputs, above which users are harmed."""
ALPHA = 0.05


@dataclass(frozen=True)
class ShiftLoss:
    """What a defense does under one shift, over seeds. Shares of n inputs, 0 to 1; losses -1 to 1, with 95 % intervals.

    clean, defended       accuracy without and with the defense, on the same inputs
    sure, sure_defended   wrong answers with a top probability of at least 0.9, without and with it
    """

    name: str
    n: int
    clean: float
    defended: float
    loss: float
    low: float
    high: float
    sure: float
    sure_defended: float


def shift_losses(seeds: Sequence[Sequence[ShiftHarm]]) -> tuple[ShiftLoss, ...]:
    """The means over seeds, each given as the harms of one seed; the unshifted one first. Empty for older rows."""
    kinds = by_kind(seeds)
    over = seed_spread(kinds)
    return tuple(shift_loss(kind, half_width(kind, over, ALPHA)) for kind in kinds)


def by_kind(seeds: Sequence[Sequence[ShiftHarm]]) -> list[list[ShiftHarm]]:
    """The harms of all seeds under each shift that every seed has."""
    if not seeds:
        return []
    named = [{harm.name: harm for harm in harms} for harms in seeds]
    return [[one[name] for one in named] for name in named[0] if all(name in one for one in named)]


def seed_spread(kinds: Sequence[Sequence[ShiftHarm]]) -> Spread:
    """Of the loss, pooled over shifts."""
    return spread([[harm.loss for harm in kind] for kind in kinds])


def half_width(kind: Sequence[ShiftHarm], seeds: Spread, alpha: float) -> float:
    """Half of the two-sided interval of the mean loss that misses with probability alpha."""
    n = min(harm.n for harm in kind)
    lost, gained = fmean(harm.lost for harm in kind), fmean(harm.gained for harm in kind)
    variance = (lost + gained + 1 - (lost - gained) ** 2 / (n + 2)) / (n + 2) ** 2
    half = NormalDist().inv_cdf(1 - alpha / 2) * math.sqrt(max(variance, 0.0))
    if len(kind) < 2 or seeds.freedom == 0:
        return half
    return math.hypot(half, float(stdtrit(seeds.freedom, 1 - alpha / 2)) * seeds.sd / math.sqrt(len(kind)))


def shift_loss(kind: Sequence[ShiftHarm], half: float) -> ShiftLoss:
    def share(count: str) -> float:
        return fmean(getattr(harm, count) / harm.n for harm in kind)

    loss, clean = fmean(harm.loss for harm in kind), share("right")
    return ShiftLoss(
        name=kind[0].name,
        n=kind[0].n,
        clean=clean,
        defended=clean - loss,
        loss=loss,
        low=max(-1.0, loss - half),
        high=min(1.0, loss + half),
        sure=share("sure"),
        sure_defended=share("sure_defended"),
    )


def worst_shift(losses: Sequence[ShiftLoss]) -> ShiftLoss | None:
    """The shift under which users lose most; the first of several. None if none was measured."""
    return max((one for one in losses if one.name != UNSHIFTED), key=lambda one: one.loss, default=None)


def harms_shifted(rows: Sequence[Row]) -> bool:
    """Whether under some shift users clearly lose more than MARGIN beyond what they lose unshifted.

    Rows are of one defense. The level is divided by the number of shifts, since the worst of them is looked at.
    """
    one = {row.seed: row.utility.shifted for row in rows if row.utility and row.utility.shifted}
    kinds = by_kind(list(one.values()))
    plain = next((kind for kind in kinds if kind[0].name == UNSHIFTED), None)
    others = [kind for kind in kinds if kind is not plain]
    if plain is None or not others:
        return False
    over, level = seed_spread(kinds), ALPHA / len(others)
    least = (beyond(kind, plain) - together(kind, plain, over, level) for kind in others)
    return any(low > MARGIN for low in least)


def beyond(kind: Sequence[ShiftHarm], plain: Sequence[ShiftHarm]) -> float:
    """The loss under a shift beyond the unshifted one."""
    return fmean(harm.loss for harm in kind) - fmean(harm.loss for harm in plain)


def together(kind: Sequence[ShiftHarm], plain: Sequence[ShiftHarm], seeds: Spread, level: float) -> float:
    """Half the width of its interval."""
    return math.hypot(half_width(kind, seeds, level), half_width(plain, seeds, level))

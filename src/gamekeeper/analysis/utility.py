"""What honest users get from a defense: the means over seeds, from rows."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from gamekeeper.analysis.shifts import ShiftLoss, shift_losses, worst_shift
from gamekeeper.defenses.guarantees import Guarantees
from gamekeeper.metrics import Z95, Estimate, over_seeds, spread
from gamekeeper.results import Band, MapsKept, Row, Utility, Victim


@dataclass(frozen=True)
class UtilitySummary:
    """What honest users get, over the seeds at one budget. Names as in `results.Utility`; seconds are per query.

    loss    accuracy that the defense costs, and loss_sd its standard error (see `paired_loss`)
    shifts  users whose inputs are unlike the test set, the unshifted first; empty if none were asked
    bands  summed over seeds. They are empty, and l1_most, l2 and kl are None, if the rows are of an older version
    """

    accuracy: Estimate
    top1_kept: float
    top1_kept_thief: float | None
    l1: float
    l1_thief: float | None
    l1_histogram: tuple[int, ...]
    ece: float
    ece_clean: float
    seconds: float | None
    l1_most: float | None = None
    l2: float | None = None
    kl: float | None = None
    bands: tuple[Band, ...] = ()
    promised: Guarantees | None = None
    maps: MapsKept | None = None
    shifts: tuple[ShiftLoss, ...] = ()
    loss: float = 0.0
    loss_sd: float = 0.0

    @property
    def worst_shift(self) -> ShiftLoss | None:
        """The shift under which users lose most to the defense."""
        return worst_shift(self.shifts)


def utility_summary(rows: Sequence[Row]) -> UtilitySummary | None:
    """Means over seeds. All thieves of a seed face the same defense, so honest users are counted from one row per seed."""
    one = {row.seed: (row.victim, row.utility) for row in rows if row.victim and row.utility}
    if not one:
        return None
    rates = [victim.defended_accuracy for victim, _ in one.values()]
    utilities = [utility for _, utility in one.values()]
    every = [row.utility for row in rows if row.utility]
    loss, loss_sd = paired_loss(list(one.values()))
    return UtilitySummary(
        accuracy=over_seeds(rates, spread([[rate.value for rate in rates]])),
        top1_kept=fmean(u.top1_kept for u in utilities),
        top1_kept_thief=known_mean(u.top1_kept_thief for u in every),
        l1=fmean(u.l1 for u in utilities),
        l1_thief=known_mean(u.l1_thief for u in every),
        l1_histogram=tuple(sum(bins) for bins in zip(*(u.l1_histogram for u in utilities), strict=True)),
        ece=fmean(u.ece for u in utilities),
        ece_clean=fmean(u.ece_clean for u in utilities),
        seconds=known_mean(row.seconds.defense_per_query for row in rows if row.seconds),
        l1_most=max((u.l1_most for u in utilities if u.l1_most is not None), default=None),
        l2=known_mean(u.l2 for u in utilities),
        kl=known_mean(u.kl for u in utilities),
        bands=summed_bands([u.bands for u in utilities if u.bands]),
        promised=next((u.promised for u in utilities if u.promised), None),
        maps=mean_maps([u.maps for u in utilities if u.maps]),
        shifts=shift_losses([u.shifted for u in utilities if u.shifted]),
        loss=loss,
        loss_sd=loss_sd,
    )


def paired_loss(seeds: Sequence[tuple[Victim, Utility]]) -> tuple[float, float]:
    """Mean accuracy lost to a defense, and its standard error from test inputs and seeds; at least one seed.

    Only inputs whose top class is changed can be lost or gained, so a loss d with a share c of changed answers has at most
    the variance (c - d^2) / n. The error of s seeds is widened by Student's t over the normal quantile.
    """
    losses = [victim.accuracy.value - victim.defended_accuracy.value for victim, _ in seeds]
    loss, n = fmean(losses), min(victim.defended_accuracy.n for victim, _ in seeds)
    changed = fmean(1 - utility.top1_kept for _, utility in seeds)
    inputs = max(changed - loss**2, 0.0) / n
    over = spread([losses])
    widened = float(stdtrit(over.freedom, 0.975)) / Z95 if over.freedom else 0.0
    return loss, math.hypot(math.sqrt(inputs), widened * over.sd / math.sqrt(len(losses)))


def mean_maps(seeds: Sequence[MapsKept]) -> MapsKept | None:
    """Means over seeds."""
    if not seeds:
        return None
    rank, drop, drop_clean = (
        known_mean(getattr(one, name) for one in seeds) for name in ("rank", "drop", "drop_clean")
    )
    overlap, flat, flat_clean = (
        fmean(getattr(one, name) for one in seeds) for name in ("overlap", "flat", "flat_clean")
    )
    return MapsKept(seeds[0].n, rank, overlap, flat, flat_clean, drop, drop_clean)


def summed_bands(seeds: Sequence[Sequence[Band]]) -> tuple[Band, ...]:
    """The bands of several seeds added up."""
    return tuple(
        Band(
            one[0].upto,
            *(sum(getattr(band, name) for band in one) for name in ("n", "kept", "right", "right_defended")),
        )
        for one in zip(*seeds, strict=True)
    )


def known_mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None

"""From rows to what the report shows: per defense the strongest thief, the label floor, the price, the loss.

Pure functions of the run's header and its rows. Failed and missing cells are counted and handed on, never dropped.

Several seeds: every rate is a mean over seeds with the interval of `metrics.over_seeds`; the spread over seeds is pooled
over the thieves of one defense at one budget, so that two seeds are enough to estimate it. Differences (eta, change) are judged by the paired bootstrap of `bootstrap.py`, which shares its
draws over all rows of a run.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from gamekeeper.analysis.bootstrap import Replicates, Values, interval, verdict
from gamekeeper.analysis.checks import control, grouped, raised, reads_labels_only, soft_thief
from gamekeeper.defenses.guarantees import Guarantees
from gamekeeper.method_text import taken_apart
from gamekeeper.metrics import Crossing, Estimate, Spread, crossing, over_seeds, spread
from gamekeeper.results import Band, MapsKept, Row, Run

LEVELS = (0.8, 0.9, 0.95)
"""Shares of the victim's accuracy whose price is reported."""
UNDEFENDED = "none"


@dataclass(frozen=True)
class Stolen:
    """What one thief got from one defense at one budget, over seeds. queries is the mean number spent.

    values  its mean accuracy in every replicate of the bootstrap
    """

    attack: str
    budget: int
    queries: float
    accuracy: Estimate
    fidelity: Estimate
    seeds: int
    values: Values = field(compare=False, repr=False)


@dataclass(frozen=True)
class Eta:
    """(best undefended - best defended) / (best undefended - label floor), with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Price:
    """Queries at which the strongest thief has `level` of the victim's accuracy.

    low and high follow from the upper and the lower ends of the curve's intervals.
    """

    level: float
    accuracy: float
    queries: Crossing
    low: Crossing
    high: Crossing


@dataclass(frozen=True)
class Kept:
    """What honest users get, over the seeds at one budget. Names as in `results.Utility`; seconds per query.

    bands  summed over seeds; empty, and l1_most, l2 and kl None, where rows of an older version lack them
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


@dataclass(frozen=True)
class DefenseSummary:
    """One defense, at the summary's budget.

    thieves    measured thieves, strongest first; missing names those without a measurement at this budget. Who is in neither
               takes no part against this defense: in a finished run he has no cell
    soft       the thief who asks plainly and learns from the whole answer
    blind      the thief who chooses among the learners by what a rehearsal foretold, without the truth; None: no rehearsals
    worst      the strongest thief
    curve      the strongest thief at each budget, by queries
    eta        how much of the way to the label floor the defense goes; None if it cannot be told from noise
    eta_why    why eta is None, in words
    change     "lower", "higher" or "same": worst against the strongest undefended thief; same within the noise
    flags      raised on this defense's cells, but not on every cell of the run
    """

    defense: str
    thieves: tuple[Stolen, ...]
    missing: tuple[str, ...]
    soft: Stolen | None
    blind: Stolen | None
    worst: Stolen | None
    curve: tuple[Stolen, ...]
    prices: tuple[Price, ...]
    eta: Eta | None
    eta_why: str
    change: str | None
    kept: Kept | None
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """Everything the report's tables and figures show.

    victim     accuracy of the clean answers; None before any cell is done
    budget     that of the table: the largest with a measurement of every thief and defense, else the largest measured
    price      money per query; 0 if none was stated
    floor      the strongest undefended thief who learns from labels alone, at `budget`
    control    the clone of shuffled answers, at `budget`; None where none was made
    flags      raised on every measured cell
    lines      the undefended one first, then the defenses in order of appearance
    """

    victim: Estimate | None
    budget: int | None
    price: float
    attacks: tuple[str, ...]
    seeds: tuple[int, ...]
    floor: Stolen | None
    control: Stolen | None
    lines: tuple[DefenseSummary, ...]
    flags: tuple[str, ...]
    cells: int
    done: int
    failed: tuple[Row, ...]

    @property
    def undefended(self) -> DefenseSummary | None:
        return next((line for line in self.lines if line.defense == UNDEFENDED), None)

    @property
    def defended(self) -> tuple[DefenseSummary, ...]:
        return tuple(line for line in self.lines if line.defense != UNDEFENDED)


@dataclass(frozen=True)
class Baseline:
    """What every defense is compared with: the thieves who met none, at the summary's budget."""

    worst: Stolen | None
    floor: Stolen | None


def summarise(run: Run, rows: Sequence[Row]) -> Summary:
    """`rows` are the run's, at most one a cell, as `Results.read` gives them."""
    everybody = [row for row in rows if row.error is None and row.clone]
    flags = raised(everybody)
    thieves = [row for row in rows if not control(row)]
    measured = [row for row in everybody if not control(row)]
    budget = common_budget(thieves, measured)
    attacks = unique(row.attack for row in thieves)
    victims = [row.victim.accuracy for row in measured if row.victim]
    draws = replicates(everybody)
    against = baseline([row for row in measured if row.defense == UNDEFENDED], budget, draws)
    everywhere = tuple(name for name in unique_in(flags.values()) if all(name in names for names in flags.values()))
    lines: list[DefenseSummary] = []
    met = {(row.defense, row.attack) for row in thieves} if len(rows) >= len(run.cells) else None
    for defense in unique(row.defense for row in thieves):
        part = tuple(attack for attack in attacks if met is None or (defense, attack) in met)
        own = [row for row in measured if row.defense == defense]
        special = tuple(name for name in unique_in(flags[row.cell] for row in own) if name not in everywhere)
        lines.append(line(defense, own, budget, part, victims[0] if victims else None, against, draws, special))
    controls = [s for s in stolen([row for row in everybody if control(row)], draws) if s.budget == budget]
    return Summary(
        victim=victims[0] if victims else None,
        budget=budget,
        price=max((row.price / row.queries for row in measured if row.queries), default=0.0),
        attacks=attacks,
        seeds=tuple(sorted({row.seed for row in rows})),
        floor=against.floor,
        control=strongest(controls),
        lines=tuple(sorted(lines, key=lambda one: one.defense != UNDEFENDED)),
        flags=everywhere,
        cells=len(run.cells),
        done=len(rows),
        failed=tuple(row for row in rows if row.error is not None),
    )


def replicates(rows: Sequence[Row]) -> Replicates:
    """The draws that all differences of a run share."""
    n = max((row.clone.accuracy.n for row in rows if row.clone), default=1)
    return Replicates(n, tuple(sorted({row.seed for row in rows})))


def common_budget(rows: Sequence[Row], measured: Sequence[Row]) -> int | None:
    """The largest budget at which every thief has met every defense (or failed at it), else the largest measured."""
    pairs = {(row.defense, row.attack) for row in rows}
    budgets = sorted({row.budget for row in measured}, reverse=True)
    whole = (b for b in budgets if pairs == {(row.defense, row.attack) for row in rows if row.budget == b})
    return next(whole, budgets[0] if budgets else None)


def line(
    defense: str,
    rows: Sequence[Row],
    budget: int | None,
    attacks: Sequence[str],
    victim: Estimate | None,
    against: Baseline,
    draws: Replicates,
    flags: tuple[str, ...],
) -> DefenseSummary:
    """The line of one defense from its measured rows."""
    everything = stolen(rows, draws)
    here = sorted((s for s in everything if s.budget == budget), key=lambda s: -s.accuracy.value)
    worst = strongest(here)
    curve = worst_curve(everything)
    eta, eta_why = (
        efficiency(against, worst) if defense != UNDEFENDED else (None, "this is what defenses are compared with")
    )
    return DefenseSummary(
        defense=defense,
        thieves=tuple(here),
        missing=tuple(attack for attack in attacks if attack not in {s.attack for s in here}),
        soft=strongest(among(here, rows, soft_thief)),
        blind=blind_choice([row for row in rows if row.budget == budget], draws),
        worst=worst,
        curve=curve,
        prices=prices(curve, victim.value) if victim and curve else (),
        eta=eta,
        eta_why=eta_why,
        change=verdict(worst.values - against.worst.values) if worst and against.worst else None,
        kept=kept([row for row in rows if row.budget == budget]),
        flags=flags,
    )


def stolen(rows: Sequence[Row], draws: Replicates) -> list[Stolen]:
    """Measured rows of one defense, gathered over seeds; small budgets first, thieves in order of appearance."""
    found: list[Stolen] = []
    for _, here in sorted(grouped(rows, lambda row: row.budget).items()):
        spreads = seed_spread(here)
        groups = grouped(here, lambda row: row.attack)
        found += [gathered(name, group, draws, *spreads) for name, group in groups.items()]
    return found


def seed_spread(rows: Sequence[Row]) -> tuple[Spread, Spread]:
    """Of accuracy and of fidelity, pooled over thieves; the rows share defense and budget."""
    groups = [[row.clone for row in group if row.clone] for group in grouped(rows, lambda row: row.attack).values()]
    return (
        spread([[clone.accuracy.value for clone in group] for group in groups]),
        spread([[clone.fidelity.value for clone in group] for group in groups]),
    )


def gathered(name: str, rows: Sequence[Row], draws: Replicates, accuracy: Spread, fidelity: Spread) -> Stolen:
    """Rows that differ in the seed, as one."""
    return Stolen(
        attack=name,
        budget=rows[0].budget,
        queries=fmean(row.queries for row in rows),
        accuracy=over_seeds([row.clone.accuracy for row in rows if row.clone], accuracy),
        fidelity=over_seeds([row.clone.fidelity for row in rows if row.clone], fidelity),
        seeds=len(rows),
        values=draws.accuracy(rows),
    )


def blind_choice(rows: Sequence[Row], draws: Replicates) -> Stolen | None:
    """For each seed the clone whose rehearsal foretold held-out answers best, among thieves who share their questions.

    It is named after the thief chosen most often.
    """
    rehearsed = [
        (row, row.held_out.value) for row in rows if row.held_out and taken_apart(row.attack).first.name == "knockoff"
    ]
    if not rehearsed:
        return None
    seeds = grouped(rehearsed, lambda pair: pair[0].seed).values()
    chosen = [max(group, key=lambda pair: pair[1])[0] for group in seeds]
    name = Counter(row.attack for row in chosen).most_common(1)[0][0]
    return gathered(name, chosen, draws, *seed_spread(rows))


def baseline(rows: Sequence[Row], budget: int | None, draws: Replicates) -> Baseline:
    """From the measured rows without a defense."""
    here = [one for one in stolen(rows, draws) if one.budget == budget]
    return Baseline(strongest(here), strongest(among(here, rows, reads_labels_only)))


def among(thieves: Iterable[Stolen], rows: Iterable[Row], which: Callable[[Row], bool]) -> list[Stolen]:
    """Those of the thieves that `which` says yes to."""
    names = {row.attack for row in rows if which(row)}
    return [one for one in thieves if one.attack in names]


def strongest(thieves: Iterable[Stolen]) -> Stolen | None:
    """The highest mean clone accuracy; the first of equals."""
    return max(thieves, key=lambda s: s.accuracy.value, default=None)


def worst_curve(thieves: Iterable[Stolen]) -> tuple[Stolen, ...]:
    """The strongest thief at each budget, since a thief is free to choose; strictly increasing in queries.

    Budgets that spent the same number of queries (a pool used up) are one point, the stronger.
    """
    best = [strongest(group) for group in grouped(thieves, lambda s: s.budget).values()]
    by_queries = grouped([s for s in best if s and s.queries > 0], lambda s: s.queries)
    points = [strongest(by_queries[queries]) for queries in sorted(by_queries)]
    return tuple(s for s in points if s)


def prices(curve: Sequence[Stolen], victim: float) -> tuple[Price, ...]:
    """Queries to each of LEVELS of the victim's accuracy; never outside the measured budgets."""
    queries = [s.queries for s in curve]
    ends = ([s.accuracy.value for s in curve], [s.accuracy.high for s in curve], [s.accuracy.low for s in curve])
    return tuple(
        Price(level, level * victim, *(crossing(queries, end, level * victim) for end in ends)) for level in LEVELS
    )


def efficiency(against: Baseline, worst: Stolen | None) -> tuple[Eta | None, str]:
    """eta, or None and why. A defense that never changes a label reaches 1 at most, and the bare label does."""
    if worst is None:
        return None, "no thief has been measured here"
    if against.worst is None or against.floor is None:
        return None, "needs a soft and a label-learning thief against no defense"
    way = against.worst.values - against.floor.values
    if verdict(way) != "higher":
        return None, "undefended, learning from labels is as good as from probabilities, within the noise"
    best, floor, left = (one.accuracy.value for one in (against.worst, against.floor, worst))
    low, high = interval((against.worst.values - worst.values) / np.where(way > 0, way, np.nan))
    return Eta((best - left) / (best - floor), low, high), ""


def kept(rows: Sequence[Row]) -> Kept | None:
    """Means over seeds. All thieves of one seed meet the same defense: of the honest side one row a seed counts."""
    one = {row.seed: (row.victim, row.utility) for row in rows if row.victim and row.utility}
    if not one:
        return None
    rates = [victim.defended_accuracy for victim, _ in one.values()]
    utilities = [utility for _, utility in one.values()]
    every = [row.utility for row in rows if row.utility]
    return Kept(
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
        bands=added([u.bands for u in utilities if u.bands]),
        promised=next((u.promised for u in utilities if u.promised), None),
        maps=mean_maps([u.maps for u in utilities if u.maps]),
    )


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


def added(seeds: Sequence[Sequence[Band]]) -> tuple[Band, ...]:
    """Bands of several seeds as one."""
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


def unique(values: Iterable[str]) -> tuple[str, ...]:
    """In order of first appearance."""
    return tuple(dict.fromkeys(values))


def unique_in(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return unique(value for group in groups for value in group)

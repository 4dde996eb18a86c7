"""From rows to what the report shows: the strongest thief, the label floor, the price and the loss, for each defense.

Pure functions of the run's header and its rows. Failed and missing cells are counted and passed on, never dropped.

With several seeds, every rate is a mean over seeds with the interval of `metrics.over_seeds`. The spread over seeds is
pooled over the thieves of one defense at one budget, so two seeds are enough to estimate it. Differences (eta, change)
are judged by the paired bootstrap of `bootstrap.py`, which uses the same draws for all rows of a run.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from gamekeeper.analysis.bootstrap import Replicates, Values, direction, interval
from gamekeeper.analysis.checks import control, grouped, raised, reads_labels_only, soft_thief
from gamekeeper.analysis.flags import FLAGS
from gamekeeper.analysis.selection import corrected
from gamekeeper.analysis.utility import UtilitySummary, utility_summary
from gamekeeper.analysis.zero_query import by_asking
from gamekeeper.metrics import Crossing, Estimate, Spread, crossing, over_seeds, spread
from gamekeeper.results import Row, Run

LEVELS = (0.8, 0.9, 0.95)
"""Shares of the victim's accuracy whose price is reported."""
UNDEFENDED = "none"
BARE_LABEL = "label"


@dataclass(frozen=True)
class Stolen:
    """What one thief got past one defense at one budget, over seeds. queries: the mean number spent.

    values  the clone's mean accuracy in each replicate of the bootstrap
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
    """The queries at which the strongest thief reaches `level` times the victim's accuracy: 0 if the zero-query clone does.

    low and high follow from the upper and lower ends of the curve's intervals.
    """

    level: float
    accuracy: float
    queries: Crossing
    low: Crossing
    high: Crossing


@dataclass(frozen=True)
class DefenseSummary:
    """One defense, at the summary's budget.

    thieves    measured thieves, strongest first; `missing` names those without a measurement at this budget. A thief in
               neither takes no part against this defense: a finished run has no cell for them
    soft       the plain thief: queries pool inputs and learns from the whole answer
    worst      the strongest thief
    corrected  their accuracy without the luck of having been chosen on the test set (`selection.py`); None of one thief
    curve      the strongest thief at each budget, by queries
    eta        how far the defense pushes the strongest thief towards the label floor; None if noise hides it
    no_eta     why eta is None, in words
    change     "lower", "higher" or "same": worst against the strongest undefended thief; "same" within the noise
    flags      raised on this defense's cells, but not on every cell of the run
    faced      whether a thief who knows the defense was measured; the bare label leaves nothing to know
    """

    defense: str
    thieves: tuple[Stolen, ...]
    missing: tuple[str, ...]
    soft: Stolen | None
    worst: Stolen | None
    corrected: float | None
    curve: tuple[Stolen, ...]
    prices: tuple[Price, ...]
    eta: Eta | None
    no_eta: str
    change: str | None
    utility: UtilitySummary | None
    flags: tuple[str, ...]
    faced: bool = False


@dataclass(frozen=True)
class Summary:
    """Everything the report's tables and figures show.

    victim     accuracy of the clean answers; None before any cell is done
    unanswered test inputs that brought no answer: every accuracy leaves them out
    budget     that of the table: the largest with a measurement of every thief and defense, else the largest measured
    price      money per query; 0 if none was stated. currency: as the owner named it; "" if they did not
    floor      the strongest undefended thief who learns from labels only, at `budget`
    control    the clone of shuffled answers, at `budget`; None if the run has none
    zero_query the clone of a thief who asks nothing, where every curve begins; None if the run, like older ones, has none
    flags      raised on every measured cell
    void       of the flags that void a run, those raised on every undefended cell at `budget`; on every cell if none is
    knowing    thieves who know the defense they face; pool: how many inputs the thieves hold, None if the run does not say
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
    void: tuple[str, ...] = ()
    currency: str = ""
    zero_query: Stolen | None = None
    unanswered: int = 0
    knowing: tuple[str, ...] = ()
    pool: int | None = None

    @property
    def undefended(self) -> DefenseSummary | None:
        return next((line for line in self.lines if line.defense == UNDEFENDED), None)

    @property
    def shifts(self) -> tuple[str, ...]:
        """Names of the shifts under which honest users were measured, the unshifted first; empty in older runs."""
        return unique(one.name for line in self.lines if line.utility for one in line.utility.shifts)

    @property
    def defended(self) -> tuple[DefenseSummary, ...]:
        return tuple(line for line in self.lines if line.defense != UNDEFENDED)

    def above_zero_query(self, one: Stolen) -> float | None:
        """The share of the way from the zero-query clone to the victim that a thief went: 0 or less if they stole nothing.

        None without a zero-query clone, or if it is as good as the victim.
        """
        if self.victim is None or self.zero_query is None:
            return None
        start, end = self.zero_query.accuracy.value, self.victim.value
        return (one.accuracy.value - start) / (end - start) if end > start else None


@dataclass(frozen=True)
class Baseline:
    """What every defense is compared with: the thieves who faced none, at the summary's budget."""

    worst: Stolen | None
    floor: Stolen | None


def summarise(run: Run, rows: Sequence[Row]) -> Summary:
    """`rows` are the run's, at most one per cell, as `Results.read` gives them."""
    everybody, asked_nothing = by_asking(row for row in rows if row.error is None and row.clone)
    every_flag = raised([*everybody, *asked_nothing])
    flags = {row.cell: every_flag[row.cell] for row in everybody}
    thieves = [row for row in by_asking(rows)[0] if not control(row)]
    measured = [row for row in everybody if not control(row)]
    budget = common_budget(thieves, measured)
    attacks = unique(row.attack for row in thieves)
    victims = [row.victim.accuracy for row in measured if row.victim]
    draws = replicates(everybody)
    zero_query = strongest(stolen(asked_nothing, draws))
    against = baseline([row for row in measured if row.defense == UNDEFENDED], budget, draws)
    everywhere = tuple(name for name in unique_in(flags.values()) if all(name in names for names in flags.values()))
    lines: list[DefenseSummary] = []
    met = {(row.defense, row.attack) for row in thieves} if len(rows) >= len(run.cells) else None
    for defense in unique(row.defense for row in thieves):
        part = tuple(attack for attack in attacks if met is None or (defense, attack) in met)
        own = [row for row in measured if row.defense == defense]
        special = tuple(name for name in unique_in(flags[row.cell] for row in own) if name not in everywhere)
        lines.append(
            line(defense, own, budget, part, victims[0] if victims else None, against, draws, special, zero_query)
        )
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
        void=void([row for row in measured if row.budget == budget], flags),
        currency=str(run.target.get("currency", "")),
        zero_query=zero_query,
        unanswered=max((row.unanswered or 0 for row in everybody), default=0),
        knowing=unique(row.attack for row in thieves if row.uses_defense),
        pool=run.target.get("sizes", {}).get("pool"),
    )


def void(measured: Sequence[Row], flags: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Flags that void a run, from its thieves' rows at one budget."""
    rows = [row for row in measured if row.defense == UNDEFENDED] or measured
    return tuple(
        name for name, flag in FLAGS.items() if flag.voids and rows and all(name in flags[row.cell] for row in rows)
    )


def replicates(rows: Sequence[Row]) -> Replicates:
    """The bootstrap draws that all differences of a run share."""
    n = max((row.clone.accuracy.n for row in rows if row.clone), default=1)
    return Replicates(n, tuple(sorted({row.seed for row in rows})))


def common_budget(rows: Sequence[Row], measured: Sequence[Row]) -> int | None:
    """The largest budget at which every thief faced every defense, if only to fail; else the largest measured."""
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
    zero_query: Stolen | None = None,
) -> DefenseSummary:
    """The summary of one defense, from its measured rows."""
    everything = stolen(rows, draws)
    here = sorted((s for s in everything if s.budget == budget), key=lambda s: -s.accuracy.value)
    worst = strongest(here)
    curve = worst_curve(everything)
    eta, no_eta = efficiency(against, worst) if defense != UNDEFENDED else (None, "defenses are compared with this row")
    return DefenseSummary(
        defense=defense,
        thieves=tuple(here),
        missing=tuple(attack for attack in attacks if attack not in {s.attack for s in here}),
        soft=strongest(among(here, rows, soft_thief)),
        worst=worst,
        corrected=corrected([row for row in rows if row.budget == budget]),
        curve=curve,
        prices=prices(curve, victim.value, zero_query) if victim and curve else (),
        eta=eta,
        no_eta=no_eta,
        change=compared(worst, against.worst) if worst and against.worst else None,
        utility=utility_summary([row for row in rows if row.budget == budget]),
        flags=flags,
        faced=defense in (UNDEFENDED, BARE_LABEL) or any(row.uses_defense for row in rows if row.budget == budget),
    )


def compared(one: Stolen, other: Stolen) -> str:
    """`lower`, `higher` or `same`: a thief against another. Always `same` with one seed: redrawn test inputs do not show its luck."""
    return "same" if min(one.seeds, other.seeds) < 2 else direction(one.values - other.values)


def stolen(rows: Sequence[Row], draws: Replicates) -> list[Stolen]:
    """Measured rows of one defense, combined over seeds; small budgets first, thieves in order of appearance."""
    thefts: list[Stolen] = []
    for _, here in sorted(grouped(rows, lambda row: row.budget).items()):
        spreads = seed_spread(here)
        groups = grouped(here, lambda row: row.attack)
        thefts += [over_its_seeds(name, group, draws, *spreads) for name, group in groups.items()]
    return thefts


def seed_spread(rows: Sequence[Row]) -> tuple[Spread, Spread]:
    """Of accuracy and of fidelity, pooled over thieves; the rows share a defense and a budget."""
    groups = [[row.clone for row in group if row.clone] for group in grouped(rows, lambda row: row.attack).values()]
    return (
        spread([[clone.accuracy.value for clone in group] for group in groups]),
        spread([[clone.fidelity.value for clone in group] for group in groups]),
    )


def over_its_seeds(name: str, rows: Sequence[Row], draws: Replicates, accuracy: Spread, fidelity: Spread) -> Stolen:
    """Rows that differ only in their seed, as one."""
    return Stolen(
        attack=name,
        budget=rows[0].budget,
        queries=fmean(row.queries for row in rows),
        accuracy=over_seeds([row.clone.accuracy for row in rows if row.clone], accuracy),
        fidelity=over_seeds([row.clone.fidelity for row in rows if row.clone], fidelity),
        seeds=len(rows),
        values=draws.accuracy(rows),
    )


def baseline(rows: Sequence[Row], budget: int | None, draws: Replicates) -> Baseline:
    """From the measured rows without a defense."""
    here = [one for one in stolen(rows, draws) if one.budget == budget]
    return Baseline(strongest(here), strongest(among(here, rows, reads_labels_only)))


def among(thieves: Iterable[Stolen], rows: Iterable[Row], which: Callable[[Row], bool]) -> list[Stolen]:
    """Those thieves for whose rows `which` is true."""
    names = {row.attack for row in rows if which(row)}
    return [one for one in thieves if one.attack in names]


def strongest(thieves: Iterable[Stolen]) -> Stolen | None:
    """The thief with the highest mean clone accuracy; ties go to the first."""
    return max(thieves, key=lambda s: s.accuracy.value, default=None)


def worst_curve(thieves: Iterable[Stolen]) -> tuple[Stolen, ...]:
    """The strongest thief at each budget, since a thief is free to choose how to steal; strictly increasing in queries.

    Budgets that spent the same number of queries (because the pool ran out) are one point, that of the stronger thief.
    """
    best = [strongest(group) for group in grouped(thieves, lambda s: s.budget).values()]
    by_queries = grouped([s for s in best if s and s.queries > 0], lambda s: s.queries)
    points = [strongest(by_queries[queries]) for queries in sorted(by_queries)]
    return tuple(s for s in points if s)


def prices(curve: Sequence[Stolen], victim: float, zero_query: Stolen | None = None) -> tuple[Price, ...]:
    """Queries needed for each of LEVELS of the victim's accuracy; never outside the measured budgets, of which 0 is one."""
    queries = [s.queries for s in curve]

    def reached(level: float, of: Callable[[Estimate], float]) -> Crossing:
        if zero_query is not None and of(zero_query.accuracy) >= level * victim:
            return Crossing(0, "exact")
        return crossing(queries, [of(s.accuracy) for s in curve], level * victim)

    ends: tuple[Callable[[Estimate], float], ...] = (lambda e: e.value, lambda e: e.high, lambda e: e.low)
    return tuple(Price(level, level * victim, *(reached(level, of) for of in ends)) for level in LEVELS)


def efficiency(against: Baseline, worst: Stolen | None) -> tuple[Eta | None, str]:
    """eta, or None and the reason. A defense that never changes a label reaches at most 1, as answering with the label does."""
    if worst is None:
        return None, "no thief was measured"
    if against.worst is None or against.floor is None:
        return None, "the soft or the label-learning thief was not measured without a defense"
    way = against.worst.values - against.floor.values
    if direction(way) != "higher":
        return None, "an undefended thief learns as much from labels as from probabilities, within the noise"
    best, floor, left = (one.accuracy.value for one in (against.worst, against.floor, worst))
    low, high = interval((against.worst.values - worst.values) / np.where(way > 0, way, np.nan))
    return Eta((best - left) / (best - floor), low, high), ""


def unique(values: Iterable[str]) -> tuple[str, ...]:
    """In order of first appearance."""
    return tuple(dict.fromkeys(values))


def unique_in(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return unique(value for group in groups for value in group)

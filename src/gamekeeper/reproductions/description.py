"""A reproduction: ordinary thefts of named targets, compared with what a paper reports. Pure functions over plain data.

The description (Reproduction) contains no measurements. Thefts become cells of the grid, so that metering, ledger, resume
and flags are the same as in an audit; `figure_results` and `ordering_results` read the resulting rows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from gamekeeper.analysis.checks import grouped, raised
from gamekeeper.engine import run
from gamekeeper.engine.backends import Work
from gamekeeper.engine.grid import Audit, Cell, expand
from gamekeeper.metrics import Estimate, over_seeds, spread
from gamekeeper.results import Row
from gamekeeper.targets.choice import Source
from gamekeeper.targets.target import Target

Measure = Literal["accuracy", "fidelity", "fidelity_uniform", "tv", "tv_uniform", "queries", "victim"]
"""Of a row: the clone's accuracy, its agreement with the victim on test and on uniform inputs (Tramèr's 1 - R_test and
1 - R_unif), total variation distance on both, queries spent, and the victim's own accuracy."""
Place = Callable[[str], Source]
"""Maps the name of a target in a description to what it is loaded from."""


@dataclass(frozen=True)
class Experiment:
    """Which cells: a target behind a defense, a thief, and their budget."""

    target: str
    attack: str
    budget: int
    defense: str = "none"


@dataclass(frozen=True)
class Figure:
    """Published numbers, and the theft whose rows they are compared with.

    said   measure -> the paper's figure: a fraction or a number of queries, or words if the paper gives no number
    place  section or table of the paper
    gap    how our experiment differs, apart from what the reproduction says of all its figures
    """

    what: str
    place: str
    theft: Experiment
    said: tuple[tuple[Measure, float | str], ...]
    gap: str = ""


@dataclass(frozen=True)
class Ordering:
    """A published claim that one thief is better than another; both with the same target and seed, in pairs."""

    claim: str
    place: str
    pairs: tuple[tuple[Experiment, Experiment], ...]
    measure: Measure = "accuracy"
    gap: str = ""


@dataclass(frozen=True)
class Reproduction:
    """What is run, and what is known about it.

    minutes  roughly how long it takes on one core
    needs    data sets that are not shipped (`data/folder.py`)
    uniform  number of uniform inputs on which clones are compared as well
    gap      how all its figures differ from the paper's
    """

    name: str
    paper: str
    what: str
    minutes: int
    needs: tuple[str, ...]
    seeds: tuple[int, ...]
    figures: tuple[Figure, ...]
    orderings: tuple[Ordering, ...] = ()
    uniform: int = 0
    gap: str = ""

    @property
    def thefts(self) -> list[Experiment]:
        """Every theft once, target by target, in the order of the description."""
        pairs = [theft for ordering in self.orderings for pair in ordering.pairs for theft in pair]
        every = dict.fromkeys([figure.theft for figure in self.figures] + pairs)
        return [theft for own in grouped(every, lambda theft: theft.target).values() for theft in own]


def cells(reproduction: Reproduction, place: Place, seen: Callable[[Target, Source], None]) -> list[Cell]:
    """The grid's cells. Every target is loaded once and passed to `seen`; only one is in memory at a time."""
    planned: list[Cell] = []
    for name, thefts in grouped(reproduction.thefts, lambda theft: theft.target).items():
        source = place(name)
        target = source.load()
        seen(target, source)
        for one in thefts:
            audit = Audit(source, [one.attack], [one.defense], [one.budget], reproduction.seeds, reproduction.uniform)
            planned += expand(audit, target)
    return list({cell.id: cell for cell in planned}.values())


def with_paper(row: Row, reproduction: Reproduction) -> Row:
    """The row with the first number that the paper gives for its theft, if there is one."""
    values = [value for figure in reproduction.figures if belongs(row, figure.theft) for _, value in figure.said]
    return replace(row, paper=next((float(value) for value in values if not isinstance(value, str)), None))


def work(reproduction: Reproduction, folder: Path) -> Work[Cell, Row]:
    """Runs the thefts like any others, and adds the paper's number to each row."""
    return replace(run.work(folder), measure=partial(measured_beside, reproduction=reproduction, folder=folder))


def measured_beside(cell: Cell, reproduction: Reproduction, folder: Path) -> Row:
    return with_paper(run.run_cell(cell, folder), reproduction)


def belongs(row: Row, theft: Experiment) -> bool:
    """Whether a row belongs to this theft (with any seed)."""
    return (row.target, row.attack, row.budget, row.defense) == (
        theft.target,
        theft.attack,
        theft.budget,
        theft.defense,
    )


@dataclass(frozen=True)
class Beside:
    """One measure: what the paper reports and what we measured; ours is None if no row has it."""

    measure: Measure
    paper: float | str
    ours: Estimate | float | None


@dataclass(frozen=True)
class FigureResult:
    """A figure with our numbers. error: why a cell failed; flags: those raised on its rows, except `single-seed`."""

    figure: Figure
    beside: tuple[Beside, ...]
    seeds: int
    flags: tuple[str, ...]
    error: str | None


def figure_results(reproduction: Reproduction, rows: Sequence[Row]) -> list[FigureResult]:
    """Every figure of the description; figures whose cells have not run yet have no numbers."""
    flags = all_flags(rows)
    return [
        figure_result(figure, [row for row in rows if belongs(row, figure.theft)], flags)
        for figure in reproduction.figures
    ]


def figure_result(figure: Figure, rows: list[Row], flags: dict[str, list[str]]) -> FigureResult:
    done = [row for row in rows if row.clone is not None]
    own = dict.fromkeys(flag for row in done for flag in flags.get(row.cell, []) if flag != "single-seed")
    error = next((row.error for row in rows if row.error is not None), None)
    beside = tuple(Beside(measure, paper, over(done, measure)) for measure, paper in figure.said)
    return FigureResult(figure, beside, len(done), tuple(own), error)


def all_flags(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Flags by cell; the rows of each target are checked by themselves."""
    return {
        cell: flags for own in grouped(rows, lambda row: row.target).values() for cell, flags in raised(own).items()
    }


def over(rows: Sequence[Row], measure: Measure) -> Estimate | float | None:
    """The measure's mean over rows that differ only in their seed; rates with an interval."""
    values = [value for row in rows if (value := measured(row, measure)) is not None]
    rates = [value for value in values if isinstance(value, Estimate)]
    if rates:
        return over_seeds(rates, spread([[rate.value for rate in rates]]))
    return fmean(value for value in values if not isinstance(value, Estimate)) if values else None


def measured(row: Row, measure: Measure) -> Estimate | float | None:
    """The value in one row; None if it was not measured."""
    if row.clone is None or row.victim is None:
        return None
    if measure == "queries":
        return float(row.queries)
    if measure == "victim":
        return row.victim.accuracy
    return getattr(row.clone, measure)


@dataclass(frozen=True)
class OrderingResult:
    """How an ordering came out, over pairs of rows with the same target and seed.

    held, of         pairs in which the thief claimed to be better was better, and all pairs
    mean, low, high  the mean difference and its 95 % interval (Student's t over pairs; None for fewer than two pairs)
    """

    ordering: Ordering
    held: int
    of: int
    mean: float
    low: float | None
    high: float | None

    @property
    def word(self) -> str:
        """`as claimed` or `reversed` if the interval lies on one side of 0, else `not decided`."""
        if self.low is None or self.high is None:
            return "not decided"
        return "as claimed" if self.low > 0 else "reversed" if self.high < 0 else "not decided"


def ordering_results(reproduction: Reproduction, rows: Sequence[Row]) -> list[OrderingResult]:
    """Every ordering with at least one pair of rows."""
    results: list[OrderingResult] = []
    for ordering in reproduction.orderings:
        differences = [gap for pair in ordering.pairs for gap in gaps(pair, rows, ordering.measure)]
        if differences:
            results.append(ordering_result(ordering, differences))
    return results


def gaps(pair: tuple[Experiment, Experiment], rows: Sequence[Row], measure: Measure) -> list[float]:
    """The better thief minus the worse, for every seed that has both."""
    better, worse = (
        {row.seed: number(measured(row, measure)) for row in rows if belongs(row, theft) and row.clone is not None}
        for theft in pair
    )
    return [better[seed] - worse[seed] for seed in better if seed in worse]


def number(value: Estimate | float | None) -> float:
    return value.value if isinstance(value, Estimate) else math.nan if value is None else value


def ordering_result(ordering: Ordering, differences: Sequence[float]) -> OrderingResult:
    n, mean = len(differences), fmean(differences)
    held = sum(difference > 0 for difference in differences)
    if n < 2:
        return OrderingResult(ordering, held, n, mean, None, None)
    half = float(stdtrit(n - 1, 0.975)) * stdev(differences) / math.sqrt(n)
    return OrderingResult(ordering, held, n, mean, mean - half, mean + half)

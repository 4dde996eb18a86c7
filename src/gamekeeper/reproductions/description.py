"""A reproduction: ordinary thefts of named targets, and beside them what a paper says. Pure functions over plain data.

The description (Reproduction) holds no measurement. Thefts become cells of the grid, so that metering, ledger, resume
and flags are those of an audit; `lines` and `verdicts` read the rows that came out.
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
"""Of a row: clone's accuracy, agreement with the victim on test and on uniform inputs (Tramèr's 1 - R_test, 1 - R_unif),
total variation on both, queries spent, and the victim's own accuracy."""
Place = Callable[[str], Source]
"""From the name of a target in a description to what it is loaded from."""


@dataclass(frozen=True)
class Experiment:
    """Which cells: a target behind a defense, a thief, his budget."""

    target: str
    attack: str
    budget: int
    defense: str = "none"


@dataclass(frozen=True)
class Figure:
    """Published numbers and the theft whose rows stand beside them.

    said   measure -> the paper's figure: a fraction or a number of queries, or words where it gives no number
    place  section or table of the paper
    gap    in what our experiment differs, beyond what the reproduction says of all its figures
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
    """What is run, and what is said about it.

    minutes  about how long it takes on one core
    needs    data sets that are not shipped (`data/folder.py`)
    uniform  uniform inputs on which clones are compared as well
    gap      in what all its figures differ from the paper's
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
        """Every theft once, target by target, in the order in which the description names them."""
        pairs = [theft for ordering in self.orderings for pair in ordering.pairs for theft in pair]
        every = dict.fromkeys([figure.theft for figure in self.figures] + pairs)
        return [theft for own in grouped(every, lambda theft: theft.target).values() for theft in own]


def cells(reproduction: Reproduction, place: Place, seen: Callable[[Target, Source], None]) -> list[Cell]:
    """The grid's cells. Every target is loaded once and shown to `seen`; one is held at a time."""
    found: list[Cell] = []
    for name, thefts in grouped(reproduction.thefts, lambda theft: theft.target).items():
        source = place(name)
        target = source.load()
        seen(target, source)
        for one in thefts:
            audit = Audit(source, [one.attack], [one.defense], [one.budget], reproduction.seeds, reproduction.uniform)
            found += expand(audit, target)
    return list({cell.id: cell for cell in found}.values())


def with_paper(row: Row, reproduction: Reproduction) -> Row:
    """The row with the first number that the paper gives for its theft, if there is one."""
    said = [value for figure in reproduction.figures if belongs(row, figure.theft) for _, value in figure.said]
    return replace(row, paper=next((float(value) for value in said if not isinstance(value, str)), None))


def work(reproduction: Reproduction, folder: Path) -> Work[Cell, Row]:
    """How its thefts are done: as any, and the paper's number goes into the row."""
    return replace(run.work(folder), measure=partial(measured_beside, reproduction=reproduction, folder=folder))


def measured_beside(cell: Cell, reproduction: Reproduction, folder: Path) -> Row:
    return with_paper(run.run_cell(cell, folder), reproduction)


def belongs(row: Row, theft: Experiment) -> bool:
    """Whether a row is of this theft (at any seed)."""
    return (row.target, row.attack, row.budget, row.defense) == (
        theft.target,
        theft.attack,
        theft.budget,
        theft.defense,
    )


@dataclass(frozen=True)
class Beside:
    """One measure: what the paper says and what was found. ours is None where no row holds it."""

    measure: Measure
    paper: float | str
    ours: Estimate | float | None


@dataclass(frozen=True)
class FigureResult:
    """A figure with our numbers. error: why a cell failed; flags: raised on its rows, without `single-seed`."""

    figure: Figure
    beside: tuple[Beside, ...]
    seeds: int
    flags: tuple[str, ...]
    error: str | None


def lines(reproduction: Reproduction, rows: Sequence[Row]) -> list[FigureResult]:
    """Every figure of the description; those whose cells have not run yet have no numbers."""
    flags = all_flags(rows)
    return [line(figure, [row for row in rows if belongs(row, figure.theft)], flags) for figure in reproduction.figures]


def line(figure: Figure, rows: list[Row], flags: dict[str, list[str]]) -> FigureResult:
    done = [row for row in rows if row.clone is not None]
    own = dict.fromkeys(flag for row in done for flag in flags.get(row.cell, []) if flag != "single-seed")
    error = next((row.error for row in rows if row.error is not None), None)
    beside = tuple(Beside(measure, said, over(done, measure)) for measure, said in figure.said)
    return FigureResult(figure, beside, len(done), tuple(own), error)


def all_flags(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Flags by cell; a target's rows are judged by themselves."""
    return {
        cell: flags for own in grouped(rows, lambda row: row.target).values() for cell, flags in raised(own).items()
    }


def over(rows: Sequence[Row], measure: Measure) -> Estimate | float | None:
    """The measure's mean over rows that differ in the seed only; rates with an interval."""
    values = [value for row in rows if (value := measured(row, measure)) is not None]
    rates = [value for value in values if isinstance(value, Estimate)]
    if rates:
        return over_seeds(rates, spread([[rate.value for rate in rates]]))
    return fmean(value for value in values if not isinstance(value, Estimate)) if values else None


def measured(row: Row, measure: Measure) -> Estimate | float | None:
    """One row's value; None if it was not measured."""
    if row.clone is None or row.victim is None:
        return None
    if measure == "queries":
        return float(row.queries)
    if measure == "victim":
        return row.victim.accuracy
    return getattr(row.clone, measure)


@dataclass(frozen=True)
class OrderingResult:
    """How an ordering came out, over pairs of rows with one target and seed.

    held, of         pairs in which the claimed better was the better, and all pairs
    mean, low, high  the mean difference and its 95 % interval (Student's t over pairs; None with fewer than two)
    """

    ordering: Ordering
    held: int
    of: int
    mean: float
    low: float | None
    high: float | None

    @property
    def word(self) -> str:
        """`as claimed` or `reversed` where the interval lies on one side of 0, else `not decided`."""
        if self.low is None or self.high is None:
            return "not decided"
        return "as claimed" if self.low > 0 else "reversed" if self.high < 0 else "not decided"


def verdicts(reproduction: Reproduction, rows: Sequence[Row]) -> list[OrderingResult]:
    """Every ordering for which there is at least one pair of rows."""
    found: list[OrderingResult] = []
    for ordering in reproduction.orderings:
        differences = [gap for pair in ordering.pairs for gap in gaps(pair, rows, ordering.measure)]
        if differences:
            found.append(verdict(ordering, differences))
    return found


def gaps(pair: tuple[Experiment, Experiment], rows: Sequence[Row], measure: Measure) -> list[float]:
    """Better minus worse for every seed that has both."""
    better, worse = (
        {row.seed: number(measured(row, measure)) for row in rows if belongs(row, theft) and row.clone is not None}
        for theft in pair
    )
    return [better[seed] - worse[seed] for seed in better if seed in worse]


def number(value: Estimate | float | None) -> float:
    return value.value if isinstance(value, Estimate) else math.nan if value is None else value


def verdict(ordering: Ordering, differences: Sequence[float]) -> OrderingResult:
    n, mean = len(differences), fmean(differences)
    held = sum(difference > 0 for difference in differences)
    if n < 2:
        return OrderingResult(ordering, held, n, mean, None, None)
    half = float(stdtrit(n - 1, 0.975)) * stdev(differences) / math.sqrt(n)
    return OrderingResult(ordering, held, n, mean, mean - half, mean + half)

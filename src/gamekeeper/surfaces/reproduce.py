"""`gamekeeper reproduce`: published experiments, run again at a size for a laptop, with the paper's figures beside ours."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from gamekeeper.data.folder import find
from gamekeeper.engine.backends import backend_for
from gamekeeper.engine.grid import Cell
from gamekeeper.engine.run import thefts
from gamekeeper.engine.session import Session
from gamekeeper.errors import BadConfig
from gamekeeper.metrics import Estimate
from gamekeeper.reproductions.catalogue import REPRODUCTIONS
from gamekeeper.reproductions.description import (
    FigureResult,
    Measure,
    OrderingResult,
    Reproduction,
    cells,
    figure_results,
    ordering_results,
    work,
)
from gamekeeper.reproductions.victims import Published
from gamekeeper.results import SCHEMA, Results, Row, Run
from gamekeeper.surfaces.audit import FAILED
from gamekeeper.surfaces.report.terminal import cell_line
from gamekeeper.surfaces.report.words import count, plain
from gamekeeper.targets.builtin import BUILTIN
from gamekeeper.targets.choice import Choice, Source, assumptions, header_entry
from gamekeeper.targets.target import Target
from gamekeeper.version import __version__

VICTIMS = "victims"
WORDS: Mapping[Measure, str] = {
    "accuracy": "accuracy",
    "victim": "accuracy",
    "fidelity": "test agreement",
    "fidelity_uniform": "uniform agreement",
    "tv": "test TV",
    "tv_uniform": "uniform TV",
    "queries": "queries",
}


def list_reproductions(json: bool) -> None:
    """Lists the reproductions, with the minutes and data each needs."""
    if json:
        sys.stdout.write(orjson.dumps([asdict(each) for each in REPRODUCTIONS.values()]).decode() + "\n")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("name", "minutes", "what it runs", "needs"):
        table.add_column(column, no_wrap=column == "name", justify="right" if column == "minutes" else "left")
    for each in REPRODUCTIONS.values():
        table.add_row(each.name, str(each.minutes), each.what, ", ".join(each.needs) or "nothing")
    Console(highlight=False).print(table)


def run_reproduction(name: str, data: Path, folder: Path, jobs: int | None, json: bool) -> int:
    """Runs what is missing in the folder, then prints the table. Exit codes as for an audit."""
    reproduction = named(name)
    for needed in reproduction.needs:
        find(data, needed)
    with thefts(folder, work(reproduction, folder.absolute())) as session:
        rows = run_missing(reproduction, data, session, folder, jobs, Console(quiet=json, highlight=False))
    if json:
        sys.stdout.write(machine(reproduction, rows))
    else:
        show(reproduction, rows)
    return FAILED if any(row.error for row in rows) else 0


def run_missing(
    reproduction: Reproduction,
    data: Path,
    session: Session[Cell, Row],
    folder: Path,
    jobs: int | None,
    console: Console,
) -> list[Row]:
    """All rows of a reproduction, after measuring the missing ones."""
    say = console.print
    say(
        f"gamekeeper {__version__}: {reproduction.name}, about {reproduction.minutes} minutes on one core; loading targets",
        soft_wrap=True,
    )
    wanted, header = planned(reproduction, data, folder)
    missing = session.missing(wanted)
    say(f"{len(wanted)} thefts, {len(wanted) - len(missing)} already done", soft_wrap=True)
    results = Results(folder)
    if missing:
        results.write_header(header)
    for row in session.run(missing, backend_for(len(missing), jobs)):
        say(f"{row.target} | {cell_line(row)}", soft_wrap=True, markup=False)
    return results.read()


def named(name: str) -> Reproduction:
    if name not in REPRODUCTIONS:
        raise BadConfig(f"there is no reproduction '{name}'. Known: {', '.join(REPRODUCTIONS)}.")
    return REPRODUCTIONS[name]


def planned(reproduction: Reproduction, data: Path, folder: Path) -> tuple[list[Cell], Run]:
    """The cells and the header. Loads every target once; a network that is not saved yet is trained first."""
    targets: list[dict[str, Any]] = []
    assumed: dict[str, None] = {}

    def seen(target: Target, source: Source) -> None:
        targets.append(header_entry(target))
        assumed.update(dict.fromkeys(f"{source.name}: {text}" for text in assumptions(target, target.student)))

    def place(name: str) -> Source:
        return Choice(name) if name in BUILTIN else Published(name, data.absolute(), folder.absolute() / VICTIMS)

    wanted = cells(reproduction, place, seen)
    header = Run(
        schema=SCHEMA,
        version=__version__,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=f"gamekeeper reproduce {reproduction.name}",
        cells=[cell.id for cell in wanted],
        target={"name": reproduction.name, "targets": targets},
        assumptions=list(assumed),
        seeds=list(reproduction.seeds),
        budgets=sorted({cell.budget for cell in wanted}),
    )
    return wanted, header


def show(reproduction: Reproduction, rows: Sequence[Row]) -> None:
    """Prints paper | ours (interval) | flags and gap, then the orderings."""
    console = Console(highlight=False)
    console.print(reproduction.paper, soft_wrap=True, markup=False)
    results = figure_results(reproduction, rows)
    if results:
        console.print(figures(results))
    claims = ordering_results(reproduction, rows)
    if claims:
        console.print(orderings(claims))
    console.print(f"In all rows: {reproduction.gap}", soft_wrap=True, markup=False)


def figures(results: Sequence[FigureResult]) -> Table:
    table = Table(header_style="bold", show_lines=True)
    for column in ("what", "paper", "ours (95 % interval)", "gap"):
        table.add_column(column, overflow="fold")
    for line in results:
        ours = plain(f"failed: {line.error}") if line.error else beside_ours(line)
        flags = f" [{', '.join(line.flags)}]" if line.flags else ""
        table.add_row(f"{line.figure.what} ({line.figure.place})", beside_paper(line), ours, line.figure.gap + flags)
    return table


def orderings(claims: Sequence[OrderingResult]) -> Table:
    table = Table(header_style="bold", show_lines=True)
    for column in ("claim", "pairs that hold", "difference (95 % interval)", "verdict"):
        table.add_column(column, overflow="fold")
    for each in claims:
        name = f"{each.ordering.claim} ({each.ordering.place})"
        table.add_row(name, f"{each.held} of {each.of}", difference(each), each.word)
    return table


def beside_paper(line: FigureResult) -> str:
    """What the paper reports, one measure after the other."""
    return "; ".join(spelled(each.measure, each.paper, len(line.beside) > 1) for each in line.beside)


def beside_ours(line: FigureResult) -> str:
    """Our values of the same measures; a dash if nothing was run yet."""
    ours = "; ".join(spelled(each.measure, each.ours, len(line.beside) > 1) for each in line.beside)
    return ours if line.seeds < 2 else f"{ours} ({line.seeds} seeds)"


def spelled(measure: Measure, value: Estimate | float | str | None, several: bool) -> str:
    """`accuracy 69.2 %`; the measure's name only if there are several."""
    name = f"{WORDS[measure]} " if several else ""
    if value is None or isinstance(value, str):
        return name + (value or "–")
    if isinstance(value, Estimate) and measure in ("tv", "tv_uniform"):
        return f"{name}{value.value:.1e}"
    if isinstance(value, Estimate):
        return f"{name}{percent(value.value)} ({100 * value.low:.1f}–{100 * value.high:.1f})"
    return name + (count(value) if measure == "queries" else percent(value))


def percent(fraction: float) -> str:
    """As many decimals as papers print: one, or two above 99 %."""
    return f"{100 * fraction:.2f} %" if 0.99 < fraction < 1 else f"{100 * fraction:.1f} %"


def difference(each: OrderingResult) -> str:
    """The mean difference in points, with its interval if there is one."""
    mean = f"{100 * each.mean:+.1f} points"
    return (
        mean if each.low is None or each.high is None else f"{mean} ({100 * each.low:+.1f} to {100 * each.high:+.1f})"
    )


def machine(reproduction: Reproduction, rows: Sequence[Row]) -> str:
    """The description's figures and orderings with our results, as JSON."""
    data = {
        "name": reproduction.name,
        "lines": [asdict(line) for line in figure_results(reproduction, rows)],
        "orderings": [{**asdict(each), "verdict": each.word} for each in ordering_results(reproduction, rows)],
    }
    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() + "\n"

"""Tables of committed runs of `gamekeeper ownership`: what survives which removal, and whom false claims would accuse."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from committed import RESULTS, table
from matplotlib.figure import Figure

from gamekeeper.analysis.checks import grouped
from gamekeeper.analysis.ownership import FalseClaimLine, OwnershipSummary, summarise
from gamekeeper.analysis.scheme_history import FILE, to_json
from gamekeeper.ownership.countermeasures import COUNTERMEASURES
from gamekeeper.ownership_rows import OwnershipRow, from_json, to_line
from gamekeeper.results import Lines
from gamekeeper.surfaces.ownership import HEADER, OWNERSHIP
from gamekeeper.surfaces.report.survival import survival_figure

RUNS = ("ownership-mnist",)


def header(name: str) -> dict[str, Any] | None:
    """What a run says of itself; None if it is not there."""
    path = RESULTS / name / HEADER
    return orjson.loads(path.read_bytes()) if path.exists() else None


@cache
def rows(name: str) -> list[OwnershipRow]:
    """The last row of each cell of a run, in the order of the header; those that are missing are left out."""
    run = header(name)
    if run is None:
        return []
    last = {row.cell: row for row in Lines(RESULTS / name / OWNERSHIP, from_json, to_line).every()}
    return [last[cell] for cell in run["cells"] if cell in last]


@cache
def summary(name: str) -> OwnershipSummary:
    return summarise(rows(name))


def absent(name: str) -> str:
    return f"Not run yet: `gamekeeper ownership {name.removeprefix('ownership-')}`.\n"


def stamp(name: str) -> str:
    """Where a table comes from, and what each party had."""
    run = header(name)
    assert run is not None
    inputs = ", ".join(f"{count:,} {use}" for use, count in run["inputs"].items())
    seeds = sorted({row.seed for row in rows(name)})
    named = f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]}"
    done, wanted = len(rows(name)), len(run["cells"])
    unfinished = "" if done == wanted else f" Unfinished: {done} of {wanted} cells."
    return (
        f"Inputs: {inputs}. A thief pays for {run['queries']:,} answers; the judge trains {run['panel']} models for each suspect,"
        f" about as accurate. `results/{name}`, gamekeeper {run['version']}, {named}, {run['date']}."
        f"{unfinished}"
    )


def survival(name: str) -> str:
    """One line for each scheme and removal: what the copy still answers as claimed, and what the removal cost."""
    if not rows(name):
        return absent(name)
    head = [
        "scheme", "removal", "claimed answers before", "after", "the panel's", "accuracy", "paid", "log10 p", "supports",
        "not shown", "void",
    ]  # fmt: skip
    body = [
        [
            f"`{line.scheme}`", f"`{line.removal}`", percent(line.before), percent(line.share), percent(line.panel),
            f"{100 * line.accuracy:.1f} %", f"{round(100 * line.paid, 1) + 0.0:.1f}", f"{line.log10_p:.1f}", str(line.decisions["supports"]),
            str(line.decisions["not shown"]), str(line.decisions["void"]),
        ]
        for line in summary(name).survival
    ]  # fmt: skip
    below = (
        "Paid: points of accuracy that the removal cost. log10 p: the median over seeds. The last three columns count seeds; gates"
        f" about dates are taken as open. {stamp(name)}"
    )
    return table(head, body, below)


def forgeries(name: str) -> str:
    """False claims, each held against innocent models: whom a judge with these countermeasures accuses."""
    return accused(name, "false claim", summary(name).forgeries) if rows(name) else absent(name)


def innocents(name: str) -> str:
    """Honest claims held against innocent models."""
    return accused(name, "honest claim", summary(name).innocents) if rows(name) else absent(name)


def accused(name: str, what: str, lines: Sequence[FalseClaimLine]) -> str:
    head = [what, "innocents answer as claimed", "the panel", "two of it agree", "trials", *COUNTERMEASURES]
    body = [
        [
            f"`{line.how}`", percent(line.share), percent(line.panel), percent(line.agreement), str(line.trials),
            *(str(line.accused[each]) for each in COUNTERMEASURES),
        ]
        for line in lines
    ]  # fmt: skip
    return table(head, body, f"The last columns count trials in which an innocent model is accused. {stamp(name)}")


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def figures() -> dict[str, Figure | None]:
    """For each run and scheme: what removals leave."""
    drawn: dict[str, Figure | None] = {}
    for name in RUNS:
        for scheme, lines in grouped(summary(name).survival, lambda line: line.scheme).items():
            drawn[f"{name}-{re.sub('[^a-z0-9]+', '-', scheme)}"] = survival_figure(lines)
    return drawn


def histories() -> dict[Path, str]:
    """The file that ships with the package, of the first run; nothing where that is not there."""
    run = header(RUNS[0])
    return {} if run is None else {FILE: to_json(run, summary(RUNS[0])).decode()}


TABLES = {"survival": survival, "forgeries": forgeries, "innocents": innocents}

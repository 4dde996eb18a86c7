"""Committed results as the docs read them: runs under results/, where they come from, and a Markdown table."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import fmean

from gamekeeper.analysis.checks import grouped
from gamekeeper.analysis.summary import Summary, summarise
from gamekeeper.analysis.zero_query import by_asking
from gamekeeper.results import Results
from gamekeeper.surfaces.report.basis import rests_on

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"


@cache
def summary(name: str, without: str | None = None) -> Summary:
    """Of a run; or as if one defense had not taken part."""
    results = Results(RESULTS / name)
    rows = [row for row in results.read() if without is None or not row.defense.startswith(without)]
    return summarise(results.header(), rows)


def stamp(name: str) -> str:
    return f"{origin(name)} `{Results(RESULTS / name).header().command}`"


POOLS = {"mnist": "printed letters", "fashion": "printed letters"}
"""What the pool of a built-in target holds, unless the command names another."""


def basis(name: str) -> str:
    """Which thieves, pool and seeds the numbers of a run rest on."""
    run = Results(RESULTS / name).header()
    named = re.search(r"--pool (\S+)", run.command)
    pool = f"inputs of `{named[1]}`" if named else POOLS.get(str(run.target.get("name")), "inputs")
    return rests_on(summary(name), pool)


def origin(name: str) -> str:
    run = Results(RESULTS / name).header()
    seeds = f"seeds {', '.join(map(str, run.seeds))}" if len(run.seeds) > 1 else f"seed {run.seeds[0]}"
    return f"`results/{name}`, gamekeeper {run.version}, {seeds}, {run.started[:10]}."


def table(head: Sequence[str], rows: Sequence[Sequence[str]], below: str = "") -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n" + (f"\n{below}\n" if below else "")


def thefts(name: str) -> dict[tuple[str, str, int], float]:
    """Clone accuracy of those who ask, by defense, thief and budget; mean over seeds."""
    rows, _ = by_asking(row for row in Results(RESULTS / name).read() if row.clone)
    groups = grouped(rows, lambda row: (row.defense, row.attack, row.budget))
    return {key: fmean(row.clone.accuracy.value for row in own if row.clone) for key, own in groups.items()}

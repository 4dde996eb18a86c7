"""`gamekeeper detect`: which thieves the detectors notice, how soon, and how many honest clients they accuse."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from gamekeeper.analysis.detection import DetectionSummary, HonestLine, ThiefLine, summarise
from gamekeeper.aside import replaced
from gamekeeper.detection_rows import ANY, EVADER, DetectionRow, from_json, to_line
from gamekeeper.detectors.limits import Limits
from gamekeeper.engine.detection import DetectionCell, work
from gamekeeper.engine.honest import KINDS, kinds
from gamekeeper.engine.scene import Scene, Setting, calibrated, scene
from gamekeeper.engine.session import opened
from gamekeeper.errors import BadConfig
from gamekeeper.metrics import Estimate
from gamekeeper.results import Lines
from gamekeeper.surfaces.cells import run_missing
from gamekeeper.surfaces.report.client_words import EVIDENCE_ONLY, NOBODY_CAN, short
from gamekeeper.surfaces.report.figures import write_png
from gamekeeper.surfaces.report.noticed import noticed
from gamekeeper.surfaces.report.words import plain
from gamekeeper.version import __version__

FAILED = 3
COLUMNS = (
    "own: share of a thief's own queries, the rest natural; by N: runs noticed after N queries of all accounts; learnt: accuracy"
    " of the clone at the alarm over that of all answers; µs and kB: all detectors, per query and per client."
)
DETECTION, HEADER, FIGURE = "detection.jsonl", "detection.json", "detection.png"


@dataclass(frozen=True)
class Trial:
    """What the user asks for.

    thieves   ways of asking
    mixes     shares of a client's queries that are the first thief's own, besides 1
    accounts  over how many accounts the first thief deals their queries, besides 1
    honest    kinds of honest clients; None: all that make sense for these inputs
    clients   honest clients of each kind, with each seed
    """

    thieves: tuple[str, ...]
    mixes: tuple[float, ...]
    accounts: tuple[int, ...]
    honest: tuple[str, ...] | None
    queries: int
    seeds: int
    clients: int


def run_detect(setting: Setting, trial: Trial, folder: Path, jobs: int | None, json: bool, quiet: bool) -> int:
    """Arms, calibrates, runs what is missing, prints the table. Exit code 3 if some cell failed."""
    console = Console(quiet=json or quiet, highlight=False)
    table = Lines(folder / DETECTION, from_json, to_line)
    with opened(folder, table, work(folder.absolute())) as session:
        with console.status("arming the detectors") as status:
            here = scene(setting)
            limits = calibrated(here, folder, lambda doing: status.update(f"{doing} …"))
        wanted = cells(setting, trial, here)
        write_header(folder, setting, here, limits, wanted)
        what = f"{len(here.watches)} detectors before {here.target.name}"
        run_missing(session, wanted, what, row_line, jobs, console)
    ids = {cell.id for cell in wanted}
    rows = list({row.cell: row for row in table.every() if row.cell in ids}.values())
    summary = summarise(rows)
    figure = noticed(summary.thieves)
    if figure is not None:
        write_png(figure, folder / FIGURE)
    conclude(folder, summary, limits, json, quiet)
    return FAILED if any(row.error for row in rows) else 0


def cells(setting: Setting, trial: Trial, here: Scene) -> list[DetectionCell]:
    """Every thief alone; the first one also in mixes, over accounts and knowing the limits; every kind of honest clients."""
    suitable = kinds(here.unseen, here.target.box)
    honest = suitable if trial.honest is None else trial.honest
    for kind in honest:
        if kind not in KINDS:
            raise BadConfig(f"there is no kind of honest clients '{kind}'. Known: {', '.join(KINDS)}.")
    each: list[DetectionCell] = []
    for seed in range(trial.seeds):
        thieves = [
            DetectionCell(setting, who, False, trial.queries, seed, digest=here.purpose) for who in trial.thieves
        ]
        each += thieves
        for first in thieves[:1]:
            each += [replace(first, mix=mix) for mix in trial.mixes]
            each += [replace(first, accounts=accounts) for accounts in trial.accounts]
            each.append(replace(first, who=f"{EVADER}:{first.who}"))
        each += [
            DetectionCell(setting, kind, True, trial.queries, seed, accounts=trial.clients, digest=here.purpose)
            for kind in honest
        ]
    return each


def write_header(
    folder: Path, setting: Setting, here: Scene, limits: dict[str, Limits], wanted: Sequence[DetectionCell]
) -> None:
    """What the rows rest on."""
    natural = here.target.owner.natural
    assert natural is not None
    header = {
        "version": __version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "target": here.target.name,
        "digest": here.target.digest,
        "benign": "given" if setting.benign else "shipped or the target's natural inputs",
        "inputs": {
            "for references and thresholds": len(natural) - len(here.benign),
            "for limits": len(here.benign),
            "of honest clients": len(here.unseen),
        },
        "alpha": setting.alpha,
        "looks": setting.looks,
        "seed": setting.seed,
        "detectors": {name: backing(name, limits) for name in here.watches},
        "cells": [cell.id for cell in wanted],
    }
    replaced(folder / HEADER, [orjson.dumps(header, option=orjson.OPT_INDENT_2)])


def backing(name: str, limits: dict[str, Limits]) -> dict[str, object] | str:
    return {"alpha": limits[name].alpha, **asdict(limits[name].backing)} if name in limits else EVIDENCE_ONLY


def conclude(folder: Path, summary: DetectionSummary, limits: dict[str, Limits], json: bool, quiet: bool) -> None:
    if json:
        whole = {**asdict(summary), "limits": {name: backing(name, limits) for name in limits}}
        sys.stdout.write(orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode() + "\n")
        return
    console = Console(highlight=False)
    if not quiet:
        console.print(thieves_table(summary.thieves))
        console.print(honest_table(summary.honest))
        for name, each in limits.items():
            console.print(backed(name, each), soft_wrap=True, markup=False)
        console.print(COLUMNS, soft_wrap=True, markup=False)
        for who, error in summary.failed.items():
            console.print(f"{who}: {error}", soft_wrap=True, markup=False)
    for line in sentences(summary):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"rows: {plain(str(folder / DETECTION))}, figure: {FIGURE}", soft_wrap=True, markup=False)


def sentences(summary: DetectionSummary) -> list[str]:
    """What a reader should know first."""
    natural = next((line for line in summary.honest if line.who == "natural"), None)
    noticed = [line for line in summary.thieves if line.noticed[line.queries].value >= 0.9]
    lines = [f"{len(noticed)} of {len(summary.thieves)} thieves are noticed in nine runs of ten or more."]
    if natural is not None:
        lines.append(f"Of 1,000 ordinary clients, {per_thousand(natural.alarmed[ANY])} raise an alarm.")
    return [*lines, NOBODY_CAN]


def per_thousand(rate: Estimate) -> str:
    low, value, high = (1_000 * part for part in (rate.low, rate.value, rate.high))
    return f"{value:.1f} ({low:.1f} to {high:.1f})" if high < 10 else f"{value:.0f} ({low:.0f} to {high:.0f})"


def backed(name: str, limits: Limits) -> str:
    """What the promise of one detector rests on."""
    held, looks = limits.backing, limits.null.looks
    last = f"{looks[-1]:,} queries" if looks else "no query"
    return (
        f"{name}: aims at {1_000 * limits.alpha:.3g} false alarms per 1,000 clients up to {last} ({held.kind}); of"
        f" {held.clients:,} clients who share no input {held.alarmed} alarmed, which excludes more than"
        f" {held.bound():.3g} per 1,000 at 95 %."
    )


def thieves_table(lines: Sequence[ThiefLine]) -> Table:
    within = sorted({n for line in lines for n in line.noticed})
    table = Table(title="thieves", box=None, header_style="bold", pad_edge=False, title_justify="left")
    table.add_column("who", no_wrap=True)
    for name in ("own", "accounts", *(f"by {n:,}" for n in within), "delay", "first", "learnt", "µs", "kB"):
        table.add_column(name, justify="left" if name == "first" else "right", no_wrap=True)
    for line in lines:
        table.add_row(
            line.who,
            f"{100 * line.mix:.0f} %",
            str(line.accounts),
            *(f"{100 * line.noticed[n].value:.0f} %" if n in line.noticed else "" for n in within),
            "never" if line.delay is None else f"{line.delay:.0f}",
            short(line.first),
            f"{100 * line.learnt:.0f} %",
            f"{1e6 * line.seconds:.0f}",
            f"{line.bytes / 1_000:,.0f}",
        )
    return table


def honest_table(lines: Sequence[HonestLine]) -> Table:
    names = list(dict.fromkeys(name for line in lines for name in line.alarmed))
    table = Table(
        title="honest clients: false alarms per 1,000",
        box=None,
        header_style="bold",
        pad_edge=False,
        title_justify="left",
    )
    table.add_column("who")
    table.add_column("clients", justify="right")
    for name in names:
        table.add_column("any (95 %)" if name == ANY else short(name), justify="right", no_wrap=True)
    for line in lines:
        rates = [
            per_thousand(line.alarmed[name]) if name == ANY else f"{1_000 * line.alarmed[name].value:.1f}"
            for name in names
        ]
        table.add_row(line.who, f"{line.clients:,}", *rates)
    return table


def row_line(row: DetectionRow) -> str:
    """One finished cell."""
    if row.error:
        return f"{row.who}: {row.error}"
    if row.honest:
        return f"{row.who}: {row.alarmed.get(ANY, 0)} of {row.clients} clients alarm"
    query = min((q for q in row.delay.values() if q), default=0)
    learnt = f", with {100 * (row.learnt or 0) / row.whole:.0f} % of what they take" if row.whole else ""
    return f"{row.who}: " + (f"noticed after {query} queries{learnt}" if query else "not noticed")

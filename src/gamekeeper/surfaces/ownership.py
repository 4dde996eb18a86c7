"""`gamekeeper ownership`: which marks survive which removal, at what price, and whom false claims would accuse."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from gamekeeper.analysis.ownership import FalseClaimLine, OwnershipSummary, SurvivalLine, ruling, summarise
from gamekeeper.aside import replaced
from gamekeeper.engine.dispute import DisputeSetting, ensemble_learners, parties
from gamekeeper.engine.ownership import LEARNING, OwnershipCell, work
from gamekeeper.engine.session import opened
from gamekeeper.ownership.countermeasures import COUNTERMEASURES
from gamekeeper.ownership_methods import parse_forgery, parse_removal, parse_scheme
from gamekeeper.ownership_rows import OwnershipRow, from_json, to_line
from gamekeeper.results import Lines
from gamekeeper.surfaces.cells import run_missing
from gamekeeper.surfaces.report.words import plain
from gamekeeper.version import __version__

FAILED = 3
ENSEMBLE = "worst"
"""As a removal: every way to learn of the worst-case ensemble, on one paid transfer set."""
OWNERSHIP, HEADER = "ownership.jsonl", "ownership.json"
COLUMNS = (
    "before, after: claimed answers that the copy gives; panel: those of models that copied nothing, about as accurate; paid:"
    " accuracy that the removal cost; supports: seeds in which the evidence supports the claim at .001, after all gates but"
    " those about dates."
)


@dataclass(frozen=True)
class Disputes:
    """What the user asks for. A thief's ways to learn (`knockoff+gce`) are removals as well; `worst`: all of the ensemble's."""

    schemes: tuple[str, ...]
    removals: tuple[str, ...]
    forgeries: tuple[str, ...]
    seeds: int


def run_ownership(
    setting: DisputeSetting, asked_for: Disputes, folder: Path, jobs: int | None, json: bool, quiet: bool
) -> int:
    """Runs what is missing, prints the tables. Exit code 3 if some cell failed."""
    console = Console(quiet=json or quiet, highlight=False)
    check(asked_for)
    table = Lines(folder / OWNERSHIP, from_json, to_line)
    with opened(folder, table, work(folder.absolute())) as session:
        wanted = cells(setting, asked_for)
        write_header(folder, setting, wanted)
        run_missing(session, wanted, setting.target.name, row_line, jobs, console)
    ids = {cell.id: place for place, cell in enumerate(wanted)}
    last = {row.cell: row for row in table.every() if row.cell in ids}
    rows = sorted(last.values(), key=lambda row: ids[row.cell])
    conclude(folder, summarise(rows), json, quiet)
    return FAILED if any(row.error for row in rows) else 0


def check(asked_for: Disputes) -> None:
    """Raises BadConfig for a name or a parameter that does not exist, before anything is trained."""
    for text in asked_for.schemes:
        parse_scheme(text)
    for text in asked_for.removals:
        if text != ENSEMBLE and not text.startswith(LEARNING):
            parse_removal(text)
    for text in asked_for.forgeries:
        parse_forgery(text)


def cells(setting: DisputeSetting, asked_for: Disputes) -> list[OwnershipCell]:
    """Seed by seed, so that a run that is stopped has whole seeds."""
    target = parties(setting).target
    removals: list[str] = []
    for text in asked_for.removals:
        removals += ensemble_learners(target) if text == ENSEMBLE else (text,)
    digest = target.digest
    each: list[OwnershipCell] = []
    for seed in range(asked_for.seeds):
        for how in asked_for.forgeries:
            each.append(OwnershipCell(setting, "forgery", "", how, seed, digest))
        for scheme in asked_for.schemes:
            each.append(OwnershipCell(setting, "innocent", scheme, "", seed, digest))
            each += [OwnershipCell(setting, "removal", scheme, how, seed, digest) for how in dict.fromkeys(removals)]
    return each


def write_header(folder: Path, setting: DisputeSetting, wanted: Sequence[OwnershipCell]) -> None:
    """What the rows rest on; written aside and renamed. Cells of an earlier command on the same target stay in it."""
    here = parties(setting)
    path = folder / HEADER
    earlier = orjson.loads(path.read_bytes()) if path.exists() else {}
    cells = earlier.get("cells", []) if earlier.get("digest") == here.target.digest else []
    header = {
        "version": __version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "target": here.target.name,
        "digest": here.target.digest,
        "queries": setting.queries,
        "panel": setting.models,
        "beacon": setting.beacon,
        "inputs": {
            "of owners": len(here.owner.x),
            "of the remover": len(here.remover.x),
            "of the accuser": len(here.accuser.x),
            "of the judge": len(here.court),
            "for accuracy": len(here.test),
        },
        "cells": list(dict.fromkeys([*cells, *(cell.id for cell in wanted)])),
    }
    replaced(path, [orjson.dumps(header, option=orjson.OPT_INDENT_2)])


def conclude(folder: Path, summary: OwnershipSummary, json: bool, quiet: bool) -> None:
    if json:
        sys.stdout.write(orjson.dumps(asdict(summary), option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console(highlight=False)
    if not quiet:
        console.print(survival_table(summary.survival))
        console.print(
            false_table("false claims against innocent models: accused with these countermeasures", summary.forgeries)
        )
        console.print(false_table("honest claims against innocent models", summary.innocents))
        console.print(COLUMNS, soft_wrap=True, markup=False)
        for what, error in summary.failed.items():
            console.print(f"{what}: {error}", soft_wrap=True, markup=False)
    for line in sentences(summary):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"rows: {plain(str(folder / OWNERSHIP))}", soft_wrap=True, markup=False)


def sentences(summary: OwnershipSummary) -> list[str]:
    """What a reader should know first."""
    lines: list[str] = []
    for scheme in dict.fromkeys(line.scheme for line in summary.survival):
        own = [line for line in summary.survival if line.scheme == scheme]
        whole = [line for line in own if line.decisions["supports"] == line.seeds]
        lines.append(f"{scheme}: {len(whole)} of {len(own)} removals leave a claim that every seed supports.")
    trials = sum(line.trials for line in (*summary.forgeries, *summary.innocents))
    if trials:
        naive, gated = (
            sum(line.accused[name] for line in (*summary.forgeries, *summary.innocents)) for name in ("none", "all")
        )
        lines.append(
            f"Of {trials} claims against innocent models, a judge without countermeasures supports {naive}, one with all of"
            f" them {gated}."
        )
    return lines or ["Nothing was measured."]


def survival_table(lines: Sequence[SurvivalLine]) -> Table:
    table = Table(title="removals", box=None, header_style="bold", pad_edge=False, title_justify="left")
    for name in ("scheme", "removal"):
        table.add_column(name, no_wrap=True)
    for name in ("before", "after", "panel", "accuracy", "paid", "log10 p", "supports", "void"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            line.scheme,
            line.removal,
            *(f"{100 * share:.0f} %" for share in (line.before, line.share, line.panel)),
            f"{100 * line.accuracy:.1f} %",
            f"{100 * line.paid:.1f}",
            f"{line.log10_p:.1f}",
            f"{line.decisions['supports']} of {line.seeds}",
            str(line.decisions["void"]),
        )
    return table


def false_table(title: str, lines: Sequence[FalseClaimLine]) -> Table:
    table = Table(title=title, box=None, header_style="bold", pad_edge=False, title_justify="left")
    table.add_column("claim", no_wrap=True)
    for name in ("innocents", "panel", "trials", *COUNTERMEASURES):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        shares = (f"{100 * share:.0f} %" for share in (line.share, line.panel))
        table.add_row(line.how, *shares, str(line.trials), *(str(line.accused[name]) for name in COUNTERMEASURES))
    return table


def row_line(row: OwnershipRow) -> str:
    """One finished cell."""
    what = " ".join(part for part in (row.kind, row.scheme, row.how) if part) + f", seed {row.seed}"
    if row.error:
        return f"{what}: {row.error}"
    each = [f"{one.hits} of {row.n} ({ruling(row, place).decision})" for place, one in enumerate(row.suspects)]
    return f"{what}: {', '.join(each)}"

"""`gamekeeper replay`: who in a log looks like a thief, why, how sure that is, and how much they have learnt."""

import shlex
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from gamekeeper.detectors.limits_file import load_limits
from gamekeeper.engine.lock import claimed
from gamekeeper.engine.replay import Panel
from gamekeeper.engine.replay_panel import (
    Calibration,
    bare_panel,
    calibrated_in,
    detectors_in,
    panel,
)
from gamekeeper.engine.replay_run import Job, run_replay
from gamekeeper.engine.replay_run import Progress as Advance
from gamekeeper.engine.scene import Say, Scene, Setting, partial_scene
from gamekeeper.engine.session import make_folder
from gamekeeper.errors import BadConfig
from gamekeeper.logs.event import shown
from gamekeeper.logs.mapping import load_mapping
from gamekeeper.replay_files import ReplayFiles
from gamekeeper.replay_rows import AlarmRow, ClientRow, ReplayHeader
from gamekeeper.surfaces.replay_report import REPORT, write_replay_report
from gamekeeper.surfaces.report.client_words import short
from gamekeeper.surfaces.report.words import plain
from gamekeeper.targets.choice import Choice

ALARMED = 1
MOST = 40
"""Clients in the table."""
QUESTION = "An alarm is a question for a person, not a verdict: an honest client may raise one."
NAME_WIDTH = 40


@dataclass(frozen=True)
class Wanted:
    """What the user asks for.

    limits     a file of `gamekeeper calibrate`; None: limits are made from benign inputs
    benign     a data file of inputs like a user's; None: the target's own
    detectors  None: those that the limits are for, or all by default
    alpha      false alarms per client to aim at, of all detectors together; counts only where no limits are given
    """

    log: Path
    mapping: str
    target: str | None
    limits: Path | None
    benign: str | None
    detectors: tuple[str, ...] | None
    default: tuple[str, ...]
    alpha: float
    top: int
    fail_if_alarm: bool


def run(wanted: Wanted, folder: Path, json: bool, quiet: bool, arguments: Sequence[str]) -> int:
    """Replays the log and prints what came of it. Exit code 1 with --fail-if-alarm if there is any alarm."""
    console = Console(quiet=json or quiet, highlight=False, stderr=json)
    mapping = load_mapping(wanted.mapping)
    make_folder(folder)
    with claimed(folder):
        with console.status("arming the detectors") as status:
            watched, here, alpha = prepared(wanted, folder, lambda doing: status.update(f"{doing} …"))
        job = Job(
            wanted.log,
            mapping,
            wanted.mapping,
            None if here is None else here.target.box,
            None if here is None else here.target.victim.task.classes,
            () if here is None else tuple(here.target.schema.names),
            "" if here is None else here.target.name,
            "" if here is None else here.target.digest,
            alpha,
            wanted.top,
            shlex.join(["gamekeeper", *arguments]),
        )
        with progress(console) as advance:
            header = run_replay(job, watched, folder, advance)
        write_replay_report(folder)
    conclude(folder, header, json, quiet)
    return ALARMED if wanted.fail_if_alarm and header.alarmed else 0


def prepared(wanted: Wanted, folder: Path, say: Say) -> tuple[Panel, Scene | None, float]:
    """The panel, its scene, and the false alarms per client that its limits aim at. Raises BadConfig."""
    names = detectors(wanted)
    if wanted.target is None:
        if wanted.limits or wanted.benign:
            raise BadConfig("--limits and --benign are of a target. Name it with --target.")
        return bare_panel(names), None, 0.0
    here = partial_scene(Setting(Choice(wanted.target), names, wanted.alpha, wanted.benign))
    if wanted.limits is None:
        fresh = calibrated_in(folder, here, say)
        return panel(here, fresh.limits, fresh.left_out), here, wanted.alpha
    given = Calibration(load_limits(wanted.limits, here.basis), {})
    limits = {name: each for name, each in given.limits.items() if name in names}
    return panel(here, limits, given.left_out), here, sum(each.alpha for each in limits.values())


def detectors(wanted: Wanted) -> tuple[str, ...]:
    """Those named, else those of the limits with the evidence, else those by default."""
    if wanted.detectors is not None:
        return wanted.detectors
    if wanted.limits is None:
        return wanted.default
    return tuple(dict.fromkeys(["repeats", *detectors_in(wanted.limits)]))


@contextmanager
def progress(console: Console) -> Generator[Advance, None, None]:
    """A bar over the bytes of the log, with an estimate of what is left."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        bars: dict[str, TaskID] = {}

        def advance(name: str, done: int, whole: int) -> None:
            if name not in bars:
                bars[name] = bar.add_task(f"reading the log: {name}", total=whole)
            bar.update(bars[name], completed=done)

        yield advance


# what is printed


def conclude(folder: Path, header: ReplayHeader, json: bool, quiet: bool) -> None:
    files = ReplayFiles(folder)
    alarms, clients = files.alarms(), {row.client: row for row in files.clients()}
    if json:
        whole = {**asdict(header), "alarms": [asdict(alarm) for alarm in alarms]}
        sys.stdout.write(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console(highlight=False)
    if alarms and not quiet:
        console.print(alarm_table(alarms, clients))
    for line in sentences(header, alarms):
        console.print(line, soft_wrap=True, markup=False)
    if not quiet:
        for line in details(header):
            console.print(line, soft_wrap=True, markup=False)
    console.print(f"report: {plain(str(folder / REPORT))}", soft_wrap=True, markup=False)


def alarm_table(alarms: Sequence[AlarmRow], clients: dict[str, ClientRow]) -> Table:
    """One line for each client, or group of them, with their first alarm, in the order of the alarms."""
    table = Table(title="alarms", box=None, header_style="bold", pad_edge=False, title_justify="left")
    for name in ("client", "detector"):
        table.add_column(name, overflow="fold")
    table.add_column("when (UTC)", no_wrap=True)
    for name in ("after", "p", "queries", "learnt"):
        table.add_column(name, justify="right")
    firsts: dict[tuple[str, bool], AlarmRow] = {}
    for alarm in alarms:
        firsts.setdefault((alarm.client, bool(alarm.members)), alarm)
    for alarm in list(firsts.values())[:MOST]:
        row = clients.get(alarm.client) if not alarm.members else None
        learnt = alarm.learnt if row is None else row.learnt
        table.add_row(
            plain(names_of(alarm)),
            short(alarm.detector),
            when(alarm.at),
            f"{alarm.query:,}",
            f"{alarm.p:.2g}",
            f"{alarm.queries if row is None else row.queries:,}",
            "" if learnt is None else f"{100 * learnt:.0f} %",
        )
    return table


def names_of(alarm: AlarmRow) -> str:
    if not alarm.members:
        return shown(alarm.client, NAME_WIDTH)
    more = f" and {len(alarm.members) - 3:,} more" if len(alarm.members) > 3 else ""
    return f"together: {', '.join(shown(name, NAME_WIDTH) for name in alarm.members[:3])}{more}"


def when(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def sentences(header: ReplayHeader, alarms: Sequence[AlarmRow]) -> list[str]:
    """What a reader should know first."""
    lines = [
        f"{header.clients:,} clients sent {header.queries:,} queries"
        + (f" from {when(header.first)} to {when(header.last)}" if header.first is not None else "")
        + f"; {header.alarmed:,} of them raised an alarm."
    ]
    if header.groups:
        together = sum(map(len, header.groups))
        groups = "a group" if len(header.groups) == 1 else f"{len(header.groups):,} groups"
        lines.append(f"{together:,} accounts send near-identical queries and form {groups}, judged as one client.")
    if header.ran and not any(backing != "evidence" for backing in header.ran.values()):
        lines.append("Nothing here could raise an alarm: there is evidence only.")
    return [*lines, QUESTION] if alarms else lines


def details(header: ReplayHeader) -> list[str]:
    """What limits rest on, what could not run, and what was skipped."""
    backing = [f"{name}: {rests}" for name, rests in header.ran.items()]
    missing = [f"{name} did not run: {reason}" for name, reason in header.left_out.items()]
    return [*backing, *missing, *header.notes]

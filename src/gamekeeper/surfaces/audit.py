"""`gamekeeper audit` and `gamekeeper report`: what a person sees while a grid runs and after it."""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gamekeeper.architectures import fresh
from gamekeeper.engine.checks import RECOVERING, raised
from gamekeeper.engine.ensemble import thieves
from gamekeeper.engine.grid import Audit, Cell, expand, queries, weight
from gamekeeper.engine.results import SCHEMA, Results, Row, Run
from gamekeeper.engine.run import LEDGER, blank, default_jobs
from gamekeeper.engine.run import run as run_cells
from gamekeeper.engine.summary import summarise
from gamekeeper.engine.thresholds import Threshold, breaches, parse_threshold
from gamekeeper.errors import BadConfig
from gamekeeper.ledger import Ledger
from gamekeeper.methods import foreign
from gamekeeper.surfaces.report import write_pngs, write_report
from gamekeeper.surfaces.terminal import cell_line, show
from gamekeeper.surfaces.words import headline
from gamekeeper.targets.choice import assumptions, facts
from gamekeeper.targets.target import Target
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Architecture
from gamekeeper.version import __version__

FAILED = 3
"""Exit code of a run some of whose cells failed."""
PROBE_STEPS = 8
JUDGING, FOLLOWING = 0.3, 6.0
"""Seconds a cell takes beside training, roughly, and with --follow-on as well."""
WORTH_WORKERS = 45.0
"""Seconds of work below which starting worker processes takes longer than it saves."""


@dataclass(frozen=True)
class Manner:
    """How a run talks: stop after the plan, spend without asking, machine-readable, short."""

    dry_run: bool = False
    yes: bool = False
    json: bool = False
    quiet: bool = False


def run_audit(
    audit: Audit, folder: Path, jobs: int | None, fail_if: Sequence[str], manner: Manner, arguments: Sequence[str]
) -> int:
    """Plans, asks before it spends, runs what is missing, reports. Returns the exit code."""
    thresholds = [parse_threshold(text) for text in fail_if]
    console = Console(quiet=manner.quiet or manner.json, highlight=False)
    target = audit.target.load()
    cells = expand(audit, target)
    results = open_run(folder)
    done = {row.cell for row in results.every() if row.error is None}
    missing = [cell for cell in cells if cell.id not in done]
    work = estimate(missing, target)
    jobs = min(jobs or (default_jobs() if work > WORTH_WORKERS else 1), max(1, len(missing)))
    console.print(plan(audit, target, cells, missing, jobs, work / jobs), soft_wrap=True, markup=False)
    if manner.dry_run:
        return 0
    consent(target, missing, manner)
    results.write_header(header(audit, target, cells, arguments))
    watch(cells, missing, results, folder, jobs, console)
    return conclude(folder, thresholds, manner, console)


def refuse_code(methods: Sequence[str], path: str) -> None:
    """Raises BadConfig if a target file names code to import: a file that was handed on must not be able to run any."""
    for text in methods:
        if foreign(text):
            raise BadConfig(
                f"{path} names '{text}', a class to be imported, which runs code. Only the command line may: give it with"
                " --attack or --defense."
            )


def open_run(folder: Path) -> Results:
    """The run's files, mended where a crash left a line cut short."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfig(f"cannot make the folder {folder}: {error}. Name another with --out.") from error
    if (folder / LEDGER).exists():
        ledger = Ledger(folder / LEDGER)
        ledger.check()
        ledger.close()
    results = Results(folder)
    results.repair()
    return results


def plan(
    audit: Audit, target: Target, cells: Sequence[Cell], missing: Sequence[Cell], jobs: int, seconds: float
) -> str:
    """Queries, money and time, before anything is spent."""
    asked = queries(missing, target) if missing else 0
    money = f", {asked * target.price:,.2f} in money at {target.price:g} a query" if target.price else ""
    where = "a live API" if target.remote else "a model on this machine"
    done = len(cells) - len(missing)
    resumed = f", {done} already done" if done else ""
    return (
        f"gamekeeper {__version__}: {target.name}, {where} ({target.victim.task.classes} classes, answers"
        f" {target.answers})\n{len(cells)} thefts: {len(set(audit.defenses))} defenses x {len({cell.attack for cell in cells})}"
        f" thieves x budgets {', '.join(f'{b:,}' for b in sorted(set(audit.budgets)))} x {len(audit.seeds)}"
        f" seed(s){resumed}\nat most {asked:,} queries{money}; about {max(seconds / 60, 0.1):.1f} minutes on {jobs}"
        " process(es)"
    )


def estimate(missing: Sequence[Cell], target: Target) -> float:
    """Seconds of one process, from a few timed training steps of each student. Clones that repeat are counted too."""
    students = dict.fromkeys(cell.student for cell in missing)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a_step = {student: seconds_a_step(student, target) for student in students}
    torch.set_num_threads(threads)
    judging = sum(JUDGING + FOLLOWING * cell.follow_on for cell in missing)
    return judging + sum(a_step[cell.student] * Fit().steps(round(weight(cell))) for cell in missing)


def seconds_a_step(student: Architecture, target: Target) -> float:
    """Of training on a batch of random inputs."""
    classes, recipe = target.victim.task.classes, Fit(epochs=1, least_steps=PROBE_STEPS)
    x = target.box.uniform(recipe.batch, 0)
    y = torch.full((len(x), classes), 1 / classes)
    net = fresh(student, 0)
    fit(net, x, y, target.victim.task.loss, Fit(epochs=1, least_steps=2), 0)
    start = time.perf_counter()
    fit(net, x, y, target.victim.task.loss, recipe, 0)
    return (time.perf_counter() - start) / PROBE_STEPS


def consent(target: Target, missing: Sequence[Cell], manner: Manner) -> None:
    """Asks before spending on somebody's API."""
    if not target.remote or manner.yes or not missing:
        return
    if not sys.stdin.isatty():
        raise BadConfig("this run spends queries on a live API and nobody is there to be asked; add --yes.")
    answer = input("Spend them? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt


def header(audit: Audit, target: Target, cells: Sequence[Cell], arguments: Sequence[str]) -> Run:
    return Run(
        schema=SCHEMA,
        version=__version__,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command="gamekeeper " + shlex.join(arguments),
        cells=[cell.id for cell in cells],
        target=facts(target),
        assumptions=[*assumptions(target, cells[0].student, told(cells)), *thieves(audit.attacks, target).left_out],
        seeds=list(audit.seeds),
        budgets=sorted(set(audit.budgets)),
    )


def told(cells: Sequence[Cell]) -> list[str]:
    """The thieves who are told which defense they meet, as the user wrote them."""
    return list(dict.fromkeys(cell.attack for cell in cells if blank(cell).learner in RECOVERING))


def watch(
    cells: Sequence[Cell], missing: Sequence[Cell], results: Results, folder: Path, jobs: int, console: Console
) -> None:
    """Runs the missing cells; each is on disk before it is on screen."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} %"))
    total = sum(map(weight, cells)) or 1.0
    share = {cell.id: 100 * weight(cell) / total for cell in cells}
    left = sum(share[cell.id] for cell in missing)
    live = console.is_terminal and not console.quiet
    progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not live)
    with progress:
        task = progress.add_task("stealing", total=100, completed=round(100 - left))
        for row in run_cells(missing, folder, jobs):
            results.append(row)
            progress.advance(task, share[row.cell])
            console.print(cell_line(row), soft_wrap=True, markup=False)


def conclude(folder: Path, thresholds: Sequence[Threshold], manner: Manner, console: Console) -> int:
    """Table, report and thresholds. Exit code 1 if a threshold is breached."""
    run, rows = finished(folder)
    summary = summarise(run, rows)
    path = write_report(folder)
    broken = [breach for threshold in thresholds for breach in breaches(threshold, rows)]
    if manner.json:
        sys.stdout.write(machine(run, rows, [breach.threshold.text for breach in broken]))
    else:
        console.print()
        say = lines()
        if manner.quiet:
            say(headline(summary))
        else:
            show(summary, Console(highlight=False))
        say(f"report: {path}")
        for breach in broken:
            say(f"breached: {breach.threshold.text} (defense {breach.defense}: {breach.value:.3f})")
    # a thief whom a defense or a target does not suit is no failure as long as others were measured
    failed = [row for row in rows if row.error and not unsuited(row, rows)]
    if failed and not manner.json:
        Console(stderr=True).print(f"{len(failed)} cell(s) failed; run the same command again to retry them.")
    if broken:
        return 1
    return FAILED if failed else 0


def unsuited(row: Row, rows: Sequence[Row]) -> bool:
    """Whether a thief refused what others took on: he says why in his row."""
    return (row.error or "").startswith("Unsuited:") and any(r.clone and r.defense == row.defense for r in rows)


def finished(folder: Path) -> tuple[Run, list[Row]]:
    """What a folder holds: its header and the rows of its cells."""
    results = Results(folder)
    return results.header(), results.read()


def lines() -> Callable[[str], None]:
    """Prints plain lines: paths and names are neither wrapped nor read as markup."""
    return Console(highlight=False, soft_wrap=True, markup=False).print


def machine(run: Run, rows: Sequence[Row], broken: Sequence[str]) -> str:
    """The run, its rows with every flag, and the thresholds it breaches, as JSON."""
    flags = raised(rows)
    cells = [{**asdict(row), "flags": flags.get(row.cell, [])} for row in rows]
    data = {"run": asdict(run), "rows": cells, "breached": list(broken)}
    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() + "\n"


def show_report(folder: Path, png: bool, json: bool) -> None:
    """The table and the page of a folder of results, or everything as JSON."""
    run, rows = finished(folder)
    if json:
        sys.stdout.write(machine(run, rows, []))
        return
    show(summarise(run, rows), Console(highlight=False))
    say = lines()
    say(f"report: {write_report(folder)}")
    for path in write_pngs(folder) if png else []:
        say(f"figure: {path}")

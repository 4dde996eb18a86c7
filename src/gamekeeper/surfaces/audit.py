"""`gamekeeper audit` and `gamekeeper report`: what a person sees while a grid runs and after it."""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gamekeeper.architectures import fresh
from gamekeeper.attacks.theft import thief_facts
from gamekeeper.engine.checks import raised
from gamekeeper.engine.ensemble import thieves
from gamekeeper.engine.grid import Audit, Cell, expand, judged, queries, weight
from gamekeeper.engine.lineup import LineUp, as_before, line_up, question
from gamekeeper.engine.lock import claimed
from gamekeeper.engine.results import SCHEMA, Results, Row, Run
from gamekeeper.engine.run import LEDGER, books, check_defenses, default_jobs, out_of_hand, prepared
from gamekeeper.engine.run import run as run_cells
from gamekeeper.engine.summary import summarise
from gamekeeper.engine.thresholds import Threshold, Verdict, check_threshold, judge, parse_threshold, unsuited
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


@dataclass(frozen=True)
class Plan:
    """What a run is about to do, at most. seconds are of the whole run over `jobs` processes.

    judged      of the queries, how many are the judge's own
    unanswered  inputs that earlier runs sent to a live API without getting an answer
    """

    thefts: int
    done: int
    queries: int
    judged: int
    price: float
    unanswered: int
    jobs: int
    seconds: float

    def essential(self) -> str:
        """Queries, money and time."""
        money = f", {self.queries * self.price:,.2f} in money at {self.price:g} a query" if self.price else ""
        own = f" ({self.judged:,} of them the judge's own)" if self.judged else ""
        return (
            f"at most {self.queries:,} queries{own}{money}; about {max(self.seconds / 60, 0.1):.1f} minutes on"
            f" {self.jobs} process(es)"
        )

    def loss(self) -> list[str]:
        """What a killed run may have paid for nothing."""
        if not self.unanswered:
            return []
        return [
            f"{self.unanswered:,} inputs were under way when an earlier run ended: sent without an answer, and perhaps"
            " charged. They are sent again, with the same Idempotency-Key where the batch is the same."
        ]


@dataclass(frozen=True)
class Bill:
    """What this run sent to a live API: all inputs, and of these the thieves'. The rest are the judge's."""

    inputs: int
    thieves: int
    unanswered: int
    price: float

    def sentence(self) -> str:
        money = f", {self.inputs * self.price:,.2f} in money" if self.price else ""
        lost = f"; {self.unanswered:,} more got no answer and may have been charged" if self.unanswered else ""
        return (
            f"sent to the API in this run: {self.inputs:,} inputs{money}; {self.thieves:,} of them the thieves',"
            f" {self.inputs - self.thieves:,} the judge's{lost}"
        )


def run_audit(
    audit: Audit, folder: Path, jobs: int | None, fail_if: Sequence[str], manner: Manner, arguments: Sequence[str]
) -> int:
    """Plans, asks before it spends, runs what is missing, reports. Returns the exit code."""
    thresholds = [parse_threshold(text) for text in fail_if]
    console = Console(quiet=manner.quiet or manner.json, highlight=False)
    target = prepared(audit.target)
    chosen = compare(audit, target, folder, console)
    asked, audit = audit.defenses, replace(audit, defenses=chosen.defenses)
    cells, left_out = possible(expand(audit, target), target)
    for threshold in thresholds:
        check_threshold(threshold, cells)
    make_folder(folder)
    with nullcontext() if manner.dry_run else claimed(folder):
        results = open_run(folder, mend=not manner.dry_run)
        done = {row.cell for row in results.every() if row.error is None}
        missing = [cell for cell in cells if cell.id not in done]
        check_defenses(missing, target)
        plan = outlook(cells, missing, target, folder, jobs)
        announce(audit, target, cells, plan, manner, console)
        if manner.dry_run:
            return 0
        consent(target, plan, manner)
        before = books(target, folder)
        kept = question(asked, target, audit.seeds[0]) | asdict(chosen)
        results.write_header(
            replace(header(audit, target, cells, [*chosen.left_out, *left_out], arguments), chosen=kept)
        )
        rows = watch(cells, missing, results, folder, plan.jobs, console)
        after = books(target, folder)
        paid = sum(row.paid for row in rows)
        bill = Bill(after.answered - before.answered, paid, after.unanswered, target.price)
        return conclude(folder, thresholds, manner, console, bill if target.remote else None)


def compare(audit: Audit, target: Target, folder: Path, console: Console) -> LineUp:
    """The defenses to compare: those an earlier run in the folder chose, or chosen now.

    Choosing strengths takes a while where a defense trains networks, and so is told.
    """
    with suppress(BadConfig):  # no header, or one cut short: it is written anew
        if before := as_before(Results(folder).header().chosen, audit.defenses, target, audit.seeds[0]):
            return before
    with console.status("reading the defenses") as status:
        return line_up(audit.defenses, target, audit.seeds[0], lambda doing: status.update(f"{doing} …"))


def possible(cells: Sequence[Cell], target: Target) -> tuple[list[Cell], list[str]]:
    """The cells but for those of a thief who knows a defense that he cannot use; and a sentence for each such thief.

    Raises BadConfig where none is left.
    """
    without = out_of_hand(cells, target)
    left = [cell for cell in cells if (cell.defense, cell.attack) not in without]
    said = [
        f"{attack} does not take part against {', '.join(sorted(d for d, a in without if a == attack))}: he learns with the"
        " defense in his own hands, and it cannot be armed without the owner's inputs or weights."
        for attack in sorted({attack for _, attack in without})
    ]
    if not left:
        raise BadConfig(f"nothing is left to measure: {' '.join(said)} Give another --attack.")
    return left, said


def refuse_code(methods: Sequence[str], path: str) -> None:
    """Raises BadConfig if a target file names code to import: a file that was handed on must not be able to run any."""
    for text in methods:
        if foreign(text):
            raise BadConfig(
                f"{path} names '{text}', a class to be imported, which runs code. Only the command line may: give it with"
                " --attack or --defense."
            )


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfig(f"cannot make the folder {folder}: {error}. Name another with --out.") from error


def open_run(folder: Path, mend: bool = True) -> Results:
    """The run's files; mended, unless only looked at, where a crash left a line cut short."""
    make_folder(folder)
    if (folder / LEDGER).exists():
        ledger = Ledger(folder / LEDGER)
        ledger.check()
        ledger.close()
    results = Results(folder)
    if mend:
        results.repair()
    return results


def outlook(cells: Sequence[Cell], missing: Sequence[Cell], target: Target, folder: Path, jobs: int | None) -> Plan:
    work = estimate(missing, target)
    jobs = min(jobs or (default_jobs() if work > WORTH_WORKERS else 1), max(1, len(missing)))
    return Plan(
        thefts=len(cells),
        done=len(cells) - len(missing),
        queries=queries(missing, target) if missing else 0,
        judged=judged(missing, target) if missing and target.remote else 0,
        price=target.price,
        unanswered=books(target, folder).unanswered,
        jobs=jobs,
        seconds=work / jobs,
    )


def announce(audit: Audit, target: Target, cells: Sequence[Cell], plan: Plan, manner: Manner, console: Console) -> None:
    """The plan before anything is spent; of a dry run its numbers in any manner."""
    where = "a live API" if target.remote else "a model on this machine"
    resumed = f", {plan.done} already done" if plan.done else ""
    said = [
        f"gamekeeper {__version__}: {target.name}, {where} ({target.victim.task.classes} classes, answers"
        f" {target.answers})",
        f"{plan.thefts} thefts: {len(set(audit.defenses))} defenses x {len({cell.attack for cell in cells})} thieves x budgets"
        f" {', '.join(f'{b:,}' for b in sorted(set(audit.budgets)))} x {len(audit.seeds)} seed(s){resumed}",
        plan.essential(),
        *plan.loss(),
    ]
    console.print("\n".join(said), soft_wrap=True, markup=False)
    if manner.dry_run and manner.json:
        sys.stdout.write(orjson.dumps({"plan": asdict(plan)}, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif manner.dry_run and manner.quiet:
        lines()(plan.essential())


def estimate(missing: Sequence[Cell], target: Target) -> float:
    """Seconds of one process, from a few timed training steps of each student. Clones that repeat are counted too."""
    students = dict.fromkeys(cell.student for cell in missing)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a_step = {student: seconds_a_step(student, target) for student in students}
    torch.set_num_threads(threads)
    judging = sum((JUDGING + FOLLOWING * cell.follow_on for cell in missing), 0.0)
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


def consent(target: Target, plan: Plan, manner: Manner) -> None:
    """Asks before spending on somebody's API; on stderr, since stdout is for results."""
    if not target.remote or manner.yes or plan.done == plan.thefts:
        return
    if not sys.stdin.isatty():
        raise BadConfig("this run spends queries on a live API and nobody is there to be asked; add --yes.")
    if manner.quiet or manner.json:
        sys.stderr.write("\n".join([plan.essential(), *plan.loss(), ""]))
    sys.stderr.write("Spend them? [y/N] ")
    sys.stderr.flush()
    if input().strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt


def header(
    audit: Audit, target: Target, cells: Sequence[Cell], left_out: Sequence[str], arguments: Sequence[str]
) -> Run:
    """left_out: sentences for the defenses of `all` that are not compared."""
    return Run(
        schema=SCHEMA,
        version=__version__,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command="gamekeeper " + shlex.join(arguments),
        cells=[cell.id for cell in cells],
        target=facts(target),
        assumptions=[
            *assumptions(target, cells[0].student, told(cells)),
            *thieves(audit.attacks, target).left_out,
            *left_out,
        ],
        seeds=list(audit.seeds),
        budgets=sorted(set(audit.budgets)),
        names={cell.id: [cell.defense, cell.attack] for cell in cells},
    )


def told(cells: Sequence[Cell]) -> list[str]:
    """The thieves who are told which defense they meet, as the user wrote them."""
    return list(dict.fromkeys(cell.attack for cell in cells if thief_facts(cell.thief).uses_defense))


def watch(
    cells: Sequence[Cell], missing: Sequence[Cell], results: Results, folder: Path, jobs: int, console: Console
) -> list[Row]:
    """Runs the missing cells; each is on disk before it is on screen."""
    rows: list[Row] = []
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
            rows.append(row)
            progress.advance(task, share[row.cell])
            console.print(cell_line(row), soft_wrap=True, markup=False)
    return rows


def conclude(folder: Path, thresholds: Sequence[Threshold], manner: Manner, console: Console, bill: Bill | None) -> int:
    """Table, report, bill and thresholds. Exit code 1 if a threshold is breached, FAILED if a cell failed."""
    run, rows = finished(folder)
    path = write_report(folder)
    verdicts = [verdict for threshold in thresholds for verdict in judge(threshold, rows)]
    if manner.json:
        sys.stdout.write(machine(run, rows, verdicts, bill))
    else:
        console.print()
        say = lines()
        if manner.quiet:
            say(headline(summarise(run, rows)))
        else:
            show(summarise(run, rows), Console(highlight=False))
        for line in [f"report: {path}", *([bill.sentence()] if bill else []), *map(ruling, verdicts)]:
            if line:
                say(line)
    # a thief whom a defense or a target does not suit is no failure as long as others were measured
    failed = [row for row in rows if row.error and not unsuited(row, rows)]
    if failed and not manner.json:
        Console(stderr=True).print(f"{len(failed)} cell(s) failed; run the same command again to retry them.")
    if any(verdict.breached for verdict in verdicts):
        return 1
    return FAILED if failed or not all(verdict.judged for verdict in verdicts) else 0


def ruling(verdict: Verdict) -> str:
    """One line for a verdict that is not clean; empty for one that is."""
    text = verdict.threshold.text
    unknown = f"no full measurement of {', '.join(verdict.missing)}" if verdict.missing else ""
    if verdict.breached and verdict.value is not None:
        return f"breached: {text} (defense {verdict.defense}: {verdict.value:.3f}{'; ' + unknown if unknown else ''})"
    return "" if verdict.judged else f"not judged: {text} (defense {verdict.defense}: {unknown}; its cell failed)"


def finished(folder: Path) -> tuple[Run, list[Row]]:
    """What a folder holds: its header and the rows of its cells. Raises BadConfig for several targets."""
    results = Results(folder)
    run = results.header()
    if "targets" in run.target:
        name = run.target["name"]
        raise BadConfig(
            f"{folder} holds the reproduction '{name}', of several targets, and a report is of one."
            f" `gamekeeper reproduce {name} --out {folder}` prints its table."
        )
    return run, results.read()


def lines() -> Callable[[str], None]:
    """Prints plain lines: paths and names are neither wrapped nor read as markup."""
    return Console(highlight=False, soft_wrap=True, markup=False).print


def machine(run: Run, rows: Sequence[Row], verdicts: Sequence[Verdict], bill: Bill | None) -> str:
    """The run, its rows with every flag, the thresholds it breaches or cannot judge, and the API's bill, as JSON."""
    flags = raised(rows)
    data = {
        "run": asdict(run),
        "rows": [{**asdict(row), "flags": flags.get(row.cell, [])} for row in rows],
        "breached": list(dict.fromkeys(one.threshold.text for one in verdicts if one.breached)),
        "unjudged": list(dict.fromkeys(one.threshold.text for one in verdicts if not one.judged)),
        "bill": bill and asdict(bill),
    }
    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() + "\n"


def show_report(folder: Path, png: bool, json: bool) -> None:
    """The table and the page of a folder of results, or everything as JSON."""
    run, rows = finished(folder)
    if json:
        sys.stdout.write(machine(run, rows, [], None))
        return
    show(summarise(run, rows), Console(highlight=False))
    say = lines()
    say(f"report: {write_report(folder)}")
    for path in write_pngs(folder) if png else []:
        say(f"figure: {path}")

"""`gamekeeper audit` and `gamekeeper report`: what a person sees while a grid runs and after it."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gamekeeper.analysis.checks import raised
from gamekeeper.analysis.summary import summarise
from gamekeeper.analysis.thresholds import Threshold, ThresholdResult, check_threshold, judge, parse_threshold, unsuited
from gamekeeper.engine.backends import backend
from gamekeeper.engine.grid import Audit, Cell, weight
from gamekeeper.engine.plan import Plan, Question, Spending, check_defenses, plan, settle, spending
from gamekeeper.engine.run import thefts, work
from gamekeeper.errors import BadConfig, Halt
from gamekeeper.methods import is_import_path
from gamekeeper.results import Results, Row, Run
from gamekeeper.surfaces.report.page import write_pngs, write_report
from gamekeeper.surfaces.report.terminal import cell_line, show
from gamekeeper.surfaces.report.words import headline
from gamekeeper.targets.target import Target
from gamekeeper.version import __version__

FAILED = 3
"""Exit code of a run some of whose cells failed."""


@dataclass(frozen=True)
class OutputOptions:
    """How a run talks: stop after the plan, spend without asking, machine-readable, short."""

    dry_run: bool = False
    yes: bool = False
    json: bool = False
    quiet: bool = False


def run_audit(
    audit: Audit,
    folder: Path,
    jobs: int | None,
    fail_if: Sequence[str],
    output: OutputOptions,
    arguments: Sequence[str],
) -> int:
    """Plans, asks before it spends, runs what is missing, reports. Returns the exit code."""
    thresholds = [parse_threshold(text) for text in fail_if]
    console = Console(quiet=output.quiet or output.json, highlight=False)
    with console.status("reading the defenses") as status:
        question = settle(audit, folder, lambda doing: status.update(f"{doing} …"))
    for threshold in thresholds:
        check_threshold(threshold, question.cells)
    with thefts(folder, work(folder), look_only=output.dry_run) as session:
        missing = session.missing(question.cells)
        check_defenses(missing, question.target)
        ahead = plan(question, missing, folder, jobs)
        announce(question, ahead, output, console)
        if output.dry_run:
            return 0
        consent(question.target, ahead, output)
        before = spending(question.target, folder)
        Results(folder).write_header(question.header(arguments))
        try:
            rows = watch(question.cells, missing, session.run(missing, backend(ahead.jobs)), console)
        except (Halt, KeyboardInterrupt):
            admit(spending(question.target, folder).since(before, 0))
            raise
        spent = spending(question.target, folder).since(before, sum(row.paid for row in rows))
    return conclude(folder, thresholds, output, console, spent if question.target.remote else None)


def refuse_code(methods: Sequence[str], path: str) -> None:
    """Raises BadConfig if a target file names code to import: a file that was handed on must not be able to run any."""
    for text in methods:
        if is_import_path(text):
            raise BadConfig(
                f"{path} names '{text}', a class to be imported, which runs code. Only the command line may: give it with"
                " --attack or --defense."
            )


def announce(question: Question, ahead: Plan, output: OutputOptions, console: Console) -> None:
    """The plan before anything is spent; of a dry run its numbers in any manner."""
    target, audit = question.target, question.audit
    where = "a live API" if target.remote else "a model on this machine"
    resumed = f", {ahead.done} already done" if ahead.done else ""
    lines_ = [
        f"gamekeeper {__version__}: {target.name}, {where} ({target.victim.task.classes} classes, answers"
        f" {target.answers})",
        f"{ahead.thefts} thefts: {len(set(audit.defenses))} defenses x {len({cell.attack for cell in question.cells})} thieves x"
        f" budgets {', '.join(f'{b:,}' for b in sorted(set(audit.budgets)))} x {len(audit.seeds)} seed(s){resumed}",
        essential(ahead),
        *loss(ahead),
    ]
    console.print("\n".join(lines_), soft_wrap=True, markup=False)
    if output.dry_run and output.json:
        sys.stdout.write(orjson.dumps({"plan": asdict(ahead)}, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif output.dry_run and output.quiet:
        lines()(essential(ahead))


def essential(ahead: Plan) -> str:
    """Queries, money and time."""
    money = f", {ahead.queries * ahead.price:,.2f} in money at {ahead.price:g} a query" if ahead.price else ""
    twice = f", {ahead.repeated:,} of these a second time to see whether answers repeat" if ahead.repeated else ""
    own = f" ({ahead.judged:,} of them the judge's own{twice})" if ahead.judged else ""
    return (
        f"at most {ahead.queries:,} queries{own}{money}; about {max(ahead.seconds / 60, 0.1):.1f} minutes on"
        f" {ahead.jobs} process(es)"
    )


def loss(ahead: Plan) -> list[str]:
    """What a killed run may have paid for nothing."""
    if not ahead.unanswered:
        return []
    return [
        f"{ahead.unanswered:,} inputs that earlier runs sent brought no answer and were perhaps charged. Those that were under"
        " way are sent again, with the same Idempotency-Key where the batch is the same; those that the target fails on are"
        " not."
    ]


def consent(target: Target, ahead: Plan, output: OutputOptions) -> None:
    """Asks before spending on somebody's API; on stderr, since stdout is for results."""
    if not target.remote or output.yes or ahead.done == ahead.thefts:
        return
    if not sys.stdin.isatty():
        raise BadConfig("this run spends queries on a live API and nobody is there to be asked; add --yes.")
    if output.quiet or output.json:
        sys.stderr.write("\n".join([essential(ahead), *loss(ahead), ""]))
    sys.stderr.write("Spend them? [y/N] ")
    sys.stderr.flush()
    if input().strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt


def watch(cells: Sequence[Cell], missing: Sequence[Cell], finished: Iterable[Row], console: Console) -> list[Row]:
    """The rows of the missing cells as they are finished, on screen under a progress bar of all cells."""
    rows: list[Row] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} %"))
    total = sum(map(weight, cells)) or 1.0
    share = {cell.id: 100 * weight(cell) / total for cell in cells}
    left = sum(share[cell.id] for cell in missing)
    live = console.is_terminal and not console.quiet
    progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not live)
    with progress:
        task = progress.add_task("stealing", total=100, completed=round(100 - left))
        for row in finished:
            rows.append(row)
            progress.advance(task, share[row.cell])
            console.print(cell_line(row), soft_wrap=True, markup=False)
    return rows


def conclude(
    folder: Path, thresholds: Sequence[Threshold], output: OutputOptions, console: Console, spent: Spending | None
) -> int:
    """Table, report, bill and thresholds. Exit code 1 if a threshold is breached, FAILED if a cell failed."""
    run, rows = finished(folder)
    path = write_report(folder)
    verdicts = [verdict for threshold in thresholds for verdict in judge(threshold, rows)]
    if output.json:
        sys.stdout.write(machine(run, rows, verdicts, spent))
    else:
        console.print()
        say = lines()
        if output.quiet:
            say(headline(summarise(run, rows)))
        else:
            show(summarise(run, rows), Console(highlight=False))
        for line in [f"report: {path}", *([spent_in_words(spent)] if spent else []), *map(ruling, verdicts)]:
            if line:
                say(line)
    # a thief whom a defense or a target does not suit is no failure as long as others were measured
    failed = [row for row in rows if row.error and not unsuited(row, rows)]
    if failed and not output.json:
        Console(stderr=True).print(f"{len(failed)} cell(s) failed; run the same command again to retry them.")
    if any(verdict.breached for verdict in verdicts):
        return 1
    return FAILED if failed or not all(verdict.judged for verdict in verdicts) else 0


def admit(spent: Spending) -> None:
    """What a run that was stopped had sent to somebody else's API, on stderr."""
    if spent.inputs or spent.unanswered:
        money = f", {spent.inputs * spent.price:,.2f} in money" if spent.price else ""
        lost = f"; {spent.unanswered:,} more got no answer and may have been charged" if spent.unanswered else ""
        sys.stderr.write(f"answered by the API in this run, and kept: {spent.inputs:,} inputs{money}{lost}\n")


def spent_in_words(spent: Spending) -> str:
    money = f", {spent.inputs * spent.price:,.2f} in money" if spent.price else ""
    lost = f"; {spent.unanswered:,} more got no answer and may have been charged" if spent.unanswered else ""
    return (
        f"sent to the API in this run: {spent.inputs:,} inputs{money}; {spent.thieves:,} of them the thieves',"
        f" {spent.inputs - spent.thieves:,} the judge's{lost}"
    )


def ruling(verdict: ThresholdResult) -> str:
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


def machine(run: Run, rows: Sequence[Row], verdicts: Sequence[ThresholdResult], spent: Spending | None) -> str:
    """The run, its rows with every flag, the thresholds it breaches or cannot judge, and the API's bill, as JSON."""
    flags = raised(rows)
    data = {
        "run": asdict(run),
        "rows": [{**asdict(row), "flags": flags.get(row.cell, [])} for row in rows],
        "breached": list(dict.fromkeys(one.threshold.text for one in verdicts if one.breached)),
        "unjudged": list(dict.fromkeys(one.threshold.text for one in verdicts if not one.judged)),
        "bill": spent and asdict(spent),
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

"""`gamekeeper audit` and `gamekeeper report`: what a person sees while a grid runs and after it."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gamekeeper.analysis.checks import raised
from gamekeeper.analysis.summary import Stolen, Summary, summarise
from gamekeeper.analysis.thresholds import (
    Threshold,
    ThresholdResult,
    check_threshold,
    parse_threshold,
    threshold_results,
    unsuited,
)
from gamekeeper.engine.backends import backend
from gamekeeper.engine.grid import Audit, Cell, weight
from gamekeeper.engine.plan import Plan, Question, Spending, check_defenses, plan, settle, spending
from gamekeeper.engine.run import stage, thefts, work
from gamekeeper.engine.victim_check import check_victim
from gamekeeper.errors import BadConfig, Halt
from gamekeeper.methods import is_import_path
from gamekeeper.results import Results, Row, Run
from gamekeeper.surfaces.report.page import write_pngs, write_report
from gamekeeper.surfaces.report.terminal import cell_line, show
from gamekeeper.surfaces.report.words import headline, plain
from gamekeeper.targets.target import Target
from gamekeeper.version import __version__

FAILED = 3
"""Exit code of a run in which some cell failed."""


@dataclass(frozen=True)
class OutputOptions:
    """How a run behaves: stop after the plan, spend without asking, print JSON, print little; go on with a victim that is no
    better than guessing."""

    dry_run: bool = False
    yes: bool = False
    json: bool = False
    quiet: bool = False
    accept_weak_victim: bool = False


def run_audit(
    audit: Audit,
    folder: Path,
    jobs: int | None,
    fail_if: Sequence[str],
    output: OutputOptions,
    arguments: Sequence[str],
) -> int:
    """Plans, asks before spending, runs what is missing, reports. Returns the exit code."""
    thresholds = [parse_threshold(text) for text in fail_if]
    console = Console(quiet=output.quiet or output.json, highlight=False)
    with console.status("reading the defenses") as status:
        question = settle(audit, folder, lambda doing: status.update(f"{doing} …"))
    for threshold in thresholds:
        check_threshold(threshold, question.cells)
    with thefts(folder, work(folder), look_only=output.dry_run) as session:
        missing = session.missing(question.every)
        check_defenses(missing, question.target)
        ahead = plan(question, missing, folder, jobs)
        announce(question, ahead, output, console)
        if output.dry_run:
            return 0
        consent(question.target, ahead, output)
        before = spending(question.target, folder)
        ahead_of_thieves = 0
        if missing and not output.accept_weak_victim:
            with console.status("looking at the model's answers to its test set"):
                ahead_of_thieves = check_victim(stage(audit.target, folder, missing[0].uniform), missing)
        Results(folder).write_header(question.header(arguments))
        try:
            rows = watch(question.every, missing, session.run(missing, backend(ahead.jobs)), console)
        except (Halt, KeyboardInterrupt):
            admit(spending(question.target, folder).since(before, 0))
            raise
        spent = spending(question.target, folder).since(before, ahead_of_thieves + sum(row.paid for row in rows))
    return conclude(folder, thresholds, output, console, spent if question.target.remote else None)


def refuse_code(methods: Sequence[str], path: str) -> None:
    """Raises BadConfig if a target file names code to import: a file from somebody else must not run code."""
    for text in methods:
        if is_import_path(text):
            raise BadConfig(
                f"{path} names '{text}', a class to import. Importing runs code, so only the command line may name it: use"
                " --attack or --defense."
            )


def announce(question: Question, ahead: Plan, output: OutputOptions, console: Console) -> None:
    """Prints the plan before anything is spent; a dry run prints its numbers even with --json or --quiet."""
    target, audit = question.target, question.audit
    where = "a live API" if target.remote else "a model on this machine"
    resumed = f", {ahead.done} already done" if ahead.done else ""
    lines_ = [
        f"gamekeeper {__version__}: {target.name}, {where} ({target.victim.task.classes} classes, answers"
        f" {target.answers})",
        f"{ahead.thefts} thefts: {len(set(audit.defenses))} defenses x {len({cell.attack for cell in question.cells})} thieves x"
        f" budgets {', '.join(f'{b:,}' for b in sorted(set(audit.budgets)))} x {len(audit.seeds)} seed(s){resumed}",
        *without_asking(question, ahead),
        essential(ahead),
        *(
            ["An input that brings no answer is sent once more, which may be charged beyond that."]
            if target.remote
            else []
        ),
        *loss(ahead),
    ]
    console.print("\n".join(lines_), soft_wrap=True, markup=False)
    if output.dry_run and output.json:
        sys.stdout.write(orjson.dumps({"plan": asdict(ahead)}, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif output.dry_run and output.quiet:
        lines()(essential(ahead))


def without_asking(question: Question, ahead: Plan) -> list[str]:
    """What is made besides, at no query."""
    if not ahead.zero_query:
        return []
    copies = "1 clone" if ahead.zero_query == 1 else f"{ahead.zero_query} clones"
    return [f"and {copies} of a thief who asks nothing ({question.zero_query[0].attack}): 0 queries"]


def essential(ahead: Plan) -> str:
    """Queries, money and time, in one line."""
    money = ""
    if ahead.price:
        unit = plain(ahead.currency) or "in money"
        each = f"{ahead.price:g} {plain(ahead.currency)}".strip()
        per = "per query" if ahead.paid == ahead.queries else f"for each of the thieves' {ahead.paid:,}"
        money = f", {ahead.paid * ahead.price:,.2f} {unit} at {each} {per}"
    twice = f", {ahead.repeated:,} of these a second time to see whether answers repeat" if ahead.repeated else ""
    free = "" if ahead.paid == ahead.queries else ", free"
    own = f" ({ahead.judged:,} of them for evaluation{free}{twice})" if ahead.judged else ""
    return (
        f"at most {ahead.queries:,} queries{own}{money}; about {max(ahead.seconds / 60, 0.1):.1f} minutes on"
        f" {ahead.jobs} process(es)"
    )


def loss(ahead: Plan) -> list[str]:
    """What an interrupted run may have paid for without getting an answer."""
    if not ahead.unanswered:
        return []
    return [
        f"{ahead.unanswered:,} inputs that earlier runs sent got no answer and may have been charged. Those that were under way"
        " are sent again, with the same Idempotency-Key if the batch is the same; those that the target fails on are not."
    ]


def consent(target: Target, ahead: Plan, output: OutputOptions) -> None:
    """Asks before spending money on an API; on stderr, since stdout is for results."""
    if not target.remote or output.yes or ahead.done == ahead.thefts:
        return
    if not sys.stdin.isatty():
        raise BadConfig(
            "this run spends queries on a live API; stdin is not a terminal, so nobody can confirm; add --yes."
        )
    if output.quiet or output.json:
        sys.stderr.write("\n".join([essential(ahead), *loss(ahead), ""]))
    sys.stderr.write("Spend them? [y/N] ")
    sys.stderr.flush()
    if input().strip().lower() not in ("y", "yes"):
        raise KeyboardInterrupt


def watch(cells: Sequence[Cell], missing: Sequence[Cell], finished: Iterable[Row], console: Console) -> list[Row]:
    """The rows of the missing cells, each printed when it is finished, above a progress bar of all cells."""
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
    """Prints the table, report, spending and thresholds.

    Returns 1 if a threshold is breached, FAILED if a cell failed or a threshold cannot be judged.
    """
    run, rows = finished(folder)
    path = write_report(folder)
    summary = summarise(run, rows)
    results = [result for threshold in thresholds for result in threshold_results(threshold, rows)]
    if output.json:
        sys.stdout.write(machine(run, rows, summary, results, spent))
    else:
        console.print()
        say = lines()
        if output.quiet:
            say(headline(summary))
        else:
            show(summary, Console(highlight=False))
        if summary.void and thresholds:
            say(f"no --fail-if is judged: the run is void ({', '.join(summary.void)})")
        for line in [f"report: {path}", *([spent_in_words(spent)] if spent else []), *map(result_line, results)]:
            if line:
                say(line)
    # a thief who cannot work here is no failure as long as others were measured
    failed = [row for row in rows if row.error and not unsuited(row, rows)]
    if failed and not output.json:
        Console(stderr=True).print(f"{len(failed)} cell(s) failed; run the same command again to retry them.")
    if any(result.breached for result in results):
        return 1
    unjudged = (summary.void and thresholds) or not all(result.judged for result in results)
    return FAILED if failed or unjudged else 0


def admit(spent: Spending) -> None:
    """What a run that was stopped had sent to somebody else's API, on stderr."""
    if spent.inputs or spent.unanswered:
        sys.stderr.write(
            f"answered by the API in this run, and kept: {spent.inputs:,} inputs{money(spent)}{lost(spent)}\n"
        )


def spent_in_words(spent: Spending) -> str:
    return (
        f"sent to the API in this run: {spent.inputs:,} inputs{money(spent)}; {spent.thieves:,} of them by thieves,"
        f" {spent.inputs - spent.thieves:,} for evaluation{lost(spent)}"
    )


def money(spent: Spending) -> str:
    return f", {spent.inputs * spent.price:,.2f} {plain(spent.currency) or 'in money'}" if spent.price else ""


def lost(spent: Spending) -> str:
    """What got no answer, and when it was sent: what this run did not send is not among its costs."""
    if not spent.unanswered:
        return ""
    runs = "earlier runs" if spent.earlier == spent.unanswered else f"earlier runs {spent.earlier:,} of them"
    when = f", in {runs}," if spent.earlier else ""
    return f"; {spent.unanswered:,} more{when} got no answer and may have been charged"


def result_line(result: ThresholdResult) -> str:
    """One line for a threshold that is breached or not judged; empty if it holds."""
    text = result.threshold.text
    unknown = f"no full measurement of {', '.join(result.missing)}" if result.missing else ""
    if result.breached and result.value is not None:
        return f"breached: {text} (defense {result.defense}: {result.value:.3f}{'; ' + unknown if unknown else ''})"
    return "" if result.judged else f"not judged: {text} (defense {result.defense}: {unknown}; its cell failed)"


def finished(folder: Path) -> tuple[Run, list[Row]]:
    """The header and rows of a folder. Raises BadConfig if it holds a reproduction, with several targets."""
    results = Results(folder)
    run = results.header()
    if "targets" in run.target:
        name = run.target["name"]
        raise BadConfig(
            f"{folder} holds the reproduction '{name}', which has several targets, but a report covers only one."
            f" To see its table, run `gamekeeper reproduce {name} --out {folder}`."
        )
    return run, results.read()


def lines() -> Callable[[str], None]:
    """A function that prints plain lines: paths and names are neither wrapped nor read as markup."""
    return Console(highlight=False, soft_wrap=True, markup=False).print


def machine(
    run: Run, rows: Sequence[Row], summary: Summary, results: Sequence[ThresholdResult], spent: Spending | None
) -> str:
    """As JSON: the run, the headline and the flags that void it, the zero-query clone and how far above it the strongest thief
    got, how many test inputs there were and how many of them brought no answer, rows with all flags, thresholds breached or not judged, and the spending on an API."""
    flags = raised(rows)
    data = {
        "run": asdict(run),
        "headline": headline(summary),
        "void": list(summary.void),
        "zero_query": summary.zero_query and accuracy_of(summary.zero_query),
        "test": summary.victim and {"inputs": summary.victim.n + summary.unanswered, "unanswered": summary.unanswered},
        "stolen": {line.defense: summary.above_zero_query(line.worst) for line in summary.lines if line.worst},
        "rows": [{**asdict(row), "flags": flags.get(row.cell, [])} for row in rows],
        "breached": list(dict.fromkeys(one.threshold.text for one in results if one.breached)),
        "unjudged": list(dict.fromkeys(one.threshold.text for one in results if summary.void or not one.judged)),
        "bill": spent and asdict(spent),
    }
    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() + "\n"


def accuracy_of(one: Stolen) -> dict[str, Any]:
    return {"attack": one.attack, "queries": one.queries, "seeds": one.seeds, "accuracy": asdict(one.accuracy)}


def show_report(folder: Path, png: bool, json: bool) -> None:
    """Prints the table and writes the page for a folder of results, or prints everything as JSON."""
    run, rows = finished(folder)
    summary = summarise(run, rows)
    if json:
        sys.stdout.write(machine(run, rows, summary, [], None))
        return
    show(summary, Console(highlight=False))
    say = lines()
    say(f"report: {write_report(folder)}")
    for path in write_pngs(folder) if png else []:
        say(f"figure: {path}")

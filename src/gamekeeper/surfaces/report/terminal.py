"""The report in a terminal: one line per finished cell, the defense table, the sentences around it.

Readable at 80 columns and without colour. Names from outside are printed without terminal escapes.
"""

import textwrap

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gamekeeper.analysis.summary import UNDEFENDED, DefenseSummary, Stolen, Summary
from gamekeeper.results import Row
from gamekeeper.surfaces.report.basis import rests_on
from gamekeeper.surfaces.report.words import (
    broken,
    count,
    counted,
    efficiency,
    headline,
    interval,
    notes,
    percent,
    plain,
    rated,
    reached,
    seconds,
    value,
    worst_loss,
)

LEVEL = 0.9
ERROR_WIDTH = 200
NAME_WIDTH, THIEF_WIDTH = 24, 15


def cell_line(row: Row) -> str:
    """One plain line for a finished cell, printed while the run goes on."""
    name = f"{plain(row.defense)} | {plain(row.attack)} | {count(row.budget)} queries | seed {row.seed}"
    if row.error is not None:
        spent = f" after {count(row.queries)} queries" if row.queries else ""
        return f"{name}: failed{spent}, {plain(row.error)[:ERROR_WIDTH]}"
    if row.clone is None or row.victim is None:
        return f"{name}: no measurement"
    victim = f"clone {rated(row.clone.accuracy)} of {value(row.victim.accuracy)}"
    utility_metrics = f", honest users {value(row.victim.defended_accuracy)}"
    silent = f", on {counted(row.victim.accuracy.n, row.unanswered)}" if row.unanswered else ""
    return f"{name}: {victim}{utility_metrics}{silent}" + (f", {row.seconds.thief:.1f} s" if row.seconds else "")


def defense_table(summary: Summary) -> Table:
    """One row per defense at the summary's budget: utility kept, soft and strongest thief, eta, price, flags."""
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False, leading=1)
    shifted = "\npoints lost, shift" if summary.shifts else ""
    table.add_column(Text(f"defense\n! flags{shifted}"), min_width=NAME_WIDTH, overflow="fold")
    for title in ("honest\nacc.", "top-1\nkept", "L1\ntime", "soft\nthief"):
        table.add_column(Text(title), justify="right", no_wrap=True)
    table.add_column(Text("strongest\nthief"), min_width=THIEF_WIDTH, overflow="fold")
    for title in ("eta", f"{percent(LEVEL)}\nat"):
        table.add_column(Text(title), justify="right", no_wrap=True)
    if summary.zero_query:
        table.add_row(*zero_query_cells(summary.zero_query))
    for line in summary.lines:
        table.add_row(*cells(line))
    return table


def zero_query_cells(one: Stolen) -> list[Text]:
    """The row of the clone that asks nothing, and so meets no defense."""
    text = Text(value(one.accuracy), style="bold")
    text.append("\n".join(["", interval(one.accuracy), *broken(one.attack, THIEF_WIDTH)]), style="not bold")
    return [Text("without asking\n(0 queries)"), *(Text("–") for _ in range(4)), text, Text("–"), Text("–")]


def cells(line: DefenseSummary) -> list[Text]:
    name = Text("\n".join(broken(line.defense, NAME_WIDTH)), style="bold")
    for flag in line.flags:
        name.append(f"\n! {plain(flag)}", style="not bold yellow")
    if line.defense != UNDEFENDED and line.utility and line.utility.worst_shift:
        name.append(f"\n{worst_loss(line.utility)}", style="not bold")
    utility, soft, worst = line.utility, line.soft, line.worst
    return [
        name,
        Text(value(utility.accuracy) if utility else "–"),
        Text(percent(utility.top1_kept) if utility else "–"),
        Text(
            f"{utility.l1:.2f}\n{seconds(utility.seconds) if line.defense != UNDEFENDED else '–'}" if utility else "–"
        ),
        Text(value(soft.accuracy) if soft else "–"),
        strongest(line, worst) if worst else Text("not measured"),
        Text(efficiency(line)),
        Text(next((reached(price.queries) for price in line.prices if price.level == LEVEL), "–")),
    ]


def strongest(line: DefenseSummary, worst: Stolen) -> Text:
    """The strongest thief's accuracy and interval, their name, and whether they do worse or better than undefended."""
    change = {"lower": " ↓", "higher": " ↑"}.get(line.change or "", "") if line.defense != UNDEFENDED else ""
    text = Text(f"{value(worst.accuracy)}{change}", style="bold")
    lucky = [] if line.corrected is None else [f"({line.corrected:.2f} unchosen)"]
    text.append("\n".join(["", interval(worst.accuracy), *lucky, *broken(worst.attack, THIEF_WIDTH)]), style="not bold")
    if line.missing:
        text.append(f"\n{len(line.missing)} not measured", style="not bold yellow")
    return text


def show(summary: Summary, console: Console) -> None:
    """Headline, what is missing, the table and how to read it, failed cells."""
    console.print(filled(headline(summary), console.width, "bold"))
    for note in notes(summary):
        console.print(filled(note, console.width, "yellow"))
    if summary.flags:
        flags = ", ".join(map(plain, summary.flags))
        console.print(filled(f"! applies to every number here: {flags}", console.width, "yellow"))
    if summary.budget is not None:
        console.print(Padding(defense_table(summary), (1, 0)))
        for sentence in [rests_on(summary).replace("`", ""), *legend(summary)]:
            console.print(filled(sentence, console.width, "dim"))
    for row in summary.failed:
        console.print(Text(cell_line(row), style="red"))


def filled(sentence: str, width: int, style: str) -> Text:
    """Wrapped to the terminal's width, without separating a number from its percent sign."""
    joined = sentence.replace(" %", "\u00a0%")
    return Text(textwrap.fill(joined, width, break_on_hyphens=False).replace("\u00a0", " "), style=style)


def legend(summary: Summary) -> list[str]:
    """How to read the table."""
    assert summary.budget is not None
    sentences = [
        f"Clone accuracy at {count(summary.budget)} queries, with 95 % intervals; ↓ lower than without a defense, beyond the"
        " noise.",
        "Honest acc.: accuracy of the answers users get; top-1 kept: answers whose top class the defense does not change; L1: mean"
        " change of the probabilities, 0 to 2, above the time it takes per query; soft thief: learns from whole answers,"
        " without tricks.",
    ]
    if summary.zero_query:
        sentences.append(
            "Without asking: the zero-query clone, the best copy of a thief who sends nothing. Only what lies above it is"
            " stolen."
        )
    if summary.shifts:
        sentences.append(
            f"Points lost, shift: how much accuracy the defense costs honest users under the worst for them of"
            f" {len(summary.shifts) - 1} benign shifts of their inputs. The report has them all."
        )
    if summary.floor:
        sentences.append(
            f"Label floor {rated(summary.floor.accuracy)}: what a thief who sees only labels gets, without a defense. eta"
            " says how far a defense pushes the strongest thief, from undefended (0) to the floor (1); only a defense that"
            " changes labels exceeds 1."
        )
    if any(line.corrected is not None for line in summary.lines):
        sentences.append(
            "Unchosen: the same without the luck of having been chosen as the strongest, on half of the test inputs, from the"
            " other half"
            + (" and the other seeds." if len(summary.seeds) > 1 else "; the luck of the one seed remains.")
        )
    if summary.control:
        sentences.append(f"Control: a clone trained on shuffled answers reaches {rated(summary.control.accuracy)}.")
    victim = f" of the model's accuracy ({value(summary.victim)})" if summary.victim else ""
    sentences.append(
        f"{percent(LEVEL)} at: queries needed for {percent(LEVEL)}{victim}, interpolated between measured budgets."
    )
    return sentences

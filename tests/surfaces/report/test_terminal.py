"""The terminal's table and lines, as a person would read them."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from gamekeeper.analysis.summary import summarise
from gamekeeper.results import Row
from gamekeeper.surfaces.report.terminal import cell_line, defense_table, show
from tests.surfaces.report import example


def printed(rows: list[Row], width: int = 80, colour: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colour, color_system="standard" if colour else None)
    show(summarise(example.run(), rows), console)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_fits(width: int):
    assert max(map(len, printed(example.rows(), width).splitlines())) <= width


def test_no_name_is_cut_at_80_columns():
    text = printed(example.rows())
    for name in (
        "reverse_sigmoid:",
        "beta=0.9,gamma=0.2",
        "mad:eps=0.95",
        "knockoff+labels",
        "! labels-beat-posteriors",
    ):
        assert name in text


def test_a_line_of_the_table_holds_its_numbers():
    line = next(line for line in printed(example.rows()).splitlines() if line.startswith("mad:eps=0.95"))
    assert line.split() == ["mad:eps=0.95", "0.914", "92", "%", "0.95", "0.643", "0.766", "↓", "3.92", ">", "2,500"]


def test_flags_stand_below_the_defense_they_were_raised_on():
    lines = printed(example.rows()).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("mad:eps=0.95"))
    assert "! utility-spent" in " ".join(lines[start : start + 4])
    assert "! utility-spent" not in " ".join(lines[:start])


def test_flags_of_every_number_stand_above_the_table():
    text = printed(example.rows())
    assert text.index("! applies to every number here: same-architecture") < text.index("! flags")
    assert text.count("same-architecture") == 1


def test_unfinished_and_failed_are_shown():
    rows = example.rows()[:20]
    text = printed([example.failed(rows[0], "Unsuited: needs gradients"), *rows[1:]])
    assert "The run is not finished: 20 of 72 cells are done." in text
    assert "none | knockoff | 250 queries | seed 0: failed, Unsuited: needs gradients" in text


def test_no_escape_reaches_the_terminal():
    evil = "\x1b[31mred\x1b[0m\x1b]0;owned\x07[bold]x[/bold]"
    rows = [replace(row, defense=evil) if row.defense == "label" else row for row in example.rows()]
    rows[0] = replace(rows[0], error=f"bad {evil}", clone=None, victim=None, utility=None, seconds=None)
    text = printed(rows)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "owned" not in text
    # rich's own markup is printed, not obeyed
    assert "red[bold]x[/bold]" in text


def test_colour_only_adds_to_the_plain_text():
    assert re.sub(r"\x1b\[[\d;]*m", "", printed(example.rows(), colour=True)) == printed(example.rows())


def test_a_percent_sign_stays_with_its_number():
    assert not [line for line in printed(example.rows()).splitlines() if line.strip().startswith("%")]


def test_cell_line_is_one_plain_line():
    line = cell_line(example.rows()[0])
    assert (
        line == "none | knockoff | 250 queries | seed 0: clone 0.741 (0.721–0.759) of 0.981, honest users 0.981, 1.5 s"
    )


def test_cell_line_of_a_failed_cell_keeps_its_error_on_one_line():
    line = cell_line(example.failed(example.rows()[0], "first\n\x1b[2Jsecond" + "x" * 500))
    assert line.startswith("none | knockoff | 250 queries | seed 0: failed, first second")
    assert len(line) < 300
    assert line.isprintable()


def test_the_table_alone_can_be_printed():
    table = defense_table(summarise(example.run(), example.rows()))
    assert table.row_count == 4


def test_nothing_measured_prints_a_sentence():
    assert "Nothing has been measured yet." in printed([])


def with_zero_query() -> list[Row]:
    rows = example.rows()
    free = [
        replace(row, cell=f"free {row.seed}", attack="commonest_class", budget=0, queries=0, reads="nothing")
        for row in rows
        if (row.defense, row.attack, row.budget) == ("none", "knockoff", 250)
    ]
    return [*free, *rows]


def test_the_first_row_is_the_clone_that_asked_nothing():
    text = printed(with_zero_query())
    table = text[text.index("without asking") :]
    assert "(0 queries)" in table
    assert table.index("commonest_class") < table.index("none  ")
    assert "Only what lies above it is stolen." in re.sub(r"\s+", " ", text)
    assert "without asking" not in printed(example.rows())
    assert max(map(len, text.splitlines())) <= 80


def test_the_worst_loss_under_shift_stands_below_the_defense():
    rows = [example.shifted(row) for row in example.rows()]
    lines = printed(rows).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("mad:eps=0.95"))
    assert "−31 thinner" in "\n".join(lines[start : start + 6])
    assert max(map(len, lines)) <= 80
    assert "points lost, shift" not in printed(example.rows())


def test_a_line_of_the_run_says_over_how_many_test_inputs_it_is_where_some_brought_no_answer():
    row = example.rows()[0]
    assert "test inputs" not in cell_line(row)
    assert ", on 2,000 of 2,010 test inputs, " in cell_line(replace(row, unanswered=10))

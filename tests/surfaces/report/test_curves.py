"""Curves over strengths: which defenses are one, and that what is drawn is what was measured."""

import re
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from gamekeeper.analysis.families import LEAST, blanked, families
from gamekeeper.analysis.summary import Summary, summarise
from gamekeeper.metrics import wilson
from gamekeeper.results import Row
from gamekeeper.surfaces.report.curves import COSTS, trade_curves
from gamekeeper.surfaces.report.figures import COLOURS, svg
from gamekeeper.surfaces.report.page import page
from tests.surfaces.report import example

pytestmark = pytest.mark.thorough

STRENGTHS = ("1", "0.25", "0.5", "10")


def rows() -> list[Row]:
    """MAD at four strengths, each costing something else, beside the example's other defenses."""
    found = [row for row in example.rows() if row.defense != "mad:eps=0.95"]
    for i, strength in enumerate(STRENGTHS):
        for row in example.rows():
            if row.defense == "mad:eps=0.95":
                assert row.utility
                utility = replace(row.utility, l1=0.1 * (i + 1))
                found.append(replace(row, defense=f"mad:eps={strength}", cell=f"{row.cell} {i}", utility=utility))
    return found


def summary() -> Summary:
    return summarise(example.run(), rows())


def test_each_number_of_a_name_is_left_out_in_turn():
    assert blanked("mad:eps=0.5,keep_top1=true+round:decimals=2") == [
        ("mad:eps=*,keep_top1=true+round:decimals=2", 0.5),
        ("mad:eps=0.5,keep_top1=true+round:decimals=*", 2.0),
    ]
    assert blanked("label") == []
    assert blanked("mad:surrogate=lenet") == []


def test_defenses_that_differ_in_one_number_are_one_curve_by_growing_strength():
    (family,) = families(summary())
    assert family.name == "mad:eps=*"
    assert [line.defense for line in family.lines] == ["mad:eps=0.25", "mad:eps=0.5", "mad:eps=1", "mad:eps=10"]


def test_where_the_smallest_number_is_the_strongest_the_curve_starts_with_the_largest():
    found = rows()
    for i, row in enumerate(found):
        if row.defense.startswith("mad:eps=") and row.clone:
            eps = float(row.defense.removeprefix("mad:eps="))
            found[i] = replace(row, clone=replace(row.clone, accuracy=wilson(round(900 + 50 * eps), 2000)))
    (family,) = families(summarise(example.run(), found))
    assert [line.defense for line in family.lines] == ["mad:eps=10", "mad:eps=1", "mad:eps=0.5", "mad:eps=0.25"]


def test_fewer_strengths_make_no_curve_and_no_figure():
    few = [row for row in rows() if row.defense not in ("mad:eps=1", "mad:eps=10")]
    assert LEAST == 3
    assert families(summarise(example.run(), few)) == ()
    assert trade_curves(summarise(example.run(), few)) is None
    assert trade_curves(summarise(example.run(), example.rows())) is None


def drawn() -> Figure:
    figure = trade_curves(summary())
    assert figure is not None
    return figure


@pytest.mark.parametrize("panel", range(4))
def test_a_curve_goes_from_no_defense_through_what_was_measured(panel: int):
    whole = summary()
    assert whole.undefended
    (family,) = families(whole)
    lines = (whole.undefended, *family.lines)
    costs = list(COSTS.values())[panel // 2]
    thieves = [line.soft if panel % 2 == 0 else line.worst for line in lines]
    (curve,) = [
        line for line in drawn().axes[panel].lines if line.get_color() == COLOURS[0] and line.get_linestyle() == "-"
    ]
    assert list(curve.get_xdata()) == [costs(line) for line in lines]
    assert list(curve.get_ydata()) == [one.accuracy.value for one in thieves if one]


def test_what_honest_users_lose_grows_to_the_right_in_every_panel():
    panels = drawn().axes
    assert [panel.xaxis_inverted() for panel in panels] == [False, False, True, True]


def test_the_same_run_draws_the_same_bytes():
    assert svg(drawn(), "a") == svg(drawn(), "a")


def test_the_page_compares_defenses_at_equal_loss():
    every = []
    for row in rows():
        assert row.victim
        if row.defense == "mad:eps=0.25":  # costs nothing and holds nothing back
            row = replace(row, victim=replace(row.victim, defended_accuracy=row.victim.accuracy))
        every.append(row)
    text = page(example.run(every), every)
    (table,) = re.findall(r"<h3>Defenses at equal loss</h3>.*?</table>", text, re.DOTALL)
    assert re.findall(r'<th class="n">([^<]*)</th>', table) == ["0.5", "1", "2", "5", "Largest loss"]
    assert table.count("<tr>") == 2  # the head, and mad
    assert 'class="n">6.7</td></tr>' in table
    assert "at equal loss" not in page(example.run(), example.rows())

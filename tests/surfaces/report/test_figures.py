"""Figures: what is drawn is what was measured, nothing lies over anything, bytes repeat."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from gamekeeper.analysis.summary import Summary, summarise
from gamekeeper.metrics import wilson
from gamekeeper.results import Row
from gamekeeper.surfaces.report.figures import (
    COLOURS,
    looks,
    price_curve,
    stacked,
    svg,
    utility_plot,
    write_png,
)
from gamekeeper.surfaces.report.perturbations import perturbations
from tests.surfaces.report import example

pytestmark = pytest.mark.thorough

DRAWINGS = (price_curve, utility_plot, perturbations)


WHOLE = summarise(example.run(), example.rows())


def summary(rows: Sequence[Row] | None = None) -> Summary:
    return WHOLE if rows is None else summarise(example.run(), rows)


def many() -> list[Row]:
    """Twelve defenses, most of them alike."""
    rows = example.rows()
    for i in range(8):
        source = "mad:eps=0.95" if i % 2 else "label"
        rows += [replace(r, defense=f"method_{i}:eps=0.5", cell=f"{r.cell} {i}") for r in rows if r.defense == source]
    return rows


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def texts(figure: Figure) -> list[Text]:
    """Every text on the figure; matplotlib keeps labels of ticks outside the view, and does not draw them."""
    every = [axes for parent in figure.axes for axes in (parent, *parent.child_axes)]
    unseen = [
        tick.label1
        for axes in every
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not axis.get_view_interval()[0] - 1e-9 <= tick.get_loc() <= axis.get_view_interval()[1] + 1e-9
    ]
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in unseen]


def test_price_curve_draws_the_strongest_thief_of_each_defense():
    found = summary()
    axes = drawn(price_curve(found)).axes[0]
    curves = [line.get_ydata() for line in axes.lines if len(line.get_xdata()) == 3 and line.get_marker() != "None"]
    for line in found.lines:
        assert [s.accuracy.value for s in line.curve] in [list(curve) for curve in curves]


def test_price_curve_marks_the_model_itself():
    axes = drawn(price_curve(summary())).axes[0]
    dashed = [line for line in axes.lines if line.get_linestyle() == "--" and line.get_ydata()[0] == 0.981]
    assert len(dashed) == 1


def test_price_curve_has_ticks_at_budgets_and_money_above():
    axes = drawn(price_curve(summary())).axes[0]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["250", "1,000", "2,500"]
    assert [label.get_text() for label in axes.child_axes[0].get_xticklabels()] == ["0.25", "1.00", "2.50"]


def test_price_curve_without_a_price_has_no_money():
    free = [replace(row, price=0.0) for row in example.rows()]
    assert not drawn(price_curve(summary(free))).axes[0].child_axes


def test_the_undefended_curve_is_the_boldest():
    styles = looks(summary())
    assert styles["none"].width > max(look.width for name, look in styles.items() if name != "none")


def test_defenses_differ_without_colour():
    styles = looks(summary(many()))
    assert len({(look.colour, look.marker) for look in styles.values()}) == len(styles)
    assert len({look.marker for look in list(styles.values())[:8]}) == 8


def test_colours_stay_apart_for_the_eye_that_sees_no_red_or_green():
    # luminance and blue-yellow are what deuteranopes keep
    seen = [(0.3 * r + 0.6 * g + 0.1 * b, b - (r + g) / 2) for r, g, b in map(to_rgb, COLOURS)]
    for (l1, b1), (l2, b2) in combinations(seen, 2):
        assert abs(l1 - l2) + abs(b1 - b2) > 0.1


def test_utility_plot_puts_points_where_they_were_measured():
    found = summary()
    axes = drawn(utility_plot(found)).axes[0]
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1]
    for line in found.lines:
        assert line.worst is not None
        assert line.utility is not None
        x, y = line.worst.accuracy.value, line.utility.accuracy.value
        assert any(abs(x - a) < 1e-9 and abs(y - b) <= 0.0061 for a, b in points)


def test_soft_thief_is_hollow():
    axes = drawn(utility_plot(summary())).axes[0]
    hollow = [line.get_xdata()[0] for line in axes.lines if line.get_markerfacecolor() == "white"]
    # undefended and label: the soft thief is the strongest, so there is nothing hollow to draw
    assert sorted(hollow) == pytest.approx([0.643, 0.861], abs=0.003)


def test_utility_plot_draws_the_label_floor_and_the_diagonal():
    found = summary()
    assert found.floor is not None
    axes = drawn(utility_plot(found)).axes[0]
    assert [found.floor.accuracy.value] * 2 in [list(line.get_xdata()) for line in axes.lines]
    assert any(list(line.get_xdata()) == list(line.get_ydata()) for line in axes.lines)


def test_perturbation_panels_share_axes_and_sum_to_one():
    figure = drawn(perturbations(summary()))
    panels = [axes for axes in figure.axes if axes.patches]
    assert len(panels) == 3
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in panels}) == 1
    for axes in panels:
        assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(1)


@pytest.mark.parametrize("draw", DRAWINGS)
@pytest.mark.parametrize("rows", [example.rows(), many()], ids=["example", "many"])
def test_no_text_lies_over_another_or_outside(draw, rows: list[Row]):
    figure = drawn(draw(summary(rows)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [(t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in texts(figure)]
    for (a, box), (b, other) in combinations(boxes, 2):
        # a point of slack: boxes hold the descenders' room
        apart = box.x1 < other.x0 + 1 or other.x1 < box.x0 + 1 or box.y1 < other.y0 + 3 or other.y1 < box.y0 + 3
        assert apart, f"{a!r} over {b!r}"
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y0 >= -1, text
        assert box.y1 <= figure.bbox.y1 + 1, text


@pytest.mark.parametrize("draw", DRAWINGS)
def test_svg_is_the_same_every_time(draw):
    first, second = (svg(drawn(draw(summary())), "figure") for _ in range(2))
    assert first == second


@pytest.mark.parametrize("draw", DRAWINGS)
def test_svg_is_whole_and_carries_its_text(draw):
    text = svg(drawn(draw(summary())), "figure")
    root = ElementTree.fromstring(text)
    words = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "mad:eps=0.95" in words
    assert "metadata" not in text
    assert "Matplotlib" not in text


def test_svg_ids_carry_the_name():
    text = svg(drawn(price_curve(summary())), "price")
    assert all(name.startswith("price-") for name in re.findall(r'\bid="([^"]*)"', text))
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]*)', text))
    assert used <= set(re.findall(r'\bid="([^"]*)"', text))


def test_names_in_figures_are_escaped_and_no_mathematics():
    evil = "<script>$x_1$"
    rows = [replace(row, defense=evil) if row.defense == "label" else row for row in example.rows()]
    for draw in DRAWINGS:
        text = svg(drawn(draw(summary(rows))), "figure")
        assert "<script>" not in text
        assert "&lt;script&gt;$x_1$" in text


def test_names_without_glyphs_do_not_warn():
    rows = [replace(row, defense="漢字\u202e") if row.defense == "label" else row for row in example.rows()]
    assert "??" in svg(drawn(price_curve(summary(rows))), "figure")


def test_one_budget_is_a_point_with_its_interval():
    rows = [row for row in example.rows() if row.budget == 1000]
    axes = drawn(price_curve(summary(rows))).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1,000"]
    assert len(axes.collections) == 4


def test_a_defense_that_ruins_the_service_stays_inside_the_frame():
    rows = [
        replace(row, victim=replace(row.victim, defended_accuracy=example.wilson(2, 2000)))
        if row.defense == "mad:eps=0.95" and row.victim
        else row
        for row in example.rows()
    ]
    axes = drawn(utility_plot(summary(rows))).axes[0]
    assert axes.get_ylim()[0] < 0.001


def test_nothing_measured_draws_nothing():
    assert [draw(summary([])) for draw in DRAWINGS] == [None, None, None]


def test_undefended_alone_has_no_perturbation():
    assert perturbations(summary([row for row in example.rows() if row.defense == "none"])) is None


def test_png_is_written_aside_and_repeats(tmp_path: Path):
    for name in ("a.png", "b.png"):
        write_png(drawn(perturbations(summary())), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


blocks = st.lists(st.tuples(st.floats(0, 300), st.floats(5, 40)), min_size=1, max_size=8).map(
    lambda pairs: sorted(pairs, reverse=True)
)


@given(blocks)
def test_labels_are_stacked_in_order_without_overlap(pairs: list[tuple[float, float]]):
    wanted, heights = zip(*pairs, strict=True)
    places = stacked(wanted, heights, 0.0, 400.0)
    for (upper, lower), (a, b) in zip(zip(places, places[1:], strict=False), zip(heights, heights[1:], strict=False), strict=True):  # fmt: skip
        assert upper - lower >= (a + b) / 2 - 1e-6
    if sum(heights) <= 400:
        assert places[-1] - heights[-1] / 2 >= -1e-6
        assert places[0] + heights[0] / 2 <= 400 + 1e-6


def test_labels_with_room_stay_where_they_belong():
    assert stacked([300.0, 200.0, 100.0], [20.0, 20.0, 20.0], 0.0, 400.0) == [300.0, 200.0, 100.0]


def test_labels_that_touch_share_the_way():
    assert stacked([102.0, 100.0], [20.0, 20.0], 0.0, 400.0) == [111.0, 91.0]


def with_zero_query(accuracy: float = 0.912) -> Summary:
    """The example's run with a clone that asked nothing."""
    rows = with_zero_query_rows(accuracy)
    return summarise(example.run(rows), rows)


def with_zero_query_rows(accuracy: float) -> list[Row]:
    rows = example.rows()
    free = [
        replace(
            row, cell=f"free {row.seed}", attack="names_only", budget=0, queries=0, reads="nothing",
            clone=row.clone and replace(row.clone, accuracy=wilson(round(2000 * accuracy), 2000)),
        )
        for row in rows
        if (row.defense, row.attack, row.budget) == ("none", "knockoff", 250)
    ]  # fmt: skip
    return free + rows


def test_every_curve_begins_at_the_clone_that_asked_nothing():
    found = with_zero_query()
    axes = drawn(price_curve(found)).axes[0]
    first = min(axes.get_xticks())
    begun = [line for line in axes.lines if len(line.get_xdata()) == 2 and next(iter(line.get_xdata())) == first]
    assert len(begun) == len(found.lines)
    assert {round(float(next(iter(line.get_ydata()))), 3) for line in begun} == {0.912}
    assert axes.get_xticklabels()[0].get_text() == "0"
    top = axes.child_axes[0].get_xticklabels()
    assert (top[0].get_text(), axes.get_xlabel()) == ("0", "queries spent (logarithmic from the first budget on)")
    assert any(text.get_text() == "without asking 0.912" for text in axes.texts)


@pytest.mark.parametrize("budgets", [(250, 1000, 2500), (1000, 2500), (2500,)])
@pytest.mark.parametrize("accuracy", [0.785, 0.883, 0.931])
def test_the_names_of_grid_lines_do_not_lie_under_the_clone_that_asked_nothing(
    budgets: tuple[int, ...], accuracy: float
):
    rows = [row for row in with_zero_query_rows(accuracy) if row.budget in (0, *budgets)]
    figure = drawn(price_curve(summarise(example.run(), rows)))
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    circle = axes.transData.transform((min(axes.get_xticks()), accuracy))[0]
    names = [text.get_window_extent() for text in axes.texts if re.fullmatch(r"\d+ %", text.get_text())]
    assert names
    assert all(name.x1 < circle - 4 for name in names)


def test_without_it_the_figure_is_as_it_was():
    assert drawn(price_curve(summary())).axes[0].get_xlabel() == "queries spent (logarithmic)"


def test_the_trade_shows_it_as_a_line_or_says_that_it_lies_further_left():
    def said(accuracy: float) -> list[str]:
        return [text.get_text() for text in drawn(utility_plot(with_zero_query(accuracy))).axes[0].texts]

    assert "without asking 0.912" in said(0.912)
    assert "← without asking 0.100" in said(0.1)

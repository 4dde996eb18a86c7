"""The figure of a run with many defenses: a row each, in order, where it was measured."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gamekeeper.analysis.summary import Summary, summarise
from gamekeeper.metrics import wilson
from gamekeeper.results import Row
from gamekeeper.surfaces.report.figures import CROWD, price_curve, svg, utility_plot
from gamekeeper.surfaces.report.ranking import BETTER, ranking
from tests.surfaces.report import example


def rows(more: int = CROWD) -> list[Row]:
    """The example's defenses, and `more` like MAD whose clones get worse and worse."""
    found = [row for row in example.rows() if row.budget == 2500]
    for i in range(more):
        for row in example.rows():
            if row.budget == 2500 and row.defense == "mad:eps=0.95" and row.clone:
                clone = replace(row.clone, accuracy=wilson(1500 - 100 * i, 2000))
                name = f"a_method_of_a_long_name:parameter={i}"
                found.append(replace(row, defense=name, cell=f"{row.cell} {i}", clone=clone))
    return found


def summary(more: int = CROWD) -> Summary:
    return summarise(example.run(), rows(more))


def drawn() -> Figure:
    figure = ranking(summary())
    assert figure is not None
    return figure


def points(line: Line2D) -> list[list[float]]:
    return np.asarray(line.get_xydata()).tolist()


def test_it_stands_in_for_the_plots_that_cannot_name_so_many():
    assert ranking(summarise(example.run(), [])) is None
    assert ranking(summary(2)) is None
    assert utility_plot(summary(2)) is not None
    assert ranking(summary()) is not None
    assert utility_plot(summary()) is None
    assert price_curve(summary()) is None  # one budget: nothing but points at one place


def test_rows_are_the_strongest_thieves_hardest_first_and_what_users_lose():
    whole, (stolen, lost) = summary(), drawn().axes
    assert whole.victim
    lines = sorted((line for line in whole.lines if line.worst), key=lambda line: -line.worst.accuracy.value)  # pyright: ignore
    assert [label.get_text().replace("\n", "") for label in stolen.get_yticklabels()] == [
        "no defense" if line.defense == "none" else line.defense for line in lines
    ]
    filled = [p for p in stolen.lines if p.get_markeredgewidth() == pytest.approx(0.6)]
    for row, line in enumerate(lines):
        assert line.worst
        assert line.utility
        assert [[line.worst.accuracy.value, row]] in [points(p) for p in filled]
        bar = lost.patches[row]
        assert bar.get_width() == pytest.approx(100 * (whole.victim.value - line.utility.accuracy.value))  # pyright: ignore


def test_what_falls_below_the_label_floor_stands_out():
    whole, (stolen, _) = summary(), drawn().axes
    assert whole.floor
    blue = [points(p)[0][0] for p in stolen.lines if p.get_color() == BETTER and p.get_marker() == "o"]
    assert blue
    assert max(blue) < whole.floor.accuracy.low
    assert [[whole.floor.accuracy.value, y] for y in (0, 1)] in [points(p) for p in stolen.lines]


def test_no_text_lies_over_another_or_outside():
    figure = drawn()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    words = [
        t for axes in figure.axes for t in (*axes.texts, *axes.get_yticklabels(), axes.xaxis.label) if t.get_visible()
    ]
    boxes = [(t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in words if t.get_text()]
    names = {name for name, _ in boxes}
    assert "no defense" in names
    for (a, box), (b, other) in combinations(boxes, 2):
        apart = box.x1 < other.x0 + 1 or other.x1 < box.x0 + 1 or box.y1 < other.y0 + 3 or other.y1 < box.y0 + 3
        assert apart or a == b, f"{a!r} over {b!r}"
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text


def test_svg_is_the_same_every_time_and_escapes_names():
    evil = "<script>$x_1$"
    found = summarise(example.run(), [replace(r, defense=evil) if r.defense == "label" else r for r in rows()])
    first, second = (svg(figure, "ranking") for _ in range(2) if (figure := ranking(found)))
    assert first == second
    assert "<script>" not in first
    assert "&lt;script&gt;$x_1$" in first

"""The report's first two figures: price to steal, and clone accuracy against utility; and what all figures share.

Each function draws a matplotlib Figure from a summary; `svg` and `write_png` turn it into text or a file. Drawing uses
the Agg backend without pyplot: no window, no global state. Text stays text, and ids and metadata are fixed, so the same
summary gives the same bytes.

The colours are Okabe and Ito's, which the colour-blind can tell apart; markers and labels distinguish the lines in grey.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gamekeeper.analysis.summary import LEVELS, UNDEFENDED, DefenseSummary, Stolen, Summary
from gamekeeper.aside import replaced
from gamekeeper.metrics import Estimate
from gamekeeper.surfaces.report.words import broken, count, money, percent, plain

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F")
MARKERS = ("s", "^", "D", "v", "P", "X", "h")
INK, FAINT = "#1A1A1A", "#8A8A8A"
APART = 0.006
"""In accuracy: how far a point may be drawn from its true height so that its neighbours stay visible."""
WIDTH = 6.8
"""Inches; at 700 px or more, a point of text is about 1.35 px."""
CROWD, MOST = 13, 24
"""How many defenses a scatter plot can label, and how many the curves and panels can. `ranking.py` shows more, in rows;
`curves.py` shows sweeps."""
NAME_WIDTH = 20
ORIGIN, ORIGIN_ALONE = 2.0, 1.6
"""How far left of the first budget 0 queries are drawn: in widths of a tick's number, and as a factor if there is one budget."""
LEFT_OF_ORIGIN = 0.1
"""Share of the axis left of 0 queries, where the names of the grid lines stand (`victim_line`)."""
LINE_HEIGHT = 11.5
"""Points per line of a label."""
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "gamekeeper",
}


Dashes = Literal["-", "--", ":"]
DASHES: tuple[Dashes, ...] = ("-", "--", ":")


@dataclass(frozen=True)
class Look:
    """How one defense is drawn, the same in every figure."""

    colour: str
    marker: str
    width: float
    dashes: Dashes = "-"


@dataclass(frozen=True)
class Label:
    """Text beside a point of the axes; x and y in data units."""

    x: float
    y: float
    lines: tuple[str, ...]
    look: Look


def looks(summary: Summary) -> dict[str, Look]:
    """No defense is black and bold; defenses take looks in the order of the table."""
    styles = {UNDEFENDED: Look(INK, "o", 2.4)}
    for i, line in enumerate(summary.defended):
        styles[line.defense] = nth_look(i)
    return styles


def nth_look(i: int) -> Look:
    """When the colours repeat, markers and dashes differ."""
    turn, place = divmod(i, len(COLOURS))
    return Look(COLOURS[place], MARKERS[(i + turn) % len(MARKERS)], 1.4, DASHES[turn % len(DASHES)])


def price_curve(summary: Summary) -> Figure | None:
    """Clone accuracy of the strongest thief at each budget, against queries and money. None if nothing is measured yet."""
    lines = [line for line in summary.lines if line.curve]
    crowded = len(lines) > (MOST if any(len(line.curve) > 1 for line in lines) else CROWD)
    if not lines or crowded or summary.victim is None:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = canvas(4.3, labels=sum(len(named(line)) for line in lines), top=0.52 if summary.price else 0.2)
        styles = looks(summary)
        origin = query_axis(axes, lines, summary.zero_query)
        ends = [
            draw_curve(axes, line, styles[line.defense], dodge)
            for line, dodge in zip(lines, dodges(axes, lines), strict=True)
        ]
        if origin and summary.zero_query:
            for line in lines:
                first, colour = line.curve[0], styles[line.defense].colour
                axes.plot([origin, first.queries], [summary.zero_query.accuracy.value, first.accuracy.value], color=colour,
                          linewidth=0.7, linestyle=(0, (1, 2)), zorder=2)  # fmt: skip
            draw_origin(axes, origin, summary.zero_query.accuracy)
        start = [summary.zero_query.accuracy.low] if summary.zero_query else []
        low = max(0.0, min([*start, *(s.accuracy.low for line in lines for s in line.curve)]) - 0.04)
        axes.set_ylim(low, max(1.0, summary.victim.value + 0.075 * (1 - low)))
        axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        axes.set_ylabel("accuracy of the strongest clone")
        victim_line(axes, summary.victim.value)
        if summary.price:
            money_axis(axes, summary.price, summary.currency, origin)
        label_right(figure, axes, ends)
    return figure


def dodges(axes: Axes, lines: Sequence[DefenseSummary]) -> list[float]:
    """Factors on the queries that move points slightly apart, so that equal intervals stay visible."""
    left, right = axes.get_xlim()
    share = min(0.006, 0.05 / len(lines)) if max(len(line.curve) for line in lines) > 1 else 0.1 / len(lines)
    return [(right / left) ** (share * (place - (len(lines) - 1) / 2)) for place in range(len(lines))]


def draw_curve(axes: Axes, line: DefenseSummary, look: Look, dodge: float) -> Label:
    """One defense, its points moved by `dodge`; returns the label of its last point."""
    x = [s.queries * dodge for s in line.curve]
    y = [s.accuracy.value for s in line.curve]
    below = [s.accuracy.value - s.accuracy.low for s in line.curve]
    above = [s.accuracy.high - s.accuracy.value for s in line.curve]
    axes.errorbar(
        x, y, yerr=[below, above], color=look.colour, marker=look.marker, markersize=5.5, linewidth=look.width,
        markeredgecolor="white", markeredgewidth=0.6, elinewidth=1.1, capsize=2.5,
        zorder=4 if line.defense == UNDEFENDED else 3,
    )  # fmt: skip
    return Label(x[-1], y[-1], named(line), look)


def draw_origin(axes: Axes, x: float, rate: Estimate) -> None:
    """The zero-query clone, a circle with its interval, in which the curves of all defenses begin."""
    axes.errorbar(
        [x], [rate.value], yerr=[[rate.value - rate.low], [rate.high - rate.value]], color=INK, marker="o", markersize=6.5,
        markerfacecolor="white", markeredgewidth=1.4, elinewidth=1.1, capsize=2.5, zorder=5,
    )  # fmt: skip
    axes.annotate(f"without asking {rate.value:.3f}", (x, rate.value), (9, -2), textcoords="offset points", fontsize=8.5,
                  va="top", color=INK, zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})  # fmt: skip


def query_axis(axes: Axes, lines: Sequence[DefenseSummary], zero_query: Stolen | None) -> float | None:
    """Logarithmic, with a tick at each measured budget whose number fits.

    Returns where the zero-query clone stands: left of all budgets, as far as a logarithmic axis allows; None without it.
    """
    queries = sorted({round(s.queries) for line in lines for s in line.curve})
    axes.set_xscale("log")
    axes.set_xlim(queries[0] / 1.25, queries[-1] * 1.06 if len(queries) > 1 else queries[0] * 1.25)
    ticks: list[int] = []
    room = (queries[-1] * 1.06 / (queries[0] / 1.25)) ** 0.09
    for query in reversed(queries):
        if not ticks or query * room <= ticks[-1]:
            ticks.append(query)
    origin = None if zero_query is None else queries[0] / (ORIGIN_ALONE if len(queries) == 1 else room**ORIGIN)
    shown = [count(query) for query in ticks[::-1]]
    if origin is None:
        axes.set_xticks(ticks[::-1], shown)
    else:
        right = axes.get_xlim()[1]
        axes.set_xlim(origin / (right / origin) ** (LEFT_OF_ORIGIN / (1 - LEFT_OF_ORIGIN)), right)
        axes.set_xticks([origin, *ticks[::-1]], ["0", *shown])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("queries spent (logarithmic from the first budget on)" if origin else "queries spent (logarithmic)")
    return origin


def victim_line(axes: Axes, victim: float) -> None:
    """The accuracy of the model itself, and the levels whose price the report gives."""
    low, high = axes.get_ylim()
    side = axes.get_yaxis_transform()
    axes.axhline(victim, color=INK, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    words = f"the model itself {victim:.3f}"
    axes.text(0.008, victim + (high - low) * 0.012, words, va="bottom", fontsize=8.5, transform=side)
    for level in LEVELS:
        if low < level * victim:
            axes.axhline(level * victim, color="#D9D9D9", linewidth=0.8, zorder=0)
            axes.text(0.008, level * victim, percent(level), va="center", fontsize=7.5, color="#666666", zorder=1,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8}, transform=side)  # fmt: skip


def money_axis(axes: Axes, price: float, currency: str, origin: float | None) -> None:
    """The same ticks in money, on top; that of the zero-query clone costs nothing."""
    top = axes.secondary_xaxis("top", functions=(times(price), times(1 / price)))
    ticks = [float(tick) * price for tick in axes.get_xticks()]
    top.set_xticks(ticks, [money(0 if origin and tick <= origin * price else tick) for tick in ticks])
    top.set_xticks([], minor=True)
    top.set_xlabel(f"{plain(currency) or 'money'}, at {money(price)} per query")
    top.spines["top"].set_visible(True)


def times(factor: float) -> Callable[[Any], Any]:
    return lambda value: value * factor


def utility_plot(summary: Summary) -> Figure | None:
    """Defended accuracy against clone accuracy, at the summary's budget. None if nothing is measured yet."""
    lines = [line for line in summary.lines if line.worst and line.utility]
    if not 0 < len(lines) <= CROWD or summary.victim is None:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = canvas(4.6, labels=sum(len(named(line)) for line in lines), top=0.2, bottom=0.68)
        styles = looks(summary)
        shift = apart(lines)
        ends = [draw_trade(axes, line, styles[line.defense], shift[line.defense]) for line in lines]
        low = min([e.x for e in ends] + [e.y for e in ends] + [line.soft.accuracy.value for line in lines if line.soft])
        low = max(0.0, round(low - 0.08, 1))
        axes.set_xlim(low - 0.02 * (1 - low), 1.0)
        axes.set_ylim(low - 0.02 * (1 - low), 1.0 + 0.03 * (1 - low))
        axes.set_xlabel(
            "accuracy of the clone (further left: harder to steal)\n"
            "filled: strongest thief, with its 95 % interval; hollow: soft thief"
        )
        axes.set_ylabel("accuracy for honest users (higher: better)")
        diagonal(axes, low)
        if summary.floor:
            floor_line(axes, summary.floor.accuracy.value)
        if summary.zero_query:
            zero_query_line(axes, summary.zero_query.accuracy.value)
        label_right(figure, axes, ends)
    return figure


def apart(lines: Sequence[DefenseSummary]) -> dict[str, float]:
    """Small shifts in height for points that would hide each other; at most APART from the measured height."""
    spots = [(line.worst.accuracy, line.utility.accuracy.value) for line in lines if line.worst and line.utility]
    shift: dict[str, float] = {}
    for line, (x, y) in zip(lines, spots, strict=True):
        near = [i for i, (a, b) in enumerate(spots) if abs(b - y) < APART and a.low <= x.high and x.low <= a.high]
        step = 2 * APART / max(len(near) - 1, 2)
        shift[line.defense] = ((len(near) - 1) / 2 - near.index(lines.index(line))) * step
    return shift


def draw_trade(axes: Axes, line: DefenseSummary, look: Look, shift: float) -> Label:
    """The strongest thief filled and with an interval, the soft thief hollow, joined by a thin line."""
    assert line.worst is not None
    assert line.utility is not None
    x, y = line.worst.accuracy, line.utility.accuracy.value + shift
    if line.soft and line.soft != line.worst:
        axes.plot([line.soft.accuracy.value, x.value], [y, y], color=look.colour, linewidth=1, zorder=2)
        axes.plot(
            [line.soft.accuracy.value], [y], color=look.colour, marker=look.marker, markersize=7, linestyle="none",
            markerfacecolor="white", markeredgewidth=1.4, zorder=3,
        )  # fmt: skip
    axes.errorbar(
        [x.value], [y], xerr=[[x.value - x.low], [x.high - x.value]], color=look.colour, marker=look.marker,
        markersize=8, markeredgecolor="white", markeredgewidth=0.8, elinewidth=1, capsize=2, linestyle="none", zorder=4,
    )  # fmt: skip
    return Label(x.value, y, named(line), look)


def diagonal(axes: Axes, low: float) -> None:
    """Below it the clone is more accurate than the answers honest users get."""
    axes.plot([low, 1], [low, 1], color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    place = low + 0.30 * (1 - low)
    axes.text(place, place - 0.03 * (1 - low), "the clone is as good as the service", rotation=45, fontsize=8,
              rotation_mode="anchor", transform_rotates_text=True, color="#666666", va="top")  # fmt: skip


def floor_line(axes: Axes, floor: float) -> None:
    """No defense that keeps the labels can push the strongest thief below it."""
    low, high = axes.get_ylim()
    axes.axvline(floor, color=INK, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    axes.text(floor - 0.008 * (high - low), low + 0.02 * (high - low), f"label floor {floor:.3f}", rotation=90,
              va="bottom", ha="right", fontsize=8.5)  # fmt: skip


def zero_query_line(axes: Axes, accuracy: float) -> None:
    """Left of it, a thief does better without asking. Where it lies left of all points, an arrow says where."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    words, bottom = f"without asking {accuracy:.3f}", low + 0.02 * (high - low)
    if accuracy < left:
        axes.text(left + 0.015 * (right - left), bottom, f"← {words}", va="bottom", fontsize=8.5)
        return
    axes.axvline(accuracy, color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    axes.text(accuracy + 0.012 * (right - left), bottom, words, rotation=90, va="bottom", ha="left", fontsize=8.5)


def canvas(height: float, labels: int, top: float, bottom: float = 0.5) -> tuple[Figure, Axes]:
    """A figure with a right margin for `labels` lines of text; taller if they need it. Sizes in inches."""
    height = max(height, labels * LINE_HEIGHT / 72 * 1.25 + 1.0)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.09, bottom / height, 0.64, 1 - (bottom + top) / height))
    return figure, axes


def named(line: DefenseSummary) -> tuple[str, ...]:
    """A defense's name, and its strongest thief's accuracy."""
    name = "no defense" if line.defense == UNDEFENDED else safe(line.defense)
    last = line.curve[-1] if line.curve else line.worst
    return (*broken(name, NAME_WIDTH), f"clone {last.accuracy.value:.3f}" if last else "")


def label_right(figure: Figure, axes: Axes, labels: Sequence[Label]) -> None:
    """Labels in the right margin, without overlap, each joined to its point by a thin line."""
    box = axes.get_window_extent()
    scale = figure.dpi / 72
    # of two points at about the same height, the one further right comes first, so that the lines to them do not cross
    order = sorted(labels, key=lambda label: (-round(label.y, 2), -label.x))
    wanted = [axes.transData.transform((label.x, label.y))[1] / scale for label in order]
    heights = [len(label.lines) * LINE_HEIGHT + 4 for label in order]
    places = stacked(wanted, heights, box.y0 / scale - 20, box.y1 / scale + 8)
    inverse = axes.transAxes.inverted()
    for label, place in zip(order, places, strict=True):
        y = inverse.transform((0, place * scale))[1]
        start = inverse.transform(axes.transData.transform((label.x, label.y)))
        colour, bold = label.look.colour, label.look.width > 2
        inside: dict[str, Any] = {"transform": axes.transAxes, "color": colour, "clip_on": False}
        axes.plot([start[0], 1.015, 1.035], [start[1], y, y], linewidth=0.6, alpha=0.7, zorder=1, **inside)
        axes.plot([1.04], [y], marker=label.look.marker, markersize=5.5, **inside)
        axes.text(1.06, y, "\n".join(label.lines), transform=axes.transAxes, color=INK, fontsize=8.5, va="center",
                  linespacing=1.15, fontweight="bold" if bold else "normal")  # fmt: skip


def stacked(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Centres as near as possible to `wanted` (descending) without overlap, inside [low, high] if they fit.

    Blocks that touch are merged and moved to their mean, as in the pool-adjacent-violators algorithm.
    """
    blocks: list[tuple[list[int], float]] = []
    for i in range(len(wanted)):
        members, centre = [i], wanted[i]
        while True:
            height = sum(heights[j] for j in members)
            centre = max(low + height / 2, min(high - height / 2, centre))
            if not blocks or blocks[-1][1] - sum(heights[j] for j in blocks[-1][0]) / 2 >= centre + height / 2:
                break
            members = blocks.pop()[0] + members
            centre = sum(wanted[j] for j in members) / len(members)
        blocks.append((members, centre))
    places: list[float] = []
    for members, centre in blocks:
        edge = centre + sum(heights[j] for j in members) / 2
        for j in members:
            places.append(edge - heights[j] / 2)
            edge -= heights[j]
    return places


def safe(name: str) -> str:
    """ASCII only: the font has no glyphs for other characters."""
    return plain(name).encode("ascii", "replace").decode()


def svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element for a page; every id starts with `name`. The same figure gives the same text."""
    with mpl.rc_context(STYLE):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    return re.sub(r'^<svg[^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" xmlns="http://www.w3.org/2000/svg"'
                  r' xmlns:xlink="http://www.w3.org/1999/xlink" aria-hidden="true">', text)  # fmt: skip


def write_png(figure: Figure, path: Path) -> None:
    """200 dots per inch."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    replaced(path, [buffer.getvalue()])

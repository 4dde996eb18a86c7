"""What removals leave of a scheme's marks, against what they cost: one row for each removal, the cheapest first."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gamekeeper.analysis.ownership import SurvivalLine
from gamekeeper.surfaces.report.figures import COLOURS, FAINT, INK, STYLE, WIDTH, safe
from gamekeeper.surfaces.report.words import broken

ROW, TOP, BOTTOM, NAMES = 0.27, 0.42, 0.5, 1.5
"""Inches: the height of a row, the margins, and the room for names."""
NAME_WIDTH = 22
GONE = COLOURS[1]


def survival_figure(lines: Sequence[SurvivalLine], width: float = WIDTH) -> Figure | None:
    """Share of the claimed answers that are left; beside it, the accuracy paid. None without lines.

    lines   of one scheme; width: in inches
    """
    if not lines:
        return None
    order = sorted(lines, key=lambda line: (-line.paid, line.share))  # from the bottom up
    height = TOP + BOTTOM + ROW * len(order)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        low, high = BOTTOM / height, 1 - (TOP + BOTTOM) / height
        start, room = NAMES / width, 1 - (NAMES + 0.1) / width
        left = figure.add_axes((start, low, 0.56 * room, high))
        paid = figure.add_axes((start + 0.66 * room, low, 0.34 * room, high), sharey=left)
        for place, line in enumerate(order):
            draw_share(left, line, place)
            draw_paid(paid, line, place)
        left.set_ylim(-0.7, len(order) - 0.3)
        left.set_yticks(range(len(order)), ["\n".join(broken(safe(line.removal), NAME_WIDTH)) for line in order])
        left.set_xlim(-0.02, 1.02)
        left.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        left.set_xlabel("of the claimed answers")
        left.set_title("what is left", fontsize=9, loc="left", color=INK)
        paid.axvline(0, color=FAINT, linewidth=0.8, zorder=1)
        paid.set_xlabel("points")
        paid.set_title("what it costs", fontsize=9, loc="left", color=INK)
        most = max(1.0, *(100 * line.paid for line in order))
        paid.set_xlim(min(0.0, *(100 * line.paid for line in order)) - 0.05 * most, 1.45 * most)
        for axes in (left, paid):
            axes.tick_params(axis="y", length=0, labelleft=axes is left)
            axes.spines["left"].set_visible(False)
    return figure


def draw_share(axes: Axes, line: SurvivalLine, place: int) -> None:
    """From what was there before to what is left; filled where every seed still supports the claim."""
    whole = line.decisions["supports"] == line.seeds
    colour = COLOURS[0] if whole else GONE
    axes.plot([line.before, line.share], [place, place], color=colour, linewidth=1, alpha=0.6, zorder=2)
    axes.plot([line.panel], [place], "|", color=INK, markersize=9, zorder=3)
    axes.plot([line.share], [place], "o", color=colour, markersize=6.5, markerfacecolor=colour if whole else "white",
              markeredgewidth=1.4, clip_on=False, zorder=4)  # fmt: skip


def draw_paid(axes: Axes, line: SurvivalLine, place: int) -> None:
    cost = round(100 * line.paid, 1) or 0.0  # never -0.0
    axes.barh(place, cost, height=0.5, color=FAINT, zorder=2)
    axes.annotate(f"{cost:.1f}", (max(cost, 0), place), (3, 0), textcoords="offset points", va="center",
                  fontsize=8)  # fmt: skip

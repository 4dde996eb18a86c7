"""Every defense in its own row, hardest to steal first: for runs with more defenses than a scatter plot can label."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gamekeeper.analysis.summary import UNDEFENDED, DefenseSummary, Summary
from gamekeeper.metrics import Estimate
from gamekeeper.surfaces.report.figures import COLOURS, CROWD, FAINT, INK, STYLE, WIDTH, safe
from gamekeeper.surfaces.report.words import broken

MOST = 60
"""Rows; a run with more is a sweep, for `curves.py`."""
ROW, ABOVE, BELOW = 0.21, 0.35, 0.75
"""Inches: the height of a row, and the margins above and below all rows."""
NAME_WIDTH = 36
BETTER = COLOURS[0]
"""The colour of a strongest thief whose whole interval lies below that of the label floor."""


def ranking(summary: Summary) -> Figure | None:
    """Clone accuracy of the soft and the strongest thief, and the loss of honest users. None for at most CROWD defenses."""
    lines = [line for line in summary.lines if line.worst and line.utility]
    if not CROWD < len(lines) <= MOST or summary.victim is None:
        return None
    lines.sort(key=lambda line: -line.worst.accuracy.value if line.worst else 0.0)
    with mpl.rc_context(STYLE):
        height = ABOVE + BELOW + ROW * len(lines)
        figure = Figure(figsize=(WIDTH, height))
        places = (BELOW / height, ROW * len(lines) / height)
        stolen = figure.add_axes((0.375, places[0], 0.41, places[1]))
        lost = figure.add_axes((0.815, places[0], 0.165, places[1]), sharey=stolen)
        draw_stolen(stolen, lines, summary)
        draw_lost(lost, lines, summary.victim.value)
        name_rows(stolen, lines)
    return figure


def draw_stolen(axes: Axes, lines: Sequence[DefenseSummary], summary: Summary) -> None:
    """The strongest thief filled and with an interval, the soft thief hollow, joined by a thin line."""
    for row, line in enumerate(lines):
        assert line.worst
        x, colour = line.worst.accuracy, BETTER if below(line.worst.accuracy, summary) else INK
        if line.soft and line.soft != line.worst:
            soft = line.soft.accuracy.value
            axes.plot([soft, x.value], [row, row], color=colour, linewidth=1, zorder=2)
            axes.plot([soft], [row], color=colour, marker="o", markersize=5, linestyle="none", markerfacecolor="white")
        axes.errorbar(
            [x.value], [row], xerr=[[x.value - x.low], [x.high - x.value]], color=colour, marker="o", markersize=5.5,
            markeredgecolor="white", markeredgewidth=0.6, elinewidth=1, linestyle="none", zorder=4,
        )  # fmt: skip
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_xlabel("accuracy of the clone\nfilled: strongest thief, with its\n95 % interval; hollow: soft thief")
    if summary.floor:
        floor = summary.floor.accuracy.value
        axes.axvline(floor, color=INK, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
        axes.text(floor, 1.01, f"label floor {floor:.3f}", transform=axes.get_xaxis_transform(), ha="center", va="bottom",
                  fontsize=8.5)  # fmt: skip
    if summary.zero_query:
        start = summary.zero_query.accuracy.value
        axes.axvline(start, color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        axes.text(start, -0.01, f"without asking {start:.3f}", transform=axes.get_xaxis_transform(), ha="center", va="bottom",
                  fontsize=8, backgroundcolor="white", zorder=5)  # fmt: skip


def below(rate: Estimate, summary: Summary) -> bool:
    return summary.floor is not None and rate.high < summary.floor.accuracy.low


def draw_lost(axes: Axes, lines: Sequence[DefenseSummary], clean: float) -> None:
    """Percentage points of accuracy that honest users lose to the defense, as a bar and a number."""
    points = [100 * (clean - line.utility.accuracy.value) for line in lines if line.utility]
    axes.barh(range(len(lines)), points, height=0.5, color=FAINT)
    most = max([*points, 1.0])
    for row, lost in enumerate(points):
        label = f"{lost:.1f}" if abs(lost) >= 0.05 else "0"
        axes.text(max(lost, 0) + 0.04 * most, row, label, va="center", fontsize=8)
    axes.set_xlim(min([*points, 0.0]) * 1.3, 1.45 * most)
    axes.xaxis.set_major_locator(MaxNLocator(2, integer=True))
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.set_xlabel("points honest\nusers lose")


def name_rows(axes: Axes, lines: Sequence[DefenseSummary]) -> None:
    names = ["no defense" if line.defense == UNDEFENDED else safe(line.defense) for line in lines]
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.set_yticks(range(len(lines)), ["\n".join(broken(name, NAME_WIDTH)) for name in names], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.hlines(range(len(lines)), *axes.get_xlim(), color=FAINT, linewidth=0.3, zorder=0)
    for line, label in zip(lines, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if line.defense == UNDEFENDED else "normal")

"""How soon each thief is noticed, and what their clone is worth by then: one row for each way of stealing."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gamekeeper.analysis.detection import ThiefLine
from gamekeeper.surfaces.report.figures import COLOURS, FAINT, INK, STYLE, WIDTH, safe
from gamekeeper.surfaces.report.words import broken

ROW, TOP, BOTTOM = 0.34, 0.42, 0.46
"""Inches: the height of a row, and the margins."""
HIGH = 0.72
"""Share of a row's height that stands for all runs."""
NAME_WIDTH = 23


def noticed(lines: Sequence[ThiefLine]) -> Figure | None:
    """Share of the runs noticed against queries of all accounts; beside it, the clone's accuracy. None without thieves."""
    if not lines:
        return None
    height = TOP + BOTTOM + ROW * len(lines)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        high, low = 1 - (TOP + BOTTOM) / height, BOTTOM / height
        delays = figure.add_axes((0.235, low, 0.43, high))
        clones = figure.add_axes((0.705, low, 0.275, high), sharey=delays)
        for place, line in enumerate(lines):
            draw_delay(delays, line, len(lines) - 1 - place)
            draw_clone(clones, line, len(lines) - 1 - place)
        delays.set_ylim(-0.2, len(lines))
        delays.set_yticks([place + HIGH / 3 for place in range(len(lines))], [named(line) for line in reversed(lines)])
        delays.set_xlim(0, max(line.queries for line in lines))
        delays.set_xlabel("queries of all accounts")
        delays.set_title("share of runs noticed", fontsize=9, loc="left", color=INK)
        clones.tick_params(axis="y", labelleft=False)
        clones.set_xlim(0, 1)
        clones.set_xticks([0, 0.5, 1])
        clones.set_xlabel("accuracy of the clone")
        clones.set_title("● at alarm", fontsize=9, loc="left", color=COLOURS[1])
        clones.set_title("○ all answers", fontsize=9, loc="right", color=INK)
        for axes in (delays, clones):
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
    return figure


def named(line: ThiefLine) -> str:
    """The thief, and what is special about their queries."""
    mixed = f", {100 * line.mix:.0f} % own" if line.mix < 1 else ""
    dealt = f", {line.accounts} accounts" if line.accounts > 1 else ""
    return "\n".join(broken(safe(line.who + mixed + dealt), NAME_WIDTH))


def draw_delay(axes: Axes, line: ThiefLine, floor: int) -> None:
    """Steps from none to all runs, over a line for none."""
    axes.axhline(floor, color=FAINT, linewidth=0.5, zorder=1)
    if not line.alarms:
        axes.annotate(
            "never", (line.queries, floor), (-2, 2), textcoords="offset points", ha="right", fontsize=8, color=FAINT
        )
        return
    at = [0, *line.alarms, line.queries]
    share = [floor + HIGH * min(place, len(line.alarms)) / line.runs for place in range(len(at))]
    axes.fill_between(at, share, floor, step="post", color=COLOURS[0], alpha=0.25, linewidth=0, zorder=2)
    axes.step(at, share, where="post", color=COLOURS[0], linewidth=1.4, zorder=3)


def draw_clone(axes: Axes, line: ThiefLine, floor: int) -> None:
    """The clone at the alarm, full, and that of all answers, hollow, on one line."""
    middle = floor + HIGH / 3
    axes.plot([line.at_alarm, line.whole], [middle, middle], color=FAINT, linewidth=1, zorder=1)
    axes.plot([line.whole], [middle], "o", markersize=6, markerfacecolor="white", markeredgecolor=INK, zorder=2)
    if line.alarms:
        axes.plot([line.at_alarm], [middle], "o", markersize=4, color=COLOURS[1], zorder=3)

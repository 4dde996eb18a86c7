"""One client's history: what every detector said as their queries came, and when the queries came."""

from collections.abc import Sequence
from datetime import UTC, datetime

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gamekeeper.replay_rows import AlarmRow, ClientRow, Moment
from gamekeeper.surfaces.report.client_words import moment
from gamekeeper.surfaces.report.figures import COLOURS, INK, STYLE, WIDTH, safe
from gamekeeper.surfaces.report.words import broken

PANEL, GAP, TOP, BOTTOM = 0.92, 0.22, 0.3, 0.52
"""Inches: the height of one detector's panel, what lies between two, and the margins."""
MOST = 8
"""Detectors that fit on a figure; those that raised an alarm come first."""
TICKS = 4
"""Times on the axis of time."""
ALARM = COLOURS[1]
NAME_WIDTH = 17


def history(client: ClientRow, alarms: Sequence[AlarmRow]) -> Figure | None:
    """A panel for each detector that gave scores, with its alarm marked, and one of queries over time.

    None if nothing was written down. All panels but the last share their axis: queries so far.
    """
    names = shown_detectors(client)
    times = [each for each in client.history if moment(each.at) != "unknown"]
    timed = len({each.at for each in times}) > 1
    panels = len(names) + timed
    if not panels:
        return None
    marks = {each.detector: each.queries for each in alarms} | {
        name: query for name, query in client.alarmed.items() if name not in {each.detector for each in alarms}
    }
    below = GAP + 0.3 if timed and names else 0.0
    height = TOP + BOTTOM + panels * PANEL + max(0, panels - 1) * GAP + below
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        bottom = height - TOP
        for place, name in enumerate(names):
            bottom -= PANEL + (GAP if place else 0)
            axes = figure.add_axes((0.09, bottom / height, 0.68, PANEL / height))
            scores(axes, client, name, marks.get(name))
            last = place == len(names) - 1
            axes.tick_params(labelbottom=last)
            if last:
                axes.set_xlabel("queries of this client so far")
        if timed:
            volume(figure.add_axes((0.09, BOTTOM / height, 0.68, PANEL / height)), times, alarms)
    return figure


def shown_detectors(client: ClientRow) -> list[str]:
    """Those that gave scores: first those that raised an alarm, in the order of their alarms."""
    scored = dict.fromkeys(name for each in client.history for name in each.scores)
    order = sorted(scored, key=lambda name: client.alarmed.get(name, float("inf")))
    return order[:MOST]


def scores(axes: Axes, client: ClientRow, name: str, mark: int | None) -> None:
    """One detector's scores; beside them its name."""
    points = [(each.query, each.scores[name]) for each in client.history if name in each.scores]
    colour = INK if mark else COLOURS[6]
    axes.plot([x for x, _ in points], [y for _, y in points], color=colour, linewidth=1.3, marker="o", markersize=3)
    axes.set_xlim(0, max(each.query for each in client.history) * 1.02)
    axes.margins(y=0.18)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    label(axes, [*broken(safe(name), NAME_WIDTH), "alarm" if mark else "no alarm"], ALARM if mark else "#666666")
    if mark:
        axes.axvline(mark, color=ALARM, linewidth=1.6)
        axes.annotate(f"alarm after {mark:,}", (mark, 1), (4, 2), xycoords=("data", "axes fraction"), fontsize=8,
                      textcoords="offset points", color=ALARM, annotation_clip=False)  # fmt: skip


def volume(axes: Axes, times: Sequence[Moment], alarms: Sequence[AlarmRow]) -> None:
    """Queries over time, with the alarms as lines."""
    seconds = [each.at for each in times if each.at is not None]
    axes.plot(seconds, [each.query for each in times], color=COLOURS[0], linewidth=1.3, marker="o", markersize=3)
    ticks = [min(seconds) + step * (max(seconds) - min(seconds)) / (TICKS - 1) for step in range(TICKS)]
    axes.set_xticks(ticks, [spelt(tick, ticks[-1] - ticks[0]) for tick in ticks])
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("time (UTC)")
    for each in alarms:
        if each.at is not None and ticks[0] <= each.at <= ticks[-1]:
            axes.axvline(each.at, color=ALARM, linewidth=1.6)
    label(axes, ["queries so far"], COLOURS[0])


def spelt(at: float, span: float) -> str:
    """A time, as exactly as an axis of this many seconds needs it."""
    form = "%H:%M:%S" if span < 3_600 else "%d %b %H:%M" if span < 3 * 86_400 else "%Y-%m-%d"
    return datetime.fromtimestamp(at, UTC).strftime(form)


def label(axes: Axes, lines: Sequence[str], colour: str) -> None:
    axes.text(1.02, 0.5, "\n".join(lines), transform=axes.transAxes, fontsize=8.5, va="center", color=colour,
              linespacing=1.2)  # fmt: skip

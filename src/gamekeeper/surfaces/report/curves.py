"""What each defense takes from thieves against what it costs honest users, over its strengths: one curve per defense.

Defenses that differ only in one number form a curve (`--defense mad:eps=0.25/0.5/0.95`) if there are at least LEAST of
them; it starts at no defense. A defense is worth using where its curve lies below that of a trivial one (`flatten`,
`least_likely`, `constant_target`) at equal L1.
"""

from collections.abc import Callable, Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gamekeeper.analysis.families import Family, families
from gamekeeper.analysis.summary import DefenseSummary, Stolen, Summary
from gamekeeper.surfaces.report.figures import FAINT, INK, STYLE, Look, nth_look, safe

WIDTH, HEIGHT, LEGEND = 6.8, 6.2, 0.2
"""Inches; LEGEND is the height of one line of the legend."""
THIEVES: Mapping[str, Callable[[DefenseSummary], Stolen | None]] = {
    "soft thief": lambda line: line.soft,
    "strongest thief": lambda line: line.worst,
}
COSTS: Mapping[str, Callable[[DefenseSummary], float]] = {
    "moved answers (mean L1)": lambda line: line.utility.l1 if line.utility else 0.0,
    "accuracy for honest users": lambda line: line.utility.accuracy.value if line.utility else 0.0,
}


def trade_curves(summary: Summary) -> Figure | None:
    """Clone accuracy against each cost, for the soft and the strongest thief. None if no defense has LEAST strengths."""
    curves = families(summary)
    if not curves or summary.undefended is None or summary.undefended.utility is None:
        return None
    with mpl.rc_context(STYLE):
        rows = -(-(len(curves) + (summary.zero_query is not None)) // 2)
        height = HEIGHT + LEGEND * rows
        figure = Figure(figsize=(WIDTH, height))
        grid = figure.subplots(2, 2, sharey=True, sharex="row", squeeze=False)
        figure.subplots_adjust(
            left=0.09,
            right=0.985,
            top=1 - 0.3 / height,
            bottom=(0.75 + LEGEND * rows) / height,
            hspace=0.3,
            wspace=0.08,
        )
        looks = family_looks(curves)
        for axes_row, (cost, costs) in zip(grid, COSTS.items(), strict=True):
            for axes, (who, thief) in zip(axes_row, THIEVES.items(), strict=True):
                for family in curves:
                    draw(axes, (summary.undefended, *family.lines), looks[family.name], costs, thief)
                finish(axes, summary, who, cost)
        for axes in grid[1]:
            if not axes.xaxis_inverted():
                axes.invert_xaxis()  # shared along the row: the loss of honest users grows to the right, as L1 does
        for axes in grid[:, 0]:
            axes.set_ylabel("accuracy of the clone")
        legend(figure, looks, summary.zero_query is not None)
    return figure


def family_looks(curves: Sequence[Family]) -> dict[str, Look]:
    return {family.name: nth_look(i) for i, family in enumerate(curves)}


def draw(
    axes: Axes,
    lines: Sequence[DefenseSummary],
    look: Look,
    cost: Callable[[DefenseSummary], float],
    thief: Callable[[DefenseSummary], Stolen | None],
) -> None:
    """From no defense through every strength, with 95 % intervals."""
    stolen = [(cost(line), one.accuracy) for line in lines if (one := thief(line))]
    axes.errorbar(
        [x for x, _ in stolen], [rate.value for _, rate in stolen],
        yerr=[[rate.value - rate.low for _, rate in stolen], [rate.high - rate.value for _, rate in stolen]],
        color=look.colour, marker=look.marker, markersize=4.5, linewidth=look.width, linestyle=look.dashes, markeredgecolor="white",
        markeredgewidth=0.5, elinewidth=0.6, zorder=3,
    )  # fmt: skip


def finish(axes: Axes, summary: Summary, who: str, cost: str) -> None:
    """Titles, the undefended point and the label floor."""
    axes.set_title(who, fontsize=9, loc="left", color=INK)
    axes.set_xlabel(cost)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    if summary.floor:
        axes.axhline(summary.floor.accuracy.value, color=FAINT, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    if summary.zero_query:
        axes.axhline(summary.zero_query.accuracy.value, color=FAINT, linewidth=1, linestyle=(0, (1, 2)), zorder=1)


def legend(figure: Figure, looks: Mapping[str, Look], zero_query: bool) -> None:
    """Two columns below the axes, with the dashed line of the floor and the dotted one of the zero-query clone."""
    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            marker=look.marker,
            markersize=5,
            linewidth=look.width,
            linestyle=look.dashes,
            label=safe(name),
        )
        for name, look in looks.items()
    ]
    handles.append(Line2D([], [], color=FAINT, linewidth=1, linestyle=(0, (5, 3)), label="label floor"))
    if zero_query:
        handles.append(Line2D([], [], color=FAINT, linewidth=1, linestyle=(0, (1, 2)), label="without asking"))
    figure.legend(handles=handles, loc="lower left", ncols=2, frameon=False, fontsize=8.5, bbox_to_anchor=(0.08, 0.0))

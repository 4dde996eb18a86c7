"""How far each defense moves honest users' answers: one small histogram of L1 distances per defense."""

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gamekeeper.analysis.summary import DefenseSummary, Summary
from gamekeeper.surfaces.report.figures import INK, MOST, STYLE, WIDTH, Look, looks, safe
from gamekeeper.surfaces.report.words import broken


def perturbations(summary: Summary) -> Figure | None:
    """Small multiples: how far the answers to honest users are moved, in L1 per test input. None if no defense moves any."""
    lines = [line for line in summary.lines if line.utility and line.utility.l1 > 0 and sum(line.utility.l1_histogram)]
    if not 0 < len(lines) <= MOST:
        return None
    columns = 2 if len(lines) < 3 else 3
    rows = -(-len(lines) // columns)
    with mpl.rc_context(STYLE):
        height = 0.75 + 1.85 * rows
        figure = Figure(figsize=(WIDTH, height))
        styles = looks(summary)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        figure.subplots_adjust(
            left=0.105, right=0.985, bottom=0.5 / height, top=1 - 0.42 / height, hspace=0.5, wspace=0.1
        )
        for place, axes in enumerate(grid.flat):
            if place < len(lines):
                histogram(axes, lines[place], styles[lines[place].defense])
                axes.xaxis.set_tick_params(labelbottom=place + columns >= len(lines))
            else:
                axes.set_axis_off()
        figure.supxlabel("L1 distance between the clean and the defended answer (0 to 2)", fontsize=9, y=0.06 / height)
        grid[0, 0].set_ylabel("share of test inputs")
    return figure


def histogram(axes: Axes, line: DefenseSummary, look: Look) -> None:
    assert line.utility is not None
    bins = line.utility.l1_histogram
    width = 2 / len(bins)
    shares = [n / sum(bins) for n in bins]
    axes.bar([width * i for i in range(len(bins))], shares, width=width, align="edge", color=look.colour, linewidth=0)
    axes.axvline(line.utility.l1, color=INK, linewidth=1)
    right = line.utility.l1 < 1.2
    axes.text(line.utility.l1 + (0.04 if right else -0.04), 1.13, f"mean {line.utility.l1:.2f}", fontsize=8.5,
              ha="left" if right else "right", va="top")  # fmt: skip
    axes.set_xlim(0, 2)
    axes.set_ylim(0, 1.15)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_xticks([0, 0.5, 1, 1.5, 2], ["0", "0.5", "1", "1.5", "2"])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_title("\n".join(broken(safe(line.defense), 26)), fontsize=8.5, loc="left", color=INK)

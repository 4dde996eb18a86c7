"""The suspect's hits beside everybody else's, and how rarely a model that copied nothing has as many."""

import math
from collections import Counter
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gamekeeper.ownership.opinion import Opinion
from gamekeeper.surfaces.report.figures import COLOURS, FAINT, INK, STYLE, WIDTH
from gamekeeper.surfaces.report.words import count

NARROW = 3.7
"""Inches: for a phone, where the wide figure's letters would be too small."""
ROW, GAP, CHANCE, TOP, BOTTOM = 0.42, 0.34, 1.35, 0.3, 0.5
"""Inches: heights of a row of dots, of what lies between the rows and the curve, of the curve, and the margins."""
LEFT, RIGHT = 0.92, 0.16
TALLEST, ABREAST = 4, 10
"""Dots on top of each other, at most, before they stand closer; and those beside each other in an inch."""
SUSPECT, OWN, PANEL = COLOURS[1], COLOURS[0], INK
FEWEST = -12.0
"""log10 of the rarest chance that is drawn: beyond it, nobody can tell powers of ten apart."""


def hits_figure(opinion: Opinion, tail: Sequence[float], width: float = WIDTH) -> Figure:
    """Dots for the suspect, the owner's model and each model of the panel over hits; below, the chance that the null gives.

    tail   log10 of the chance of at least so many hits, for 0 to n
    width  in inches; WIDTH for a page, NARROW for a phone
    """
    dots = piled([model.hits for model in opinion.panel], opinion.n / (ABREAST * (width - LEFT - RIGHT)))
    panel = ROW * max(1.6, 0.55 + 0.3 * min(TALLEST, max((level for _, level in dots), default=0)))
    height = TOP + 2 * ROW + panel + GAP + CHANCE + BOTTOM
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        left, wide = LEFT / width, 1 - (LEFT + RIGHT) / width
        low = (BOTTOM + CHANCE + GAP) / height
        people = figure.add_axes((left, low, wide, (2 * ROW + panel) / height))
        chances = figure.add_axes((left, BOTTOM / height, wide, CHANCE / height), sharex=people)
        draw_people(people, opinion, dots, panel / ROW)
        draw_chance(chances, opinion, tail)
        needed_line((people, chances), opinion)
    return figure


def piled(hits: Sequence[int], dot: float) -> list[tuple[int, int]]:
    """(hits, how many dots lie below it), for each model: dots that would hide each other are piled up.

    dot  so many hits are as wide as a dot
    """
    near = max(1, round(dot))
    levels: Counter[int] = Counter()
    places: list[tuple[int, int]] = []
    for each in sorted(hits):
        places.append((each, levels[each // near]))
        levels[each // near] += 1
    return places


def draw_people(axes: Axes, opinion: Opinion, dots: Sequence[tuple[int, int]], panel: float) -> None:
    """Three rows, in units of a row's height: the panel below, the owner's model, the suspect on top."""
    highest = max((level for _, level in dots), default=0)
    step = (panel - 0.55) / max(highest, 1)
    heights = [0.3 + level * min(step, 0.3) for _, level in dots]
    size = 5 if highest <= 2 * TALLEST else 2.5
    axes.plot([each for each, _ in dots], heights, "o", color=PANEL, markersize=size, markeredgewidth=0, clip_on=False,
              zorder=3)  # fmt: skip
    for place, (model, colour, marker) in enumerate(((opinion.own, OWN, "D"), (opinion.suspect, SUSPECT, "o"))):
        axes.plot(
            [model.hits], [panel + place + 0.5], marker, color=colour, markersize=7 + 2 * place, clip_on=False, zorder=4
        )
        left = model.hits > 0.7 * opinion.n
        axes.annotate(f"{count(model.hits)}", (model.hits, panel + place + 0.5), (-9 if left else 9, 0), va="center",
                      ha="right" if left else "left", textcoords="offset points", color=colour, fontweight="bold", zorder=3,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip
    axes.set_xlim(-0.02 * opinion.n, 1.02 * opinion.n)
    axes.set_ylim(0, panel + 2)
    axes.set_yticks(
        [panel / 2, panel + 0.5, panel + 1.5],
        [f"{len(dots)} models\nthat copied\nnothing", "owner's\nmodel", "suspect"],
    )
    labels = axes.get_yticklabels()
    labels[2].set_fontweight("bold")
    labels[2].set_color(SUSPECT)
    labels[1].set_color(OWN)
    axes.axhline(panel, color=FAINT, linewidth=0.5)
    axes.axhline(panel + 1, color=FAINT, linewidth=0.5)
    axes.tick_params(axis="both", length=0, labelbottom=False)
    axes.spines["left"].set_visible(False)


def draw_chance(axes: Axes, opinion: Opinion, tail: Sequence[float]) -> None:
    """How rarely a model that copied nothing hits so often; the level, as one test of the family has to reach it."""
    floor = max(FEWEST, min(-math.log10(opinion.tests) + math.log10(opinion.level) - 1, *tail))
    beyond = tail[opinion.hits] < floor
    axes.plot(range(len(tail)), [max(2 * FEWEST, each) for each in tail], color=INK, linewidth=1.3, zorder=3)
    axes.plot([opinion.hits], [max(floor, tail[opinion.hits])], "v" if beyond else "o", color=SUSPECT, markersize=8,
              clip_on=False, zorder=4)  # fmt: skip
    level = math.log10(opinion.level / opinion.tests)
    if level > floor:
        axes.axhline(level, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.set_ylim(floor * 1.04, 0)
    ticks = ticks_for(floor)
    axes.set_yticks(ticks, [once_in(tick) for tick in ticks])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(lambda hits, _: count(hits))
    axes.set_xlabel(f"hits, of {count(opinion.n)} inputs of the claim")
    axes.set_title("how rarely such a model has as many hits", fontsize=9, loc="left", color=INK)


def ticks_for(floor: float) -> list[int]:
    """Powers of ten from 1 down to the floor, five at most."""
    step = max(1, math.ceil(-floor / 4))
    return list(range(0, math.floor(floor) - 1, -step)) if floor <= -1 else [0, -1]


def once_in(power: int) -> str:
    """1 in so many, short: `1 in 1,000`, from a million on as a power."""
    if power == 0:
        return "always"
    return f"1 in {count(10**-power)}" if power > -6 else f"1 in 10^{-power}"


def needed_line(both: Sequence[Axes], opinion: Opinion) -> None:
    """From how many hits on the claim is supported; none would do where it is void."""
    if opinion.needed is None or opinion.decision == "void":
        return
    for axes in both:
        axes.axvline(opinion.needed, color=COLOURS[2], linewidth=1.4, linestyle=(0, (5, 3)), zorder=2)
    right = opinion.needed < 0.6 * opinion.n
    both[0].annotate(f"{count(opinion.needed)} needed", (opinion.needed, 1), (3 if right else -3, 3), fontsize=8.5,
                     xycoords=("data", "axes fraction"), textcoords="offset points", color="#00664B",
                     ha="left" if right else "right", annotation_clip=False)  # fmt: skip

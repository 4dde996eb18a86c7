"""verdict.html: one self-contained page about a claim and a suspect, for a person who decides; and its figure as files.

A pure function of a trial and of what its queries cost. No scripts and no external resources; names in claims, facts and
records are data from outside and are escaped.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from gamekeeper.analysis.scheme_history import SchemeHistory, history_of
from gamekeeper.aside import replaced
from gamekeeper.ownership.bundle import Trial
from gamekeeper.ownership.opinion import Opinion, opinion, tail
from gamekeeper.ownership.stamps import day
from gamekeeper.surfaces.report import verdict_words as words
from gamekeeper.surfaces.report.figures import WIDTH, svg, write_png
from gamekeeper.surfaces.report.hits import NARROW, hits_figure
from gamekeeper.surfaces.report.page import environment
from gamekeeper.surfaces.report.survival import survival_figure

REPORT, SVG, PNG = "verdict.html", "verdict.svg", "verdict.png"
TEMPLATE = "verdict.html.j2"
SIZES = {"wide": WIDTH, "narrow": NARROW}
"""Of each figure, in inches; the style sheet shows one of them."""


@dataclass(frozen=True)
class Paid:
    """What the suspect's answers cost, and in which currency; 0 for a model on this machine."""

    money: float
    currency: str


def write_verdict_report(trial: Trial, folder: Path, bundle: Path, paid: Paid | None = None) -> Path:
    """Writes verdict.html, verdict.svg and verdict.png, each aside and renamed.

    bundle  where the trial's bundle is, as commands name it; paid: None where nobody wrote it down
    """
    judgement, chances = opinion(trial), tail(trial)
    figure = hits_figure(judgement, chances)
    text = verdict_page(judgement, chances, bundle, paid, history_of(words.scheme(judgement)))
    for name, content in ((SVG, f"{svg(figure, 'verdict')}\n"), (REPORT, text)):
        replaced(folder / name, [content.encode()])
    write_png(figure, folder / PNG)
    return folder / REPORT


def verdict_page(
    judgement: Opinion, chances: tuple[float, ...], bundle: Path, paid: Paid | None, history: SchemeHistory | None
) -> str:
    """The whole report as HTML. chances: as `tail` gives them; history: of the claim's scheme, None where nothing is known."""
    return templates().get_template(TEMPLATE).render(
        one=judgement,
        idea=words.IDEA,
        means=words.MEANS[judgement.decision],
        steps=words.steps(judgement),
        rarity=words.rarity(judgement),
        another=words.another_panel(judgement.interval, len(judgement.panel)),
        firm=words.firm(judgement),
        scheme=words.scheme(judgement),
        history=history,
        basis="" if history is None else words.basis(history),
        unchecked=words.UNCHECKED,
        cost=words.cost_of(judgement.queries, None if paid is None else (paid.money, paid.currency)),
        hits=[inline(hits_figure(judgement, chances, width), f"hits-{name}") for name, width in SIZES.items()],
        survival=survival_figures(history),
        command=f"gamekeeper verify --bundle {shlex.quote(str(bundle))}",
        bundle=str(bundle),
    )  # fmt: skip


def survival_figures(history: SchemeHistory | None) -> list[Markup]:
    """The figure in every size; none where nothing is known."""
    lines = () if history is None else history.survival
    drawn = {name: survival_figure(lines, width) for name, width in SIZES.items()}
    return [inline(figure, f"survival-{name}") for name, figure in drawn.items() if figure]


def inline(figure: Figure, name: str) -> Markup:
    """As SVG, in which matplotlib has escaped all names."""
    return Markup(svg(figure, name))  # noqa: S704


def templates() -> Any:
    """The report's environment with the filters of this page."""
    filters: dict[str, Callable[..., Any]] = {
        "power": words.power,
        "accusations": words.accusations,
        "naive": words.naive,
        "day": day,
    }
    both = environment()
    both.filters.update(filters)
    return both

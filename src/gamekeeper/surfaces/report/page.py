"""report.html: one self-contained page, a pure function of `run.json`, `results.jsonl` and the pictures saved with them.

No scripts and no external resources; every name is escaped. The same files give the same bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gamekeeper.analysis.checks import raised
from gamekeeper.analysis.equal_loss import LOSSES, equal_losses
from gamekeeper.analysis.flags import FLAGS
from gamekeeper.analysis.follow_on import FollowOnSummary, follow_on_summaries
from gamekeeper.analysis.summary import LEVELS, UNDEFENDED, Summary, summarise, unique
from gamekeeper.aside import replaced
from gamekeeper.results import FollowOn, Results, Row, Run
from gamekeeper.surfaces.report import figures, words
from gamekeeper.surfaces.report.album import Album, album
from gamekeeper.surfaces.report.basis import rests_on
from gamekeeper.surfaces.report.curves import trade_curves
from gamekeeper.surfaces.report.perturbations import perturbations
from gamekeeper.surfaces.report.ranking import ranking
from gamekeeper.surfaces.report.standards import ENTRIES, VERSIONS

REPORT = "report.html"
TEMPLATE = "report.html.j2"
FIGURES = {
    "price-to-steal": figures.price_curve,
    "utility": figures.utility_plot,
    "ranking": ranking,
    "strengths": trade_curves,
    "perturbation": perturbations,
}


def write_report(folder: Path) -> Path:
    """Reads the run in `folder`, writes report.html to a temporary file and renames it. Raises BadConfig without a run."""
    results = Results(folder)
    rows = results.read()
    text = page(results.header(), rows, album(folder, follow_on_summaries(rows)))
    replaced(folder / REPORT, [text.encode()])
    return folder / REPORT


def write_pngs(folder: Path) -> list[Path]:
    """The figures of the report as PNG files in `folder`, except those that would be empty."""
    results = Results(folder)
    summary = summarise(results.header(), results.read())
    written: list[Path] = []
    for name, draw in FIGURES.items():
        figure = draw(summary)
        if figure is not None:
            written.append(folder / f"{name}.png")
            figures.write_png(figure, written[-1])
    return written


def page(run: Run, rows: list[Row], pictures: Album | None = None) -> str:
    """The whole report as HTML."""
    summary = summarise(run, rows)
    flags = raised(rows)
    seen = unique(name for names in flags.values() for name in names)
    return environment().get_template(TEMPLATE).render(
        run=run,
        rows=rows,
        summary=summary,
        headline=words.sentences(summary),
        basis=rests_on(summary).replace("`", ""),
        notes=words.notes(summary),
        drawn=drawings(summary),
        cell_flags=flags,
        flags=[flag for name, flag in FLAGS.items() if name in seen],
        levels=LEVELS,
        losses=LOSSES,
        equal_losses=equal_losses(summary),
        follow_on_summaries=(followed := follow_on_summaries(rows)),
        compared=compared(followed),
        lacking=unique(f"{gap} ({place(name)})" for name, _, outcome in compared(followed) for gap in outcome.lacking),
        pictures=pictures,
        papers=any(row.paper is not None for row in rows),
        facts=target_facts(run.target),
        entries=ENTRIES,
        versions=VERSIONS,
        undefended=UNDEFENDED,
    )  # fmt: skip


def compared(followed: Sequence[FollowOnSummary]) -> list[tuple[str | None, str, FollowOn]]:
    """The lines of the follow-on tables: defense, thief and outcome; last the model itself, whose defense is None."""
    lines: list[tuple[str | None, str, FollowOn]] = [(one.defense, one.attack, one.mean) for one in followed]
    itself = next((one.mean.itself for one in followed if one.mean.itself), None)
    return [*lines, (None, "", itself)] if itself else lines


def place(defense: str | None) -> str:
    """Which line of a follow-on table, in words."""
    if defense is None:
        return "the model itself"
    return "no defense" if defense == UNDEFENDED else f"defense {defense}"


def drawings(summary: Summary) -> Mapping[str, Markup]:
    """Figure name -> inline SVG, in which matplotlib has escaped all names. Empty figures are left out."""
    drawn = {name: draw(summary) for name, draw in FIGURES.items()}
    return {name: Markup(figures.svg(figure, name)) for name, figure in drawn.items() if figure}  # noqa: S704


def environment() -> Environment:
    """Autoescape on; a name missing from the context is an error, not an empty string."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "plain": words.plain,
        "name": breakable,
        "command": command,
        "prose": prose,
        "count": words.count,
        "money": words.money,
        "percent": percent,
        "value": words.value,
        "interval": words.interval,
        "reached": words.reached,
        "between": words.between,
        "amount": words.amount,
        "efficiency": words.efficiency,
        "bands": words.bands,
        "guaranteed": words.guaranteed,
        "points": words.points,
        "loss": words.lost,
        "seconds": words.seconds,
        "moment": moment,
    }
    templates.filters.update(filters)
    return templates


def breakable(name: str) -> Markup:
    """A method's name, escaped; lines may break between its parts."""
    return Markup("<wbr>").join(words.pieces(name))


def command(line: str) -> Markup:
    """A command line, escaped; lines may break only between its words."""
    return Markup(" ").join(Markup("<span>{}</span>").format(word) for word in words.plain(line).split(" "))


def percent(fraction: float) -> str:
    return prose(words.percent(fraction))


def prose(text: str) -> str:
    """Keeps a number on one line with its percent sign."""
    return text.replace(" %", "\u00a0%")


def moment(text: str) -> str:
    """An ISO date as `2026-11-03 09:12 UTC`; any other text unchanged."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return words.plain(text)


def target_facts(target: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The header's description of the target as pairs of name and value, with nested keys joined."""
    pairs: list[tuple[str, str]] = []
    for key, value in target.items():
        name = f"{prefix}{words.plain(str(key)).replace('_', ' ')}"
        if isinstance(value, dict):
            pairs += target_facts(value, f"{name}, ")
        elif isinstance(value, list):
            pairs.append(
                (name, (" × " if key == "shape" else " to " if key == "range" else ", ").join(map(spelt, value)))
            )
        else:
            pairs.append((name, spelt(value)))
    return pairs


def spelt(value: object) -> str:
    """A plain value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else words.plain(str(value))

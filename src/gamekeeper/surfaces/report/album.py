"""The inverted classes as the report shows them: rows of small PNGs inside the page, the same bytes every time."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from gamekeeper.analysis.follow_on import FollowOnSummary
from gamekeeper.analysis.summary import UNDEFENDED
from gamekeeper.engine.pictures import Array, Pictures, Strip, find


@dataclass(frozen=True)
class Album:
    """One thief's pictures: the classes, and for each row what it shows and the data URLs of its pictures."""

    defense: str
    attack: str
    budget: int
    classes: tuple[int, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def album(folder: Path, follow_on_summaries: Sequence[FollowOnSummary]) -> Album | None:
    """The pictures of the strongest undefended thief, else of the first defense; None if no pictures were saved."""
    if not follow_on_summaries:
        return None
    chosen = next(
        (summary for summary in follow_on_summaries if summary.defense == UNDEFENDED),
        follow_on_summaries[0],
    )
    saved = next((pictures for cell in chosen.cells if (pictures := find(folder, cell))), None)
    return None if saved is None else bound(chosen, saved)


def bound(summary: FollowOnSummary, pictures: Pictures) -> Album:
    strips = (
        ("average of the test set", pictures.average),
        ("drawn on the model itself", pictures.itself),
        ("drawn on the copy", pictures.copy),
    )
    rows = tuple((label, addresses(strip)) for label, strip in strips if strip is not None)
    classes = tuple(int(k) for k in pictures.classes)
    return Album(summary.defense, summary.attack, summary.budget, classes, rows)


def addresses(strip: Strip) -> tuple[str, ...]:
    """Each picture as a `data:` URL."""
    return tuple(f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}" for picture in strip)


def png(picture: Array) -> bytes:
    """One picture (h, w, c)."""
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG", optimize=True)
    return file.getvalue()

"""The inverted classes as the report shows them: rows of small PNG pictures inside the page, the same bytes every time."""

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
    """Of one thief: the classes, and for each row of pictures what it shows and their data addresses."""

    defense: str
    attack: str
    budget: int
    classes: tuple[int, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def album(folder: Path, follow_on_summaries: Sequence[FollowOnSummary]) -> Album | None:
    """That of the strongest undefended thief, else of the first defense; None where no pictures were kept."""
    if not follow_on_summaries:
        return None
    chosen = next(
        (follow_on_summary for follow_on_summary in follow_on_summaries if follow_on_summary.defense == UNDEFENDED),
        follow_on_summaries[0],
    )
    found = next((pictures for cell in chosen.cells if (pictures := find(folder, cell))), None)
    return None if found is None else bound(chosen, found)


def bound(follow_on_summary: FollowOnSummary, found: Pictures) -> Album:
    strips = (("average of the test set", found.average), ("drawn on the model itself", found.itself))
    rows = [
        (label, addresses(strip)) for label, strip in (*strips, ("drawn on the copy", found.copy)) if strip is not None
    ]
    classes = tuple(int(k) for k in found.classes)
    return Album(follow_on_summary.defense, follow_on_summary.attack, follow_on_summary.budget, classes, tuple(rows))


def addresses(strip: Strip) -> tuple[str, ...]:
    """Each picture as a `data:` address."""
    return tuple(f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}" for picture in strip)


def png(picture: Array) -> bytes:
    """One picture (h, w, c)."""
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG", optimize=True)
    return file.getvalue()

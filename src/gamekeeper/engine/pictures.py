"""Pictures of inverted classes, kept beside the results: one small .npz per cell, written aside and renamed."""

import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from gamekeeper.errors import BadConfig
from gamekeeper.types import Batch, Box

FOLDER = "pictures"
Array = np.ndarray[Any, np.dtype[Any]]
Strip = UInt8[Array, "k h w c"]
"""k pictures, grey (c = 1) or in colour (c = 3)."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """The same classes three times.

    classes  their numbers, (k,)
    average  the mean of the class's test inputs
    copy     drawn on the copy; itself: drawn on the model itself, None where it has no gradients
    """

    classes: Array
    average: Strip
    copy: Strip
    itself: Strip | None = None


def strip(x: Batch, box: Box) -> Strip:
    """Images (k, c, h, w) of the box as bytes, its low end black."""
    share = (x - box.low) / (box.high - box.low)
    return (share * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def drawable(box: Box) -> bool:
    return len(box.shape) == 3 and box.shape[0] in (1, 3)


def keep(folder: Path, cell: str, pictures: Pictures) -> None:
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    aside = place / f"{cell}.{os.getpid()}.new"
    with aside.open("wb") as file:
        np.savez_compressed(file, **{name: array for name, array in asdict(pictures).items() if array is not None})
    aside.replace(place / f"{cell}.npz")


def find(folder: Path, cell: str) -> Pictures | None:
    """None if there are none. Raises BadConfig for a damaged file."""
    path = folder / FOLDER / f"{cell}.npz"
    if not path.exists():
        return None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return Pictures(**{name: file[name] for name in file.files})
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise BadConfig(
            f"{path} cannot be read ({error}). Remove it, and the report is drawn without its pictures."
        ) from error

"""What an input looks like to the model, and in which units and layout files hold it: one statement for all files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamekeeper.data.labels import Labels
from gamekeeper.errors import BadConfig

Array = np.ndarray[Any, np.dtype[Any]]
BYTES = (0.0, 255.0)
AS_PIXELS = {(0.0, 1.0), (-1.0, 1.0), BYTES}
"""Ranges of a model's inputs for which bytes are taken to be pixels of 0 to 255."""
DARK = 64
"""Bytes below this in all of a file are hardly pixels of 0 to 255, but 0 or 1, or 0 to 16, or 0 to 31."""
SMALLEST = 16
"""Pixels of height and width from which on inputs are images that a convolutional network is made for."""
NARROW = 16
"""Images that fill less than this fraction of their range are hardly in it: they are in 0 to 1 where it is 0 to 255."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """What a file of numbers or pictures holds, as it stands.

    x         inputs (n, ...)
    labels    for each of them, or None
    pictures  files of an image format, which say themselves that they hold 0 to 255, and come channels first
    """

    path: Path
    x: Array
    labels: Labels | None = None
    pictures: bool = False

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Scale:
    """One input as the model takes it, and as files hold it.

    shape   images are (c, h, w), whichever layout the model and the files have
    low, high  the range of its entries
    stored  the range in which files hold them, if that is another; None: files are in the model's own range, except that
            bytes are pixels of 0 to 255 where the model's range is 0 to 1, -1 to 1 or 0 to 255
    last    images whose layout cannot be told from their shape have their channels last
    flat    the model takes grey images without a channel, (h, w)
    """

    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0
    stored: tuple[float, float] | None = None
    last: bool = False
    flat: bool = False

    @property
    def seen(self) -> tuple[float, float]:
        """The range in which thieves, defenses and measurements see inputs: 0 to 1 for images, also for flat ones."""
        own = (self.low, self.high)
        return (0.0, 1.0) if len(self.shape) == 3 or own == BYTES else own

    def read(self, file: Arrays) -> Tensor:
        """The inputs of a file, (n, *shape) wherever they can be such. Raises BadConfig if they are in other units."""
        x = self.arranged(file)
        low, high = self.held(file)
        self.check(file, x)
        values = finite(file.path, x)
        if (low, high) == self.seen:
            return values
        unit = (values - low) / (high - low)
        lowest, highest = self.seen
        return (unit if self.seen == (0.0, 1.0) else unit * (highest - lowest) + lowest).clamp(*self.seen)

    def held(self, file: Arrays) -> tuple[float, float]:
        """The range that the file's numbers are in, as declared or else as its kind says."""
        own = (self.low, self.high)
        return self.stored or (BYTES if file.x.dtype == np.uint8 and own in AS_PIXELS else own)

    def header_entry(self) -> dict[str, Any]:
        """What stands in the header of a run, where it is not plain."""
        own = (self.low, self.high)
        return {
            **({} if self.stored is None else {"stored": list(self.stored)}),
            **({} if self.seen == own else {"model_range": list(own)}),
            **({"layout": "channels last"} if self.last else {}),
            **({"layout": "no channel"} if self.flat else {}),
        }

    def arranged(self, file: Arrays) -> Array:
        """The inputs with channels first, flat grey images unfolded; as they are where no shape fits."""
        x, inner = file.x, file.x.shape[1:]
        if len(self.shape) != 3:
            grey = inner[1:] if len(inner) == 3 and inner[0] == 1 else inner
            return x.reshape(len(x), *self.shape) if grey == self.shape else as_images(file.path, x)
        c, h, w = self.shape
        first, last = inner == (c, h, w), inner == (h, w, c) and not file.pictures
        if last and (self.last or not first):
            return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        if first:
            return x
        if c == 1 and inner in ((h, w), (h * w,)):
            return x.reshape(len(x), 1, h, w)
        if file.pictures and (c, inner) == (3, (1, h, w)):
            return np.repeat(x, 3, 1)  # a grey picture, as every library opens it in colour
        if file.pictures and (c, inner) == (1, (3, h, w)) and (x == x[:, :1]).all():
            return x[:, :1]  # grey, saved in colour
        return as_images(file.path, x)

    def check(self, file: Arrays, x: Array) -> None:
        """Raises BadConfig if the numbers of a file are not, or hardly, in the range that they are taken to be in."""
        if not x.size:
            return
        (low, high), least, most = self.held(file), float(x.min()), float(x.max())
        if (self.stored or self.seen != (self.low, self.high)) and (least < low or most > high):
            where = "`low` and `high`, or `stored`," if self.stored is None else "`stored`"
            raise BadConfig(
                f"{file.path} holds {least:g} to {most:g}; {where} in [input] say that files hold {low:g} to {high:g}."
                " Correct them (`stored` is the range of all files), or save all files in one range."
            )
        if file.pictures or not least < most:
            return
        pixels = self.stored is None and file.x.dtype == np.uint8 and (low, high) == BYTES
        if pixels and most < DARK:
            raise BadConfig(
                f"{file.path} holds bytes of at most {most:g}, which would be nearly black as pixels of 0 to 255. Say in"
                f" [input] what all files hold: `stored = [0, {most:g}]`, or `stored = [0, 255]` if they are so dark."
            )
        if file.x.dtype == np.uint8 or len(self.shape) != 3:
            return
        if most - least < (high - low) / NARROW or (self.stored is None and low < 0 <= least):
            where = "`low` and `high` declare" if self.stored is None else "`stored` declares"
            raise BadConfig(
                f"{file.path} holds {least:g} to {most:g}, where {where} {low:g} to {high:g} in [input]: hardly images in"
                f" that range. Say what all files hold, such as `stored = [0, 1]` (it is mapped to `low` to `high`) or"
                f" `stored = [{low:g}, {high:g}]`, or save all files in one range."
            )


def as_they_are(file: Arrays) -> Tensor:
    """A file by itself, without a model to read it for: bytes are pixels, returned as 0 to 1."""
    values = finite(file.path, as_images(file.path, file.x))
    return values / 255 if file.x.dtype == np.uint8 else values


def as_images(path: Path, x: Array) -> Array:
    """(n, d) unchanged, (n, h, w) with a channel added, (n, h, w, c) and (n, c, h, w) as (n, c, h, w); c is 1 or 3."""
    if x.ndim == 2:
        return x
    if x.ndim == 3:
        return x[:, None]
    first, last = (x.ndim == 4 and x.shape[axis] in (1, 3) for axis in (1, 3))
    if first == last:
        raise BadConfig(
            f"{path} needs inputs of shape (n, d), (n, h, w), (n, c, h, w) or (n, h, w, c) with c = 1 or 3;"
            f" got {x.shape}. Save them in one of these shapes, or declare theirs as `shape` in [input]."
        )
    return x if first else np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def finite(path: Path, x: Array) -> Tensor:
    """As float32. Raises BadConfig for NaN, infinities and numbers too large."""
    with np.errstate(over="ignore"):
        values = torch.as_tensor(np.ascontiguousarray(x, dtype=np.float32))
    bad = (~values.isfinite()).reshape(len(values), -1).any(1)
    if bad.any():
        raise BadConfig(
            f"{path} needs finite numbers that fit into float32; example {int(bad.long().argmax())} (counted from 0)"
            " holds NaN or an infinity. Remove or repair it."
        )
    return values


def channels_last(shape: Sequence[int], layout: str | None) -> bool:
    """Whether inputs of this shape have their channels last: as declared, else if only the last size is 1 or 3."""
    if len(shape) != 3:
        return False
    return layout == "channels-last" or (layout is None and shape[0] not in (1, 3) and shape[2] in (1, 3))


def without_channel(shape: Sequence[int]) -> bool:
    """Whether inputs of this shape are grey images (h, w): two sizes, both of an image."""
    return len(shape) == 2 and min(shape) >= SMALLEST

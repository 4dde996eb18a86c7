"""Inputs in a log: numbers, bytes in base64, files beside the log, or hashes of them.

Source      none
Assumes     numbers stand in the order of the input's shape, or of its names of columns
Keeps       nothing
"""

import binascii
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from torch import Tensor

from gamekeeper.data.array_files import header
from gamekeeper.data.image_folders import IMAGES, load_image
from gamekeeper.data.limits import within_limit
from gamekeeper.errors import BadConfig, BadQuery, UnsafeFile
from gamekeeper.logs.event import Unusable, shown
from gamekeeper.logs.mapping import InputTable
from gamekeeper.logs.paths import MISSING, first
from gamekeeper.logs.tensors import is_tensor, tensor
from gamekeeper.protocols.json import loads
from gamekeeper.types import Batch, Box, Domain

Array = np.ndarray[Any, np.dtype[Any]]
KIND = "an input that cannot be read"


@dataclass(frozen=True)
class InputReader:
    """Reads the inputs of records as a mapping declares them.

    table   [input] of the mapping
    domain  what the target takes; None: any shape, any finite numbers
    folder  that of the log
    """

    table: InputTable
    domain: Domain | None
    folder: Path

    def __call__(self, fields: dict[str, Any]) -> "tuple[Batch | None, tuple[bytes, ...]]":
        """The inputs (n, ...), or n hashes; neither if the record has none. Raises Unusable."""
        value = first(fields, self.table.field)
        if value is MISSING:
            return None, ()
        if self.table.kind == "hashed":
            return None, (hashlib.sha256(canonical(value)).digest(),)
        if self.table.kind == "hash":
            return None, tuple(as_hash(each) for each in (value if isinstance(value, list) else [value]))
        return self.checked(self.arranged(self.numbers(value))), ()

    def numbers(self, value: Any) -> Array:
        """The numbers of a value as they stand, in any shape."""
        if self.table.kind == "numbers":
            return numbers(value, self.table.columns)
        parts = [self.part(each) for each in (value if isinstance(value, list) else [value])]
        if len(parts) == 1:
            return parts[0][None]
        if not parts or len({part.shape for part in parts}) > 1:
            raise Unusable(KIND, f"it needs inputs of one shape; got {len(parts)} inputs of several shapes")
        return np.stack(parts)

    def part(self, value: Any) -> Array:
        """One value of base64, or one file."""
        if not isinstance(value, str):
            raise Unusable(KIND, f"it needs text ({self.table.kind}); got {type(value).__name__}")
        if self.table.kind == "base64":
            return decoded(value, np.dtype("<f4" if self.table.dtype == "float32" else "u1"))
        return loaded(inside(self.folder / self.table.folder, value))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of one input, as declared, else as the target's."""
        if self.table.shape is not None:
            return tuple(self.table.shape)
        return None if self.domain is None else tuple(self.domain.shape)

    def arranged(self, x: Array) -> Array:
        """(n, *shape): by the shape of one input, with channels first; without one, a list is one input."""
        shape = self.shape
        if x.size == 0:
            raise Unusable(KIND, "it holds no numbers")
        if shape is None:
            return x[None] if x.ndim < 2 else x
        if x.size % math.prod(shape):
            raise Unusable(KIND, f"inputs of shape {shape} need a multiple of {math.prod(shape)} numbers; got {x.size}")
        c_last = (*shape[1:], shape[0])
        if len(shape) == 3 and (x.shape[-3:] == c_last != shape or self.table.layout == "channels-last"):
            return x.reshape(-1, *c_last).transpose(0, 3, 1, 2)
        return x.reshape(-1, *shape)

    def checked(self, x: Array) -> Tensor:
        """As float32, in the target's range. Raises Unusable if they are not inputs of the target."""
        with np.errstate(over="ignore"):
            values = np.require(x, np.float32, ["C", "W"])  # torch wants memory that can be written
        if self.table.stored is not None:
            values = self.in_range(values, *self.table.stored)
        tensor = torch.from_numpy(values)
        if self.domain is None:
            if not np.isfinite(values).all():
                raise Unusable(KIND, "it holds NaN, infinities or numbers too large for float32")
            return tensor
        try:
            self.domain.check(tensor)
        except BadQuery as error:
            raise Unusable("an input that the target does not take", str(error)) from None
        return tensor

    def in_range(self, x: Array, lowest: float, highest: float) -> Array:
        """From the log's range to the target's, or to 0 to 1."""
        low, high = (self.domain.low, self.domain.high) if isinstance(self.domain, Box) else (0.0, 1.0)
        return np.asarray((x - lowest) / (highest - lowest) * (high - low) + low, dtype=np.float32)


def numbers(value: Any, columns: Sequence[str] | None) -> Array:
    """Nested lists of numbers, or records by name in the order of the columns; text is read as JSON."""
    if isinstance(value, str):
        try:
            value = loads(value.encode(errors="replace"))
        except ValueError:
            raise Unusable(KIND, f"it is text that is no list of numbers: {shown(value)}") from None
    if is_tensor(value):
        value = tensor(value)
    elif isinstance(value, dict):
        value = next(iter(value.values())) if len(value) == 1 and columns is None else by_name(value, columns)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        names = columns or list(value[0])
        value = [by_name(each, names) for each in value]
    try:
        x = np.asarray(value)
    except (ValueError, RecursionError, OverflowError) as error:
        raise Unusable(KIND, f"it is not lists of equally many numbers ({shown(str(error))})") from None
    if x.dtype.kind not in "buif":
        raise Unusable(KIND, f"it needs numbers; got {shown(str(value))}")
    return x


def by_name(value: Any, columns: Sequence[str] | None) -> list[Any]:
    """The values of a record in the order of the columns; text that is a number counts as one, as in CSV."""
    if not isinstance(value, dict):
        raise Unusable(KIND, f"it needs a value for each column by name; got {type(value).__name__}")
    if columns is None:
        raise Unusable(KIND, f"it holds values by name ({shown(', '.join(value))}); name them in `columns`, in order")
    absent = [name for name in columns if value.get(name) in (None, "")]
    if absent:
        raise Unusable(KIND, f"it has no value for {shown(absent[0])}")
    try:
        return [float(each) if isinstance(each := value[name], str) else each for name in columns]
    except ValueError:
        raise Unusable(KIND, "a column holds text that is no number") from None


def canonical(value: Any) -> bytes:
    """The same bytes for the same value, however its keys are ordered."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:  # numbers of more than 64 bits, half characters
        raise Unusable(KIND, f"it has no form in JSON ({shown(str(error))})") from None


def as_hash(value: Any) -> bytes:
    """A hash in hexadecimal as its bytes, any other text as UTF-8."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise Unusable(KIND, f"a hash is text; got {type(value).__name__}")
    text = str(value)
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = text.encode(errors="replace")
    return raw if len(raw) <= 64 else hashlib.sha256(raw).digest()


def decoded(text: str, dtype: np.dtype[Any]) -> Array:
    """The numbers behind base64, in a row."""
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, binascii.Error):
        raise Unusable(KIND, f"it is not base64: {shown(text, 40)}") from None
    if len(raw) % dtype.itemsize:
        raise Unusable(KIND, f"{dtype} takes {dtype.itemsize} bytes for each number; got {len(raw)} bytes")
    return np.frombuffer(raw, dtype)


def inside(folder: Path, text: str) -> Path:
    """The file that a log names, if it lies inside the folder, also behind links. Raises Unusable."""
    try:
        path = (folder / text).resolve()
        if Path(text).is_absolute() or not path.is_relative_to(folder.resolve()) or ".." in Path(text).parts:
            raise Unusable("a path that leads out of the folder", f"{shown(text)} is not read")
        if not path.is_file():
            raise Unusable("an input file that is not there", f"there is no file {shown(text)}")
    except (OSError, ValueError) as error:
        raise Unusable(KIND, f"{shown(text)} is not a path ({shown(str(error))})") from None
    return path


def loaded(path: Path) -> Array:
    """The numbers of a picture, channels first, or of a .npy array. Raises Unusable."""
    try:
        if path.suffix.lower() in IMAGES:
            image = load_image(path, None, path, 1)
            return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        if path.suffix.lower() == ".npy":
            return npy(path)
    except (BadConfig, UnsafeFile) as error:
        raise Unusable("an input file that cannot be read", shown(str(error), 400)) from None
    raise Unusable(KIND, f"{shown(path.name)} is neither .npy nor a picture ({', '.join(IMAGES)})")


def npy(path: Path) -> Array:
    """An array, read after its header has been checked against its size, so that no header can reserve memory."""
    size = path.stat().st_size
    within_limit(path, size)
    raw = io.BytesIO(path.read_bytes())
    try:
        shape, dtype = header(raw)
        if dtype.hasobject or dtype.kind not in "buif":
            raise UnsafeFile(f"{path} holds {dtype}, not plain numbers.")
        if raw.tell() + math.prod(shape) * dtype.itemsize != size:
            raise BadConfig(f"{path} is cut short or its header is wrong.")
        raw.seek(0)
        return np.lib.format.read_array(raw, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BadConfig(f"{path} is not an array ({error}).") from error

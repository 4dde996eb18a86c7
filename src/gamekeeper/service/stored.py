"""Memories as bytes: what a detector remembers of a client, stored bit for bit and without pickle.

A memory is a dataclass whose fields are tensors and numbers (int, float, bool). The format is safetensors; its metadata
names the class and a version, so that a memory of another kind or of an older release is refused and not misread.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from gamekeeper.errors import Malformed

FORMAT = 1
NUMBERS: Mapping[type, torch.dtype] = {int: torch.int64, float: torch.float64, bool: torch.bool}
M = TypeVar("M")


def packed(memory: Any) -> bytes:
    """The memory as bytes, the same for equal memories. Raises TypeError for a field that is neither tensor nor number."""
    whole = {"format": torch.tensor(FORMAT)}
    whole |= {f"{type(memory).__qualname__}.{f.name}": as_tensor(getattr(memory, f.name)) for f in fields(memory)}
    return save(whole)


def unpacked(kind: type[M], data: bytes) -> M:
    """The memory of this class that was packed. Raises Malformed if the bytes are damaged or are something else."""
    try:
        whole = load(data)
    except SafetensorError as error:
        raise Malformed(f"a client's memory cannot be read: {error}. Forget the client, or restore the file.") from None
    names = [f.name for f in fields(kind)]  # pyright: ignore[reportArgumentType]
    wanted = {"format", *(f"{kind.__qualname__}.{name}" for name in names)}
    if set(whole) != wanted or int(whole["format"]) != FORMAT:
        raise Malformed(
            f"this is not a memory of {kind.__qualname__} in format {FORMAT}: it holds {', '.join(sorted(whole))}. It was"
            " written by another detector or release; forget the client, or use the release that wrote it."
        )
    example = {f.name: str(f.type) for f in fields(kind)}  # pyright: ignore[reportArgumentType]
    return kind(**{name: as_field(whole[f"{kind.__qualname__}.{name}"], example[name]) for name in names})


def as_tensor(value: object) -> Tensor:
    if isinstance(value, Tensor):
        return value.contiguous()
    if type(value) not in NUMBERS:
        raise TypeError(f"a memory holds tensors and numbers; got {type(value).__name__}.")
    return torch.tensor(value, dtype=NUMBERS[type(value)])


def as_field(stored: Tensor, kind: str) -> Any:
    """A number where the field is declared as one; the tensor otherwise."""
    return stored.item() if kind.removeprefix("<class '").removesuffix("'>") in ("int", "float", "bool") else stored

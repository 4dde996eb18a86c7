"""The Open Inference Protocol's datatypes: tensors and JSON values as their numbers, and bytes on the wire, little-endian."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamekeeper.errors import BadQuery, BadRequest, Malformed
from gamekeeper.protocols.strict import doubles

Array = np.ndarray[Any, np.dtype[Any]]
DATATYPES = {
    "FP16": torch.float16,
    "BF16": torch.bfloat16,
    "FP32": torch.float32,
    "FP64": torch.float64,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "UINT8": torch.uint8,
    "UINT16": torch.uint16,
    "UINT32": torch.uint32,
    "UINT64": torch.uint64,
    "BOOL": torch.bool,
}


LITTLE = {
    "FP16": "<f2",
    "BF16": "<u2",  # numpy has no such numbers: the upper half of a float32
    "FP32": "<f4",
    "FP64": "<f8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "BOOL": "u1",
}
"""Of each datatype of the Open Inference Protocol, its numbers in memory."""


def cast(x: Tensor, datatype: str) -> Tensor:
    """x in a wire datatype; to integers only if nothing is lost."""
    dtype = DATATYPES[datatype]
    values = x.to(dtype)
    if not dtype.is_floating_point and not torch.equal(values.to(x.dtype), x):
        raise BadQuery(
            f"the target takes {datatype} inputs, but these hold fractions or values out of its range. Give the target"
            " a box in its own units (e.g. low = 0, high = 255) and data of whole numbers."
        )
    return values


def strings(part: bytes) -> list[str]:
    """BYTES elements: four bytes of little-endian length each, then the text."""
    texts: list[str] = []
    start = 0
    while start < len(part):
        size = int.from_bytes(part[start : start + 4], "little")
        if start + 4 + size > len(part):
            raise Malformed("a BYTES output is cut off in the middle of an element.")
        texts.append(part[start + 4 : start + 4 + size].decode(errors="replace"))
        start += 4 + size
    return texts


def from_bytes(part: memoryview, datatype: str) -> Array:
    """Numbers of a datatype, little-endian, in a row. Raises BadRequest for truth values that are neither 0 nor 1."""
    values = np.frombuffer(part, LITTLE[datatype])
    if datatype == "BF16":
        return (values.astype("<u4") << 16).view("<f4")
    if datatype == "BOOL" and values.size and values.max() > 1:
        raise BadRequest(f"BOOL must be bytes of 0 and 1; got {values.max()}.")
    return values


def from_json(values: list[Any], datatype: str, place: str, booleans: bool = True) -> Array:
    """JSON values of a datatype, rounded to it. Raises BadRequest for values that it does not hold; see `doubles`."""
    if datatype == "BOOL":
        if not set(map(type, values)) <= {bool}:
            raise BadRequest(f"{place} must hold true and false only, since its datatype is BOOL.")
        return np.fromiter(values, np.uint8, len(values))
    numbers, dtype = doubles(values, place, booleans), np.dtype(LITTLE[datatype])
    if datatype == "BF16":
        return torch.from_numpy(numbers).to(torch.bfloat16).float().numpy()
    if datatype == "FP32":
        return numbers.astype(dtype)  # below 2^53: nothing overflows
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return numbers.astype(dtype)
    ends = np.iinfo(dtype)
    if float in set(map(type, values)) or (values and (min(values) < ends.min or max(values) > ends.max)):
        raise BadRequest(
            f"{place} must hold whole numbers from {ends.min} to {ends.max} ({datatype}), without a point."
        )
    return numbers.astype(dtype)

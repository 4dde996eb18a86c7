"""Tensors of the Open Inference Protocol ("v2") in a log: with their numbers in the JSON, or in bytes behind it.

Source      Open Inference Protocol (REST) with Triton's binary tensor data extension
Assumes     binary tensors follow the JSON in its order; the log need not say where the JSON ends, it ends where it is whole
Keeps       nothing
"""

import json
import math
from typing import Any

import numpy as np

from gamekeeper.logs.event import Unusable, shown
from gamekeeper.protocols.datatypes import LITTLE
from gamekeeper.protocols.json import is_list, is_object

Array = np.ndarray[Any, np.dtype[Any]]
KIND = "a tensor that cannot be read"
DTYPES = {name: dtype for name, dtype in {**LITTLE, "BOOL": "?"}.items() if name != "BF16"}
"""Those that numpy has."""


def is_tensor(value: object) -> bool:
    """Whether this is a tensor object, which has its own shape."""
    return is_object(value) and is_list(value.get("shape")) and "data" in value


def tensor(value: dict[str, Any]) -> Array:
    """The numbers of a tensor object in its shape. Raises Unusable."""
    shape, data = value["shape"], value["data"]
    try:
        x = data if isinstance(data, np.ndarray) else np.asarray(data)
        if not all(type(size) is int and size >= 0 for size in shape) or x.size != math.prod(shape):
            raise ValueError(f"shape {shape} for {x.size} values")
        return x.reshape(shape)
    except (ValueError, RecursionError, OverflowError) as error:
        raise Unusable(KIND, shown(str(error))) from None


def with_tail(body: bytes) -> Any:
    """The JSON at the beginning of a body, with the bytes behind it as `data` of its tensors. Raises ValueError."""
    try:
        head, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    except RecursionError:
        raise ValueError("too deeply nested") from None
    tensors = next((head[key] for key in ("inputs", "outputs") if is_object(head) and is_list(head.get(key))), [])
    for each in tensors:
        parameters = each.get("parameters") if is_object(each) else None
        size = parameters.get("binary_data_size") if is_object(parameters) else None
        if type(size) is not int:
            continue
        if not 0 <= size <= len(body) - end:
            raise ValueError("a binary tensor goes beyond the end")
        if (dtype := DTYPES.get(str(each.get("datatype")))) is not None and size % np.dtype(dtype).itemsize == 0:
            each["data"] = np.frombuffer(body[end : end + size], dtype)
        end += size
    if end != len(body):
        raise ValueError("there is more behind the JSON than its tensors")
    return head

"""Canonical bytes: one sequence of bytes for one content, on every machine, and JSON that can be read in one way only.

    part     the length of what follows (8 bytes, little-endian), then the bytes: no two sequences of parts look alike
    tensor   its name, dtype, shape and elements (C order, little-endian), in the order of the names
    JSON     keys in ascending order, no spaces, no floats

The digest of a model is that of its tensors. Saving a model again, or with its parameters in another order, does not
change it; one unit in the last place of one weight does.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import torch
from torch import Tensor

from gamekeeper.errors import BadClaim

HEX = re.compile(r"[0-9a-f]{64}")
DTYPES: Mapping[torch.dtype, str] = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.float32: "F32",
    torch.float64: "F64",
}
"""What a tensor may hold, under the names of safetensors."""


def part(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def elements(tensor: Tensor) -> bytes:
    """The elements in C order, little-endian."""
    array = tensor.detach().cpu().contiguous().numpy()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def hash_bytes(digest: str) -> bytes:
    """The 32 bytes of a SHA-256 in hexadecimal. Raises BadClaim for any other text: there is one spelling."""
    if not HEX.fullmatch(digest):
        raise BadClaim(f"a digest must be 64 lower-case hexadecimal digits. Got {digest[:80]!r}.")
    return bytes.fromhex(digest)


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Canonical bytes of named tensors. Raises BadClaim for a dtype that is not in DTYPES."""
    whole = part(len(tensors).to_bytes(8, "little"))
    for name in sorted(tensors):
        tensor = tensors[name]
        if tensor.dtype not in DTYPES:
            raise BadClaim(
                f"a tensor must be of dtype {', '.join(DTYPES.values())}. '{name}' is of {tensor.dtype}; convert it."
            )
        shape = np.asarray(tensor.shape, dtype="<i8").tobytes()
        whole += part(name.encode()) + part(DTYPES[tensor.dtype].encode()) + part(shape) + part(elements(tensor))
    return whole


def model_digest(parameters: Mapping[str, Tensor]) -> str:
    """SHA-256 of a model's parameters and buffers (its `state_dict`), 64 hexadecimal digits."""
    return hashlib.sha256(part(b"gamekeeper model 1") + tensor_bytes(parameters)).hexdigest()


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON. Raises BadClaim for floats, numbers beyond 64 bits and text that is not Unicode."""
    refuse_floats(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise BadClaim(f"this cannot be written as JSON: {error}.") from None


def refuse_floats(value: object) -> None:
    """Two programs may write one float in two ways, so numbers with a fraction are given as text."""
    if isinstance(value, float):
        raise BadClaim(f"what is signed or hashed must not hold floats. Got {value!r}; write it as text, '{value!r}'.")
    if isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            refuse_floats(each)


def read_json(data: bytes, what: str) -> dict[str, Any]:
    """The object that JSON holds, without floats. what: names it in errors, "the claim", say.

    Raises BadClaim for anything else, and for a key that comes twice: two readers could take different values of it.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=unambiguous, parse_float=no_float, parse_constant=no_float)
    except RecursionError:
        raise BadClaim(f"{what} is nested too deeply to be read.") from None
    except ValueError as error:  # of JSON, of UTF-8, or one of ours
        raise BadClaim(f"{what} cannot be read: {error}.") from None
    if not isinstance(value, dict):
        raise BadClaim(f"{what} must be a JSON object. Got {type(value).__name__}.")
    return value


def unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    whole = dict(pairs)
    if len(whole) != len(pairs):
        raise ValueError(f"a key comes twice among {', '.join(sorted(key for key, _ in pairs))}")
    return whole


def no_float(text: str) -> Any:
    raise ValueError(f"{text} is a float")

"""Inputs on the wire become inputs of the model: float32, in its units, of its shape, and from its domain.

Bytes       UINT8 is pixels of 0 to 255, mapped to the domain's range, where that is 0 to 1 or -1 to 1 and inputs are images,
            as in files; all other numbers are in the model's own units
Zero        -0.0 becomes 0.0, so that equal inputs have equal bits by every protocol
"""

from collections.abc import Collection, Sequence

import numpy as np
import torch

from gamekeeper.errors import BadQuery, BadRequest
from gamekeeper.protocols.bodies import QUOTE
from gamekeeper.protocols.datatypes import Array
from gamekeeper.protocols.json import is_list, is_object, kind
from gamekeeper.protocols.served import Limits, Served
from gamekeeper.protocols.strict import EXACT, number_table
from gamekeeper.types import Batch

ZERO = np.float32(0)


def rows(value: object, limits: Limits, place: str) -> int:
    """How many inputs a list holds. Raises BadRequest for none, too many, or no list."""
    if not is_list(value):
        raise BadRequest(f"{place} must be a list of inputs; got {kind(value)}.")
    return counted(len(value), limits, place)


def counted(n: int, limits: Limits, place: str) -> int:
    """n, from 1 to the limit. Raises BadRequest."""
    if n < 1:
        raise BadRequest(f"{place} must hold at least one input; got none.")
    if n > limits.rows:
        raise BadRequest(
            f"{place} must hold at most {limits.rows} inputs; got {n}. Send them in several requests.", 413
        )
    return n


def nested(value: object, served: Served, limits: Limits, place: str, booleans: bool = True) -> Batch:
    """Inputs (n, *shape) from nested lists of numbers without a datatype; or from objects, one per input.

    An object holds the input under its name, or a number for each column of a table by name. `booleans`: see `doubles`.
    """
    n = rows(value, limits, place)
    if is_list(value) and is_object(value[0]):
        names = dict.fromkeys(served.columns or value[0])
        value = [unnamed(each, names, served, place) for each in value]
    return to_domain(number_table(value, (n, *served.domain.shape), place, booleans), "FP32", n, served)


def unnamed(value: object, names: dict[str, None], served: Served, place: str) -> object:
    """What an object holds of one input, in the model's order. Raises BadRequest for missing and unknown names."""
    if not is_object(value):
        raise BadRequest(f"{place} must be objects, as the first of them is; got {kind(value)}.")
    if len(value) == 1 and is_list(value.get(served.input)):
        return value[served.input]
    if len(served.domain.shape) != 1:
        raise BadRequest(
            f"{place} must be lists of shape {list(served.domain.shape)}, or objects with `{served.input}` alone; got an"
            f" object with {QUOTE(', '.join(value)) or 'nothing'}."
        )
    in_order(value, names, place)
    return [value[name] for name in names]


def in_order(value: Collection[str], names: dict[str, None], place: str) -> None:
    """Raises BadRequest unless these are the names, in any order."""
    came = set(value)
    missing = next((name for name in names if name not in came), None)
    unknown = next((name for name in came if name not in names), None)
    if missing is not None or unknown is not None or len(value) != len(names):
        which = (
            f"without {missing!r}" if missing is not None else f"with {unknown!r}" if unknown is not None else "twice"
        )
        raise BadRequest(f"{place} must name {len(names)} columns, each once; one came {QUOTE(which)}.")


def to_domain(values: Array, datatype: str, n: int, served: Served) -> Batch:
    """Numbers in a row as n inputs of the model. Raises BadRequest unless they are from its domain."""
    long = values.dtype.kind in "iu" and values.dtype.itemsize == 8
    if long and values.size and (values.max() > EXACT or values.min() < -EXACT):
        raise BadRequest(f"the inputs must lie between -2^53 and 2^53; {datatype} numbers beyond that came.")
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused below
        x = np.add(values, ZERO, dtype="<f4", casting="unsafe")  # a copy, without -0.0
    if datatype == "UINT8" and served.pixels is not None:
        low, high = served.pixels
        x /= 255
        if (low, high) != (0.0, 1.0):
            x = x * (high - low) + low
    batch = torch.from_numpy(x.reshape(n, *served.domain.shape))
    try:
        served.domain.check(batch)
    except BadQuery as error:
        raise BadRequest(str(error)) from None
    return batch


def shaped(shape: object, served: Served, limits: Limits, place: str) -> int:
    """n of a stated shape [n, *shape]. Raises BadRequest for any other."""
    inner = list(served.domain.shape)
    wanted = f"[n, {', '.join(map(str, inner))}]"
    if not is_list(shape) or not same_sizes(shape[1:], inner) or len(shape) != len(inner) + 1:
        sizes = is_list(shape) and len(shape) <= 8 and all(type(size) in (int, float) for size in shape)
        raise BadRequest(f"{place} must have the shape {wanted}; got {QUOTE(shape) if sizes else kind(shape)}.")
    if type(shape[0]) is not int or shape[0] < 0:
        raise BadRequest(f"{place} must have the shape {wanted} with a whole number for n; got {kind(shape[0])}.")
    return counted(shape[0], limits, place)


def same_sizes(sizes: Sequence[object], inner: Sequence[int]) -> bool:
    return all(type(size) is int for size in sizes) and list(sizes) == list(inner)

"""The Open Inference Protocol ("v2"), in JSON and in Triton's binary tensor data.

Source      Open Inference Protocol (REST) with Triton's binary tensor data extension
Numbers     JSON holds the shortest text of each number in the declared datatype

As in `json.py`, an answer that cannot be used raises Malformed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import torch
from torch import Tensor

from gamekeeper.errors import BadQuery, Malformed
from gamekeeper.protocols.answers import answers, settle, settled_maps
from gamekeeper.protocols.json import Expected, Quote, is_list, is_object, kind, parse
from gamekeeper.types import Batch

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


@dataclass(frozen=True)
class Slot:
    """The input tensor of a v2 model: its name and datatype, and whether tensors travel in binary."""

    name: str
    datatype: str
    binary: bool


@dataclass(frozen=True)
class Body:
    """A request body: a JSON object, followed by the bytes of the tensors if they are binary."""

    head: bytes
    tail: bytes = b""

    def named(self, id: str) -> "Body":  # noqa: A002 - the protocol's word
        """The same with `id` as the first key of the JSON object."""
        return Body(b'{"id":"' + id.encode() + b'",' + self.head[1:], self.tail)


def encode_v2(x: Batch, slot: Slot, wanted: Sequence[str]) -> Body:
    """The body of `POST /v2/models/{model}/infer`; `wanted` names the outputs to return; empty means all.

    Raises BadQuery for fractions sent to a model of integers.
    """
    values = cast(x.detach(), slot.datatype).contiguous()
    tensor: dict[str, Any] = {"name": slot.name, "shape": list(x.shape), "datatype": slot.datatype}
    request: dict[str, Any] = {"inputs": [tensor]}
    if wanted:
        binary = {"parameters": {"binary_data": True}} if slot.binary else {}
        request["outputs"] = [{"name": name, **binary} for name in wanted]
    if not slot.binary:
        tensor["data"] = (
            (values.float() if values.dtype in (torch.float16, torch.bfloat16) else values).flatten().numpy()
        )
        return Body(orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY))
    tail = values.view(torch.uint8).numpy().tobytes()
    tensor["parameters"] = {"binary_data_size": len(tail)}
    if not wanted:
        request["parameters"] = {"binary_data_output": True}
    return Body(orjson.dumps(request), tail)


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


@dataclass(frozen=True)
class Output:
    """One output of a v2 answer: what the JSON states about it, and its bytes if they follow the JSON."""

    stated: dict[str, Any]
    part: bytes | None

    def datatype(self, quote: Quote) -> str:
        name = self.stated.get("datatype")
        if not isinstance(name, str) or name not in {*DATATYPES, "BYTES"}:
            raise Malformed(f"the output has datatype {quote(name)!r}, which is not one of the protocol's.")
        return name


@dataclass(frozen=True)
class Outputs:
    """The outputs of a v2 answer as its JSON lists them, and the bytes that follow the JSON."""

    stated: list[dict[str, Any]]
    tail: bytes

    def others(self, name: str | None, quote: Quote) -> str:
        """What else could be read where no output was named, for a message."""
        if name is not None or len(self.stated) < 2:
            return ""
        shown = [f"{stated.get('name')} ({stated.get('datatype')} {stated.get('shape')})" for stated in self.stated]
        return f"It was read from the first of its outputs, {quote(', '.join(shown))}: `output_name` chooses another."

    def chosen(self, key: str, name: str | None, quote: Quote) -> Output:
        """The output with that name, or the first one; `key` is the target file's key that gives the name."""
        place = next((i for i, stated in enumerate(self.stated) if name is None or stated.get("name") == name), None)
        if place is None:
            names = quote(", ".join(str(stated.get("name")) for stated in self.stated))
            raise Malformed(f"the answer has no output {name!r}; it has {names}. Correct `{key}`.")
        return Output(self.stated[place], _binary_parts(self.stated, self.tail)[place])


def decode_v2(body: bytes, head: str | None, quote: Quote) -> Outputs:
    """A v2 answer; `head` is its Inference-Header-Content-Length header, if there was one."""
    document, tail = _split(body, head, quote)
    outputs = document.get("outputs") if is_object(document) else None
    if not is_list(outputs) or not outputs or not all(is_object(output) for output in outputs):
        raise Malformed("the answer has no `outputs`, so it is not the Open Inference Protocol. Is `protocol` right?")
    return Outputs(outputs, tail)


def answers_v2(outputs: Outputs, name: str | None, expected: Expected) -> Tensor:
    """The answers: the output with that name, or the first one."""
    chosen = outputs.chosen("output_name", name, expected.quote)
    shape, datatype = _shape(chosen.stated.get("shape"), expected), chosen.datatype(expected.quote)
    if chosen.part is None:
        return _from_data(chosen.stated.get("data"), shape, expected)
    if datatype == "BYTES":
        return _from_data(_strings(chosen.part), shape, expected)
    values = _from_bytes(chosen.part, shape, DATATYPES[datatype], datatype)
    if expected.digits and not values.is_floating_point() and values.numel() == expected.n:
        return answers(values.flatten().tolist(), expected)
    return settle(values, expected)


def maps_v2(outputs: Outputs, name: str, expected: Expected) -> Tensor:
    """The attribution maps, (n, h, w): the output with that name."""
    chosen = outputs.chosen("maps", name, expected.quote)
    shape, datatype = chosen.stated.get("shape"), chosen.datatype(expected.quote)
    if not is_list(shape) or len(shape) != 3 or not all(type(size) is int and size > 0 for size in shape):
        raise Malformed(f"maps of shape [{expected.n}, height, width] were expected; got {expected.quote(shape)}.")
    if datatype == "BYTES":
        raise Malformed("the maps are strings (BYTES) where numbers belong. Correct `maps`.")
    if chosen.part is not None:
        return settled_maps(_from_bytes(chosen.part, shape, DATATYPES[datatype], datatype), expected)
    data = chosen.stated.get("data")
    flat = _flat(data) if is_list(data) else []
    if len(flat) != math.prod(shape) or not all(type(value) in (int, float) for value in flat):
        raise Malformed(f"maps of shape {shape} need {math.prod(shape)} numbers; got {len(flat)} values.")
    return settled_maps(torch.tensor(flat, dtype=torch.float64).reshape(shape), expected)


def _split(body: bytes, head: str | None, quote: Quote) -> tuple[Any, bytes]:
    if head is None:
        return parse(body, quote), b""
    if not (head.isascii() and head.isdecimal() and 0 < int(head) <= len(body)):
        raise Malformed(f"Inference-Header-Content-Length is {quote(head)!r} for a body of {len(body)} bytes.")
    return parse(body[: int(head)], quote), body[int(head) :]


def _binary_parts(outputs: Sequence[dict[str, Any]], tail: bytes) -> list[bytes | None]:
    """The bytes of every output, in the order of the JSON; None where the data are in the JSON."""
    parts: list[bytes | None] = []
    start = 0
    for output in outputs:
        parameters = output.get("parameters")
        size = parameters.get("binary_data_size") if is_object(parameters) else None
        if size is None:
            parts.append(None)
        elif type(size) is not int or not 0 <= size <= len(tail) - start:
            raise Malformed(
                f"an output claims {kind(size) if type(size) is not int else size} bytes of binary data;"
                f" {len(tail) - start} are left in the body."
            )
        else:
            parts.append(tail[start : start + size])
            start += size
    if start != len(tail):
        raise Malformed(f"{len(tail) - start} bytes of the body belong to no output.")
    return parts


def _shape(shape: object, expected: Expected) -> list[int]:
    """One or two sizes, the first of them n, so that no shape can ask for more memory than the body holds."""
    if not is_list(shape) or not all(type(size) is int and size >= 0 for size in shape) or len(shape) not in (1, 2):
        wanted = f"[{expected.n}, {expected.classes}] or [{expected.n}]"
        raise Malformed(f"an output of shape {wanted} was expected; got {expected.quote(shape)}.")
    if shape[0] != expected.n:
        raise Malformed(f"{expected.n} inputs were sent and {shape[0]} answers came back.")
    return shape


def _from_bytes(part: bytes, shape: list[int], dtype: torch.dtype, datatype: str) -> Tensor:
    size = math.prod(shape) * dtype.itemsize
    if len(part) != size:
        raise Malformed(f"an output of shape {shape} and datatype {datatype} takes {size} bytes; got {len(part)}.")
    # a copy, since torch needs a writable buffer of its own; frombuffer refuses an empty one
    flat = torch.frombuffer(bytearray(part), dtype=dtype) if part else torch.empty(0, dtype=dtype)
    return flat.reshape(shape)


def _from_data(data: object, shape: list[int], expected: Expected) -> Tensor:
    """JSON `data`, flat or nested, in the stated shape."""
    if not is_list(data):
        raise Malformed(f"the output has {kind(data)} for `data` where a list belongs.")
    flat = _flat(data)
    if len(flat) != math.prod(shape):
        raise Malformed(f"an output of shape {shape} needs {math.prod(shape)} values; got {len(flat)}.")
    if len(shape) == 1:
        return answers(flat, expected)
    return answers([flat[row * shape[1] : (row + 1) * shape[1]] for row in range(shape[0])], expected)


def _flat(values: list[Any]) -> list[Any]:
    while any(type(value) is list for value in values):
        if len({len(value) if is_list(value) else None for value in values}) > 1:
            raise Malformed("`data` of the output is ragged: lists of different lengths, or lists beside numbers.")
        values = [value for inner in values for value in inner]
    return values


def _strings(part: bytes) -> list[str]:
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

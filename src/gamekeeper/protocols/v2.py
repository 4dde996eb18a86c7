"""The Open Inference Protocol ("v2"), in JSON and in Triton's binary tensor data: both sides.

Source      Open Inference Protocol (REST) with Triton's binary tensor data extension
Numbers     JSON holds the shortest text of each number in the declared datatype
Deviations  the server takes one input tensor; unknown keys and parameters are ignored, except those that ask for another
            answer or hold the data elsewhere (`classification`, shared memory), which are refused

As in `json.py`, an answer that cannot be used raises Malformed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson
import torch
from torch import Tensor

from gamekeeper.errors import BadRequest, Malformed
from gamekeeper.protocols import inputs
from gamekeeper.protocols.answers import answers, settle, settled_maps
from gamekeeper.protocols.bodies import QUOTE, Header, Request, Response, document, received, response, shown, whole
from gamekeeper.protocols.datatypes import DATATYPES, Array, cast, from_bytes, from_json, strings
from gamekeeper.protocols.json import Expected, Quote, is_list, is_object, kind, parse
from gamekeeper.protocols.served import Limits, Question, Served, Wanted, published
from gamekeeper.protocols.strict import Most, flat, parse_strictly
from gamekeeper.types import Batch, Reply

EXTENSION = "binary_tensor_data"
ELSEWHERE = ("classification", "shared_memory_region")
"""Parameters of tensors that would change what is read or answered."""

# --- the client's side


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
        return _from_data(strings(chosen.part), shape, expected)
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


# --- the server's side


@dataclass(frozen=True)
class V2:
    """`/infer` before one model; see Wire."""

    served: Served
    limits: Limits = field(default_factory=Limits)

    @property
    def most(self) -> int:
        return self._body

    @cached_property
    def _body(self) -> int:
        return self.served.body(self.limits)

    @cached_property
    def _holds(self) -> Most:
        return self.served.most(self.limits)

    def read(self, headers: tuple[Header, ...], body: bytes) -> Question:
        request = received(headers, body, self.most)
        head, tail = divided(request)
        document = parse_strictly(head, self._holds)
        value = document.value
        name = value.get("id")
        if name is not None and (not isinstance(name, str) or len(name) > self.limits.name):
            raise BadRequest(f"`id` must be a string of at most {self.limits.name} characters; got {kind(name)}.")
        wanted = self._wanted(value.get("outputs"), flag(parameters(value), "binary_data_output"))
        return Question(self._x(value.get("inputs"), tail, document.booleans), wanted, name, request.encoding)

    def _x(self, given: object, tail: memoryview, booleans: bool) -> Batch:
        """The inputs, from the only tensor in `inputs`."""
        if not is_list(given) or len(given) != 1 or not is_object(given[0]):
            raise BadRequest(f"`inputs` must hold one object, the tensor `{self.served.input}`; got {kind(given)}.")
        tensor, name, datatype = given[0], given[0].get("name"), given[0].get("datatype")
        if name != self.served.input:
            raise BadRequest(f"the model's input is {self.served.input!r}; got {shown(name)}. Correct `name`.")
        if not isinstance(datatype, str) or datatype not in DATATYPES:
            raise BadRequest(
                f"the input's `datatype` must be one of {', '.join(DATATYPES)}, best {self.served.datatype}; got"
                f" {shown(datatype)}."
            )
        n = inputs.shaped(tensor.get("shape"), self.served, self.limits, "the input")
        size = parameters(tensor).get("binary_data_size")
        if size is None:
            return inputs.to_domain(self._listed(tensor, n, datatype, tail, booleans), datatype, n, self.served)
        needed = n * self.served.values * DATATYPES[datatype].itemsize
        if tensor.get("data") is not None or type(size) is not int or not size == len(tail) == needed:
            raise BadRequest(
                f"{n} inputs as {datatype} must be {needed:,} bytes behind the JSON, without `data` in it;"
                f" `binary_data_size` is {shown(size)}, and {len(tail):,} bytes follow."
            )
        return inputs.to_domain(from_bytes(tail, datatype), datatype, n, self.served)

    def _listed(self, tensor: dict[str, Any], n: int, datatype: str, tail: memoryview, booleans: bool) -> Array:
        """The numbers of `data`, flat or nested."""
        data, shape = tensor.get("data"), (n, *self.served.domain.shape)
        if len(tail):
            raise BadRequest(f"{len(tail):,} bytes follow the JSON, but the input has no `binary_data_size`.")
        in_a_row = is_list(data) and bool(data) and not is_list(data[0])
        return from_json(flat(data, (math.prod(shape),) if in_a_row else shape, "`data`"), datatype, "`data`", booleans)

    def _wanted(self, outputs: object, binary: bool) -> tuple[Wanted, ...]:
        """The outputs a client asks for; all of them if it names none."""
        if outputs is None or outputs == []:
            return tuple(Wanted(name, binary) for name in self.served.outputs)
        if not is_list(outputs) or not all(map(is_object, outputs)):
            raise BadRequest(f"`outputs` must be a list of objects; got {kind(outputs)}.")
        names = [output.get("name") for output in outputs]
        for place, name in enumerate(names):
            if not isinstance(name, str) or name not in self.served.outputs or name in names[:place]:
                known = ", ".join(self.served.outputs)
                raise BadRequest(f"`outputs` must name some of {known}, each once; got {shown(name)}.")
        return tuple(Wanted(output["name"], flag(parameters(output), "binary_data", binary)) for output in outputs)

    def write(self, question: Question, reply: Reply) -> Response:
        arrays = published(question, reply, self.served)
        outputs: list[dict[str, Any]] = []
        parts: list[bytes] = []
        for wanted in question.outputs:
            array = arrays[wanted.name]
            output: dict[str, Any] = {"name": wanted.name, "shape": list(array.shape), "datatype": "FP32"}
            if wanted.binary:
                output["parameters"] = {"binary_data_size": array.nbytes}
                parts.append(array.tobytes())
            else:
                output["data"] = array.ravel()
            outputs.append(output)
        named = {} if question.id is None else {"id": question.id}
        value = {"model_name": self.served.name, "model_version": self.served.version, **named, "outputs": outputs}
        return response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), b"".join(parts), question.encoding)

    def refuse(self, status: int, message: str) -> Response:
        return document({"error": message}, status)


def divided(request: Request) -> tuple[bytes, memoryview]:
    """The JSON of a body, and the bytes behind it. Raises BadRequest."""
    text = request.headers.get("inference-header-content-length")
    if text is None:
        return request.body, memoryview(b"")
    length = whole(text)
    if length is None or not 0 < length <= len(request.body):
        raise BadRequest(
            f"Inference-Header-Content-Length must be the length of the JSON, 1 to {len(request.body)}; got {QUOTE(text)!r}."
        )
    return request.body[:length], memoryview(request.body)[length:]


def parameters(value: dict[str, Any]) -> dict[str, Any]:
    """The `parameters` of a request or a tensor. Raises BadRequest for those that ask for what is not offered."""
    given = value.get("parameters")
    if given is None:
        return {}
    if not is_object(given):
        raise BadRequest(f"`parameters` must be an object; got {kind(given)}.")
    for name in ELSEWHERE:
        if name in given:
            raise BadRequest(f"the parameter `{name}` is not offered here. Leave it out.")
    return given


def flag(given: dict[str, Any], name: str, otherwise: bool = False) -> bool:
    value = given.get(name, otherwise)
    if type(value) is not bool:
        raise BadRequest(f"the parameter `{name}` must be true or false; got {kind(value)}.")
    return value


def metadata_v2(served: Served) -> Response:
    """`GET /v2/models/{model}`."""
    y = {"name": served.output, "datatype": "FP32", "shape": [-1, served.classes]}
    maps = [] if served.maps is None else [{"name": served.maps, "datatype": "FP32", "shape": [-1, -1, -1]}]
    x = {"name": served.input, "datatype": served.datatype, "shape": [-1, *served.domain.shape]}
    return document(
        {
            "name": served.name,
            "versions": [served.version],
            "platform": "gamekeeper",
            "inputs": [x],
            "outputs": [y, *maps],
        }
    )

"""What goes over the wire, and what came back: tensors to bytes and bytes to tensors. No sockets here.

Source      Open Inference Protocol (REST, "v2") with Triton's binary tensor data extension; TensorFlow Serving's row
            format ("v1"); any other JSON by a template and a path
Numbers     v2 in JSON writes the shortest text of the declared datatype. The others declare no datatype, so they write
            the exact value of the float32 as a double: a server that computes in double sees the same input.
Answers     (n, k) floating point (float64 from JSON, otherwise the wire's own type) or (n,) integer labels; attribution
            maps, where they are asked for, (n, h, w) floating point.
            A JSON `null` is read as NaN, since many servers write NaN so; NaN itself is not JSON and is refused.

Everything here raises Malformed for an answer that cannot be used; nothing is repaired silently.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import orjson
import torch
from torch import Tensor

from gamekeeper.errors import BadQuery, Malformed
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
ONE, ALL = "$INPUT", "$INPUTS"
QUOTED = 200


@dataclass(frozen=True)
class Quote:
    """How text from a server is shown: secrets hidden, no control characters, one line, at most 200 characters."""

    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __call__(self, text: object) -> str:
        shown = str(text)
        for secret in sorted(self.secrets, key=len, reverse=True):
            shown = shown.replace(secret, "[hidden]")
        shown = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
        return shown if len(shown) <= QUOTED else shown[:QUOTED] + "…"


@dataclass(frozen=True)
class Expected:
    """What an answer to n inputs must be: n rows over `classes` classes, or n labels (perhaps by name)."""

    n: int
    classes: int
    labels: tuple[str, ...] | None = None
    quote: Quote = field(default_factory=Quote)


# --- JSON


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def parse(body: bytes, quote: Quote) -> Any:
    """The JSON document of an answer. Raises Malformed for nothing, HTML, broken JSON and `{"error": ...}`."""
    if not body.strip():
        raise Malformed("the answer has an empty body.")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(not_json(body, str(error), quote)) from None
    if is_object(document) and document.get("error"):
        raise Malformed(f"the answer is an error in spite of its status: {said(document, quote)}")
    return document


def not_json(body: bytes, error: str, quote: Quote) -> str:
    start = quote(body[: 8 * QUOTED].decode(errors="replace"))
    if body.lstrip()[:1] == b"<":
        return f"the answer is a page of HTML or XML, not JSON: {start} Is the url that of the API?"
    hint = " NaN and Infinity are not JSON." if re.search(rb"\b(NaN|Infinity)\b", body) else ""
    return f"the answer is not valid JSON ({quote(error)}): {start}{hint}"


def said(document: object, quote: Quote) -> str:
    """The message inside a server's error document: `error`, `detail` or `message`, else all of it."""
    if is_object(document):
        for key in ("error", "detail", "message"):
            if document.get(key):
                return said(document[key], quote)
    return quote(document)


def inputs_json(x: Batch) -> Any:
    """The inputs as an array that orjson writes as nested lists of exact doubles."""
    return x.detach().double().contiguous().numpy()


def encode_v1(x: Batch) -> bytes:
    return orjson.dumps({"instances": inputs_json(x)}, option=orjson.OPT_SERIALIZE_NUMPY)


def markers(template: object) -> list[str]:
    """Every "$INPUT" and "$INPUTS" in a request template, in order."""
    if is_object(template):
        return [found for value in template.values() for found in markers(value)]
    if is_list(template):
        return [found for value in template for found in markers(value)]
    return [template] if template in (ONE, ALL) else []


def encode_template(template: object, x: Batch) -> bytes:
    """The template with "$INPUTS" replaced by the batch, or "$INPUT" by its only input."""
    batch = inputs_json(x)
    filled = _filled(template, {ALL: batch, ONE: batch[0]})
    return orjson.dumps(filled, option=orjson.OPT_SERIALIZE_NUMPY)


def _filled(template: Any, values: dict[str, Any]) -> Any:
    if is_object(template):
        return {key: _filled(value, values) for key, value in template.items()}
    if is_list(template):
        return [_filled(value, values) for value in template]
    return values[template] if template in (ONE, ALL) else template


def steps(path: str) -> list[str]:
    """A path such as `results.*.scores` taken apart; `$` alone is the whole document. Raises ValueError."""
    if path == "$":
        return []
    found = path.split(".")
    if "" in found or any(set(step) & set("$[]\"' ") for step in found):
        raise ValueError(
            f"a path is names, numbers and * with dots between (`outputs.0.data`, `results.*.scores`, or `$` for all);"
            f" got {path!r}."
        )
    return found


def pick(document: object, path: str, quote: Quote) -> Any:
    """The value at a path: a name picks from an object, a number from a list, `*` goes into every element of a list."""
    return _picked(document, steps(path), path, quote)


def _picked(value: Any, rest: list[str], path: str, quote: Quote) -> Any:
    if not rest:
        return value
    step, rest = rest[0], rest[1:]
    if step == "*" and is_list(value):
        return [_picked(element, rest, path, quote) for element in value]
    if is_object(value) and step in value:
        return _picked(value[step], rest, path, quote)
    if is_list(value) and step.isdecimal() and int(step) < len(value):
        return _picked(value[int(step)], rest, path, quote)
    there = f"an object with {quote(', '.join(value)) or 'nothing'}" if is_object(value) else kind(value)
    raise Malformed(
        f"the answer has no `{step}` (of the path `{path}`) but {there}. Correct `response` to fit the answer."
    )


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if is_list(value):
        return f"a list of {len(value)}"
    names: dict[type, str] = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


# --- answers in JSON


def answers(values: object, expected: Expected) -> Tensor:
    """Lists of numbers or objects {name: score} to (n, k) float64; numbers or names to (n,) labels."""
    if not is_list(values):
        raise Malformed(f"a list of {expected.n} answers was expected where the answer has {kind(values)}.")
    if len(values) != expected.n:
        raise Malformed(f"{expected.n} inputs were sent and {len(values)} answers came back.")
    kinds = {list if type(value) is list else _scalar(value) for value in values}
    if len(kinds) > 1:
        raise Malformed(
            "the answers of one batch are of different kinds: " + ", ".join(sorted(map(kind, values[:5]))) + ", …."
        )
    if kinds == {list}:
        return _matrix(values, expected)
    if kinds == {str}:
        return settle(torch.tensor([_named(value, expected) for value in values]), expected)
    if kinds == {dict}:
        return _matrix([_by_name(value, expected) for value in values], expected)
    if kinds == {bool}:
        return settle(torch.tensor(values), expected)
    if kinds == {float}:
        return settle(torch.tensor([math.nan if v is None else v for v in values], dtype=torch.float64), expected)
    raise Malformed(f"each answer is {kind(values[0])}; a list of {expected.classes} numbers or a label was expected.")


def _scalar(value: object) -> type:
    return float if type(value) in (int, float, type(None)) else type(value)


def _matrix(rows: list[list[Any]], expected: Expected) -> Tensor:
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise Malformed(f"the answers of one batch have different lengths: {', '.join(map(str, sorted(widths)))}.")
    if widths == {1}:
        return answers([row[0] for row in rows], expected)
    for place, row in enumerate(rows):
        for value in row:
            if type(value) not in (float, int, type(None)):
                shown = f" ({expected.quote(value)!r})" if isinstance(value, str) else ""
                raise Malformed(f"answer {place + 1} of {len(rows)} holds {kind(value)}{shown} where a number belongs.")
    whole = [[math.nan if value is None else value for value in row] for row in rows]
    return settle(torch.tensor(whole, dtype=torch.float64), expected)


def _named(name: str, expected: Expected) -> int:
    if expected.labels is None:
        raise Malformed(
            f"the answers are strings ({expected.quote(name)!r}). If they name classes, give `labels`, in order."
        )
    if name not in expected.labels:
        known = ", ".join(expected.labels[:8]) + (", …" if len(expected.labels) > 8 else "")
        raise Malformed(f"the answer names a class {expected.quote(name)!r} that is not among `labels` ({known}).")
    return expected.labels.index(name)


def _by_name(scores: dict[str, Any], expected: Expected) -> list[Any]:
    """An object {name: score} as a row; a name that is left out scores 0, as in a top-k answer."""
    if not scores:
        raise Malformed("an answer is an empty object where scores by name were expected.")
    places = {_named(name, expected): score for name, score in scores.items()}
    return [places.get(place, 0.0) for place in range(expected.classes)]


def settle(values: Tensor, expected: Expected) -> Tensor:
    """Checks what n rows hold: (n, classes) floating point passes; (n,) or (n, 1) must be labels, 0 to classes - 1."""
    n, k = expected.n, expected.classes
    if values.ndim == 2 and values.shape[1] == k:
        return values if values.is_floating_point() else values.double()
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise Malformed(f"answers of shape ({n}, {k}) or ({n},) were expected; got {tuple(values.shape)}.")
    exact = values.double()
    if not bool((exact == exact.floor()).all()):
        raise Malformed(
            "the target gives one number an input that is not a whole one: neither a label nor a probability for each"
            f" of {k} classes. If it is the probability of one class, the target must publish all of them."
        )
    if not bool(((exact >= 0) & (exact < k)).all()):
        raise Malformed(
            f"labels must be 0 to {k - 1}; got {exact.min().item():g} to {exact.max().item():g}. Is `classes` right?"
        )
    return exact.long()


# --- Open Inference Protocol


@dataclass(frozen=True)
class Slot:
    """The tensor a v2 model takes: its name and datatype, and whether to speak binary."""

    name: str
    datatype: str
    binary: bool


@dataclass(frozen=True)
class Body:
    """A request body: a JSON object, and the bytes of the tensors behind it if any."""

    head: bytes
    tail: bytes = b""

    def named(self, id: str) -> "Body":  # noqa: A002 - the protocol's word
        """The same with `id` as the first key of the JSON object."""
        return Body(b'{"id":"' + id.encode() + b'",' + self.head[1:], self.tail)


def encode_v2(x: Batch, slot: Slot, wanted: Sequence[str]) -> Body:
    """The body of `POST /v2/models/{model}/infer`; `wanted` names outputs, none of them is all.

    Raises BadQuery where an integer model is asked about a fraction.
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
            f"the target takes {datatype} inputs, but these hold fractions or values beyond that type. Give the target"
            " a box in its own units (e.g. low = 0, high = 255) and data of whole numbers."
        )
    return values


@dataclass(frozen=True)
class Output:
    """One output of a v2 answer: what the JSON says of it, and its bytes where they stand behind the JSON."""

    stated: dict[str, Any]
    part: bytes | None

    def datatype(self, quote: Quote) -> str:
        found = self.stated.get("datatype")
        if not isinstance(found, str) or found not in {*DATATYPES, "BYTES"}:
            raise Malformed(f"the output has datatype {quote(found)!r}, which is not one of the protocol's.")
        return found


@dataclass(frozen=True)
class Outputs:
    """The outputs of a v2 answer as its JSON lists them, and the bytes behind the JSON."""

    stated: list[dict[str, Any]]
    tail: bytes

    def chosen(self, key: str, name: str | None, quote: Quote) -> Output:
        """The output of that name, or the first; `key` is that of the target file which names it."""
        place = next((i for i, found in enumerate(self.stated) if name is None or found.get("name") == name), None)
        if place is None:
            names = quote(", ".join(str(found.get("name")) for found in self.stated))
            raise Malformed(f"the answer has no output {name!r} but {names}. Correct `{key}`.")
        return Output(self.stated[place], _binary_parts(self.stated, self.tail)[place])


def decode_v2(body: bytes, head: str | None, quote: Quote) -> Outputs:
    """A v2 answer; `head` is its Inference-Header-Content-Length header, if there was one."""
    document, tail = _split(body, head, quote)
    outputs = document.get("outputs") if is_object(document) else None
    if not is_list(outputs) or not outputs or not all(is_object(found) for found in outputs):
        raise Malformed("the answer has no `outputs`, so it is not the Open Inference Protocol. Is `protocol` right?")
    return Outputs(outputs, tail)


def answers_v2(outputs: Outputs, name: str | None, expected: Expected) -> Tensor:
    """The answers: the output of that name, or the first."""
    chosen = outputs.chosen("output_name", name, expected.quote)
    shape, datatype = _shape(chosen.stated.get("shape"), expected), chosen.datatype(expected.quote)
    if chosen.part is None:
        return _from_data(chosen.stated.get("data"), shape, expected)
    if datatype == "BYTES":
        return _from_data(_strings(chosen.part), shape, expected)
    return settle(_from_bytes(chosen.part, shape, DATATYPES[datatype], datatype), expected)


def maps_v2(outputs: Outputs, name: str, expected: Expected) -> Tensor:
    """The attribution maps, (n, h, w): the output of that name."""
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
        raise Malformed(f"maps of shape {shape} need {math.prod(shape)} numbers; {len(flat)} values came.")
    return settled_maps(torch.tensor(flat, dtype=torch.float64).reshape(shape), expected)


def maps(values: object, expected: Expected) -> Tensor:
    """Lists of lists of numbers, one map an input, to (n, h, w) float64."""
    try:
        found = torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Malformed("the maps are not lists of equally long lists of numbers. Correct `maps`.") from None
    return settled_maps(found, expected)


def settled_maps(found: Tensor, expected: Expected) -> Tensor:
    """Checks that there is a finite map of numbers for each input."""
    if found.ndim != 3 or 0 in found.shape or len(found) != expected.n:
        wanted = f"({expected.n}, height, width)"
        raise Malformed(f"maps of shape {wanted} were expected; got {tuple(found.shape)}.")
    found = found if found.is_floating_point() else found.double()
    if not bool(found.isfinite().all()):
        raise Malformed("a map holds NaN or infinity.")
    return found


def _split(body: bytes, head: str | None, quote: Quote) -> tuple[Any, bytes]:
    if head is None:
        return parse(body, quote), b""
    if not (head.isascii() and head.isdecimal() and 0 < int(head) <= len(body)):
        raise Malformed(f"Inference-Header-Content-Length is {quote(head)!r} for a body of {len(body)} bytes.")
    return parse(body[: int(head)], quote), body[int(head) :]


def _binary_parts(outputs: Sequence[dict[str, Any]], tail: bytes) -> list[bytes | None]:
    """The bytes of every output, in the order of the JSON; None for those with their data in the JSON."""
    parts: list[bytes | None] = []
    start = 0
    for found in outputs:
        parameters = found.get("parameters")
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
    """One or two sizes, the first of them n: so no shape can ask for more memory than the body holds."""
    if not is_list(shape) or not all(type(size) is int and size >= 0 for size in shape) or len(shape) not in (1, 2):
        wanted = f"[{expected.n}, {expected.classes}] or [{expected.n}]"
        raise Malformed(f"an output of shape {wanted} was expected; got {expected.quote(shape)}.")
    if shape[0] != expected.n:
        raise Malformed(f"{expected.n} inputs were sent and {shape[0]} answers came back.")
    return shape


def _from_bytes(part: bytes, shape: list[int], dtype: torch.dtype, datatype: str) -> Tensor:
    size = math.prod(shape) * dtype.itemsize
    if len(part) != size:
        raise Malformed(f"an output of shape {shape} and datatype {datatype} takes {size} bytes; {len(part)} came.")
    # a copy, since torch wants a buffer of its own that it may write to; frombuffer refuses an empty one
    flat = torch.frombuffer(bytearray(part), dtype=dtype) if part else torch.empty(0, dtype=dtype)
    return flat.reshape(shape)


def _from_data(data: object, shape: list[int], expected: Expected) -> Tensor:
    """JSON `data`, flat or nested, in the stated shape."""
    if not is_list(data):
        raise Malformed(f"the output has {kind(data)} for `data` where a list belongs.")
    flat = _flat(data)
    if len(flat) != math.prod(shape):
        raise Malformed(f"an output of shape {shape} needs {math.prod(shape)} values; {len(flat)} came.")
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
    found: list[str] = []
    start = 0
    while start < len(part):
        size = int.from_bytes(part[start : start + 4], "little")
        if start + 4 + size > len(part):
            raise Malformed("a BYTES output is cut off in the middle of an element.")
        found.append(part[start + 4 : start + 4 + size].decode(errors="replace"))
        start += 4 + size
    return found

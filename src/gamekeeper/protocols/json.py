"""JSON as any prediction API may use it: request templates, documents, and paths into them.

Numbers     inputs are written as the exact value of the float32 as a double: a server that computes in double sees the
            same input.
NaN         is not JSON, but Python's own writer writes it, and so do servers: it is read as it is meant, beside a batch
            of good answers. A `null` among numbers is NaN as well

What the values say is read in `answers.py`. Everything here raises Malformed for a document that cannot be used.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeGuard

import orjson

from gamekeeper.errors import Malformed
from gamekeeper.types import Batch

ONE, ALL = "$INPUT", "$INPUTS"
QUOTED = 200
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Writers must not put it in front of JSON, and some do; readers may pass over it (RFC 8259, section 8.1)."""
NOT_NUMBERS = re.compile(rb"\b(NaN|Infinity)\b")


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
    """What the answer to n inputs must be: n rows over `classes` classes, or n labels (possibly names).

    unit  what a certain class scores
    """

    n: int
    classes: int
    labels: tuple[str, ...] | None = None
    quote: Quote = field(default_factory=Quote)
    unit: float = 1.0

    def place(self, name: str) -> int | None:
        """The number of the class of that name; of one that differs in case or outer spaces, if there is only one."""
        return self._exact.get(name, self._folded.get(name.strip().casefold()))

    @cached_property
    def _exact(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.labels or ())}

    @cached_property
    def _folded(self) -> dict[str, int]:
        names = [name.strip().casefold() for name in self.labels or ()]
        return {name: place for place, name in enumerate(names) if names.count(name) == 1}

    @cached_property
    def digits(self) -> bool:
        """Whether all names are numbers, so that a number is a name."""
        return self.labels is not None and all(name.strip().lstrip("-").isdecimal() for name in self.labels)


# --- JSON


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def parse(body: bytes, quote: Quote) -> Any:
    """The JSON document in an answer. Raises Malformed for an empty body, HTML, broken JSON and `{"error": ...}`."""
    if not body.strip():
        raise Malformed("the answer has an empty body.")
    try:
        document = loads(body.removeprefix(BYTE_ORDER_MARK))
    except ValueError as error:
        raise Malformed(not_json(body, str(error), quote)) from None
    if is_object(document) and document.get("error"):
        raise Malformed(f"the answer is an error despite its status: {error_text(document, quote)}")
    return document


def loads(body: bytes) -> Any:
    """A document of JSON, in which NaN and Infinity may stand for numbers. Raises ValueError."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if not NOT_NUMBERS.search(body):
            raise
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("too deeply nested") from None


def not_json(body: bytes, error: str, quote: Quote) -> str:
    start = quote(body[: 8 * QUOTED].decode(errors="replace"))
    if body.lstrip()[:1] == b"<":
        return f"the answer is a page of HTML or XML, not JSON: {start} Is `url` the address of the API?"
    return f"the answer is not valid JSON ({quote(error)}): {start}"


def error_text(document: object, quote: Quote) -> str:
    """The message in a server's error document: its `error`, `detail` or `message`, else all of it."""
    if is_object(document):
        for key in ("error", "detail", "message"):
            if document.get(key):
                return error_text(document[key], quote)
    return quote(document)


def inputs_json(x: Batch) -> Any:
    """The inputs as an array that orjson writes as nested lists of exact doubles."""
    return x.detach().double().contiguous().numpy()


def markers(template: object) -> list[str]:
    """Every "$INPUT" and "$INPUTS" in a request template, in order."""
    if is_object(template):
        return [marker for value in template.values() for marker in markers(value)]
    if is_list(template):
        return [marker for value in template for marker in markers(value)]
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
    """The steps of a path such as `results.*.scores`; `$` alone is the whole document. Raises ValueError."""
    if path == "$":
        return []
    parts = path.split(".")
    if "" in parts or any(set(part) & set("$[]\"' ") for part in parts):
        raise ValueError(
            "a path is made of names, numbers and * separated by dots (`outputs.0.data`, `results.*.scores`), or is `$`"
            f" for the whole document; got {path!r}."
        )
    return parts


def pick(document: object, path: str, quote: Quote) -> Any:
    """The value at a path: a name picks from an object, a number from a list, `*` goes into every element of a list."""
    return picked(document, steps(path), path, quote)


def picked(value: Any, rest: list[str], path: str, quote: Quote) -> Any:
    """The same by steps; `path` is for the message."""
    if not rest:
        return value
    step, rest = rest[0], rest[1:]
    if step == "*" and is_list(value):
        return [picked(element, rest, path, quote) for element in value]
    if is_object(value) and step in value:
        return picked(value[step], rest, path, quote)
    if is_list(value) and step.isdecimal() and int(step) < len(value):
        return picked(value[int(step)], rest, path, quote)
    raise Malformed(
        f"the answer has no `{step}` (in the path `{path}`); it has {described(value, quote)}. Correct `response` to match"
        " the answer."
    )


def described(value: object, quote: Quote) -> str:
    """What a JSON value is, in words, and what is in it if it is an object."""
    return f"an object with {quote(', '.join(value)) or 'nothing'}" if is_object(value) else kind(value)


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

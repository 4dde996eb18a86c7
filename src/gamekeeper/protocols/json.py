"""JSON as any prediction API may use it: request templates, paths into answers, and the numbers they lead to.

Numbers     inputs are written as the exact value of the float32 as a double: a server that computes in double sees the
            same input.
Answers     (n, k) floating point (float64 from JSON, otherwise the wire's own type) or (n,) integer labels; attribution
            maps, where the API sells them, (n, h, w) floating point.
            A JSON `null` is read as NaN, since many servers write NaN that way; NaN itself is not JSON and is refused.

Everything here raises Malformed for an answer that cannot be used; nothing is repaired silently.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import orjson
import torch
from torch import Tensor

from gamekeeper.errors import Malformed
from gamekeeper.types import Batch

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
    """What the answer to n inputs must be: n rows over `classes` classes, or n labels (possibly names)."""

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
    """The JSON document in an answer. Raises Malformed for an empty body, HTML, broken JSON and `{"error": ...}`."""
    if not body.strip():
        raise Malformed("the answer has an empty body.")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(not_json(body, str(error), quote)) from None
    if is_object(document) and document.get("error"):
        raise Malformed(f"the answer is an error despite its status: {error_text(document, quote)}")
    return document


def not_json(body: bytes, error: str, quote: Quote) -> str:
    start = quote(body[: 8 * QUOTED].decode(errors="replace"))
    if body.lstrip()[:1] == b"<":
        return f"the answer is a page of HTML or XML, not JSON: {start} Is `url` the address of the API?"
    hint = " NaN and Infinity are not JSON." if re.search(rb"\b(NaN|Infinity)\b", body) else ""
    return f"the answer is not valid JSON ({quote(error)}): {start}{hint}"


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
        f"the answer has no `{step}` (in the path `{path}`); it has {there}. Correct `response` to match the answer."
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


# --- answers


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
            "the target gives one number per input, and not a whole one: it is neither a label nor a probability for"
            f" each of {k} classes. If it is the probability of one class, the target must publish those of all."
        )
    if not bool(((exact >= 0) & (exact < k)).all()):
        raise Malformed(
            f"labels must be 0 to {k - 1}; got {exact.min().item():g} to {exact.max().item():g}. Is `classes` right?"
        )
    return exact.long()


def maps(values: object, expected: Expected) -> Tensor:
    """Lists of lists of numbers, one map per input, to (n, h, w) float64."""
    try:
        converted = torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Malformed("the maps are not lists of equally long lists of numbers. Correct `maps`.") from None
    return settled_maps(converted, expected)


def settled_maps(values: Tensor, expected: Expected) -> Tensor:
    """Checks that there is a finite map of numbers for each input."""
    if values.ndim != 3 or 0 in values.shape or len(values) != expected.n:
        wanted = f"({expected.n}, height, width)"
        raise Malformed(f"maps of shape {wanted} were expected; got {tuple(values.shape)}.")
    values = values if values.is_floating_point() else values.double()
    if not bool(values.isfinite().all()):
        raise Malformed("a map holds NaN or infinity.")
    return values

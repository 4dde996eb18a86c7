"""Paths into a record: `request.inputs[0].data`, and through text that is itself JSON.

Source      none
Keeps       text that was read as JSON stays read, in the record itself
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from gamekeeper.logs.event import Unusable
from gamekeeper.logs.tensors import with_tail
from gamekeeper.protocols.json import is_list, is_object, loads

STEP = re.compile(r"([^.\[\]]+)|\[(\d{1,9})\]")
MISSING = object()
"""What a path leads to where there is nothing."""


@dataclass(frozen=True)
class FieldPath:
    """A path, as text and as its steps: names of fields and places in lists. `$` is the whole record."""

    text: str
    steps: tuple[str | int, ...]

    def __str__(self) -> str:
        return self.text


def field_path(text: str) -> FieldPath:
    """Reads a path. Raises ValueError."""
    if text == "$":
        return FieldPath(text, ())
    steps: list[str | int] = []
    place = 0
    while place < len(text) or not steps:
        place += place > 0 and text[place] == "."
        match = STEP.match(text, place)
        if match is None:
            raise ValueError(
                f"a path is names and [places] joined by dots, such as request.inputs[0].data; got {text!r}"
            )
        steps.append(int(match[2]) if match[1] is None else match[1])
        place = match.end()
    return FieldPath(text, tuple(steps))


def at_path(fields: dict[str, Any], path: FieldPath) -> Any:
    """The value at a path, or MISSING; also for null. A column whose name is the whole path comes first.

    Where a path goes on inside text, the text is read as JSON, or as JSON in base64, perhaps with binary tensors. Raises Unusable if it is neither.
    """
    if path.text in fields:
        return _there(fields[path.text])
    value: Any = fields
    for number, step in enumerate(path.steps, 1):
        inner = _step(value, step)
        if isinstance(inner, str) and number < len(path.steps):
            value[step] = inner = document(inner, path)  # once for all paths into it
        value = inner
    return _there(value)


def first(fields: dict[str, Any], paths: tuple[FieldPath, ...]) -> Any:
    """The value at the first of the paths that leads to one, or MISSING.

    Raises Unusable if none does and one of them leads into text that is not JSON.
    """
    error: Unusable | None = None
    for path in paths:
        try:
            value = at_path(fields, path)
        except Unusable as unusable:
            error = error or unusable
            continue
        if value is not MISSING:
            return value
    if error is not None:
        raise error
    return MISSING


def document(text: str, path: FieldPath) -> Any:
    """JSON in text, perhaps in base64; empty text holds nothing."""
    raw = text.strip().encode(errors="replace")
    if not raw:
        return None
    try:
        if raw[:1] in b"{[":
            return loads(raw)
        raw = base64.b64decode(raw, validate=True)
        try:
            return loads(raw)
        except ValueError:
            return with_tail(raw)
    except (ValueError, binascii.Error):
        raise Unusable("text that is not JSON", f"the path `{path}` leads into text that is not JSON") from None


def _step(value: Any, step: str | int) -> Any:
    """The value one step further, or None."""
    if isinstance(step, str):
        return value.get(step) if is_object(value) else None
    return value[step] if is_list(value) and step < len(value) else None


def _there(value: Any) -> Any:
    return MISSING if value is None or (isinstance(value, str) and not value) else value

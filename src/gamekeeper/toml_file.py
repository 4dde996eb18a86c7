"""Small TOML files that people write: read into tables, with errors that name the line and the key of all that is wrong."""

import tomllib
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from gamekeeper.errors import BadConfig

LIMIT = 2**16
"""Bytes of a file."""
Place = tuple[str | int, ...]
"""Keys and indices that lead to a value."""
R = TypeVar("R")


class Table(BaseModel):
    """A table of the file: immutable, without unknown keys; text is not converted to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


T = TypeVar("T", bound=Table)


class Wrong(Exception):
    """Something that makes no sense, and where it is; caught while reading."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place, self.message = place, message


def text_of(path: Path, what: str) -> str:
    """The text of a file. `what` is what messages call it. Raises BadConfig."""
    try:
        data = path.read_bytes()
        text = data[:LIMIT].decode("utf-8-sig")
    except OSError as error:
        raise BadConfig(f"{what} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadConfig(f"{what} is not UTF-8 text: {error.reason} at byte {error.start}.") from None
    if len(data) > LIMIT:
        raise BadConfig(f"{what} has {len(data):,} bytes; at most {LIMIT:,} are read.")
    return text


def parsed(text: str, what: str, whole: type[T], finish: Callable[[T], R]) -> R:
    """What `finish` makes of the file's table; it may raise Wrong. Raises BadConfig that names every wrong line and key."""
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadConfig(f"{what} is not valid TOML: {error}.") from None
    try:
        return finish(whole.model_validate(content))
    except ValidationError as error:
        wrong = [(tuple(detail["loc"]), message(detail, whole)) for detail in error.errors(include_url=False)]
    except Wrong as error:
        wrong = [(error.place, error.message)]
    lines = sorted((line_of(text, place), f"{spelled(place)}: {rest}") for place, rest in wrong)
    raise BadConfig(f"{what} is wrong:\n" + "\n".join(f"  line {line}, {rest}" for line, rest in lines))


def message(detail: ErrorDetails, whole: type[Table]) -> str:
    """A sentence about one wrong value."""
    if detail["type"] == "extra_forbidden":
        *above, key = detail["loc"]
        known = list(table_at(whole, above).model_fields)
        near = get_close_matches(str(key), known, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"there is no such key.{hint} Known: {', '.join(known)}."
    if detail["type"] == "missing":
        return "it is missing."
    value: Any = detail.get("input")
    got = f" Got {value!r:.80}." if isinstance(value, str | int | float) else ""
    return f"{detail['msg'].removeprefix('Value error, ')}.{got}"


def table_at(kind: Any, place: Sequence[int | str]) -> type[Table]:
    """The table that keys lead to, from a table, or from a list, a dictionary or an alternative of such."""
    if isinstance(kind, type) and issubclass(kind, Table):
        return table_at(kind.model_fields[str(place[0])].annotation, place[1:]) if place else kind
    if get_origin(kind) in (list, dict):
        return table_at(get_args(kind)[-1], place[1:])
    return table_at(get_args(kind)[0], place)


def spelled(place: Place) -> str:
    """`rule[1].when`; tables are counted from 1, as people do."""
    return "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def line_of(text: str, place: Place) -> int:
    """The line, from 1, on which a value begins; of a missing one, its table's.

    TOML's reader does not say. A statement ends with the first lines that can be read and hold it, and begins after the
    last ones before that could be read.
    """
    lines = [f"{line}\n" for line in text.split("\n")]
    for depth in range(len(place), 0, -1):
        begin = 0
        for end in range(1, len(lines) + 1):
            try:
                content = tomllib.loads("".join(lines[:end]))
            except tomllib.TOMLDecodeError:
                continue
            if _holds(content, place[:depth]):
                return begin + 1
            begin = end
    return 1


def _holds(content: Any, place: Place) -> bool:
    for part in place:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True

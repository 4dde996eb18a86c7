"""What a log says: one Event per request, and the place in the log from which reading can go on.

Source      none; the nouns of this package
Keeps       nothing
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from gamekeeper.errors import BadConfig
from gamekeeper.types import Batch, Posterior

NAME_LIMIT = 256
"""Characters of a client's name; a longer one is its beginning and its SHA-256, so that no name can fill memory."""


@dataclass(frozen=True)
class Position:
    """A place in a log, right behind an event. `str` writes it and `position` reads it.

    file    name of the file inside the log
    offset  bytes of that file, once unpacked, before the next line to read
    line    the number of that line, from 1
    past    requests from there on that were handed on already; 0 except in logs that join two lines to one event
    """

    file: str
    offset: int
    line: int
    past: int = 0

    def __str__(self) -> str:
        return f"{self.offset}:{self.line}:{self.past}:{self.file}"


def position(text: str) -> Position:
    """The position that `str` wrote. Raises BadConfig for any other text."""
    numbers, file = text.split(":", 3)[:3], text.split(":", 3)[3:]
    if len(numbers) == 3 and all(n.isascii() and n.isdecimal() for n in numbers) and file and file[0]:
        return Position(file[0], *map(int, numbers))
    raise BadConfig(f"a position in a log reads like '4096:17:0:access.jsonl'; got {shown(text)}. Give one as printed.")


@dataclass(frozen=True, eq=False)
class Event:
    """One request of a log.

    client    who asked
    at        when, in seconds since 1970 (UTC); NaN if the log does not say
    n         how many inputs the request had
    inputs    (n, ...) float32, in the target's units; None if the log has none
    hashes    n of them, where the log has something to compare inputs by, but not the inputs; else empty
    answers   (n, k) float64: posteriors, one-hot for a label, NaN for an input without an answer; None if the log has none
    size      bytes of the answer as sent; None if the log does not say
    position  where reading can go on after this event
    """

    client: str
    at: float
    n: int
    inputs: Batch | None
    hashes: tuple[bytes, ...]
    answers: Posterior | None
    size: int | None
    position: Position


@dataclass(frozen=True)
class Record:
    """One line of a log, or one row of a table: its file, its fields, where it begins, and where the next one does."""

    file: str
    fields: dict[str, Any]
    line: int
    offset: int
    next: Position


@dataclass(frozen=True)
class Unreadable:
    """A line that gives no record.

    kind    what is wrong, the same words for all such lines
    detail  what is wrong with this one
    cut     it is the last line of a file and has no end: most likely it was still being written
    count   how many lines it stands for
    """

    kind: str
    detail: str
    line: int
    next: Position
    cut: bool = False
    count: int = 1


class Unusable(Exception):
    """A record that gives no event; caught while reading, and counted."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


def shown(name: str, limit: int = 80) -> str:
    """A client's name, safe to print on one line: control and invisible characters and backslashes are escaped.

    Different names look different, unless they differ only behind `limit` characters, which "…" says.
    """
    text = "".join(_visible(character) for character in name[: limit + 1])
    return text if len(name) <= limit else text[:limit] + "…"


def _visible(character: str) -> str:
    plain = character.isprintable() and character != "\\"
    return character if plain else character.encode("unicode_escape").decode() if character != "\\" else "\\\\"


def bounded(name: str) -> str:
    """A name as it is, or the beginning of a long one with the SHA-256 of all of it."""
    if len(name) <= NAME_LIMIT:
        return name
    return f"{name[:64]}…{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()}"

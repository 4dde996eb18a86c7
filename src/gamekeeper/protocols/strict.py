"""JSON from strangers: refused before it is parsed if it cannot be a request, and read in one way only.

Source      RFC 8259 (JSON); RFC 7493 (I-JSON): names of an object are unique, numbers are doubles
Assumes     the body has been cut to a size, so that a pass over it is affordable
Deviations  numbers of 2^53 and more are refused: a whole one may have lost digits on the way

orjson refuses NaN, Infinity, 1e999, half characters and more than 1,024 levels. It keeps the last of two equal names: the
text holds a colon for each name, so that one that was dropped shows in their number. Lists are counted in the text as well,
since an empty one takes two bytes there and 56 in memory; so are values.
"""

from array import array as floats
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
from jaxtyping import Float

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.bodies import QUOTE
from gamekeeper.protocols.json import is_object, kind

EXACT = 2**53 - 1
"""Up to here a double is one whole number only."""
NUMERIC = b"0123456789.-+eE, \t\r\n"
"""Nothing but these stands in lists of numbers. Without them a text has the same strings, lists and objects: they never follow
a backslash in JSON."""
OTHERS = (b'"', b":", b"{", b"t", b"f", b"\\")
"""What lists of numbers do not hold."""
LONG = 8192
"""Bytes from which on numpy's start-up is worth it."""
SHORT = 16
"""Longer lists are searched for objects last: they are usually numbers."""


@dataclass(frozen=True)
class Most:
    """What the largest request to a model can hold: numbers, lists, and keys of objects."""

    numbers: int
    lists: int
    keys: int


@dataclass(eq=False, slots=True)
class Document:
    """The object in a body.

    booleans  whether true or false is in it: among numbers, Python takes them for 1 and 0
    """

    value: dict[str, Any]
    booleans: bool


def parse_strictly(body: bytes, most: Most) -> Document:
    """The object in a body that holds no more than that. Raises BadRequest."""
    skeleton = without_last_list(body).translate(None, NUMERIC)
    if (quotes := 4 * most.keys) < counts(skeleton, '"')[0]:
        raise too_many("quotation marks", quotes)
    outside = without_strings(skeleton)
    brackets, braces, colons = counts(outside, "[{:")
    if brackets > most.lists:
        raise too_many("lists", most.lists)
    if max(colons, braces) > most.keys:
        raise too_many("keys and objects", most.keys)
    values = most.numbers + most.lists + 2 * most.keys
    if len(body) > values and counts(without_strings(body), ",")[0] > values:
        raise too_many("values", values)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body must be JSON, in UTF-8 and without NaN; it is not ({QUOTE(error)}).") from None
    if not is_object(value):
        raise BadRequest(f"the body must be a JSON object; got {kind(value)}.")
    if names(value, braces) != colons:
        raise BadRequest("an object in the body has the same name twice. Give every name once.")
    return Document(value, b"t" in outside or b"f" in outside)


def too_many(what: str, most: int) -> BadRequest:
    return BadRequest(f"the body holds more than {most:,} {what}, which no request to this model needs.", 413)


def counts(text: bytes, characters: str) -> list[int]:
    """How often each ASCII character stands in a text. In a long one numpy counts several times as fast as bytes do."""
    if len(text) < LONG:
        return [text.count(character.encode()) for character in characters]
    codes = np.frombuffer(text, np.uint8)
    return [int(np.count_nonzero(codes == ord(character))) for character in characters]


def without_last_list(body: bytes) -> bytes:
    """The text without what its last list holds, where that is numbers: most of a request with its inputs in a row.

    Ten times as quick as a look at every byte, since each character is searched for by itself.
    """
    start = body.rfind(b"[")
    end = body.find(b"]", start)
    if min(start, end) < 0 or any(body.find(each, start, end) >= 0 for each in OTHERS):
        return body
    return body[: start + 1] + body[end:]


def without_strings(body: bytes) -> bytes:
    """What stands outside the strings of a JSON text. Of a text that is not JSON, something."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(body.split(b'"')[::2])


def names(document: dict[str, Any], objects: int) -> int:
    """How many names the objects of a document have, of which there are so many at most."""
    total = 0
    near: list[Any] = [document]
    far: list[Any] = []
    while objects and (near or far):
        value = near.pop() if near else far.pop()
        if type(value) is dict:
            total += len(value)
            objects -= 1
            value = value.values()
        for each in value:
            if type(each) is dict:
                near.append(each)
            elif type(each) is list:
                (far if len(each) > SHORT else near).append(each)
    return total


# --- numbers


def flat(value: object, shape: Sequence[int], place: str) -> list[Any]:
    """The elements of nested lists of exactly this shape, in row-major order. Raises BadRequest, naming the place."""
    values: list[Any] = [value]
    for depth, size in enumerate(shape):
        for each in values:
            if type(each) is not list or len(each) != size:
                raise BadRequest(
                    f"{place} must be lists of shape {list(shape)}; got {kind(each)} where a list of {size} belongs"
                    f" (level {depth + 1}). Rows of different lengths are refused."
                )
        values = list(chain.from_iterable(values)) if len(values) > 1 else values[0]
    return values


def doubles(values: list[Any], place: str, booleans: bool = True) -> Float[np.ndarray, " m"]:
    """JSON numbers as doubles. Raises BadRequest for anything else among them, and for numbers of 2^53 and more.

    booleans  whether some may be true or false, which is looked for
    """
    try:
        array = np.frombuffer(floats("d", values), np.float64)
    except TypeError:
        raise odd_number(values, place) from None
    if booleans and bool in set(map(type, values)):
        raise odd_number(values, place)
    if array.size and max(array.max(), -array.min()) > EXACT:
        raise BadRequest(
            f"{place} must hold numbers between -2^53 and 2^53, which JSON carries exactly. Larger ones came."
        )
    return array


def odd_number(values: list[Any], place: str) -> BadRequest:
    odd = next(each for each in values if type(each) not in (int, float))
    return BadRequest(f"{place} must hold numbers only; got {kind(odd)} among them.")


def number_table(value: object, shape: Sequence[int], place: str, booleans: bool = True) -> Float[np.ndarray, " m"]:
    """Nested lists of numbers of exactly this shape, as doubles in a row; see `doubles`."""
    return doubles(flat(value, shape, place), place, booleans)

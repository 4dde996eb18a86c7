"""What a document holds of each input, in the order in which the inputs were sent.

Order       results with an `index` or `id` are put in the order of the inputs; those that an API left out are missing
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gamekeeper.errors import Malformed
from gamekeeper.protocols.json import Expected, described, is_list, is_object, pick, steps

INDICES = [
    "index",
    "idx",
    "i",
    "position",
    "row",
    "inputindex",
    "requestindex",
    "instance",
    "id",
    "key",
    "customid",
    "requestid",
]
"""Keys that usually number the inputs, in the order in which they are tried; without case, `_` and `-`."""


@dataclass(frozen=True)
class Entries:
    """What a document holds of each input, in the order of the inputs; None where it holds nothing.

    inner   the steps of the path inside each
    index   the key whose numbers gave the order; None if the entries stood in it already
    places  which input each entry of the document is about
    """

    values: list[Any]
    inner: list[str]
    path: str
    index: str | None
    places: list[int]


def entries(document: object, path: str, expected: Expected, single: bool = False) -> Entries:
    """The entries at a path, whose first `*` goes through the inputs; `single`: all of it is about the only input."""
    parts = steps(path)
    if single:
        return Entries([document], parts, path, None, [0])
    star = parts.index("*") if "*" in parts else len(parts)
    values, inner = pick(document, ".".join(parts[:star]) or "$", expected.quote), parts[star + 1 :]
    if not is_list(values):
        where = ".".join(parts[:star]) or "$"
        raise Malformed(
            f"a list of {expected.n} answers was expected at `{where}`, where the answer has"
            f" {described(values, expected.quote)}. Correct `response` to lead to the list."
        )
    index, places = order(values, inner, expected)
    placed: list[Any] = [None] * expected.n
    for place, value in zip(places, values, strict=True):
        placed[place] = value
    return Entries(placed, inner, path, index, places)


def order(values: list[Any], inner: list[str], expected: Expected) -> tuple[str | None, list[int]]:
    """The key that says which input each entry is about, and those inputs; without one, they are in order."""
    n = expected.n
    objects = [value for value in values if is_object(value)]
    taken = {*(expected.labels or ()), *inner[:1]}
    for key in meaning(objects if len(objects) == len(values) else [], INDICES):
        numbers = [integer(value[key]) for value in objects]
        whole = [number for number in numbers if number is not None]
        if key in taken or len(set(whole)) < len(values):
            continue
        first = min(whole) if len(whole) == n else 0 if 0 in whole else 1
        places = [number - first for number in whole]
        if all(0 <= place < n for place in places) and (len(whole) == n or 0 in whole or n in whole):
            return (key if places != sorted(places) else None), places
        classes = len(whole) <= expected.classes and max(whole) <= expected.classes  # perhaps what was answered
        if len(whole) == n and whole != sorted(whole) and not classes:
            raise Malformed(
                f"the results carry `{key}` in an order that says nothing of the inputs' ({whole[0]}, {whole[1]}, …)."
                " Set batch = 1."
            )
    if len(values) != n:
        raise Malformed(
            f"{n} inputs were sent and {len(values)} answers came back. If the API leaves out what it cannot answer, set"
            " batch = 1."
        )
    return None, list(range(n))


def meaning(objects: Sequence[dict[str, Any]], words: Sequence[str]) -> list[str]:
    """The keys that all objects have and whose names usually mean this, the likeliest first."""
    shared = [key for key in (objects[0] if objects else {}) if all(key in each for each in objects)]
    usual = {key: re.sub("[-_ ]", "", key).lower() for key in shared}
    return sorted((key for key in shared if usual[key] in words), key=lambda key: words.index(usual[key]))


def integer(value: object) -> int | None:
    if type(value) is int:
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value, re.ASCII) else None

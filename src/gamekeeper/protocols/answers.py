"""What an answer says of every input: a row of scores or a label, in the order in which the inputs were sent.

Forms       of one input's answer; names are looked up in `labels`, without regard to case, and may be digits

                [0.2, 0.7, 0.1]                            scores in the order of the classes; "0.7" is a number as well
                2, "fox"                                   a label
                {"fox": 0.7, "cat": 0.1}                   scores by name; a class left out scores 0, as in a top-k answer
                [{"label": "fox", "score": 0.7}, ...]      pairs, in any order
                [["fox", 0.7], ...]                        the same
                {"names": ["fox", ...], "p": [0.7, ...]}   the same in two lists
                null, {"error": "too large"}               no answer to this input

Names       scores are read with the names beside them, even if the path leads past those (`p.*.*.score`): sorted by
            score, they would belong to other classes
Units       as they come: `HttpOracle` divides

An answer that cannot be read costs its own input: its row is NaN and the others stand. Raises Malformed if none can be
read, or if they contradict each other.
"""

import logging
import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gamekeeper.errors import Malformed
from gamekeeper.protocols.entries import Entries, entries, integer, meaning
from gamekeeper.protocols.json import Expected, error_text, is_list, is_object, kind, picked

NAMES = [
    "label",
    "labels",
    "name",
    "names",
    "class",
    "classes",
    "classname",
    "category",
    "categories",
    "tag",
    "tagname",
    "displayname",
    "prediction",
    "description",
    "classid",
    "labelid",
    "categoryid",
    "id",
    "index",
]
SCORES = [
    "score",
    "scores",
    "probability",
    "probabilities",
    "confidence",
    "confidences",
    "prob",
    "probs",
    "proba",
    "p",
    "value",
    "likelihood",
]
"""Keys by what they usually mean, in the order in which they are tried; without case, `_` and `-`."""
COMMA = re.compile(r"\s*[-+]?\d*,\d+\s*%?\s*", re.ASCII)
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*%?\s*", re.ASCII)
log = logging.getLogger(__name__)


class NoAnswer(Malformed):
    """The server says itself that it has no answer to this input."""


# --- answers: rows or labels


def answers(values: object, expected: Expected) -> Tensor:
    """Values in order, one per input: (n, k) float64, or (n,) labels."""
    return answers_at(entries(values, "$", expected), expected)


def answers_at(results: Entries, expected: Expected) -> Tensor:
    """The answers in entries: (n, k) float64, or (n,) labels, int64 unless some input has none."""
    read: list[list[float] | float | None] = []
    errors: dict[int, Malformed] = {}
    for place, value in enumerate(results.values):
        try:
            read.append(answer(value, results, expected))
        except Malformed as error:
            errors[place] = decimal_comma(value, expected) or error
            read.append(None)
    good = [one for one in read if one is not None]
    if not good and (wrong := [error for error in errors.values() if not isinstance(error, NoAnswer)]):
        raise wrong[0]
    rows = sum(isinstance(one, list) for one in good)
    if 2 * rows == len(good) and good:
        raise Malformed(
            "the answers of one batch are of different kinds: "
            + ", ".join(sorted(map(kind, results.values[:5])))
            + ", …."
        )
    if errors:
        place, error = next(iter(errors.items()))
        log.warning("%d of %d answers cannot be read; of input %d: %s", len(errors), expected.n, place + 1, error)
    y = table(read, expected.classes) if 2 * rows >= len(good) else column(read)
    y = settle(y, expected)
    doubt_order(y, results)
    return y


def table(read: Sequence[list[float] | float | None], classes: int) -> Tensor:
    empty = [math.nan] * classes
    return torch.tensor([one if isinstance(one, list) else empty for one in read], dtype=torch.float64)


def column(read: Sequence[list[float] | float | None]) -> Tensor:
    return torch.tensor([one if isinstance(one, float) else math.nan for one in read], dtype=torch.float64)


def doubt_order(y: Tensor, results: Entries) -> None:
    """Refuses an order by an `id` that may just as well be the class that was answered."""
    top = (y.nan_to_num(-1).argmax(1) if y.ndim == 2 else y.nan_to_num(-1).long())[results.places].tolist()
    if results.index is not None and results.index.lower() in ("id", "key") and top == results.places:
        raise Malformed(
            f"nobody can tell whether `{results.index}` numbers the inputs or the classes of these results. Set batch = 1."
        )


def answer(value: Any, results: Entries, expected: Expected) -> list[float] | float:
    """One input's: a row of scores, or a label."""
    if value is None:
        raise NoAnswer("null where an answer belongs.")
    if is_object(value) and value.get("error"):
        raise NoAnswer(f"an error where an answer belongs: {error_text(value, expected.quote)}")
    at_path = picked(value, results.inner, results.path, expected.quote)
    beside = named_beside(value, results, expected)
    return item(at_path, expected) if beside is None else beside


def decimal_comma(value: Any, expected: Expected) -> Malformed | None:
    """What is wrong with an answer that could not be read and holds a number with a comma; None if it holds none."""
    held = list(value.values()) if is_object(value) else value if is_list(value) else [value]
    text = next((each for each in held if isinstance(each, str) and COMMA.fullmatch(each)), None)
    if text is not None:
        return Malformed(
            f"an answer holds the string {expected.quote(text)!r}; a number with a decimal point is needed, as in 0.973. A"
            " comma is not read, since it may also separate thousands: let the API answer JSON numbers, or put something in"
            " front of it that rewrites them."
        )
    deeper = (decimal_comma(each, expected) for each in held if is_object(each) or is_list(each))
    return next((error for error in deeper if error is not None), None)


def named_beside(value: Any, results: Entries, expected: Expected) -> list[float] | None:
    """The scores that the path leads to, by the names that stand beside them; None if there are none."""
    if not results.inner or results.inner[-1] == "*" or results.inner[-1].isdecimal():
        return None
    step = results.inner[-1]
    parent = picked(value, results.inner[:-1], results.path, expected.quote)
    if is_object(parent) and is_list(parent[step]) and all(is_number(score) for score in parent[step]):
        others = {key: each for key, each in parent.items() if key != step}
        key = names_list(others, len(parent[step]))
        return None if key is None else by_pairs(list(zip(others[key], parent[step], strict=True)), expected)
    if is_list(parent) and len(parent) > 1 and all(is_object(each) and is_number(each.get(step)) for each in parent):
        key = name_key([{k: v for k, v in each.items() if k != step} for each in parent], expected)
        return None if key is None else by_pairs([(each[key], each[step]) for each in parent], expected)
    return None


def item(value: Any, expected: Expected) -> list[float] | float:
    """A value of any of the forms above."""
    if value is None:
        raise NoAnswer("null where an answer belongs.")
    if is_object(value):
        return by_key(value, expected)
    if is_list(value):
        return listed(value, expected)
    if isinstance(value, str) or (type(value) is not bool and expected.digits):
        return float(class_of(value, expected))
    if is_number(value) or type(value) is bool:
        return float(value)
    raise Malformed(f"an answer is {kind(value)}; a list of {expected.classes} numbers or a label was expected.")


def listed(values: list[Any], expected: Expected) -> list[float] | float:
    """A row of numbers, pairs of names and scores, or a list of one answer."""
    if values and all(is_object(each) for each in values):
        return by_pairs(pairs(values, expected), expected)
    if values and all(is_list(each) and len(each) == 2 and isinstance(each[0], str) for each in values):
        return by_pairs(values, expected)
    if len(values) == 1:
        return item(values[0], expected)
    if len(values) == expected.classes:
        return [number(each, expected) for each in values]
    n, k = expected.n, len(values)
    hint = f" Declare classes = {k} if that is their number." if k > 1 else ""
    raise Malformed(f"answers of shape ({n}, {expected.classes}) or ({n},) were expected; got ({n}, {k}).{hint}")


def by_key(value: dict[str, Any], expected: Expected) -> list[float]:
    """An object: scores by name, one pair, or two lists."""
    if not value:
        raise Malformed("an answer is an empty object where scores by name were expected.")
    lists = {key: each for key, each in value.items() if is_list(each)}
    for key in meaning([lists], SCORES):
        others = {other: each for other, each in lists.items() if other != key}
        if (names := names_list(others, len(lists[key]))) is not None:
            return by_pairs(list(zip(others[names], lists[key], strict=True)), expected)
    known = expected.labels is None or any(lookup(name, expected) is not None for name in value)
    if all(is_number(score) or score is None for score in value.values()) and known:
        return by_pairs(list(value.items()), expected)
    if meaning([value], NAMES) and meaning([value], SCORES):
        return by_pairs(pairs([value], expected), expected)
    there, step = expected.quote(", ".join(value)), (*meaning([value], SCORES), *meaning([value], NAMES), *value)[0]
    raise Malformed(
        f"each answer is an object with {there}. Let `response` lead to the scores in it, as in"
        f" `results.*.{expected.quote(step)}`; or, if these are classes, name them all in `labels`."
    )


def pairs(values: Sequence[dict[str, Any]], expected: Expected) -> list[tuple[Any, Any]]:
    """(name, score) of objects that hold one of each."""
    key = name_key(values, expected)
    scores = [k for k in meaning(values, SCORES) if k != key and all(is_number(each[k]) for each in values)]
    if key is None or not scores:
        there = expected.quote(", ".join(values[0]))
        raise Malformed(f"an answer is a list of objects with {there}, in which a name and a score were looked for.")
    return [(each[key], each[scores[0]]) for each in values]


def name_key(values: Sequence[dict[str, Any]], expected: Expected) -> str | None:
    """The key under which each object names its class: one whose every value is a class, or else the likeliest."""
    likely = meaning(values, NAMES)
    texts = [k for k in values[0] if all(isinstance(each.get(k), str) for each in values) and k not in likely]
    distinct = [k for k in (*likely, *texts) if len({repr(each[k]) for each in values}) == len(values)]
    fitting = [k for k in distinct if all(lookup(each[k], expected) is not None for each in values)]
    return next(iter(fitting or distinct), None)


def names_list(lists: dict[str, Any], length: int) -> str | None:
    """The key of a list of so many names."""
    fits = [k for k, each in lists.items() if is_list(each) and len(each) == length and length]
    texts = [k for k in fits if all(isinstance(name, str) and not is_number(name) for name in lists[k])]
    numbered = [k for k in meaning([lists], NAMES) if k in fits and all(integer(name) is not None for name in lists[k])]
    return next(iter([*texts, *numbered]), None)


def by_pairs(results: Sequence[Sequence[Any]], expected: Expected) -> list[float]:
    """A row of scores by class; a class that is left out scores 0."""
    row = [0.0] * expected.classes
    seen: set[int] = set()
    for name, score in results:
        place = class_of(name, expected)
        if place in seen:
            raise Malformed(f"an answer gives the class {expected.quote(name)!r} two scores.")
        seen.add(place)
        row[place] = number(score, expected)
    return row


def class_of(name: object, expected: Expected) -> int:
    """The number of a class by its name, or by its number where no names were given."""
    place = lookup(name, expected)
    if place is not None:
        return place
    if expected.labels is None:
        if isinstance(name, str):
            raise Malformed(
                f"the answers are strings ({expected.quote(name)!r}). If they name classes, give `labels`, in order."
            )
        raise Malformed(
            f"an answer names class {expected.quote(name)}; they count from 0 to {expected.classes - 1}. If they are ids,"
            " name them in `labels`, in order."
        )
    known = ", ".join(expected.labels[:8]) + (", …" if len(expected.labels) > 8 else "")
    raise Malformed(f"the answer names a class {expected.quote(name)!r} that is not among `labels` ({known}).")


def lookup(name: object, expected: Expected) -> int | None:
    """The class's number; None if it has none. Numbers are names where all `labels` are."""
    if type(name) is float and name.is_integer():
        name = int(name)
    if expected.labels is None or (type(name) is int and not expected.digits):
        return name if type(name) is int and 0 <= name < expected.classes else None
    return expected.place(str(name)) if isinstance(name, str | int) else None


def is_number(value: object) -> bool:
    """A number, or a string that is one."""
    if isinstance(value, str):
        return len(value) < 40 and NUMBER.fullmatch(value) is not None
    return type(value) in (int, float)


def number(value: Any, expected: Expected) -> float:
    if value is None:
        return math.nan
    if not is_number(value):
        shown = f" ({expected.quote(value)!r})" if isinstance(value, str) else ""
        raise Malformed(f"an answer holds {kind(value)}{shown} where a number belongs.")
    if isinstance(value, str) and value.rstrip().endswith("%"):
        return float(value.strip().rstrip("% ")) / 100 * expected.unit  # whatever the unit of numbers without that sign
    return float(value)


def settle(values: Tensor, expected: Expected) -> Tensor:
    """Checks what n rows hold: (n, classes) floating point passes; (n,) or (n, 1) must be labels, 0 to classes - 1, or NaN."""
    n, k = expected.n, expected.classes
    if values.ndim == 2 and values.shape[1] == k:
        return values if values.is_floating_point() else values.double()
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise Malformed(f"answers of shape ({n}, {k}) or ({n},) were expected; got {tuple(values.shape)}.")
    exact = values.double()
    given = exact[~exact.isnan()]
    if not bool((given == given.floor()).all()):
        raise Malformed(
            "the target gives one number per input, and not a whole one: it is neither a label nor a probability for"
            f" each of {k} classes. If it is the probability of one class, the target must publish those of all: of two"
            " classes, something in front of it can answer [1 - p, p]."
        )
    if not bool(((given >= 0) & (given < k)).all()):
        raise Malformed(
            f"labels must be 0 to {k - 1}; got {given.min().item():g} to {given.max().item():g}. Is `classes` right? If"
            " they are ids, name them in `labels`, in order."
        )
    return exact.long() if len(given) == n else exact


# --- maps


def maps_at(results: Entries, y: Tensor, expected: Expected) -> Tensor:
    """One map per input, (n, h, w) float64; of NaN where the input has no answer."""
    silent = y.isnan().reshape(len(y), -1).any(1).tolist()
    held: list[Any] = []
    for value, empty in zip(results.values, silent, strict=True):
        held.append(None if empty else picked(value, results.inner, results.path, expected.quote))
    first = next((one for one in held if one is not None), None)
    blank = [[math.nan] * len(row) for row in first] if is_list(first) and all(map(is_list, first)) else [[math.nan]]
    try:
        converted = torch.tensor([blank if one is None else one for one in held], dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Malformed("the maps are not lists of equally long lists of numbers. Correct `maps`.") from None
    return settled_maps(converted, expected, torch.tensor(silent))


def settled_maps(values: Tensor, expected: Expected, silent: Tensor | None = None) -> Tensor:
    """Checks that there is a finite map of numbers for each input; but for those without an answer."""
    if values.ndim != 3 or 0 in values.shape or len(values) != expected.n:
        wanted = f"({expected.n}, height, width)"
        raise Malformed(f"maps of shape {wanted} were expected; got {tuple(values.shape)}.")
    values = values if values.is_floating_point() else values.double()
    if not bool((values if silent is None else values[~silent]).isfinite().all()):
        raise Malformed("a map holds NaN or infinity.")
    return values

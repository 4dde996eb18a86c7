"""Classes by name: one numbering for the labels of all files of a target."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gamekeeper.errors import BadConfig

Array = np.ndarray[Any, np.dtype[Any]]
Labels = Array | list[str]
"""As they stand in a file: whole numbers, or text for each input."""
WHOLE = re.compile(r"[+-]?\d{1,15}(\.0*)?", re.ASCII)
SHOWN = 10


def spelt(labels: Labels) -> list[str]:
    """Every label as text; whole numbers without sign or decimals."""
    return [
        str(int(float(each))) if WHOLE.fullmatch(each) else each
        for each in (labels if isinstance(labels, list) else map(str, labels.astype(np.int64).tolist()))
    ]


def numeric(labels: Iterable[str]) -> bool:
    return all(WHOLE.fullmatch(each) for each in labels)


def class_names(held: Sequence[tuple[Path, Labels]], count: int | None) -> tuple[str, ...]:
    """The names of the classes in the order of their numbers; empty where every file holds class numbers.

    Names are all that occur in any file, sorted. Raises BadConfig if they are not `count`, or some files hold numbers.
    """
    files = [(path, set(spelt(labels))) for path, labels in held]
    named = [path for path, names in files if not numeric(names)]
    numbered = [path for path, names in files if numeric(names)]
    every = set[str]().union(*(names for _, names in files))
    if not named and all(int(name) >= 0 for name in every):
        return ()
    ordered = sorted(every) if named else sorted(every, key=int)
    if named and numbered:
        raise BadConfig(f"the labels of {named[0]} are names and those of {numbered[0]} are numbers. {advice(ordered)}")
    if count is not None and len(ordered) != count:
        raise BadConfig(
            f"the labels in {', '.join(str(path) for path, _ in files)} have {len(ordered)} names ({listed(ordered)});"
            f" `classes` is {count}, so which number each has is not known. {advice(ordered)}"
        )
    return tuple(ordered)


def names_over(held: Sequence[tuple[Path, Labels]], names: Sequence[str]) -> tuple[str, ...]:
    """The declared names; empty where they are numbers and the files hold class numbers all the same.

    With classes named 1, 2, 3 labels of 0, 1 and 2 over all files can only be class numbers.
    """
    every = set[str]().union(*(spelt(labels) for _, labels in held))
    numbered = numeric(names) and numeric(every) and all(0 <= int(each) < len(names) for each in every)
    return () if numbered and not every <= set(spelt(list(names))) else tuple(names)


def advice(names: Sequence[str]) -> str:
    example = ", ".join(f'"{name}"' for name in names[:3])
    return f"Write the names of the classes in the model's order in the target file: classes = [{example}, …]."


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def class_numbers(path: Path, labels: Labels, names: Sequence[str]) -> Array:
    """Each label's class number. Labels that are numbers are class numbers, unless numbers are the classes' names."""
    words = spelt(labels)
    if not names or (numeric(words) and not any(WHOLE.fullmatch(name) for name in names)):
        return np.array([int(word) for word in words], np.int64)
    position = {name: place for place, name in enumerate(names)} | {
        each: place for place, name in enumerate(names) for each in spelt([name])
    }
    for row, word in enumerate(words):
        if word not in position:
            raise BadConfig(
                f"{path} has the label {word!r} (example {row}, counted from 0), which is not one of the classes"
                f" {listed(names)}. Correct it, or list it in `classes = [...]` in the target file."
            )
    return np.array([position[word] for word in words], np.int64)

"""The categories that a scikit-learn pipeline's encoders know, compared with those in the data files.

An encoder that passes over what it does not know answers a misspelt category without a word: every query with it is spent
on a row with a hole in it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gamekeeper.data.columns import Column, plainly
from gamekeeper.data.csv_files import Table, is_number
from gamekeeper.data.labels import listed
from gamekeeper.data.raw_rows import WORDS
from gamekeeper.errors import BadConfig

MOST = 1000
"""Numbers that an encoder may know for its column to be taken for one of codes."""


@dataclass(frozen=True)
class Encoded:
    """One column that an encoder takes, by its place among the model's columns.

    values  its categories as the encoder was fitted on them
    gaps    cells without a value are known, or something in front of the encoder fills them
    strict  it fails on others, where most pass over them
    """

    place: int
    encoder: str
    values: tuple[Any, ...]
    gaps: bool
    strict: bool

    @property
    def known(self) -> dict[str, Any]:
        """The categories by each way of spelling them: a number 2.0 is 2 as well. A gap is "": NaN, or None if that was it."""
        numbers = {plainly(each): each for each in self.numbers}
        gap = {"": None} if None in self.values and not any(each != each for each in self.values) else {}
        return numbers | {str(each): each for each in self.values} | gap

    @property
    def numbers(self) -> list[int | float]:
        return [each for each in self.values if isinstance(each, int | float) and each == each]

    @property
    def coded(self) -> bool:
        """Whether its categories are numbers, few enough that each may be an entry of an input, and perhaps gaps."""
        real = [each for each in self.values if each is not None and each == each]
        return 1 < len(real) <= MOST and len(real) == len(self.numbers)


def encoded(part: Any, places: Sequence[int], filled: bool = False) -> Iterator[Encoded]:
    """The columns at these places that encoders take before anything else but an imputer has changed them."""
    if hasattr(part, "steps"):
        for _, step in part.steps:
            yield from encoded(step, places, filled)
            if type(step).__name__ != "SimpleImputer" or getattr(step, "add_indicator", False):
                return
            filled = True
    elif hasattr(part, "transformers_"):
        for _, inner, columns in part.transformers_:
            numbers = [columns] if isinstance(columns, int) else columns
            if isinstance(numbers, list) and all(type(each) is int for each in numbers):
                yield from encoded(inner, [places[each] for each in numbers], filled)
    elif len(getattr(part, "categories_", ())) == len(places):
        strict = getattr(part, "handle_unknown", "ignore") == "error"
        for place, categories in zip(places, part.categories_, strict=True):
            values: list[Any] = np.ravel(categories).tolist()
            gaps = filled or any(each is None or each != each for each in values)
            yield Encoded(place, type(part).__name__, tuple(values), gaps, strict)


def check_categories(
    estimator: Any, columns: Sequence[Column], tables: Sequence[Table], listed_anyway: Collection[str]
) -> None:
    """Raises BadConfig for a category in the files that the model's own encoder does not know, naming the cell.

    listed_anyway: columns whose categories the target file lists, so that whoever wrote it means them.
    """
    for one in encoded(estimator, range(len(columns))):
        column = columns[one.place]
        texts = [each for each in one.values if isinstance(each, str)]
        if texts and not column.categories:
            raise BadConfig(
                f"column {column.name} holds numbers in the files, and the model's {one.encoder} was fitted on text:"
                f" {listed(texts)}. {instead(texts, column)}"
            )
        if not column.categories or column.name in listed_anyway:
            continue
        for table in tables:
            cell = table.first(column.name, partial(strange, one, table.empties(column.name)))
            if cell is not None:
                raise BadConfig(f"{cell}, {unknown(one)} {remedy(one, column)}")


def codes(estimator: Any, columns: Sequence[Column], tables: Sequence[Table]) -> dict[str, tuple[str, ...]]:
    """Of columns of numbers that the model's encoder takes for categories: these, as text, and "" if a gap may be one.

    A thief who made up numbers between them would ask about categories that do not exist.
    """
    known: dict[str, tuple[str, ...]] = {}
    for one in encoded(estimator, range(len(columns))):
        column = columns[one.place]
        if one.coded and not column.categories:
            gaps = one.gaps and any(table.empties(column.name) for table in tables)
            known[column.name] = (*map(plainly, one.numbers), *[""] * gaps)
    return known


def numbers_encoded(estimator: Any, columns: int) -> list[Encoded]:
    """Those of this many columns whose numbers an encoder takes for codes: numbers between them are none."""
    return [one for one in encoded(estimator, range(columns)) if one.numbers]


def own_values(estimator: Any, columns: Sequence[Column]) -> dict[str, dict[str, Any]]:
    """Of each column of categories, the values that the model's encoder was fitted on, by their text: numbers, perhaps."""
    return {columns[one.place].name: one.known for one in encoded(estimator, range(len(columns)))}


def strange(one: Encoded, empties: Collection[str], text: str) -> bool:
    """Whether the encoder does not know a cell's text; the words for truth values count in any case, as in `RawRows`."""
    if text in empties:
        return not one.gaps
    if is_number(text) and plainly(float(text)) in one.known:
        return False
    return text not in one.known and text.lower() not in {each.lower() for each in one.known if each.lower() in WORDS}


def instead(texts: Sequence[str], column: Column) -> str:
    """What to declare where the model takes text and the files hold numbers."""
    if all(map(is_number, texts)):
        return f"List these under {column.name} in [data.categories]."
    return "Is that the order in which it takes the columns? Write it down in [data]: `columns = [...]`."


def unknown(one: Encoded) -> str:
    does = "fails on it" if one.strict else "passes over it, as if the cell held none of these"
    return f"which the model does not know: its {one.encoder} was fitted on {listed(sorted(map(str, one.values)))} and {does}."


def remedy(one: Encoded, column: Column) -> str:
    meant = (
        ""
        if one.strict
        else f" If users may send it, list all categories under {column.name} in [data.categories]: the thief may then send it too."
    )
    return f"Correct the spelling, or remove such rows.{meant}"

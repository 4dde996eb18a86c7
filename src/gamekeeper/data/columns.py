"""Columns of CSV tables: which there are, which one is the label, and what each holds, the same for all files."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gamekeeper.data.csv_files import Cell, Table, is_number, missing, other_spelling
from gamekeeper.data.limits import within_limit
from gamekeeper.errors import BadConfig

Array = np.ndarray[Any, np.dtype[Any]]
LARGEST = float(np.finfo(np.float32).max)
LABELS = {"label", "labels", "class", "classes", "target"}
"""Names that a column of classes has and no other column."""
LIKELY_LABELS = {"y", "kind", "species", "category", "outcome", "diagnosis"}
"""Names of columns of classes, where they stand first or last: elsewhere they may be a measurement."""


@dataclass(frozen=True)
class Column:
    """A column that the model takes: a number, or one entry for each of its categories, in their order.

    fill  of a number that may be missing: what stands in its place, beside a second entry that is 1 there and else 0.
          A category that is missing is the category ""
    """

    name: str
    categories: tuple[str, ...] = ()
    fill: float | None = None

    @property
    def entries(self) -> tuple[str, ...]:
        """The names of its entries in an input."""
        if self.categories:
            return tuple(f"{self.name}_{each or 'missing'}" for each in self.categories)
        return (self.name,) if self.fill is None else (self.name, f"{self.name}_missing")

    def encode(self, table: Table) -> Array:
        """(n, 1) numbers or (n, categories) zeros and ones. Raises BadConfig, naming line and column."""
        if not self.categories:
            return numbers(table, self.name, self.fill)
        within_limit(table.path, 4 * len(table) * len(self.categories))
        position = {category: place for place, category in enumerate(self.categories)}
        position |= {text: position[""] for text in table.empties(self.name) if "" in position and text not in position}
        others = {text for text in table.column(self.name) if text not in position and is_number(text)}
        position |= {text: position[number] for text in others if (number := plainly(float(text))) in position}
        strange = table.first(self.name, lambda text: text not in position)
        if strange is not None:
            raise BadConfig(
                f"{strange}, which is not one of its categories: {', '.join(self.categories)}. If the model knows it, list"
                f" all of them, in the model's order, under {self.name} in [data.categories]."
            )
        block = np.zeros((len(table), len(self.categories)), np.float32)
        block[np.arange(len(table)), [position[text] for text in table.column(self.name)]] = 1
        return block


def plainly(number: int | float) -> str:
    """A number as most would write it: 2 for 2.0."""
    return str(int(number)) if math.isfinite(number) and float(number).is_integer() else str(float(number))


def numbers(table: Table, name: str, fill: float | None) -> Array:
    """(n, 1) numbers; with `fill` (n, 2): where one is missing, that and 1. Raises BadConfig, naming line and column."""
    blank = table.empties(name) if fill is not None else set[str]()
    text = table.first(name, lambda text: not is_number(text) and text not in blank)
    if text is not None:
        raise BadConfig(f"{text}; a number is needed, as in the other files. Repair it.")
    large = table.first(name, lambda text: text not in blank and abs(float(text)) > LARGEST)
    if large is not None:
        raise BadConfig(
            f"line {large.line} of {large.path} has {large.text} in column {name!r}; finite float32 numbers are needed."
            " Repair it."
        )
    column = table.column(name)
    values = np.array([fill if text in blank else float(text) for text in column], np.float64)
    return values[:, None] if fill is None else np.stack([values, [text in blank for text in column]], 1)


def label_column(table: Table, label: str | None) -> str | None:
    """The column of the classes: the one that `label` names, else one with a name for such; None if it is not clear."""
    if label is not None:
        return label
    strong = [name for name in table.head if name.casefold() in LABELS]
    ends = dict.fromkeys((table.head[0], table.head[-1]))
    likely = [name for name in ends if name.casefold() in LIKELY_LABELS and not (name in "yY" and "x" in table.head)]
    sure = strong or likely
    return sure[0] if len(sure) == 1 else None


def columns_of(
    tables: Sequence[Table],
    label: str,
    listed: Sequence[str],
    categories: Mapping[str, tuple[str, ...]],
    features: int | None = None,
) -> tuple[Column, ...]:
    """What the model takes, in the order of `listed` or else of the first table, judged by all tables together.

    features: how many the model takes, if it is known. One for each column: then it takes them as they stand, and cells
    without a value too.

    Raises BadConfig for a table that lacks a column, or has others that `listed` does not leave out.
    """
    first = tables[0]
    names = tuple(listed) or tuple(name for name in first.head if name != label)
    for table in tables:
        same_columns(table, names, label, first, leave_out=bool(listed))
    if label and label in names:
        raise BadConfig(
            f"`columns` in [data] lists {label}, the column of the classes, which no model is given. Remove it."
        )
    if not names:
        raise BadConfig(
            f"{first.path} needs a column besides the label; got {', '.join(first.head)}. Separate columns with commas."
        )
    unknown = sorted(set(categories) - set(names))
    if unknown:
        raise BadConfig(f"[data.categories] names {', '.join(unknown)}, which is no column of {', '.join(names)}.")
    return tuple(column(name, tables, categories.get(name, ()), gaps=features == len(names)) for name in names)


def same_columns(table: Table, names: Sequence[str], label: str, first: Table, leave_out: bool) -> None:
    lacking = [name for name in names if name not in table.head]
    more = [] if leave_out else [name for name in table.head if name not in names and name != label]
    if not lacking and not more:
        return
    met = " and ".join(
        f"{what} {', '.join(some[:5])}{' …' * (len(some) > 5)}"
        for what, some in (("lacks", lacking), ("also has", more))
        if some
    )
    needed = "the columns that `columns` in [data] lists" if leave_out else f"the columns of {first.path}"
    raise BadConfig(
        f"{table.path} needs {needed}, by name and in any order: it {met}. Rename its columns, or list in [data] those"
        " that the model takes, in the model's order: `columns = [...]`; others are then left out."
    )


def column(name: str, tables: Sequence[Table], categories: tuple[str, ...], gaps: bool) -> Column:
    """Numbers if every cell in every file is one, categories if none is; those are listed, or all there are, sorted.

    gaps: cells may be empty. What fills them is the median of the files other than the first, which is the test set.
    """
    if categories:
        return Column(name, categories)
    blank = {text for table in tables for text in table.empties(name)} if gaps else set[str]()
    for table in tables:
        gap = table.first(name, lambda text: missing(text) and text not in blank)
        if gap is not None:
            raise BadConfig(
                f"line {gap.line} of {gap.path} has no value in column {name!r} (got {gap.text!r}). Remove the line or"
                f" fill the value in; if it is a category, list all of them under {name} in [data.categories]."
            )
    number = first(tables, name, is_number)
    text = first(tables, name, other_spelling) or first(
        tables, name, lambda text: not is_number(text) and text not in blank
    )
    if text is None and blank:
        held = [float(cell) for table in tables[1:] or tables for cell in table.column(name) if cell not in blank]
        return Column(name, fill=float(np.median(held)) if held else 0.0)
    if text is None:
        return Column(name)
    if number is not None or other_spelling(text.text):
        beside = "" if number is None else f" and the number {number.text} in line {number.line} of {number.path}"
        raise BadConfig(
            f"{text}{beside}; a column holds plain numbers, such as 1234.5, or categories. Repair it; if these are"
            f" categories, list all of them under {name} in [data.categories]."
        )
    every = {text for table in tables for text in table.column(name)}
    return Column(name, tuple(sorted(every - blank | ({""} if blank else set[str]()))))


def first(tables: Sequence[Table], name: str, odd: Callable[[str], bool]) -> Cell | None:
    return next((cell for table in tables if (cell := table.first(name, odd)) is not None), None)


def in_order(columns: tuple[Column, ...], entries: Sequence[str]) -> tuple[Column, ...]:
    """The columns as a model that knows its inputs by name takes them; unchanged where it knows none of these names.

    Raises BadConfig if it knows some of them and not the others.
    """
    by_entry = {entry: each for each in columns for entry in each.entries}
    by_name = {each.name: each for each in columns}
    for known in (by_name, by_entry):
        if known.keys() != set(entries):
            continue
        owners = list(dict.fromkeys(known[entry].name for entry in entries))
        groups = {name: [entry for entry in entries if known[entry].name == name] for name in owners}
        if [entry for name in owners for entry in groups[name]] != list(entries):
            break  # categories of one column stand apart: this order is not one of columns
        whole = known is by_entry
        return tuple(regrouped(by_name[name], groups[name]) if whole else by_name[name] for name in owners)
    strange = sorted(set(entries) - by_name.keys() - by_entry.keys())
    if strange and (set(entries) & (by_name.keys() | by_entry.keys())):
        raise BadConfig(
            f"the model was fitted on inputs named {', '.join(strange[:5])}{' …' * (len(strange) > 5)}, which the data files"
            f" do not have; theirs are {', '.join([*by_entry][:20])}. Rename the columns, or list in [data] those that the"
            " model takes, in its order: `columns = [...]`, and `categories`."
        )
    return columns


def regrouped(each: Column, entries: Sequence[str]) -> Column:
    """The column with its categories in the order of these entries."""
    place = dict(zip(each.entries, each.categories, strict=False))
    return Column(each.name, tuple(place[entry] for entry in entries)) if each.categories else each

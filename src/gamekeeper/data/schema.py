"""What the data files of a target have in common, settled once and applied to each: columns, classes, units.

Otherwise the categories, the class numbers or the scale of one file would mean something else in the next.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from gamekeeper.data.columns import Column, columns_of, in_order, label_column
from gamekeeper.data.csv_files import Table, is_number, missing
from gamekeeper.data.dataset import Dataset
from gamekeeper.data.labels import SHOWN, Labels, class_names, class_numbers, listed, names_over
from gamekeeper.data.limits import within_limit
from gamekeeper.data.scale import Arrays, Scale, as_they_are
from gamekeeper.errors import BadConfig

Contents = Arrays | Table
"""A file as it stands."""


@dataclass(frozen=True)
class Declared:
    """What a target file says about its data; what it leaves out is settled by the files.

    label       the column of the classes; "": there is none
    columns     those that the model takes, in its order; other columns are left out
    categories  of a column of text, in the model's order
    classes     how many there are
    names       of the classes, in the model's order
    """

    label: str | None = None
    columns: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    classes: int | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schema:
    """What is settled.

    columns  of tables
    label    their column of classes, or ""
    names    of the classes; empty if labels are class numbers
    raw      the model takes the columns as they stand, text and gaps, which everything here sees as more entries
    notes    what was taken for granted where files differ, in sentences
    """

    columns: tuple[Column, ...] = ()
    label: str = ""
    names: tuple[str, ...] = ()
    scale: Scale | None = None
    notes: tuple[str, ...] = ()
    raw: bool = False

    def read(self, file: Contents) -> Dataset:
        """The data set in a file. Raises BadConfig, naming the file and the place, for what the schema does not know."""
        if len(file) == 0:
            raise BadConfig(f"{file.path} holds no examples; at least one is needed.")
        labels = labels_of(file, self.label)
        if labels is not None and len(labels) != len(file):
            raise BadConfig(
                f"{file.path} needs one label for each input; got {len(file)} inputs and {len(labels)} labels."
            )
        held = self.encoded(file) if isinstance(file, Table) else file
        x = as_they_are(held) if self.scale is None else self.scale.read(held)
        return Dataset(x, None if labels is None else torch.as_tensor(class_numbers(file.path, labels, self.names)))

    def encoded(self, table: Table) -> Arrays:
        """The model's columns of a table, side by side."""
        within_limit(table.path, 4 * len(table) * sum(len(each.entries) for each in self.columns))
        lacking = [each.name for each in self.columns if each.name not in table.head]
        if lacking:
            raise BadConfig(f"{table.path} lacks the columns {', '.join(lacking)}. Add or rename them.")
        return Arrays(table.path, np.concatenate([each.encode(table) for each in self.columns], 1))

    def header_entry(self) -> dict[str, Any]:
        """What stands in the header of a run: the meaning of every column and every class number."""
        categories = {each.name: list(each.categories) for each in self.columns if each.categories}
        whole = {
            "columns": [each.name for each in self.columns],
            "categories": categories,
            "label": self.label if self.columns else "",
            "names": list(self.names),
        }
        units = {} if self.scale is None else self.scale.header_entry()
        return {name: value for name, value in whole.items() if value} | units


def labels_of(file: Contents, label: str) -> Labels | None:
    """The labels of a file as they stand; None if it has none, or only words for missing values."""
    if isinstance(file, Arrays):
        return file.labels
    if not label or label not in file.head:
        return None
    cells = file.column(label)
    gap = file.first(label, missing)
    if gap is None and all(is_number(text) for text in set(cells)):
        return whole_numbers(file, label)
    if gap is None:
        return cells
    if all(missing(text) for text in set(cells)):
        return None
    raise BadConfig(
        f"line {gap.line} of {gap.path} has no value in column {label!r} (got {gap.text!r}), which holds the classes."
        " Remove the line or fill the value in."
    )


def whole_numbers(table: Table, label: str) -> Labels:
    strange = table.first(label, lambda text: not float(text).is_integer() or abs(float(text)) > 2**31)
    if strange is not None:
        raise BadConfig(
            f"the label column {label!r} of {table.path} must hold classes (text or whole numbers); got {strange.text} in"
            f" line {strange.line}. Name the right column with `label`."
        )
    return np.array([int(float(text)) for text in table.column(label)], np.int64)


def schema_of(
    files: Sequence[Contents],
    declared: Declared,
    scale: Scale | None = None,
    entries: Sequence[str] = (),
    features: int | None = None,
) -> Schema:
    """What these files have in common; the first is the reference, a test set, so it must have labels if it is a table.

    entries: the names of the model's inputs, where the model knows them; features: their number. Raises BadConfig where
    files contradict it or each other.
    """
    tables = [file for file in files if isinstance(file, Table)]
    label = "" if not tables else settled_label(tables[0], declared.label, needed=tables[0] is files[0])
    columns: tuple[Column, ...] = ()
    if tables:
        columns = columns_of(tables, label, declared.columns, declared.categories, features)
        columns = columns if declared.columns else in_order(columns, entries)
    raw = features == len(columns) and any(len(each.entries) > 1 for each in columns)
    if tables and scale is not None:
        scale = widened(scale, columns) if raw else scale
        check_width(tables, columns, scale.shape)
    held = [(file.path, labels) for file in files if (labels := labels_of(file, label)) is not None]
    names = names_over(held, declared.names) if declared.names else class_names(held, declared.classes)
    sure = bool(declared.columns) or bool(entries)
    if raw and not sure:
        same_order(tables, columns)
    if tables and not raw:
        in_the_test_set(tables, columns, {*declared.categories, *named_by_the_model(columns, entries)})
    notes = differences(tables, columns, sure) if tables else ()
    return Schema(columns, label, names, scale, (*notes, *seen_as(columns)) if raw else notes, raw)


def same_order(tables: Sequence[Table], columns: Sequence[Column]) -> None:
    """Raises BadConfig if files differ in the order of columns that a model takes by place: text that it does not know
    in a column may pass unnoticed."""
    names = [each.name for each in columns]
    for table in tables[1:]:
        if [name for name in table.head if name in names] != names:
            raise BadConfig(
                f"{table.path} has its columns in another order than {tables[0].path}, and the model does not say in which it"
                f" takes them. Write down the order it was fitted on: `columns = [...]` in [data], of {', '.join(names)}."
            )


def widened(scale: Scale, columns: Sequence[Column]) -> Scale:
    """The scale of a table whose columns the model takes as they stand: their entries are what is seen here."""
    if scale.shape != (len(columns),):
        raise BadConfig(
            f"the model takes the {len(columns)} columns {listed([each.name for each in columns])} as they stand; `shape` in"
            f" [input] is {list(scale.shape)}. Write `shape = [{len(columns)}]`."
        )
    return replace(scale, shape=(sum(len(each.entries) for each in columns),))


def seen_as(columns: Sequence[Column]) -> tuple[str, ...]:
    """In a sentence, what a thief sees of columns that the model takes as they stand."""
    gaps = [each.name for each in columns if each.fill is not None]
    more = f", and one more for {', '.join(gaps[:SHOWN])}, 1 where there is no value" if gaps else ""
    wide = any(each.categories for each in columns)
    sees = (
        "one entry for each category of a column of text or codes, the largest of which counts" if wide else "numbers"
    )
    return (f"The model is given text and cells without a value as they stand; the thief's copy sees {sees}{more}.",)


def named_by_the_model(columns: Sequence[Column], entries: Sequence[str]) -> list[str]:
    """The columns of text whose categories are, all of them, inputs that the model knows by name."""
    return [each.name for each in columns if each.categories and set(each.entries) <= set(entries)]


def in_the_test_set(tables: Sequence[Table], columns: Sequence[Column], known: Collection[str]) -> None:
    """Raises BadConfig for a category that only other files have and nothing declares: the model may not know it, and
    another, which no file has, in its place."""
    first = tables[0]
    for each in columns:
        more = sorted(set(each.categories) - set(first.column(each.name)))
        if more and each.name not in known:
            every = ", ".join(f'"{name}"' for name in each.categories)
            raise BadConfig(
                f"column {each.name} of {first.path} has no {', '.join(more[:SHOWN])}{', …' * (len(more) > SHOWN)}, which"
                " other files have: does the model know it, and in which order? Write down the categories that the model was"
                f" fitted on, in its order, in [data]: `categories = {{ {each.name} = [...] }}`. Over all files they are, sorted:"
                f" {every}."
            )


def differences(tables: Sequence[Table], columns: Sequence[Column], sure: bool) -> tuple[str, ...]:
    """What a reader should know about files that differ: an order of columns that is not declared."""
    first, names = tables[0], [each.name for each in columns]
    return tuple(
        f"The model is given the columns in the order of {first.path.name}; {table.path.name} has them in another. If that"
        " is the model's order, write it down: columns = [...] in [data]."
        for table in tables[1:]
        if not sure and [name for name in table.head if name in names] != [name for name in first.head if name in names]
    )


def check_width(tables: Sequence[Table], columns: Sequence[Column], shape: tuple[int, ...]) -> None:
    """Raises BadConfig, naming the columns and the categories that only some files have, if they make another shape."""
    entries = sum(len(each.entries) for each in columns)
    if entries == math.prod(shape):
        return
    wide = [each for each in columns if each.categories]
    spelled = "; ".join(
        f"{each.name} has {len(each.categories)} categories ({listed(each.categories)})" for each in wide
    )
    some = [
        f"{name!r} of {each.name} is not in {table.path}"
        for each in wide
        for table in tables
        for name in sorted(set(each.categories) - set(table.column(each.name)))
    ]
    what = "".join(f" {part}." for part in (spelled, "; ".join(some[:SHOWN])) if part)
    raise BadConfig(
        f"the columns of {tables[0].path} make {entries} inputs ({listed([each.name for each in columns])}); `shape` in"
        f" [input] is {list(shape)}.{what} Correct `shape`, or list in [data] the columns that the model takes"
        " (`columns = [...]`), and the categories that it knows, in its order: `categories = { colour = [...] }`."
    )


def settled_label(table: Table, label: str | None, needed: bool) -> str:
    """The column of the classes; "" if there is none. Raises BadConfig if it cannot be told and is needed."""
    name = label_column(table, label)
    if name and name not in table.head and needed:
        raise BadConfig(f"{table.path} has no column {name!r} for the label; its columns are {', '.join(table.head)}.")
    if name is None and needed:
        if len(table.head) == 1:
            raise BadConfig(
                f"{table.path} needs a column besides the label; got {table.head[0]}. Separate columns with commas."
            )
        raise BadConfig(
            f"which column of {table.path} holds the classes? Name it: `label` in [data], such as"
            f' label = "{table.head[-1]}". Its columns are {", ".join(table.head[:20])}{" …" * (len(table.head) > 20)}.'
        )
    return name or ""

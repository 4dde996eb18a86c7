"""CSV files: numbers are read as they are, a column of text becomes one column per category."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from gamekeeper.data.limits import unpack, within_limit
from gamekeeper.errors import BadConfig

Array = np.ndarray[Any, np.dtype[Any]]
Rows = list[tuple[int, list[str]]]  # line number in the file, cells
MISSING = {"", "?", "na", "n/a", "nan", "null"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE | re.ASCII)


def read_csv(path: Path, label: str | None) -> tuple[Array, Array | None]:
    """Numbers as they are; a column with any text becomes one column per category, in sorted order.

    The categories are those of this file: read the whole table, then split it.
    Class labels that are whole numbers from 0 are unchanged; others are numbered in sorted order.
    """
    head, rows = table(path)
    name = head[-1] if label is None else label
    if name and name not in head:
        raise BadConfig(f"{path} has no column {name!r} for the label; its columns are {', '.join(head)}.")
    features = [number for number, column in enumerate(head) if column != name]
    if not features:
        raise BadConfig(
            f"{path} needs a column besides the label; got {', '.join(head)}. Separate columns with commas."
        )
    blocks: list[Array] = []
    width = 0
    for number in features:
        values = numbers(path, rows, number, head[number])
        categories = [] if values is not None else sorted({cells[number] for _, cells in rows})
        width += max(1, len(categories))
        within_limit(path, 4 * len(rows) * width)
        blocks.append(values[:, None] if values is not None else one_hot([c[number] for _, c in rows], categories))
    return np.concatenate(blocks, 1), csv_classes(path, rows, head, name) if name else None


def table(path: Path) -> tuple[list[str], Rows]:
    """Header and rows, with every cell stripped. Raises BadConfig for rows of unequal length and missing values."""
    try:
        lines = list(csv_lines(unpack(path).decode("utf-8-sig")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadConfig(f"{path} is not a CSV file in UTF-8 ({error}). Save it as one.") from error
    head, rows = (lines[0][1], lines[1:]) if lines else ([], [])
    if not head or "" in head or len(set(head)) < len(head) or all(NUMBER.fullmatch(cell) for cell in head):
        raise BadConfig(f"{path} needs a first line with a different name for each column; got {', '.join(head)!r}.")
    for line, cells in rows:
        if len(cells) != len(head):
            raise BadConfig(f"line {line} of {path} has {len(cells)} values; {len(head)} are needed. Repair the line.")
        for column, cell in zip(head, cells, strict=True):
            if cell.lower() in MISSING:
                raise BadConfig(
                    f"line {line} of {path} has no value in column {column!r} (got {cell!r})."
                    " Remove the line or fill the value in."
                )
    return head, rows


def csv_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    for cells in reader:
        if cells:
            yield reader.line_num, [cell.strip() for cell in cells]


def numbers(path: Path, rows: Rows, number: int, column: str) -> Array | None:
    """A column as float64, or None if it holds text. Raises BadConfig for numbers beyond float32's range."""
    if not all(NUMBER.fullmatch(cells[number]) for _, cells in rows):
        return None
    values = np.array([float(cells[number]) for _, cells in rows])
    large = np.abs(values) > np.finfo(np.float32).max
    if large.any():
        line, cells = rows[int(large.argmax())]
        raise BadConfig(
            f"line {line} of {path} has {cells[number]} in column {column!r}; finite float32 numbers are needed."
            " Repair it."
        )
    return values


def one_hot(cells: list[str], categories: list[str]) -> Array:
    position = {category: i for i, category in enumerate(categories)}
    block = np.zeros((len(cells), len(categories)), np.float32)
    block[np.arange(len(cells)), [position[cell] for cell in cells]] = 1
    return block


def csv_classes(path: Path, rows: Rows, head: list[str], name: str) -> Array:
    column = head.index(name)
    cells = [cells[column] for _, cells in rows]
    values = numbers(path, rows, column, name)
    if values is None:
        return np.unique(cells, return_inverse=True)[1]
    strange = (values != np.floor(values)) | (np.abs(values) > 2**31)
    if strange.any():
        cell = cells[int(strange.argmax())]
        raise BadConfig(
            f"the label column {name!r} of {path} must hold classes (text or whole numbers); got {cell}."
            " Name the right column with `label`."
        )
    whole = cast(Array, values.astype(np.int64))
    return whole if not len(whole) or whole.min() >= 0 else np.unique(whole, return_inverse=True)[1]

"""Back from the entries that everything here sees to the rows of a table, as a model that prepares its own data takes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.data.columns import Column

Array = np.ndarray[Any, np.dtype[Any]]
WORDS = {"true": True, "false": False}
"""Categories that whoever reads a table takes for truth values."""


@dataclass(frozen=True)
class RawRows:
    """From entries (n, d) to the rows (n, columns) that they stand for: text, numbers, NaN for a missing value.

    The largest entry of a column's categories counts, the first of equals; a number is missing where the entry beside it
    is above a half.

    own  by a column's name, what the model was fitted on in place of a category's text, where that is known
    """

    columns: tuple[Column, ...]
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    def __call__(self, x: Float[Tensor, "n d"]) -> Array:
        rows = x.double().numpy()
        ends = np.cumsum([len(each.entries) for each in self.columns])
        blocks: Sequence[Array] = np.split(rows, ends[:-1], axis=1)
        return np.stack(
            [cells(each, block, self.own.get(each.name, {})) for each, block in zip(self.columns, blocks, strict=True)],
            1,
        )


def cells(column: Column, block: Array, own: Mapping[str, Any]) -> Array:
    """One column's cells (n,), as objects where they are categories: the model's `own`, or else text."""
    if not column.categories:
        return block[:, 0] if column.fill is None else np.where(block[:, 1] > 0.5, np.nan, block[:, 0])
    values: list[Any] = [each or np.nan for each in column.categories]
    if all(each.lower() in WORDS for each in column.categories if each):
        values = [WORDS[each.lower()] if each else np.nan for each in column.categories]
    values = [own.get(each, value) for each, value in zip(column.categories, values, strict=True)]
    return np.array([values[place] for place in block.argmax(1)], object)


def every_category(columns: Sequence[Column], x: Float[Tensor, "1 d"]) -> Float[Tensor, "n d"]:
    """The input once for each category of each column, which it has in place of its own; for a gap likewise."""
    start, rows = 0, [x]
    for column in columns:
        width = len(column.entries)
        first = start if column.categories else start + 1
        for place in range(first, start + width):
            row = x.clone()
            row[:, first : start + width] = 0
            row[:, place] = 1
            rows.append(row)
        start += width
    return torch.cat(rows)

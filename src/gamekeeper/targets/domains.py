"""From `low` and `high` of a target file to what may be asked: one range, or one for each column of a table."""

import math
from collections.abc import Collection, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.errors import BadConfig
from gamekeeper.types import Box, Domain, Ranges

Ends = float | Sequence[float] | None
LOW, HIGH = 0.0, 1.0
"""Where the file says nothing."""
FAR = 1_000_000
"""How many widths of a test set's column an entry of the pool may lie beyond it: one that does is a typing error, or a code for a missing value."""


def ends(value: Any) -> Ends:
    """One end as the file has it: a number, or a tuple with one for each column. Raises ValueError."""
    if isinstance(value, list):
        return tuple(number(each) for each in cast(list[Any], value))
    return None if value is None else number(value)


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a finite number; of a table it may be a list with one for each column")
    return float(value)


def pairs(shape: Sequence[int], low: Ends, high: Ends) -> list[tuple[float, float]]:
    """Low and high of every column, or the only ones. Raises ValueError, which the file's check turns into its sentence."""
    if not isinstance(low, Sequence) and not isinstance(high, Sequence):
        columns = [(LOW if low is None else low, HIGH if high is None else high)]
    elif len(shape) > 1:
        raise ValueError(
            f"low and high may be lists for tables only, shape [{shape[0]}]; images have one range for all entries"
        )
    else:
        columns = list(
            zip(of_columns("low", low, LOW, shape[0]), of_columns("high", high, HIGH, shape[0]), strict=True)
        )
    for column, (a, b) in enumerate(columns, 1):
        if not a < b:
            raise ValueError(
                f"low must be below high{f' in column {column}' if len(columns) > 1 else ''}; got {a:g} and {b:g}"
            )
    return columns


def outer(low: Ends, high: Ends) -> tuple[float, float]:
    """One range around those of all columns."""
    least = min(low) if isinstance(low, Sequence) else low
    most = max(high) if isinstance(high, Sequence) else high
    return LOW if least is None else least, HIGH if most is None else most


def of_columns(name: str, ends: Ends, usual: float, columns: int) -> Sequence[float]:
    """One number for each column."""
    if not isinstance(ends, Sequence):
        return [usual if ends is None else ends] * columns
    if len(ends) != columns:
        raise ValueError(f"{name} has {len(ends)} numbers; shape [{columns}] needs one for each column")
    return ends


def domain(
    shape: Sequence[int], low: Ends, high: Ends, pool: Float[Tensor, "n ..."], categories: Collection[int] = ()
) -> Domain:
    """What may be asked. A table without either end ranges as its pool does. Raises BadConfig.

    categories: the places of entries that stand for one; they run from 0 to 1 even if no row of the pool has it.
    """
    if low is None and high is None and len(shape) == 1 and pool.shape[1:] == tuple(shape):
        if not (len(pool) and pool.isfinite().all()):
            raise BadConfig(
                "data.pool: the ranges of a table's columns are read off it, so it needs rows of finite numbers. Give it"
                " some, take out NaN and infinities, or declare `low` and `high` in [input]."
            )
        least, most = ranges_of(pool).low, ranges_of(pool).high
        return Ranges(
            tuple(0.0 if place in categories else value for place, value in enumerate(least)),
            tuple(1.0 if place in categories else value for place, value in enumerate(most)),
            closed=False,
        )
    columns = pairs(shape, low, high)
    if isinstance(low, Sequence) or isinstance(high, Sequence):
        return Ranges(tuple(a for a, _ in columns), tuple(b for _, b in columns))
    return Box(tuple(shape), *columns[0])


def identity(shape: Sequence[int], low: Ends, high: Ends) -> dict[str, Any]:
    """Its part of a target's digest. What is read off the pool is in there with the pool."""
    if low is None and high is None and len(shape) == 1:
        return {"shape": shape, "range": "pool"}
    return {"shape": shape, "low": LOW if low is None else low, "high": HIGH if high is None else high}


def check_pool(pool: Float[Tensor, "n d"], test: Float[Tensor, "m d"], names: Sequence[str]) -> None:
    """Raises BadConfig for an entry of the pool that lies FAR beyond the test set's, whose columns have these names, if any.

    A thief scales columns by the pool: one mistyped number would make a whole column invisible to their copy.
    """
    low, high = torch.aminmax(test.double(), dim=0)
    beyond = torch.maximum(pool.double() - high, low - pool.double())
    odd = ((beyond > FAR * (high - low)) & (high > low)).nonzero()
    if len(odd):
        row, column = odd[0].tolist()
        name = names[column] if names else str(column + 1)
        raise BadConfig(
            f"data.pool: example {row} (counted from 0) holds {pool[row, column]:g} in column {name}, which runs from"
            f" {low[column]:g} to {high[column]:g} in the test set. Thieves scale a column by the pool, so this one would tell them"
            " nothing, and theft would look harder than it is. Repair it, or remove the row; if it is meant, declare `low` and"
            " `high` in [input]."
        )


def ranges_of(x: Float[Tensor, "n d"]) -> Ranges:
    """The ranges of a table's columns, open: what lies outside may be asked as well."""
    low, high = torch.aminmax(x, dim=0)
    return Ranges(tuple(low.tolist()), tuple(high.tolist()), closed=False)

"""Splits that cannot overlap: rows are divided by their content, not by their position.

Otherwise a row that occurs twice in a data set could be trained on in one part and tested on in another.
"""

import hashlib
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from gamekeeper.data.dataset import Dataset
from gamekeeper.errors import BadConfig
from gamekeeper.types import Batch


def split(data: Dataset, sizes: Sequence[int], seed: int) -> tuple[Dataset, ...]:
    """Parts of exactly `sizes` rows, in random order; equal rows of x are all in the same part.

    A part is filled with whole groups of equal rows as long as they fit. Rows that would overfill it are left out of
    every part. This always succeeds if sum(sizes) is at most the number of distinct rows. Raises BadConfig if a size is
    below 1 or there are too few rows.
    """
    if not sizes or min(sizes) < 1:
        raise BadConfig(f"a split needs sizes of at least 1; got {list(sizes)}.")
    generator = np.random.default_rng(seed)
    ordered = equal_rows(data.x)
    distinct = len(ordered)
    groups = deque([ordered[int(row)] for row in generator.permutation(distinct)])
    parts: list[list[int]] = []
    for size in sizes:
        part, groups = fill(groups, size)
        if len(part) < size:
            raise BadConfig(
                f"a split into {list(sizes)} needs {sum(sizes)} rows; got {len(data)} rows, of which {distinct} are"
                f" distinct, and equal rows must stay together. Ask for at most {distinct} in all, or give more data."
            )
        parts.append(part)
    return tuple(data.take(torch.as_tensor(generator.permutation(part))) for part in parts)


def overlap(a: Batch, b: Shaped[Tensor, "m ..."]) -> int:
    """How many rows of `a` also occur in `b`, byte for byte (0.0 and -0.0 count as equal).

    Raises BadConfig if the rows differ in shape or dtype, since 0 would then mean nothing.
    """
    if a.shape[1:] != b.shape[1:] or a.dtype != b.dtype:
        raise BadConfig(
            "rows can only be compared if they have the same shape and dtype;"
            f" got {tuple(a.shape[1:])} {a.dtype} and {tuple(b.shape[1:])} {b.dtype}."
        )
    known = set(row_keys(b))
    return sum(key in known for key in row_keys(a))


def row_keys(x: Batch) -> list[bytes]:
    """A 16-byte BLAKE2b digest of each row. Equal rows have equal keys; different rows practically never do."""
    if x.numel() == 0:
        return [b""] * len(x)
    values = x.detach().cpu().contiguous().numpy().reshape(len(x), -1)
    if np.issubdtype(values.dtype, np.floating):
        values = values + values.dtype.type(0)  # -0.0 becomes 0.0
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in values]


def equal_rows(x: Batch) -> list[list[int]]:
    """Row numbers grouped by content, in order of first appearance."""
    groups: dict[bytes, list[int]] = {}
    for row, key in enumerate(row_keys(x)):
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def fill(groups: deque[list[int]], size: int) -> tuple[list[int], deque[list[int]]]:
    """One part of at most `size` rows, and the groups left for the next parts."""
    part: list[int] = []
    left: deque[list[int]] = deque()
    while groups and len(part) < size:
        group = groups.popleft()
        if len(part) + len(group) <= size:
            part += group
        else:
            left.append(group)
    left.extend(groups)
    while left and len(part) < size:
        part += left.popleft()[: size - len(part)]
    return part, left

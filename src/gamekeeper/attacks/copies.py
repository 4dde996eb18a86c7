"""Changed copies of the pool's images, each asked once: what thieves share who move their questions towards the task."""

from collections.abc import Callable

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from gamekeeper.data.splits import row_keys
from gamekeeper.errors import Unsuited
from gamekeeper.types import Batch, Box, Knowledge, Meter, Reply, Transfer, need_box

PORTION = 256
"""Copies made at a time, whatever the budget, so that a larger budget begins with the same copies as a smaller one."""

Change = Callable[[Batch, torch.Generator], Shaped[Tensor, "m ..."]]
"""One copy of each image, or of those that it suits; random numbers come from the generator alone."""


def ask_copies(oracle: Meter, knows: Knowledge, seed: int, change: Change) -> Transfer:
    """Asks about copies of the pool's images in random order, one of each before the second of any, none twice.

    Ends early where a whole pass brings no new copy.
    """
    x = distinct_copies(knows.pool, oracle.left, torch.Generator().manual_seed(seed), change)
    reply = oracle(x) if len(x) else Reply(torch.empty(0, knows.task.classes))
    return Transfer(x, reply, len(x))


def distinct_copies(pool: Batch, n: int, generator: torch.Generator, change: Change) -> Shaped[Tensor, "m ..."]:
    """The first n copies, or as many as there are, (n, ...)."""
    parts, known = [pool[:0]], set[bytes]()
    while len(known) < n:
        before = len(known)
        for rows in torch.randperm(len(pool), generator=generator).split(PORTION):
            if len(known) < n:
                x = change(pool[rows], generator)
                parts.append(x[new_rows(x, known)])
        if len(known) == before:
            break
    return torch.cat(parts)[:n]


def new_rows(x: Batch, known: set[bytes]) -> Int[Tensor, " m"]:
    """The rows whose content is not known yet, which is known from then on."""
    rows: list[int] = []
    for row, key in enumerate(row_keys(x)):
        if key not in known:
            known.add(key)
            rows.append(row)
    return torch.tensor(rows, dtype=torch.long)


def image_box(knows: Knowledge, method: str) -> Box:
    """The domain as a box of images. Raises Unsuited for anything else."""
    box = need_box(knows.box, method)
    if len(box.shape) != 3:
        raise Unsuited(f"{method} changes images; this target's inputs have shape {box.shape}. Leave it out.")
    return box

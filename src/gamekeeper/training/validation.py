"""Judging a way of learning by answers it was not shown: a thief's own yardstick, without truth and without a query."""

from collections.abc import Callable

import torch
from torch import Tensor

from gamekeeper.metrics import Estimate, wilson
from gamekeeper.types import Model, Transfer

HELD_OUT = 10
"""One answer in so many is held out."""


def held_out_agreement(learn: Callable[[Transfer], Model], transfer: Transfer, seed: int) -> Estimate | None:
    """How often the model learnt from 90 % of the answers predicts the top class of the others; None below ten answers.

    Which answers are held out depends on the seed alone, so that every way of learning is held to the same ones.
    """
    n = len(transfer.x)
    if n < HELD_OUT:
        return None
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    held, rest = order[: n // HELD_OUT], order[n // HELD_OUT :]
    model = learn(rows_of(transfer, rest))
    right = model(transfer.x[held]).y.argmax(1) == transfer.reply.y[held].argmax(1)
    return wilson(int(right.sum()), len(held))


def rows_of(transfer: Transfer, rows: Tensor) -> Transfer:
    """The given rows, in the given order; the cost stays that of the whole."""
    return Transfer(transfer.x[rows], transfer.reply.take(rows), transfer.cost)

"""Hold-out validation on a thief's own answers: needs neither ground truth nor further queries."""

from collections.abc import Callable

import torch
from torch import Tensor

from gamekeeper.metrics import Estimate, wilson
from gamekeeper.types import Model, Transfer

HELD_OUT = 10
"""One in this many answers is held out."""


def held_out_agreement(learn: Callable[[Transfer], Model], transfer: Transfer, seed: int) -> Estimate | None:
    """How often a model learnt from 90 % of the answers predicts the top class of the rest; None below ten answers.

    Which answers are held out depends on the seed alone, so that different learners are compared on the same ones.
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
    """The given rows, in the given order, at the cost of the whole transfer."""
    drawn = None if transfer.drawn is None else transfer.drawn[rows]
    return Transfer(transfer.x[rows], transfer.reply.take(rows), transfer.cost, drawn)

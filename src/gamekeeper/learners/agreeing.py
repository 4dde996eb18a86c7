"""Agreeing: of inputs that the thief drew, only answers that name the class they were drawn as.

Source      none; dropping labels that contradict another source, as in Han et al., "Co-teaching" (NeurIPS 2018)
Equations   keep i iff argmax y_i = drawn_i, or i was not drawn
Assumes     answers that are posteriors; a way of asking that knows what it drew, such as drawn. Without it, and where no
            answer agrees, it learns from all answers, as soft does
Deviations  none
Keeps       no state: every budget and seed trains its own student
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from gamekeeper.learners.distil import normalised
from gamekeeper.training.fit import POSTERIOR, Fit
from gamekeeper.training.student import train
from gamekeeper.types import Knowledge, Model, Transfer


@dataclass(frozen=True)
class Agreeing:
    """Unmodified answers, without those that contradict what the thief drew."""

    fit: Fit = POSTERIOR

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        rows = uncontradicted(transfer)
        return train(knows, transfer.x[rows], normalised(transfer.reply.y[rows]), self.fit, seed)


def uncontradicted(transfer: Transfer) -> Bool[Tensor, " n"]:
    """Rows whose answer names the class they were drawn as, and those not drawn; all rows if there is none."""
    everything = torch.ones(len(transfer.x), dtype=torch.bool)
    if transfer.drawn is None:
        return everything
    agree = (transfer.drawn < 0) | (transfer.reply.y.argmax(1) == transfer.drawn)
    return agree if agree.any() else everything

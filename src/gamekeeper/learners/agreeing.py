"""Learning from the answers whose top class is the class that the input was drawn as.

Source      none; for thieves who draw. A defense that lies about some inputs, or an input that does not show what it was meant to,
            contradicts the drawing. Filtering by agreement: Malach and Shalev-Shwartz, "Decoupling" (NeurIPS 2017)
Equations   keep i iff argmax y_i is the class that x_i was drawn as
Assumes     answers that are posteriors; inputs that were drawn (`drawn`). Without those it learns from all, as soft does
Deviations  where fewer than half agree, the classes are not the thief's or the answers are no guide: all are kept
Keeps       no state: every budget and seed trains its own student
"""

from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from gamekeeper.learners.distil import normalised
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import train
from gamekeeper.types import Knowledge, Model, Transfer

LEAST = 0.5
"""The share of answers that must agree with their drawings; else none is dropped."""


@dataclass(frozen=True)
class Agreeing:
    """Unmodified answers, but only those whose top class is the one that their input was drawn as."""

    fit: Fit = Fit()

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        x, y = transfer.x, normalised(transfer.reply.y)
        rows = agreed(transfer)
        if rows is not None:
            x, y = x[rows], y[rows]
        return train(knows, x, y, self.fit, seed)


def agreed(transfer: Transfer) -> Bool[Tensor, " n"] | None:
    """The rows that agree with what was drawn; None where nothing was, or fewer than half do."""
    if transfer.drawn is None or len(transfer.x) == 0:
        return None
    rows = transfer.reply.y.argmax(1) == transfer.drawn
    return rows if float(rows.double().mean()) >= LEAST else None

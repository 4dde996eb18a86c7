"""Train a fresh student on the answers: unmodified, as labels, or sharpened.

Source      soft: Orekondy, Schiele, Fritz, "Knockoff Nets" (CVPR 2019); labels: the `argmax` subversion of
            "Prediction Poisoning" (ICLR 2020), section 5.2.3, and CopycatCNN (IJCNN 2018);
            sharpened: blind temperature recovery, y^p / sum y^p; shuffled: none, a control
Assumes     answers that are posteriors (labels count as one-hot posteriors)
Deviations  SGD with one cycle of the learning rate instead of steps; the last epoch is kept, no test set is used
Keeps       no state: every budget and seed trains its own student
"""

from dataclasses import dataclass

import torch

from gamekeeper.errors import BadConfig
from gamekeeper.facts import Reads
from gamekeeper.simplex import label
from gamekeeper.training.fit import POSTERIOR, Fit
from gamekeeper.training.student import train
from gamekeeper.types import Knowledge, Model, Posterior, Transfer


@dataclass(frozen=True)
class Soft:
    """Soft cross-entropy with the unmodified answers (renormalised where the API truncates)."""

    fit: Fit = POSTERIOR

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        return train(knows, transfer.x, normalised(transfer.reply.y), self.fit, seed)


@dataclass(frozen=True)
class Labels:
    """Cross-entropy with the top-1 class only: unaffected by any defense that preserves the top-1 class."""

    fit: Fit = Fit()

    @property
    def reads(self) -> Reads:
        return "label"

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        return train(knows, transfer.x, label(transfer.reply.y), self.fit, seed)


@dataclass(frozen=True)
class Sharpened:
    """Soft cross-entropy with y^power, renormalised: undoes flattening without knowing the defense."""

    power: float = 4.0
    fit: Fit = POSTERIOR

    def __post_init__(self) -> None:
        if self.power <= 0:
            raise BadConfig(f"The power of Sharpened must be positive. Got {self.power}.")

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        return train(knows, transfer.x, sharpen(transfer.reply.y, self.power), self.fit, seed)


@dataclass(frozen=True)
class Shuffled:
    """Control: answers shuffled over the inputs. Its clone must be no better than chance."""

    fit: Fit = Fit()

    @property
    def reads(self) -> Reads:
        return "nothing"

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        y = normalised(transfer.reply.y)
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
        return train(knows, transfer.x, y[order], self.fit, seed)


def normalised(y: Posterior) -> Posterior:
    """Rows scaled to sum to 1; an all-zero row becomes uniform. Rows that already sum to 1 come back bit for bit."""
    total = y.sum(1, keepdim=True)
    silent = total <= 0
    scaled = (y + silent) / (total + silent * y.shape[1])
    return y.where((total - 1).abs() < 1e-5, scaled)


def sharpen(y: Posterior, power: float) -> Posterior:
    """y^power / sum y^power; each row is first divided by its maximum, so that no row underflows to zero."""
    return normalised((y / y.amax(1, keepdim=True).clamp(min=1e-30)) ** power)

"""D-DAE+: a small network that learns to undo a known defense from pairs of posteriors and defended answers.

Source      Chen, Guan, Gong, Dong, Xue, "D-DAE: defense-penetrating model extraction attacks" (IEEE S&P 2023), in the form
            "D-DAE+" of ModelGuard (USENIX Security 2024): pairs from a table of Dirichlet samples, no shadow models
Equations   k -> h1 -> h2 -> k, each linear, batch normalisation, leaky ReLU 0.2, softmax at the end; L1 loss
Assumes     the thief knows the defense's recipe (`Knowledge.defenses`); if none is known, the answers are used
            unmodified. Raises Unsuited for a defense the thief cannot arm without the victim or its data
Deviations  no meta-classifier to identify the defense: the thief knows it. One cycle of the learning rate up
            to 0.3 over 30 passes (the authors: 0.01, halved after 100 of 200), chosen by L1 on held-out rows of the table
            (tools/choose_defaults.py, decision 007). The network answers in evaluation mode; the authors'
            code leaves it in training mode, where an answer depends on its batch. The table is that of partial Bayes
Keeps       no state: every budget and seed trains its own inverse and student
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gamekeeper.architectures import fresh
from gamekeeper.errors import BadConfig
from gamekeeper.learners.distil import normalised
from gamekeeper.learners.lookup_table import CONCENTRATION, LookupTable, candidates, known_defense
from gamekeeper.training.fit import POSTERIOR, Fit, fit
from gamekeeper.training.student import train
from gamekeeper.types import Knowledge, Model, Posterior, Transfer

WIDTHS = ((10, (128, 64)), (43, (512, 256)), (100, (1024, 512)))
"""Largest number of classes for each pair of hidden widths; WIDEST above that."""
WIDEST = (2048, 1024)
PASSES = Fit(epochs=30, least_steps=1000, rate=0.3, decay=1e-4, batch=1024)


class Undo(nn.Module):
    """Maps defended answers to posteriors."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        hidden = next((widths for most, widths in WIDTHS if classes <= most), WIDEST)
        sizes = (classes, *hidden, classes)
        layers: list[nn.Module] = []
        for before, after in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, y: Posterior) -> Posterior:
        # the loop would run it in bf16 where that is fast, but bf16 cannot tell 0.997 from 0.999
        with torch.autocast("cpu", enabled=False):
            return torch.softmax(self.layers(y.float()), 1)


@dataclass(frozen=True)
class Inverse:
    """Soft cross-entropy with the answers recovered by a learnt inverse of the known defense."""

    size: int = 100_000
    concentration: float = CONCENTRATION
    guesses: int = 50
    fit: Fit = POSTERIOR

    def __post_init__(self) -> None:
        if min(self.size // 2, self.guesses) < 1 or self.concentration <= 0:
            raise BadConfig(
                f"Inverse needs a size of at least 2, at least 1 guess and a positive concentration. Got {self}."
            )

    @property
    def uses_defense(self) -> bool:
        return True

    @property
    def cost(self) -> float:
        return 0.3

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        y = normalised(transfer.reply.y)
        if knows.defenses and len(transfer.x):
            known = known_defense(transfer, knows, self.guesses, seed)
            clean, rows = candidates(transfer.reply.y.float(), self.size, self.concentration, seed)
            y = undo(transfer.reply.y.float(), known.table(transfer.x, clean, rows), seed)
        return train(knows, transfer.x, y, self.fit, seed)


def undo(y: Posterior, table: LookupTable, seed: int) -> Posterior:
    """The answers mapped by a network trained to take `table.answered` to `table.clean`."""
    net = fit(fresh(lambda: Undo(y.shape[1]), seed), table.answered, table.clean, l1, PASSES, seed)
    with torch.no_grad():
        return net(y)


def l1(out: Float[Tensor, "n k"], y: Posterior) -> Float[Tensor, ""]:
    """||out - y||_1, mean over n."""
    return (out - y).abs().sum(1).mean()

"""Partial Bayes: undo a known defense by looking up what it would have made of a hundred thousand posteriors.

Source      Tang, Dai, DiValentin, Ding, Hass, Gong, Chen, Li, "ModelGuard: information-theoretic defense against model
            extraction attacks" (USENIX Security 2024), the "Bayes" adaptive attack, and the authors' code
Equations   y^ = mean{ s : top1(s) = top1(y'), |D(s) - y'|_1 <= max(0.01, least distance) }, s ~ Dirichlet(8 k y_est)
Assumes     the thief knows the defense's recipe (`Knowledge.defenses`), not its seed; if none is known, the answers are
            used unmodified. Raises Unsuited for a defense the thief cannot arm without the victim or its data
Deviations  the first half of the table is centred on the answers, the second on what the first half recovered; a version
            of the authors' code centres it on the clean answers, which no thief has. A quarter of the table is flat
            (symmetric Dirichlets of every sharpness), since a strong defense moves answers out of their own
            neighbourhood. 100,000 rows instead of 1,000,000, and of more than
            167 classes only those that fit in 64 MB. A defense's seed is guessed, see lookup_table.py. Candidates
            belong to inputs drawn from the transfer set, so that defenses that depend on the input can be tabulated. Of MANY
            classes or more, no sample of a Dirichlet comes near an answer, so all but an eighth of the table is made of the
            answers themselves, sharpened
Limits      Of many classes little but the top one is recovered. Behind `reverse_sigmoid:beta=0.9`, answers of 1,000 classes
            are 1.71 from the clean ones in L1, those recovered 0.79 (1.67 with Dirichlets only), bare labels 0.79; of 100
            classes 1.68, 0.86 (1.54) and 0.66. So a thief who reads labels belongs beside this one
Keeps       no state: every budget and seed draws its own table and trains its own student
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.errors import BadConfig
from gamekeeper.learners.distil import normalised
from gamekeeper.learners.lookup_table import CONCENTRATION, around, candidates, known_defense, match
from gamekeeper.training.fit import POSTERIOR, Fit
from gamekeeper.training.student import train
from gamekeeper.types import Knowledge, Model, Posterior, Transfer

MOST = 2**24
"""Entries of a table, 64 MB of float32; while it is drawn, some eight times as much is in memory."""
MANY = 50
"""Classes, from which on candidates are sharpened answers."""
POWERS = (0.5, 16.0)


def sharpened(
    y: Posterior, size: int, generator: np.random.Generator
) -> tuple[Float[Tensor, "m k"], Int[Tensor, " m"]]:
    """`size` mixtures of an answer's label with a power of the answer, cycling over the rows of y, and the row of each.

    The label's weight is uniform, the power log-uniform over POWERS.
    """
    rows = torch.from_numpy(generator.permutation(np.arange(size) % len(y)))
    power = torch.from_numpy(np.exp(generator.uniform(np.log(POWERS[0]), np.log(POWERS[1]), (size, 1)))).float()
    weight = torch.from_numpy(generator.uniform(size=(size, 1))).float()
    tail = torch.softmax(power * y[rows].clamp_min(torch.finfo(torch.float32).tiny).log(), 1)
    tail *= 1 - weight
    return tail.scatter_add_(1, y[rows].argmax(1, keepdim=True), weight), rows


@dataclass(frozen=True)
class PartialBayes:
    """Soft cross-entropy with the likeliest clean answers behind those of a known defense.

    size           rows of the table; fewer where these would be more than MOST entries
    tolerance      L1 within which candidates explain an answer equally well
    concentration  how closely candidates cluster around an estimate: their Dirichlet's parameters sum to this times k
    guesses        seeds tried for a defense whose answers depend on its seed
    """

    size: int = 100_000
    tolerance: float = 0.01
    concentration: float = CONCENTRATION
    guesses: int = 50
    fit: Fit = POSTERIOR

    def __post_init__(self) -> None:
        if min(self.size // 4, self.guesses) < 1 or min(self.tolerance, self.concentration) <= 0:
            raise BadConfig(
                "PartialBayes needs a size of at least 4, at least 1 guess, and a positive tolerance and concentration."
                f" Got {self}."
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
            y = self.recover(transfer, knows, seed)
        return train(knows, transfer.x, y, self.fit, seed)

    def recover(self, transfer: Transfer, knows: Knowledge, seed: int) -> Posterior:
        """The clean answers, as far as they can be recovered. Raises Unsuited if a defense cannot be armed."""
        y = transfer.reply.y.float()
        size = max(4, min(self.size, MOST // y.shape[1]))
        half = size // 2 if y.shape[1] < MANY else max(2, size // 8)
        known = known_defense(transfer, knows, self.guesses, seed)
        table = known.table(transfer.x, *candidates(y, half, self.concentration, seed))
        estimate, _ = match(y, table, known.keeps_top1, self.tolerance)
        generator = np.random.default_rng([seed, 1])
        if y.shape[1] < MANY:
            closer = around(estimate, size - half, self.concentration, generator)
        else:
            closer = sharpened(y, size - half, generator)
        table = table.with_rows(known.table(transfer.x, *closer))
        return match(y, table, known.keeps_top1, self.tolerance)[0]

"""Chosen carriers: inputs that nobody crafted, on which the accuser's own models all give the same wrong answer.

Natural inputs on which models err, and images turned over or mirrored, which look like another class: independent models
err on them in the same way. Nothing is optimised, so that no detector of adversarial examples sees anything.

Source      Liu, Zhang, Szyller, Ren, Asokan, "False claims against model ownership resolution" (USENIX Security 2024):
            carriers that are chosen after training
Equations   keep x if f_1(x) = … = f_m(x) != y; of these the n with the least sum_i CE(f_i(x), f_1(x)), class by class in turn
Assumes     labels, and models of the accuser's own; nothing of a suspect
Deviations  turned and mirrored images as candidates are ours, and so is the turn of the classes, which passes a gate that
            wants labels to vary. Of what is not an image there are natural inputs only, which may be too few
Keeps       every carrier is an input of the accuser's, or one turned by 90 or 180 degrees or mirrored
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from gamekeeper.data.splits import equal_rows
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.forgeries.accuser import ensemble, forged
from gamekeeper.ownership.forgeries.transferable import check_sizes, survivors
from gamekeeper.types import Batch, Owner


@dataclass(frozen=True)
class ChosenCarriers:
    """Picks inputs on which the accuser's own models agree on a wrong label."""

    models: int = 4
    n: int = 100

    def __post_init__(self) -> None:
        check_sizes(self.models, self.n, self.n, "ChosenCarriers")

    def __call__(self, accuser: Owner, classes: int, seed: int) -> Claim:
        own = ensemble(accuser, classes, self.models, seed)
        x = turned(own.x)
        truth = own.truth.repeat(len(x) // len(own.x))
        first = torch.tensor([rows[0] for rows in equal_rows(x)], dtype=torch.int64)
        x, truth = x[first], truth[first]
        label = own.unanimous(x)
        wrong = survivors((label >= 0) & (label != truth), own.loss(x, label.clamp(min=0)), len(x))
        best = in_turn(label[wrong], self.n)
        return forged(x[wrong][best], label[wrong][best], "own_mistakes", self)


def turned(x: Batch) -> Shaped[Tensor, "m ..."]:
    """Square images as they are, by 90, 180 and 270 degrees, and mirrored; other inputs as they are."""
    if x.ndim != 4 or x.shape[2] != x.shape[3]:
        return x
    return torch.cat([*(torch.rot90(x, quarter, (2, 3)) for quarter in range(4)), x.flip(3)])


def in_turn(label: Int[Tensor, " n"], most: int) -> Int[Tensor, " m"]:
    """The first row of each class, then the second of each, and so on; `most` rows at most."""
    place = torch.zeros_like(label)
    for k in label.unique():
        place[label == k] = torch.arange(int((label == k).sum()))
    return place.argsort(stable=True)[:most]

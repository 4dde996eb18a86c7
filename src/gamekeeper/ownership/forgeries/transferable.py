"""Transferable examples: inputs moved until the accuser's own models err together; independent models then err alike.

    Untargeted  away from the true class: what the first model then answers is claimed, as by schemes that score agreement
                with the owner's model
    Targeted    towards classes drawn at random, as by schemes that prescribe labels

Source      Liu, Zhang, Szyller, Ren, Asokan, "False claims against model ownership resolution" (USENIX Security 2024)
Equations   untargeted: max sum_i CE(f_i(x'), y); targeted: min sum_i CE(f_i(x'), t); ||x' - x||_inf <= eps, by steps along
            the sign of the gradient, projected onto the ball and the box
Assumes     inputs from a box, their labels, and gradients of the accuser's own models; nothing of a suspect
Deviations  a fixed number of steps and no bar for the loss: those on which all of the accuser's models agree survive, and of
            these the `n` with the best ensemble loss. Steps of 2.5 eps / steps; the paper's are 0.03
Keeps       ||x' - x||_inf <= eps times the box's width, and the box
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gamekeeper.errors import BadConfig
from gamekeeper.follow_on.evasion import Craft, crafted
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.forgeries.accuser import ensemble, forged, summed
from gamekeeper.types import Owner, need_box


def craft(eps: float, steps: int) -> Craft:
    return Craft(eps, steps, 2.5 / steps)


def check_sizes(models: int, n: int, candidates: int, method: str) -> None:
    if not (models >= 1 and 1 <= n <= candidates):
        raise BadConfig(
            f"{method} needs a model or more, and at least as many candidates as the n it keeps. Got {models} models,"
            f" {candidates} candidates, n {n}."
        )


@dataclass(frozen=True)
class Untargeted:
    """Moves inputs away from their class, and claims what the accuser's first model then answers."""

    eps: float = 0.3
    steps: int = 40
    models: int = 4
    n: int = 100
    candidates: int = 300

    def __post_init__(self) -> None:
        check_sizes(self.models, self.n, self.candidates, "Untargeted")

    def __call__(self, accuser: Owner, classes: int, seed: int) -> Claim:
        box, own = need_box(accuser.box, "Untargeted"), ensemble(accuser, classes, self.models, seed)
        x, truth = own.x[: self.candidates], own.truth[: self.candidates]
        recipe = craft(self.eps, self.steps)
        moved = crafted(own.nets, summed(own.nets), x, truth, recipe, 1.0, box, seed)
        label = own.unanimous(moved)
        best = survivors((label >= 0) & (label != truth), -own.loss(moved, truth), self.n)
        return forged(moved[best], label[best], "own_mistakes", self)


@dataclass(frozen=True)
class Targeted:
    """Moves inputs towards labels drawn at random, and claims those."""

    eps: float = 0.3
    steps: int = 40
    models: int = 4
    n: int = 100
    candidates: int = 300

    def __post_init__(self) -> None:
        check_sizes(self.models, self.n, self.candidates, "Targeted")

    def __call__(self, accuser: Owner, classes: int, seed: int) -> Claim:
        box, own = need_box(accuser.box, "Targeted"), ensemble(accuser, classes, self.models, seed)
        x, truth = own.x[: self.candidates], own.truth[: self.candidates]
        wanted = others(truth, classes, seed)
        moved = crafted(own.nets, summed(own.nets), x, wanted, craft(self.eps, self.steps), -1.0, box, seed)
        best = survivors(own.unanimous(moved) == wanted, own.loss(moved, wanted), self.n)
        return forged(moved[best], wanted[best], "backdoor", self)


def others(truth: Int[Tensor, " n"], classes: int, seed: int) -> Int[Tensor, " n"]:
    """For each row a class other than its own, at random."""
    generator = torch.Generator().manual_seed(seed)
    return (truth + torch.randint(1, classes, truth.shape, generator=generator)) % classes


def survivors(passed: Bool[Tensor, " n"], loss: Float[Tensor, " n"], most: int) -> Int[Tensor, " m"]:
    """The rows that passed, those of the lowest loss first, `most` of them at most."""
    rows = passed.nonzero()[:, 0]
    return rows[loss[rows].argsort(stable=True)[:most]]

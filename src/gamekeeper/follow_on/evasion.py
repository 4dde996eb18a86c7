"""Evasion: inputs crafted until the clone errs, then sent to the victim, which often errs as well.

Source      Papernot, McDaniel, Goodfellow, Jha, Celik, Swami, "Practical black-box attacks against machine learning"
            (AsiaCCS 2017): craft on a substitute, send to the victim; FGSM: Goodfellow, Shlens, Szegedy 2015; I-FGSM:
            Kurakin, Goodfellow, Bengio 2017; PGD: Madry, Makelov, Schmidt, Tsipras, Vladu 2018
Equations   x' = clip(x + a sgn(grad L(F(x), y))), projected to ||x' - x_0||_inf <= eps after each step; towards a class
            t: descent on L(F(x), t). FGSM is one step with a = eps, I-FGSM n steps with a = eps / n,
            which is Craft(eps, n, 1 / n); PGD takes more and longer steps from a random point of the ball
Assumes     a clone with gradients; the inputs' true classes; no queries to the victim while crafting
Deviations  eps is in widths of the input box. PGD starts once, not several times, and returns its last point
Keeps       ||x' - x||_inf <= eps times the box's width, and the box, for every recipe and for the noise
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from gamekeeper.attacks.steps import Score, climb, loss_of
from gamekeeper.errors import BadConfig
from gamekeeper.types import Batch, Box


@dataclass(frozen=True)
class Craft:
    """How to craft: reach, steps and start.

    eps     most an entry may move, in widths of the box, 0 to 1
    steps   gradient steps
    stride  length of one step as a share of eps
    start   begin at a uniformly random point of the ball instead of at the input itself
    """

    eps: float
    steps: int = 1
    stride: float = 1.0
    start: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.eps <= 1:
            raise BadConfig(f"The eps of Craft must be between 0 and 1, in widths of the input box. Got {self.eps}.")
        if self.steps < 1 or self.stride <= 0:
            raise BadConfig(
                f"Craft needs at least one step and a stride above 0. Got steps {self.steps}, stride {self.stride}."
            )


def fgsm(eps: float) -> Craft:
    """One step to the edge of the ball."""
    return Craft(eps)


def pgd(eps: float, steps: int = 10) -> Craft:
    """Madry et al.'s: a random start and steps of 2.5 eps / steps, enough to reach the other side of the ball."""
    return Craft(eps, steps, 2.5 / steps, start=True)


def away(net: nn.Module, x: Batch, truth: Int[Tensor, " n"], recipe: Craft, box: Box, seed: int = 0) -> Batch:
    """Inputs that the network should no longer assign to their true classes."""
    return crafted(net, loss_of(net), x, truth, recipe, 1.0, box, seed)


def towards(net: nn.Module, x: Batch, wanted: Int[Tensor, " n"], recipe: Craft, box: Box, seed: int = 0) -> Batch:
    """Inputs that the network should assign to the wanted classes."""
    return crafted(net, loss_of(net), x, wanted, recipe, -1.0, box, seed)


def crafted(
    net: nn.Module, score: Score, x: Batch, k: Int[Tensor, " n"], recipe: Craft, direction: float, box: Box, seed: int
) -> Batch:
    """Projected steps along `direction` times the sign of the gradient of score(x, k).

    net  what the score is computed with, one network or several in one module
    """
    reach = recipe.eps * (box.high - box.low)
    generator = torch.Generator().manual_seed(seed)
    near = x
    if recipe.start:
        near = (x + reach * (2 * torch.rand(x.shape, generator=generator) - 1)).clamp(box.low, box.high)
    for _ in range(recipe.steps):
        near = climb(net, score, near, (k,), direction * recipe.stride * reach, box)
        # this moves entries towards x, which is in the box, so the result stays in it
        near = x + (near - x).clamp(-reach, reach)
    return near


def noise(x: Batch, eps: float, box: Box, seed: int) -> Batch:
    """The baseline for crafted inputs: every entry of x moved by eps box widths, up or down at random."""
    generator = torch.Generator().manual_seed(seed)
    coin = torch.randint(2, x.shape, generator=generator).to(x.dtype) * 2 - 1
    return (x + eps * (box.high - box.low) * coin).clamp(box.low, box.high)


def reach_of(box: Box) -> float:
    """The usual eps in box widths: 0.3 for greyscale images (MNIST's), 8/255 for colour; for tables, which have none, 0.1."""
    if len(box.shape) != 3:
        return 0.1
    return 0.3 if box.shape[0] == 1 else 8 / 255

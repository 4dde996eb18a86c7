"""Model inversion (MI-Face): an image of a class, found by ascending the clone's confidence in it.

Source      Fredrikson, Jha, Ristenpart, "Model inversion attacks that exploit confidence information and basic
            countermeasures" (CCS 2015), Algorithm 1
Equations   x_0 = 0; x_i = Process(x_{i-1} - lambda grad c(x_{i-1})), c(x) = 1 - f_t(x); returns the x_i of least c
Assumes     a clone with gradients whose outputs are logits; no queries to the victim
Deviations  all steps have the same length, since the gradient of c vanishes where f_t is near 0 or 1, and follow the
            gradient of -log f_t, which has the same direction. 100 steps instead of up to 5,000, and no early stopping.
            Process clips to the box and blurs images with a 3x3 binomial filter (the paper denoises and sharpens the
            images of one of its three networks). No auxiliary term
Keeps       the box. f_t on the clone proves nothing, since noise reaches it too: score x on the victim
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.attacks.steps import gradient, loss_of
from gamekeeper.errors import BadConfig
from gamekeeper.types import Batch, Box

BINOMIAL = (0.25, 0.5, 0.25)


@dataclass(frozen=True)
class Invert:
    """How to invert.

    steps  number of steps
    rate   length of one step: root mean square change per entry, in widths of the box
    blur   whether to blur images after each step, so that the result is smooth; other inputs are never blurred
    """

    steps: int = 100
    rate: float = 0.035
    blur: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rate <= 0:
            raise BadConfig(f"Invert needs at least one step and a rate above 0. Got {self.steps} and {self.rate}.")


def invert(net: nn.Module, wanted: Int[Tensor, " n"], recipe: Invert, box: Box) -> Batch:
    """One input (n, ...) for each wanted class, in the box: the step in which the clone is most confident."""
    start = min(max(0.0, box.low), box.high)
    x = torch.full((len(wanted), *box.shape), start)
    length = recipe.rate * (box.high - box.low) * math.sqrt(math.prod(box.shape))
    drawn, least = x, losses(net, x, wanted)
    for _ in range(recipe.steps):
        x = processed(x - length * unit(gradient(net, loss_of(net), x, (wanted,))), recipe.blur, box)
        now = losses(net, x, wanted)
        better = now < least
        drawn, least = torch.where(spread(better, x), x, drawn), torch.minimum(now, least)
    return drawn


def losses(net: nn.Module, x: Batch, k: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """-log f_k(x)."""
    net.eval()
    with torch.no_grad():
        return loss_of(net)(x, k)


def unit(g: Batch) -> Batch:
    """Every row scaled to length 1; zero rows stay zero."""
    return g / spread(g.flatten(1).norm(dim=1).clamp(min=torch.finfo(g.dtype).tiny), g)


def processed(x: Batch, blur: bool, box: Box) -> Batch:
    """Process of Algorithm 1: blurs images and clips to the box."""
    if blur and x.ndim == 4:
        line = torch.tensor(BINOMIAL, dtype=x.dtype)
        kernel = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=x.shape[1])
    return x.clamp(box.low, box.high)


def spread(values: Tensor, x: Batch) -> Tensor:
    """One value per row, shaped to broadcast over the row's entries."""
    return values.reshape(-1, *[1] * (x.ndim - 1))

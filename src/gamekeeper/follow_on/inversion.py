"""Model inversion (MI-Face): a picture of a class, drawn by climbing the copy's confidence in it.

Source      Fredrikson, Jha, Ristenpart, "Model inversion attacks that exploit confidence information and basic
            countermeasures" (CCS 2015), Algorithm 1
Equations   x_0 = 0; x_i = Process(x_{i-1} - lambda grad c(x_{i-1})), c(x) = 1 - f_t(x); the x_i of the least c is returned
Assumes     a copy with gradients whose outputs are logits; no query to the victim
Deviations  steps have one length, since the gradient of c vanishes where f_t is near 0 or 1, and go along that of -log f_t,
            which has the same direction. 100 steps for at most 5,000, and no early stop. Process clips to the box and
            blurs images by a 3x3 binomial filter (the paper denoises and sharpens the pictures of one of its three
            networks). No auxiliary term
Keeps       the box. f_t on the copy says nothing, since noise reaches it too: score x on the victim
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
    """How to draw.

    steps  how many
    rate   length of one step: root mean square change of an entry, in widths of the box
    blur   whether images are blurred after each step, so that what is drawn is smooth; nothing else is ever blurred
    """

    steps: int = 100
    rate: float = 0.035
    blur: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rate <= 0:
            raise BadConfig(f"Invert needs at least one step and a rate above 0. Got {self.steps} and {self.rate}.")


def invert(net: nn.Module, wanted: Int[Tensor, " n"], recipe: Invert, box: Box) -> Batch:
    """One input (n, ...) for each wanted class, in the box: the one on its way in which the copy believes most."""
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
    """Every row scaled to length 1; a row of zeros stays so."""
    return g / spread(g.flatten(1).norm(dim=1).clamp(min=torch.finfo(g.dtype).tiny), g)


def processed(x: Batch, blur: bool, box: Box) -> Batch:
    """Process of Algorithm 1: smooth where it is an image, and inside the box."""
    if blur and x.ndim == 4:
        line = torch.tensor(BINOMIAL, dtype=x.dtype)
        kernel = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=x.shape[1])
    return x.clamp(box.low, box.high)


def spread(values: Tensor, x: Batch) -> Tensor:
    """One value a row, shaped so that it meets the row's entries."""
    return values.reshape(-1, *[1] * (x.ndim - 1))

"""The gradient step shared by all perturbing attacks: along the sign, clipped to the box, in batches."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.models.layout import image_memory
from gamekeeper.models.network import CHUNK
from gamekeeper.types import Batch, Box

Score = Callable[..., Float[Tensor, " n"]]
"""score(x, *others) -> one number per row, which depends on that row of x and of the others alone."""


def output_of(net: nn.Module) -> Score:
    """score(x, k): the network's output for class k."""

    def score(x: Batch, k: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        return net(x).gather(1, k[:, None])[:, 0]

    return score


def loss_of(net: nn.Module) -> Score:
    """score(x, k): the cross-entropy with class k. Climbing it leads away from k, descending it towards k."""

    def score(x: Batch, k: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        return F.cross_entropy(net(x), k, reduction="none")

    return score


def climb(
    net: nn.Module, score: Score, x: Batch, others: tuple[Tensor, ...], size: float, box: Box, steps: int = 1
) -> Batch:
    """x after `steps` steps of size/steps along the sign of its score's gradient, each clipped to the box.

    A negative size descends. No entry moves by more than |size|. The network is left in evaluation mode.
    """
    for _ in range(steps):
        moved = x + size / steps * gradient(net, score, x, others).sign()
        x = moved.clamp(box.low, box.high)
    return x


def gradient(net: nn.Module, score: Score, x: Batch, others: tuple[Tensor, ...]) -> Batch:
    """d score / d x, row by row: one forward and one backward pass per chunk, in evaluation mode."""
    net.eval()
    parts: list[Tensor] = []
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        leaf = image_memory(x[rows]).detach().requires_grad_()
        # only the inputs' gradient is requested, so that no time is spent on that of the weights
        parts += torch.autograd.grad(score(leaf, *(other[rows] for other in others)).sum(), leaf)
    return torch.cat(parts) if parts else x

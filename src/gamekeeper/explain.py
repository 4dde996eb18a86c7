"""Attribution maps: which entries of an input a network's answer hangs on. Pure functions of a network.

Source      gradient: Simonyan, Vedaldi, Zisserman, "Deep inside convolutional networks" (2014); gradient_x_input: Shrikumar
            et al., "Not just a black box" (2016)
Equations   d logit_top / dx, and x * d logit_top / dx; summed over channels
Assumes     a network that is differentiable in its input
Deviations  signed maps of the logit; the 2014 paper shows absolute values, the largest over channels

A map has the height and width of its image; a table's is one row. All maps are differentiable in the weights, which is
what a thief needs who matches them.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gamekeeper.types import Batch

ExplainerName = Literal["gradient", "gradient_x_input"]
Maps = Float[Tensor, "n h w"]
Explainer = Callable[[nn.Module, Batch, Int[Tensor, " n"]], Maps]
"""Network, inputs and the class to explain of each: maps."""


def gradient(net: nn.Module, x: Batch, top: Int[Tensor, " n"]) -> Maps:
    """d logit_top / dx."""
    return as_map(slope(net, x, top))


def gradient_x_input(net: nn.Module, x: Batch, top: Int[Tensor, " n"]) -> Maps:
    """x * d logit_top / dx."""
    return as_map(x * slope(net, x, top))


EXPLAINERS: Mapping[ExplainerName, Explainer] = {
    "gradient": gradient,
    "gradient_x_input": gradient_x_input,
}


def slope(net: nn.Module, x: Batch, top: Int[Tensor, " n"]) -> Batch:
    """d logit_top / dx with its graph, in evaluation mode: BatchNorm would otherwise mix the rows' maps."""
    training = net.training
    net.eval()
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(net(x).gather(1, top[:, None]).sum(), x, create_graph=True)
    net.train(training)
    return found


def as_map(attribution: Batch) -> Maps:
    """Channels summed; a vector is a map of one row."""
    return attribution.sum(1) if attribution.ndim == 4 else attribution.flatten(1)[:, None]

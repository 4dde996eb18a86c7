"""Maps made from the input gradient.

Source      gradient: Simonyan, Vedaldi, Zisserman, "Deep inside convolutional networks" (2014); gradient_x_input: Shrikumar
            et al., "Not just a black box" (2016)
Equations   d logit_top / dx, and x * d logit_top / dx; summed over channels
Assumes     a network that is differentiable in its input
Deviations  signed maps of the logit; the 2014 paper shows absolute values, the largest over channels
Keeps       no state

A map has the height and width of its image; a table's map is one row.
"""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from gamekeeper.explain.maps import Maps, as_map, evaluating
from gamekeeper.types import Batch


def gradient(net: nn.Module, x: Batch, top: Int[Tensor, " n"]) -> Maps:
    """d logit_top / dx."""
    return as_map(slope(net, x, top))


def gradient_x_input(net: nn.Module, x: Batch, top: Int[Tensor, " n"]) -> Maps:
    """x * d logit_top / dx."""
    return as_map(x * slope(net, x, top))


def slope(net: nn.Module, x: Batch, top: Int[Tensor, " n"]) -> Batch:
    """d logit_top / dx, with its graph."""
    x = x.detach().requires_grad_()
    with evaluating(net):
        (derivative,) = torch.autograd.grad(net(x).gather(1, top[:, None]).sum(), x, create_graph=True)
    return derivative

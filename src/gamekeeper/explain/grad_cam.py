"""Grad-CAM: the channels of a late activation, each weighted by how strongly the class's logit depends on it.

Source      Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization" (ICCV 2017)
Equations   (1) a_k = mean_ij d z_t / d A_k,ij   (2) max(0, sum_k a_k A_k)
Assumes     a network that `maps.layers` can take apart, with a spatial activation
Deviations  by default the last activation of more than one pixel (the paper: the last convolutional layer), after its
            ReLU and pooling where these leave more than one; the map keeps its size and is not upsampled
Keeps       no state
"""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from gamekeeper.explain.maps import Maps, class_score, evaluating, picture
from gamekeeper.types import Batch


def grad_cam(net: nn.Module, x: Batch, top: Int[Tensor, " n"], layer: int | None = None) -> Maps:
    """(2): never negative, all zero if no channel supports the class."""
    return signed_grad_cam(net, x, top, layer).relu()


def signed_grad_cam(net: nn.Module, x: Batch, top: Int[Tensor, " n"], layer: int | None = None) -> Maps:
    """(2) before its ReLU. Use this for a loss on the order of pixels, since the zero map satisfies every order."""
    with evaluating(net):
        a, rest = picture(net, x, layer)
        (slope,) = torch.autograd.grad(class_score(rest, a, top), a, create_graph=True)
        return (slope.mean((2, 3), keepdim=True) * a).sum(1)

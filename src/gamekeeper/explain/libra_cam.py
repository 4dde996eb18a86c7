"""Libra-CAM: the best linear approximation of the logit around an activation, relative to several reference activations.

Source      Lee, Han, "Libra-CAM: an activation-based attribution based on the linear approximation of deep neural nets and
            threshold calibration" (IJCAI 2022) and the authors' code
Equations   base map of a reference r: sum_k d z_t/d A_k * (A_k - A_k^r), scaled to [0, 1] by its range; the map is the mean
            over the accepted references. Rejection: g_r = p_t(x * base map) - p_t(x); of the references with g > 0, those
            with g >= mean - std stay; if there are none, those with g > mean + std, and failing that, all
            `calibrate`: the lowest 10 i % of the pixels, i = 0 to 9, are set to 0, with the i of the largest g
Assumes     a network that `maps.layers` can take apart, with a spatial activation
Deviations  the paper's library holds 27 to 30 activations of ImageNet images, which no other network can use. The default
            reference is the activation of the zero image alone, so nothing can be rejected; pass `references` for a
            library. Maps keep the activation's size: upsampling is linear, so the mean may be taken first. The code picks
            the cut after the best one (it adds 1 to the index); here it is the best
Keeps       no state
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.errors import BadConfig
from gamekeeper.explain.maps import Maps, class_score, evaluating, picture
from gamekeeper.types import Batch

CUTS = 10


def libra_cam(
    net: nn.Module,
    x: Batch,
    top: Int[Tensor, " n"],
    layer: int | None = None,
    references: Float[Tensor, "m ..."] | None = None,
) -> Maps:
    """Mean of the base maps over the accepted references, entries in [0, 1]. references: inputs, at least one."""
    if references is not None and not len(references):
        raise BadConfig(
            "libra_cam needs at least one reference input. Got none; leave `references` out for the zero image."
        )
    with evaluating(net):
        a, rest = picture(net, x, layer)
        (slope,) = torch.autograd.grad(class_score(rest, a, top), a, create_graph=True)
        far = picture(net, torch.zeros_like(x[:1]) if references is None else references, layer)[0]
        base = scaled((slope * a).sum(1)[:, None] - torch.einsum("nchw,mchw->nmhw", slope, far))
        keep = accepted(torch.stack([gains(net, x, top, some) for some in base.detach().unbind(1)], 1)).to(base.dtype)
        return torch.einsum("nmhw,nm->nhw", base, keep / keep.sum(1, keepdim=True))


def calibrate(net: nn.Module, x: Batch, top: Int[Tensor, " n"], maps: Maps) -> Float[Tensor, "n h2 w2"]:
    """Maps at the size of x, with the share of lowest pixels set to 0 that raises the class's probability most."""
    large = enlarged(maps.detach(), x)
    order = large.flatten(1).argsort(dim=1, stable=True).argsort(dim=1).reshape(large.shape)
    pixels = large[0].numel()
    candidates = torch.stack([large.masked_fill(order < cut * pixels // CUTS, 0.0) for cut in range(CUTS)], 1)
    with evaluating(net):
        gained = torch.stack([gains(net, x, top, some) for some in candidates.unbind(1)], 1)
    return candidates[torch.arange(len(x)), gained.argmax(1)]


def scaled(maps: Float[Tensor, "n m h w"]) -> Float[Tensor, "n m h w"]:
    """Each map brought to [0, 1] by its range; constant maps become 0."""
    above = maps - maps.amin((2, 3), keepdim=True)
    span = above.amax((2, 3), keepdim=True)
    return above / span.masked_fill(span == 0, 1.0)


def accepted(gain: Float[Tensor, "n m"]) -> Bool[Tensor, "n m"]:
    """The references that stay, at least one per row."""
    up = gain > 0
    none = ~up.any(1, keepdim=True)
    group = up | none  # whose mean and deviation count
    count = group.sum(1, keepdim=True)
    mean = (gain * group).sum(1, keepdim=True) / count
    std = (((gain - mean) * group).square().sum(1, keepdim=True) / count).sqrt()
    stay = torch.where(none, gain > mean + std, up & (gain >= mean - std))
    return torch.where(stay.any(1, keepdim=True), stay, group)


@torch.no_grad()
def gains(net: nn.Module, x: Batch, top: Int[Tensor, " n"], maps: Maps) -> Float[Tensor, " n"]:
    """The increase of the class's probability when the image is multiplied by its map."""
    masked = x * enlarged(maps, x)[:, None]
    after, before = (torch.softmax(net(some), 1).gather(1, top[:, None])[:, 0] for some in (masked, x))
    return after - before


def enlarged(maps: Maps, x: Batch) -> Float[Tensor, "n h2 w2"]:
    """Maps at the height and width of the images x, bilinear."""
    return F.interpolate(maps[:, None], x.shape[2:], mode="bilinear", align_corners=False)[:, 0]

"""DeepFool: how far an input is from the clone's nearest decision boundary, in l2.

Source      Moosavi-Dezfooli, Fawzi, Frossard, "DeepFool" (CVPR 2016), Algorithm 2
Equations   with g_k = f_k - f_c for the class c at the start: r = |g_l| / ||dg_l/dx||^2 dg_l/dx,
            l = argmin_k |g_k| / ||dg_k/dx||, summed until the class changes
Assumes     logits with gradients
Deviations  only the 10 likeliest rivals at the start are tried (as the paper does for ImageNet's 1,000 classes). As in
            the paper, each iteration evaluates the clone 2 % beyond the sum r; the distance returned is that of r.
            ActiveThief's public code divides by ||w|| once too few and works on probabilities; this does not
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.models.layout import image_memory
from gamekeeper.models.network import TorchModel
from gamekeeper.types import Batch

ITERATIONS = 20
RIVALS = 10
OVERSHOOT = 0.02
CHUNK = 128
"""Rows at a time: the gradients of all rivals are in memory together."""


def deepfool(model: TorchModel, x: Batch) -> Float[Tensor, " n"]:
    """Length of the perturbation for each row; infinite where no logit depends on the input."""
    model.net.eval()
    return torch.cat([torch.empty(0), *(distances(model, part) for part in x.split(CHUNK))])


def distances(model: TorchModel, x: Batch) -> Float[Tensor, " n"]:
    """The same for one chunk. A row drops out of the batch when its class changes."""
    ranks = model.logits(x).argsort(dim=1, descending=True)[:, : RIVALS + 1]
    rows, total = torch.arange(len(x)), torch.zeros_like(x).flatten(1)
    length = torch.zeros(len(x))
    for _ in range(ITERATIONS):
        here = x[rows] + (1 + OVERSHOOT) * total[rows].view_as(x[rows])
        g, w = margins(model, here, ranks[rows])
        same = (g < 0).all(1)
        rows, g, w = rows[same], g[same], w[same]
        if len(rows) == 0:
            break
        total[rows] += shortest(g, w)
        # 0/0 where all slopes vanish: there is no boundary
        length[rows] = total[rows].norm(dim=1).nan_to_num(nan=torch.inf, posinf=torch.inf)
    return length


def margins(model: TorchModel, x: Batch, ranks: Int[Tensor, "n r"]) -> tuple[Tensor, Tensor]:
    """g = f_rival - f_first, (n, r - 1), and its gradients, (n, r - 1, d): one forward pass and r - 1 backward."""
    leaf = image_memory(x).detach().requires_grad_()
    f = model.net(leaf).gather(1, ranks)
    g = f[:, 1:] - f[:, :1]
    slopes = [torch.autograd.grad(column.sum(), leaf, retain_graph=True)[0].flatten(1) for column in g.unbind(1)]
    return g.detach(), torch.stack(slopes, 1)


def shortest(g: Float[Tensor, "n r"], w: Float[Tensor, "n r d"]) -> Float[Tensor, "n d"]:
    """|g_l| / ||w_l||^2 w_l for the rival l whose linearised boundary is nearest; infinite where all slopes vanish."""
    norm = w.norm(dim=2)
    near = (g.abs() / norm).argmin(1, keepdim=True)
    size = g.gather(1, near).abs() / norm.gather(1, near).square()
    return size * w.gather(1, near[:, :, None].expand(-1, -1, w.shape[2]))[:, 0]

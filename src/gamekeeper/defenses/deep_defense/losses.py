"""What DeepDefense minimises, as pure functions of a batch that give one number per query.

margin        z_c - logsumexp of the other logits: its gradient has the direction of p_c's, also where p_c = 1
out_of_order  the order of the k most likely classes: sum of hinges; `order_kept`: whether a posterior has that order
map_disorder  the order of a map's pixels: mean Huber_0.3 of the hinges between neighbours in rank, relative to the
              map's own spread
inner         <U, U'> of two weight gradients, from a layer's inputs and the gradients at its outputs; U itself is
              computed only where it is smaller
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.explain import Maps
from gamekeeper.types import Posterior

TINY = 1e-30
HUBER = 0.3

Logits = Float[Tensor, "n k"]
Each = Float[Tensor, " n"]


def margin(z: Logits, top: Int[Tensor, " n"]) -> Each:
    """log(p_c / (1 - p_c))."""
    return z.gather(1, top[:, None])[:, 0] - z.scatter(1, top[:, None], -torch.inf).logsumexp(1)


def ranks(y: Posterior) -> Int[Tensor, "n k"]:
    """Classes from the most likely down; ties go to the first, as in argmax."""
    return y.argsort(dim=1, descending=True, stable=True)


def out_of_order(p: Posterior, order: Int[Tensor, "n k"], k: int) -> Each:
    """Sum of (p_{s_i+1} - p_{s_i})^+ over the first k classes; the last is compared with the best of the others."""
    sorted_p = p.gather(1, order)
    k = min(k, p.shape[1] - 1)
    rivals = torch.cat([sorted_p[:, 1:k], sorted_p[:, k:].amax(1, keepdim=True)], 1)
    return (rivals - sorted_p[:, :k]).relu().sum(1)


def order_kept(p: Posterior, order: Int[Tensor, "n k"], k: int) -> Bool[Tensor, " n"]:
    """Whether the k most likely classes are the first k of `order`, in that order; all of them where k >= K."""
    return (ranks(p)[:, :k] == order[:, :k]).all(1)


def map_disorder(maps: Maps, order: Int[Tensor, "n m"], scaled: bool) -> Each:
    """0 if pixels descend in the given order. `scaled`: relative to the map's spread, so that fading does not help."""
    flat = maps.flatten(1)
    if flat.shape[1] < 2:
        return flat.sum(1) * 0
    if scaled:
        flat = flat / (flat.var(1, keepdim=True) + TINY).sqrt()
    sorted_map = flat.gather(1, order)
    rise = (sorted_map[:, 1:] - sorted_map[:, :-1]).relu()
    return torch.where(rise < HUBER, rise.square() / 2, HUBER * (rise - HUBER / 2)).mean(1)


@dataclass(frozen=True, eq=False)
class Seen:
    """A layer in one pass: its inputs as rows or patches (n, t, d), and the gradients at its outputs (n, t, c)."""

    a: Float[Tensor, "n t d"]
    delta: Float[Tensor, "n t c"]

    @functools.cached_property
    def whole(self) -> Float[Tensor, "n c d"]:
        """The weight gradient U itself."""
        return self.delta.transpose(1, 2) @ self.a

    @functools.cached_property
    def square(self) -> Each:
        return inner(self, self)


def entering(layer: nn.Module, a: Tensor, bias: bool) -> Float[Tensor, "n t d"]:
    """The inputs of a linear layer or convolution as rows or patches; `bias`: with a constant input for its bias."""
    if isinstance(layer, nn.Conv2d):
        a = F.unfold(a, layer.kernel_size, layer.dilation, layer.padding, layer.stride).transpose(1, 2)  # pyright: ignore
    else:
        a = a[:, None]
    return aligned(torch.cat([a, torch.ones_like(a[..., :1])], 2) if bias else a)


def leaving(layer: nn.Module, delta: Tensor) -> Float[Tensor, "n t c"]:
    """The gradients at its outputs, likewise."""
    return aligned(delta.flatten(2).transpose(1, 2) if isinstance(layer, nn.Conv2d) else delta[:, None])


def aligned(rows: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d2"]:
    """Pads rows with zeros to a multiple of 64 bytes: the rounding of dot products depends on where in memory a row
    starts, so without padding an answer would depend on its place in the batch."""
    return F.pad(rows, (0, -rows.shape[2] % 16))


def inner(one: Seen, other: Seen) -> Each:
    """<U, U'>, U = delta^T a: by two t x t products where these are smaller than U."""
    t, d, c = one.a.shape[1], one.a.shape[2], one.delta.shape[2]
    if t == 1:
        return (one.a * other.a).sum((1, 2)) * (one.delta * other.delta).sum((1, 2))
    if t * (c + d) < c * d:
        by_input, by_output = (x @ y.transpose(1, 2) for x, y in ((one.a, other.a), (one.delta, other.delta)))
        return (by_input * by_output).sum((1, 2))
    return (one.whole * other.whole).sum((1, 2))


def cosine(clean: Sequence[Seen], moved: Sequence[Seen], n: int) -> tuple[Each, Bool[Tensor, " n"]]:
    """|cos| between the gradients over these layers, 0 if there are none; and whether the moved one is not vanishing:
    |u'|^2 >= 1e-6 |u|^2."""
    if not clean:
        return torch.zeros(n), torch.ones(n, dtype=torch.bool)
    pairs = list(zip(clean, moved, strict=True))
    dot = torch.stack([inner(a, b) for a, b in pairs]).sum(0)
    mine, theirs = (torch.stack([one.square for one in side]).sum(0) for side in (clean, moved))
    return dot.abs() / (mine * theirs + TINY).sqrt(), theirs >= 1e-6 * mine

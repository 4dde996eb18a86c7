"""DeepDefense's descent: gives each query of a batch its own misdirection network, which then answers it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from gamekeeper.defenses.deep_defense.layers import Moved
from gamekeeper.defenses.deep_defense.losses import (
    TINY,
    Each,
    Logits,
    Seen,
    cosine,
    leaving,
    map_disorder,
    margin,
    order_kept,
    out_of_order,
    ranks,
)
from gamekeeper.explain import Explainer, Maps
from gamekeeper.types import Batch, Posterior

HALVINGS = 6

Form = Literal["working", "literal"]


@dataclass(frozen=True)
class Descent:
    """Parameters of the descent; `clip` is the norm gradients are clipped to, the last three weigh the losses."""

    form: Form
    k: int
    steps: int
    rate: float
    momentum: float
    clip: float
    kick: float
    alpha: float
    order_weight: float
    map_weight: float


@dataclass(frozen=True, eq=False)
class Scene:
    """The part of a network that moves, and how its answers are explained.

    net, moved  the part from the first layer that moves (or is explained) to the outputs, and its moved layers
    bottom      how many of `moved` are at or below the explained activation
    logits      turns the outputs into logits
    explain     gives maps before their ReLU, on which the order loss acts; `finish` turns them into released maps
    """

    net: nn.Module
    moved: list[Moved]
    bottom: int
    logits: Callable[[Tensor], Logits]
    explain: Explainer | None
    finish: Callable[[Maps], Maps]


@dataclass(eq=False)
class Best:
    """The best feasible point of each query: objective, answer, map and cosines; `feasible`: whether there is one."""

    feasible: Bool[Tensor, " n"]
    objective: Each
    p: Posterior
    maps: Maps | None
    cosines: Float[Tensor, "n 2"]


@dataclass(frozen=True, eq=False)
class Look:
    """The results of one pass, with their graph."""

    p: Posterior
    layers: list[Seen]
    maps: Maps | None


def look(scene: Scene, h: Batch, top: Int[Tensor, " n"], literal: bool) -> Look:
    """One pass of every query through its own network, and its class's gradients back to the moved layers."""
    with torch.enable_grad():
        z = scene.logits(scene.net(h))
        p = torch.softmax(z, 1)
        score = p.gather(1, top[:, None])[:, 0] if literal else margin(z, top)
        outs = [each.s for each in scene.moved]
        deltas = torch.autograd.grad(score.sum(), outs, create_graph=True)  # pyright: ignore
        seen = [Seen(each.rows, leaving(each.layer, delta)) for each, delta in zip(scene.moved, deltas, strict=True)]
        if scene.explain is None:
            return Look(p, seen, None)
        for each in scene.moved:
            each.show()
        return Look(p, seen, scene.explain(scene.net, h, top))


def descend(scene: Scene, how: Descent, h: Batch, y: Posterior, noise: Sequence[Sequence[Tensor]]) -> Best:
    """Answers instead of posteriors y, from the inputs h of the moved part; noise: for each layer, leaf by leaf."""
    literal, order = how.form == "literal", ranks(y)
    top, dtype = order[:, 0], h.dtype
    for each in scene.moved:
        each.rest(len(h))
    clean = look(scene, h, top, literal)
    still = [Seen(one.a.detach(), one.delta.detach()) for one in clean.layers]
    pixels = None if clean.maps is None else clean.maps.detach().flatten(1).argsort(dim=1, descending=True, stable=True)
    speaks = None if clean.maps is None else scene.finish(clean.maps.detach()).flatten(1).amax(1) != 0
    for each, drawn in zip(scene.moved, noise, strict=True):
        assert each.a is not None
        each.kick(how.kick, [one.to(dtype) for one in drawn], each.a.detach())
    if not literal:
        soften(scene, h, order, how.k)
    speed = [torch.zeros_like(leaf) for each in scene.moved for leaf in each.leaves]
    best: Best | None = None
    for step in range(how.steps + 1):
        now = look(scene, h, top, literal)
        with torch.enable_grad():
            (below, alive_below), (above, alive_above) = (
                cosine(still[rows], now.layers[rows], len(h))
                for rows in (slice(scene.bottom), slice(scene.bottom, None))
            )
            alpha = how.alpha if 0 < scene.bottom < len(still) else float(scene.bottom > 0)
            objective = alpha * below + (1 - alpha) * above
            if now.maps is not None and pixels is not None:
                shown = scene.finish(now.maps) if literal else now.maps
                objective = objective + how.map_weight * map_disorder(shown, pixels, scaled=not literal)
            loss = objective + how.order_weight * out_of_order(now.p, order, how.k)
        maps = None if now.maps is None else scene.finish(now.maps.detach())
        good = order_kept(now.p.detach().to(y.dtype), order, how.k) & alive_below & alive_above
        if maps is not None and speaks is not None:
            good &= (maps.flatten(1).amax(1) != maps.flatten(1).amin(1)) | ~speaks
        good &= loss.detach().isfinite()
        cosines = torch.stack([below, above], 1).detach()
        best = better(best, Best(good, objective.detach(), now.p.detach(), maps, cosines), literal)
        if step < how.steps:
            move(scene.moved, loss, speed, how)
    assert best is not None
    return best


@torch.no_grad()
def soften(scene: Scene, h: Batch, order: Int[Tensor, "n k"], k: int) -> None:
    """Halves the kick of each query whose order it breaks, until the order holds or the kick is a 64th of its size."""
    for _ in range(HALVINGS):
        in_order = order_kept(torch.softmax(scene.logits(scene.net(h)), 1), order, k)
        for each in scene.moved:
            each.pull(torch.where(in_order, 1.0, 0.5))


def better(best: Best | None, now: Best, last: bool) -> Best:
    """The better of the two for each query, among feasible ones; `last`: always the later one."""
    if best is None:
        return now
    take = torch.ones_like(now.feasible) if last else now.feasible & (~best.feasible | (now.objective < best.objective))
    maps = None if best.maps is None or now.maps is None else torch.where(take[:, None, None], now.maps, best.maps)
    return Best(
        best.feasible | now.feasible,
        torch.where(take, now.objective, best.objective),
        torch.where(take[:, None], now.p, best.p),
        maps,
        torch.where(take[:, None], now.cosines, best.cosines),
    )


def move(moved: Sequence[Moved], loss: Each, speed: list[Tensor], how: Descent) -> None:
    """One step of SGD with momentum, separately for each query; the working form clips each gradient to norm `clip`."""
    leaves = [leaf for each in moved for leaf in each.leaves]
    partial = torch.autograd.grad(loss.sum(), leaves, allow_unused=True)
    gradients = [
        torch.zeros_like(leaf) if g is None else g  # pyright: ignore
        for leaf, g in zip(leaves, partial, strict=True)
    ]
    share = torch.ones_like(loss)
    if how.form == "working":
        norm = lengths(gradients)
        if not norm.isfinite().all():
            gradients = [g.nan_to_num(0.0, 0.0, 0.0) for g in gradients]
            norm = lengths(gradients)
        share = (how.clip / (norm + TINY)).clamp(max=1)
    with torch.no_grad():  # in place: full weights are large, and every copy of them costs memory traffic
        for leaf, g, v in zip(leaves, gradients, speed, strict=True):
            v.mul_(how.momentum).addcmul_(g, share.view(-1, *[1] * (g.ndim - 1)))
            leaf.add_(v, alpha=-how.rate)


def lengths(parts: Sequence[Tensor]) -> Each:
    """For each query, the norm of all parts together."""
    norms = [torch.linalg.vector_norm(g, dim=tuple(range(1, g.ndim))) for g in parts]
    return torch.linalg.vector_norm(torch.stack(norms), dim=0)

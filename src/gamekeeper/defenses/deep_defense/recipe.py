"""DeepDefense: each answer comes from a modified copy of the network, whose gradient is orthogonal to the true one.

Source      Lee, Han, Lee, "Model stealing defense against exploiting information leak through the interpretation of
            deep neural nets" (IJCAI 2022). No code was published
Equations   w~ = argmin a |cos(g_B, g~_B)| + (1 - a) |cos(g_T, g~_T)| + l1 L_pred + l2 L_int, g the gradient of the
            answered class's score in the weights up to the explained activation (B) and above it (T). L_pred preserves
            the order of the top k, L_int that of the map's pixels. Answer and map are those of w~. Only the most
            sensitive layers move: the fewest with 90 % of sum_l S_l, S_l = mean |g_l|_1
Assumes     a network (TorchModel); Unsuited otherwise. If the victim returns maps, the order of their pixels is
            preserved, using its own explainer
Deviations  the paper leaves a, l1, l2, rate, steps and the score open, and as printed nothing moves: cos = 1
            at w~ = w is a maximum, where its gradient is 0, and both penalties are 0. form=literal is just that (score
            p_c, post-ReLU maps, no clipping, the last iterate). The default form uses the margin as score (same
            direction, no underflow); a start displaced by noise drawn from HMAC(secret, input), halved while it breaks
            the order; gradients clipped per query; L_int before the map's ReLU, relative to the map's own spread, mean
            over pixels (after the ReLU, the zero map has every order); and the best iterate that preserves the order,
            with a gradient that has not vanished and a map that is not flat. Where there is none, the answer stays as
            it was. The last layer's bias is left out of g (its cosine is at least 1/2 in any case). S_l is measured on
            the victim's top class for the owner's first inputs
Keeps       argmax, and the order of the top k; in the literal form neither. steps = 0 changes nothing

Queries are computed in groups of `group`, padded if smaller, so that rounding never depends on the other queries.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from gamekeeper.defenses.deep_defense.descent import Best, Descent, Form, Scene, descend
from gamekeeper.defenses.deep_defense.layers import (
    FURTHER,
    Mode,
    Moved,
    Weighted,
    chosen,
    movable,
    moving,
    parts,
    sensitivity,
)
from gamekeeper.defenses.deep_defense.losses import Logits, order_kept, ranks
from gamekeeper.defenses.keyed import secret, uniforms
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.explain import Explainer, grad_cam, relevance_cam
from gamekeeper.explain.grad_cam import signed_grad_cam
from gamekeeper.explain.maps import layers, picture
from gamekeeper.models.network import TorchModel
from gamekeeper.needs import classes_of, needs_inputs
from gamekeeper.types import Batch, Model, Owner, Posterior, Reply

SAMPLE = 100
"""Number of inputs over which sensitivity is averaged."""
SMALLEST = 1e-30


@dataclass(frozen=True)
class DeepDefense:
    """Answers each query with a copy of the network that is modified for it, to mislead a thief's gradients.

    k         how many of the most likely classes keep their order
    mode      which weights move: the biases, low-rank changes of weights, or all. Low-rank changes cost hardly more
              than biases, and turn the gradients about as far as moving all weights
    steps     of gradient descent per query; 0 answers like the victim
    rate      of a step; biases move further (`layers.FURTHER`)
    kick      size of the random start, in standard deviations of a weight; likewise
    last      how many layers, counted from the last, may move; 0 for all
    release   what the modified copy supplies: answer and map, or one of them while the other is the victim's (the
              paper's DD-S and DD-I)
    group     queries computed together, whatever the size of a request
    """

    k: int = 1
    mode: Mode = "low_rank"
    form: Form = "working"
    steps: int = 60
    rate: float = 0.3
    momentum: float = 0.9
    clip: float = 0.3
    kick: float = 0.5
    alpha: float = 0.5
    order_weight: float = 10.0
    map_weight: float = 1.0
    sensitive: float = 0.9
    last: int = 0
    release: Literal["both", "answer", "map"] = "both"
    group: int = 16

    permutes: ClassVar[bool] = False  # the moved network's classes are not permuted

    def __post_init__(self) -> None:
        if self.k < 1 or self.group < 1 or self.steps < 0 or self.last < 0:
            raise BadConfig(
                f"DeepDefense needs k and group of 1 or more, steps and last of 0 or more. Got k={self.k},"
                f" group={self.group}, steps={self.steps}, last={self.last}."
            )
        if not (0 <= self.alpha <= 1 and 0 < self.sensitive <= 1):
            raise BadConfig(
                "DeepDefense's alpha and sensitive are shares, from 0 to 1."
                f" Got alpha={self.alpha}, sensitive={self.sensitive}."
            )

    @property
    def keeps_top1(self) -> bool:
        return self.form == "working"

    @property
    def keyed(self) -> bool:
        return self.form == "working"

    def arm(self, victim: Model, owner: Owner, seed: int) -> "Misdirector":
        """Raises Unsuited unless the victim is a network with such layers and the owner has inputs."""
        classes_of(victim, "DeepDefense")
        if not isinstance(victim, TorchModel):
            raise Unsuited(
                f"DeepDefense modifies the victim's own network and needs its gradients; got a {type(victim).__name__}."
            )
        needs_inputs(owner, "DeepDefense measures the sensitivity of its layers on")
        victim.net.eval()
        candidates = movable([victim.net])[-self.last :]
        if not candidates:
            raise Unsuited(
                "DeepDefense moves linear layers and ungrouped convolutions with zero padding; this network has none."
            )
        x = victim.own_dtype(owner.x[:SAMPLE])
        s = sensitivity(victim.net, scores_of(victim), x, candidates)
        layers = tuple(candidates[number] for number in chosen(s, self.sensitive))
        return Misdirector(
            self, victim, layers, picture_at(victim.net, x[:1]), secret("deep defense", seed, owner.secret)
        )


@dataclass(frozen=True, eq=False)
class Misdirector:
    """DeepDefense armed: the layers that move, in order of definition; cam: how many of the network's layers lead up to
    the activation that a CAM explains, 0 without one."""

    recipe: DeepDefense
    network: TorchModel
    layers: tuple[Weighted, ...]
    cam: int
    key: bytes = field(repr=False)

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        """Preserves the order of `reply`, which an earlier defense may have changed; computes the answer afresh."""
        if self.recipe.steps == 0 or (self.recipe.release == "map" and reply.maps is None):
            return reply
        best = self.bend_all(x, reply.y)
        y, feasible = best.p.to(reply.y.dtype), best.feasible
        if self.recipe.form == "working":
            feasible = feasible & order_kept(y, ranks(reply.y), self.recipe.k)
            y = torch.where(feasible[:, None], y, reply.y)
        if self.recipe.release == "map":
            y = reply.y
        if reply.maps is None or best.maps is None or self.recipe.release == "answer":
            return Reply(y, reply.maps)
        maps = best.maps.to(reply.maps.dtype)
        if self.recipe.form == "working":
            maps = torch.where(feasible[:, None, None], maps, reply.maps)
        return Reply(y, maps)

    def bend_all(self, x: Batch, y: Posterior) -> Best:
        """Any number of queries, in groups."""
        groups = [self.bend(*some) for some in zip(x.split(self.recipe.group), y.split(self.recipe.group), strict=True)]
        feasible, objective, p, cosines = (
            torch.cat([getattr(one, part) for one in groups]) for part in ("feasible", "objective", "p", "cosines")
        )
        maps = [one.maps for one in groups if one.maps is not None]
        return Best(feasible, objective, p, torch.cat(maps) if maps else None, cosines)

    def bend(self, x: Batch, y: Posterior) -> Best:
        """One group, padded to full size with its first query."""
        n, group = len(x), max(len(x), self.recipe.group)
        if n < group:
            x, y = (torch.cat([each, each[:1].expand(group - n, *each.shape[1:])]) for each in (x, y))
        scene, prefix = self.scene()
        with torch.no_grad():
            h: Tensor = self.network.own_dtype(x).contiguous()
            for module in prefix:
                h = module(h)
        best = descend(scene, self.descent(), h, y, self.noise(x[:n], group, scene.moved))
        maps = None if best.maps is None else best.maps[:n]
        return Best(best.feasible[:n], best.objective[:n], best.p[:n], maps, best.cosines[:n])

    def descent(self) -> Descent:
        r, further = self.recipe, FURTHER[self.recipe.mode]
        rate, kick = r.rate * further.rate, 0.0 if r.form == "literal" else r.kick * further.kick
        return Descent(r.form, r.k, r.steps, rate, r.momentum, r.clip, kick, r.alpha, r.order_weight, r.map_weight)

    def noise(self, x: Batch, group: int, moved: Sequence[Moved]) -> list[list[Tensor]]:
        """For each layer, leaf by leaf: uniform noise of unit variance drawn by input; padding repeats the first."""
        sizes = [each.sizes() for each in moved]
        drawn = uniforms(self.key, x, sum(map(sum, sizes))).float().sub_(0.5).mul_(math.sqrt(12))
        drawn = torch.cat([drawn, drawn[:1].expand(group - len(x), -1)])
        flat = iter(drawn.split([size for each in sizes for size in each], 1))
        return [[next(flat) for _ in each] for each in sizes]

    def scene(self) -> tuple[Scene, list[nn.Module]]:
        """A copy that can move, from the first moved layer or explained activation on; and the modules before it."""
        whole = parts(self.network.net)
        explain = self.network.explain
        inside = explain in (grad_cam, relevance_cam)
        first = next(i for i, part in enumerate(whole) if set(part.modules()) & set(self.layers))
        start = first if explain is None else min(first, self.cam - 1) if inside else 0
        net, moved = moving(whole[start:], self.layers, self.recipe.mode)
        below = set(movable(whole[: self.cam])) if explain is None or inside else set[Weighted]()
        bottom = sum(layer in below for layer in self.layers)
        # the bias gradient of the layer that makes the logits cannot be turned away by any query
        moved[-1].constant = self.layers[-1] is not whole[-1]
        shown: Explainer | None = signed_grad_cam if explain is grad_cam else explain
        finish = torch.relu if explain is grad_cam else as_it_is
        return Scene(net, moved, bottom, scores_of(self.network), shown, finish), whole[:start]


def scores_of(victim: TorchModel) -> Callable[[Tensor], Logits]:
    """A function from the network's outputs to logits."""
    return as_it_is if victim.answers == "logits" else lambda out: out.clamp(min=SMALLEST).log()


def as_it_is(maps: Tensor) -> Tensor:
    return maps


@torch.no_grad()
def picture_at(net: nn.Module, x: Batch) -> int:
    """How many layers lead up to the activation that a CAM explains; 0 without one."""
    try:
        return len(layers(net)) - len(picture(net, x)[1])
    except Unsuited:
        return 0

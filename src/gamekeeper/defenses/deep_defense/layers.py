"""The layers of a network that DeepDefense moves, each query having its own: which ones, and a copy of them that can move.

Three ways for a layer s = W a + b to move, per query:

    full      every entry of W and b
    low_rank  W + P Q^T with `RANK` columns, and b
    bias      b alone. All queries share W, so that a batch is one product of matrices
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gamekeeper.defenses.deep_defense.losses import entering, margin
from gamekeeper.errors import Unsuited
from gamekeeper.explain.maps import layers
from gamekeeper.explain.relevance_cam import without_bias
from gamekeeper.types import Batch

Mode = Literal["bias", "low_rank", "full"]
Weighted = nn.Linear | nn.Conv2d
RANK = 4


class Further(NamedTuple):
    """How many times the rate and the kick of a weight."""

    rate: float
    kick: float


FURTHER: dict[Mode, Further] = {"bias": Further(30, 2), "low_rank": Further(1, 1), "full": Further(1, 1)}
"""A bias has to move further than a weight, being one for many of these. Tried on owner's digits and on images of clothes."""


def parts(net: nn.Module) -> list[nn.Module]:
    """The network one thing after the other, or as the one thing it is."""
    try:
        return layers(net)
    except Unsuited:
        return [net]


def movable(modules: Sequence[nn.Module]) -> list[Weighted]:
    """Linear layers and plain convolutions, in the order in which they are written."""
    weighted = [m for part in modules for m in part.modules() if isinstance(m, Weighted)]
    return [
        m
        for m in weighted
        if isinstance(m, nn.Linear) or (m.groups == 1 and m.padding_mode == "zeros" and not isinstance(m.padding, str))
    ]


def sensitivity(
    net: nn.Module, logits: Callable[[Tensor], Tensor], x: Batch, candidates: Sequence[Weighted]
) -> list[float]:
    """S_l, mean over the inputs of the L1 norm of the margin's gradient in a layer's weight and bias."""
    total = [0.0] * len(candidates)
    weights = [list(layer.parameters()) for layer in candidates]
    flat = [w for each in weights for w in each]
    for row in x.split(1):
        with torch.enable_grad():
            z = logits(net(row))
            gradients = torch.autograd.grad(margin(z, z.argmax(1)).sum(), flat, allow_unused=True)
        norms = iter([0.0 if g is None else float(g.abs().sum()) for g in gradients])  # pyright: ignore
        total = [so_far + sum(next(norms) for _ in each) / len(x) for so_far, each in zip(total, weights, strict=True)]
    return total


def chosen(s: Sequence[float], share: float) -> list[int]:
    """The fewest layers that hold this share of the whole, in the network's order; of equals the first."""
    order = sorted(range(len(s)), key=lambda number: -s[number])
    largest: list[int] = []
    while order and (not largest or math.fsum(s[i] for i in largest) < share * math.fsum(s) * (1 - 1e-9)):
        largest.append(order.pop(0))
    return sorted(largest)


@dataclass(eq=False)
class Moved:
    """One layer of a copy, with what its queries have of their own in `leaves`; remembers its last pass.

    constant  whether its bias counts among the weights, as that of a constant input
    a, clean  what entered, and W a; by_row: what entered, row by row, once `rows` was asked for
    s         what it put out
    """

    layer: Weighted
    mode: Mode
    weight: Tensor
    constant: bool = True
    leaves: list[Tensor] = field(default_factory=list[Tensor])
    a: Tensor | None = None
    by_row: Tensor | None = None
    clean: Tensor | None = None
    s: Tensor | None = None

    def enter(self, x: Tensor) -> None:
        """Nothing is worked out again for the same tensor, which is what the first layer meets at every step."""
        if x is not self.a or x.requires_grad:
            self.a, self.by_row = x, None
            self.clean = None if self.mode == "full" else without_bias(self.layer, self.weight, x)

    @property
    def rows(self) -> Tensor:
        """What entered, row by row (`entering`): a pass that only answers has no need of it where weights are not low-rank."""
        assert self.a is not None
        if self.by_row is None:
            self.by_row = entering(self.layer, self.a, self.constant)
        return self.by_row

    def sizes(self) -> list[int]:
        """How many numbers of its own a query has, leaf by leaf."""
        out, into = self.weight.shape[0], self.weight[0].numel()
        return {"full": [out * into, out], "low_rank": [out * RANK, RANK * into, out], "bias": [out]}[self.mode]

    def kick(self, size: float, noise: Sequence[Tensor], a: Tensor) -> None:
        """Away from the clean weights by noise of unit variance: `size` standard deviations of the layer's weights.

        What a bias gets moves s as far as such noise in W would, given what enters: sd |a|, |a| over a mean patch.
        """
        w = self.weight.detach()
        std = size * w.std() if w.numel() > 1 else size * w.abs().mean()
        out, into = w.shape[0], w[0].numel()
        length = a.square().flatten(1).sum(1, keepdim=True).sqrt()
        if isinstance(self.layer, nn.Conv2d):
            length = length * math.sqrt(into / a[0].numel())
        offset = noise[-1] * std * length
        if self.mode == "full":
            own, base = noise[0].unflatten(1, w.shape) * std, noise[1] * std
            self.leaves = [w + own, base]
        elif self.mode == "low_rank":
            scale = (std / math.sqrt(RANK)).sqrt()
            p, q = noise[0].unflatten(1, (out, RANK)), noise[1].unflatten(1, (RANK, into))
            self.leaves = [p * scale, q * scale, noise[2] * std]
        else:
            self.leaves = [offset]
        self.leaves = [leaf.detach().requires_grad_() for leaf in self.leaves]

    @torch.no_grad()
    def pull(self, share: Float[Tensor, " n"]) -> None:
        """Towards the clean weights: of each query this share of the way from there is left."""
        for number, leaf in enumerate(self.leaves):
            part = share.to(leaf.dtype).view(-1, *[1] * (leaf.ndim - 1))
            if self.mode == "full" and number == 0:
                leaf.sub_(self.weight).mul_(part).add_(self.weight)
            else:
                leaf.mul_(part)

    def rest(self, n: int) -> None:
        """The clean weights, as a start for the literal form."""
        zero = [torch.zeros(n, size, dtype=self.weight.dtype) for size in self.sizes()]
        self.kick(0.0, zero, torch.zeros(n, *self.weight.shape[1:]))

    def forward(self, x: Tensor) -> Tensor:
        self.enter(x)
        out = without_bias(self.layer, self.leaves[0], x) if self.clean is None else self.clean
        if self.mode == "low_rank":
            p, q = self.leaves[:2]
            out = out + (p @ (q @ self.rows[..., : q.shape[2]].transpose(1, 2))).reshape(out.shape)
        offset = self.leaves[-1] if self.layer.bias is None else self.leaves[-1] + self.layer.bias
        self.s = out + (offset[:, :, None, None] if isinstance(self.layer, nn.Conv2d) else offset)
        return self.s

    def show(self) -> None:
        """Lets an explainer that reads weights find each query's own."""
        if self.mode == "bias":
            return
        p, *q = self.leaves[:-1]
        self.layer._parameters.pop("weight", None)
        own = p if self.mode == "full" else self.weight + (p @ q[0]).unflatten(2, self.weight.shape[1:])
        object.__setattr__(self.layer, "weight", own)


def moving(suffix: Sequence[nn.Module], candidates: Sequence[Weighted], mode: Mode) -> tuple[nn.Module, list[Moved]]:
    """A copy of the suffix that shares its weights, with those layers made to move. The network itself is not touched."""
    net = nn.Sequential(*suffix)
    shared = {id(t): t for t in [*net.parameters(), *net.buffers()]}
    memo = dict(shared)
    twin = copy.deepcopy(net, memo).eval()
    moved = [Moved(memo[id(layer)], mode, layer.weight) for layer in candidates]  # pyright: ignore
    for each in moved:
        each.layer.forward = each.forward  # pyright: ignore
    return twin, moved

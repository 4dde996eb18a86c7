"""The layers that DeepDefense moves: how they are chosen, and a copy of them in which each query has its own weights.

A layer s = W a + b can move in three ways, per query:

    full      every entry of W and b
    low_rank  W + P Q^T with P and Q of `RANK` columns, and b
    bias      b alone. All queries share W, so a batch is a single matrix product
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
    """Factors on the rate and the kick."""

    rate: float
    kick: float


FURTHER: dict[Mode, Further] = {"bias": Further(30, 2), "low_rank": Further(1, 1), "full": Further(1, 1)}
"""A bias has to move further than a weight, since it stands for many. Chosen by trials on digits and on clothes."""


def parts(net: nn.Module) -> list[nn.Module]:
    """The network as a sequence of modules, or as one module if it is not sequential."""
    try:
        return layers(net)
    except Unsuited:
        return [net]


def movable(modules: Sequence[nn.Module]) -> list[Weighted]:
    """Linear layers and plain convolutions, in order of definition."""
    weighted = [m for part in modules for m in part.modules() if isinstance(m, Weighted)]
    return [
        m
        for m in weighted
        if isinstance(m, nn.Linear) or (m.groups == 1 and m.padding_mode == "zeros" and not isinstance(m.padding, str))
    ]


def sensitivity(
    net: nn.Module, logits: Callable[[Tensor], Tensor], x: Batch, candidates: Sequence[Weighted]
) -> list[float]:
    """S_l for each layer: the L1 norm of the margin's gradient in its weight and bias, mean over the inputs."""
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
    """The fewest layers that make up this share of the total, in the network's order; ties go to the first."""
    order = sorted(range(len(s)), key=lambda number: -s[number])
    largest: list[int] = []
    while order and (not largest or math.fsum(s[i] for i in largest) < share * math.fsum(s) * (1 - 1e-9)):
        largest.append(order.pop(0))
    return sorted(largest)


@dataclass(eq=False)
class Moved:
    """One moved layer of a copy. The weights that each query has of its own are in `leaves`; the rest is its last pass.

    constant  whether its bias counts as a weight of a constant input
    a, clean  the input, and W a
    by_row    the input, row by row, once `rows` has been used
    s         the output
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
        """Recomputes nothing for the same tensor, which is what the first layer gets at every step."""
        if x is not self.a or x.requires_grad:
            self.a, self.by_row = x, None
            self.clean = None if self.mode == "full" else without_bias(self.layer, self.weight, x)

    @property
    def rows(self) -> Tensor:
        """The input, row by row (`entering`), on first use: unless low-rank, a pass that only answers needs none."""
        assert self.a is not None
        if self.by_row is None:
            self.by_row = entering(self.layer, self.a, self.constant)
        return self.by_row

    def sizes(self) -> list[int]:
        """How many weights each query has of its own, leaf by leaf."""
        out, into = self.weight.shape[0], self.weight[0].numel()
        return {"full": [out * into, out], "low_rank": [out * RANK, RANK * into, out], "bias": [out]}[self.mode]

    def kick(self, size: float, noise: Sequence[Tensor], a: Tensor) -> None:
        """Starts the leaves at the clean weights plus noise: `size` standard deviations of the layer's weights.

        `noise` has unit variance. In bias mode, b moves s as far as such noise in W would for the input: by sd |a|,
        where |a| is that of a mean patch.
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
        """Moves back towards the clean weights; `share` of each query's displacement remains."""
        for number, leaf in enumerate(self.leaves):
            part = share.to(leaf.dtype).view(-1, *[1] * (leaf.ndim - 1))
            if self.mode == "full" and number == 0:
                leaf.sub_(self.weight).mul_(part).add_(self.weight)
            else:
                leaf.mul_(part)

    def rest(self, n: int) -> None:
        """Sets the leaves to the clean weights, for n queries."""
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
        """Exposes each query's own weights to an explainer that reads `layer.weight`."""
        if self.mode == "bias":
            return
        p, *q = self.leaves[:-1]
        self.layer._parameters.pop("weight", None)
        own = p if self.mode == "full" else self.weight + (p @ q[0]).unflatten(2, self.weight.shape[1:])
        object.__setattr__(self.layer, "weight", own)


def moving(suffix: Sequence[nn.Module], candidates: Sequence[Weighted], mode: Mode) -> tuple[nn.Module, list[Moved]]:
    """A copy of the suffix, sharing its weights, in which the candidates can move. The network itself is unchanged."""
    net = nn.Sequential(*suffix)
    shared = {id(t): t for t in [*net.parameters(), *net.buffers()]}
    memo = dict(shared)
    twin = copy.deepcopy(net, memo).eval()
    moved = [Moved(memo[id(layer)], mode, layer.weight) for layer in candidates]  # pyright: ignore
    for each in moved:
        each.layer.forward = each.forward  # pyright: ignore
    return twin, moved

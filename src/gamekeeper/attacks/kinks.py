"""Where the input gradient of a ReLU network jumps along a line, and which jumps come from a single neuron."""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gamekeeper.attacks.rows import Rows
from gamekeeper.errors import Unsuited

EQUAL = 1e-9
"""Gradients within this share of the largest entry seen count as the same."""
NEAR = 1e-6
"""Distance, as a share of half the box, within which points count as lying in one linear piece."""


@dataclass
class Search:
    """The neurons known so far, and the oracle they are found with."""

    rows: Rows
    generator: torch.Generator
    width: float
    scale: float = field(default=0.0, init=False)
    crossings: int = field(default=0, init=False)
    sure: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self.a = torch.empty(0, self.rows.d, dtype=torch.float64)
        self.o = torch.empty(0, dtype=torch.float64)
        self.s = torch.empty(0, dtype=torch.float64)
        # log-odds and input of the least certain answer, which determines the constant best
        self.calm: tuple[float, Tensor] = (math.inf, torch.zeros(self.rows.d, dtype=torch.float64))
        # an input and its gradient, to which the others are compared
        self.start: tuple[Tensor, Tensor] = (self.calm[1], torch.zeros(self.rows.d, dtype=torch.float64))

    def gradients(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The maps as rows. Raises Unsuited if their shape or type rules out gradients of f."""
        reply = self.rows(x)
        if reply.maps is None or reply.maps.numel() != x.numel() or reply.maps.dtype != torch.float64:
            met = "none" if reply.maps is None else f"{reply.maps.dtype} of shape {tuple(reply.maps.shape)}"
            raise Unsuited(
                f"ReluReconstruction needs the target to explain its answers by input gradients, float64, {self.rows.d}"
                f" entries per input; it gave {met}."
            )
        odds = (reply.y[:, 1].double().log() - reply.y[:, 0].double().log()).nan_to_num(math.inf, math.inf, -math.inf)
        least = int(odds.abs().argmin())
        if abs(float(odds[least])) < abs(self.calm[0]):
            self.calm = float(odds[least]), x[least]
        g = reply.maps.reshape(len(x), -1)
        self.scale = max(self.scale, float(g.abs().amax()))
        return g

    def rest(self, x: Float[Tensor, "n d"], g: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """What the known neurons leave unexplained of the gradients g at x."""
        return g - ((x @ self.a.T + self.o > 0).double() * self.s) @ self.a

    def differ(self, g: Float[Tensor, "n d"], h: Float[Tensor, "n d"] | Float[Tensor, " d"]) -> Bool[Tensor, " n"]:
        return (g - h).abs().amax(1) > EQUAL * self.scale

    def unexplained(self, x: Float[Tensor, "n d"], g: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        """Whether an unknown neuron flips between x and the start."""
        start, gradient = self.start
        return self.differ(self.rest(x, g), self.rest(start[None], gradient[None])[0])

    def add(self, x: Float[Tensor, "m d"], D: Float[Tensor, "m d"], s: Float[Tensor, " m"]) -> None:
        """Neurons that flip at x, where the gradient jumps by D."""
        a = s[:, None] * D
        self.a, self.s = torch.cat([self.a, a]), torch.cat([self.s, s])
        self.o = torch.cat([self.o, -(a * x).sum(1)])


def line(search: Search, p: Float[Tensor, " d"], q: Float[Tensor, " d"]) -> int:
    """Adds the unknown neurons that flip between p and q, and returns how many.

    If the budget ends first, bracketed neurons are added unconfirmed.
    """
    low, high, below, above, ended = bisect(search, p, q)
    if len(low) == 0:
        return 0
    x = p + ((low + high) / 2)[:, None] * (q - p)
    D = search.rest(p + high[:, None] * (q - p), above) - search.rest(p + low[:, None] * (q - p), below)
    s = (D @ (q - p)).sign()
    single = torch.ones(len(x), dtype=torch.bool)
    if ended or search.rows.left < 4 * len(x):
        search.sure = False
    else:
        single = confirmed(search, x, D, s)
        search.crossings += int((~single).sum())
    search.add(x[single], D[single], s[single])
    return int(single.sum())


def bisect(search: Search, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, bool]:
    """Intervals of [0, 1] from p to q across which unexplained gradients jump, the gradients at their ends, and
    whether the budget ended before all were as short as `width`."""
    low, high = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    below, above = search.gradients(torch.stack([p, q])).split(1)
    while True:
        left, right = (search.rest(p + t[:, None] * (q - p), g) for t, g in ((low, below), (high, above)))
        jump = search.differ(left, right)
        low, high, below, above = low[jump], high[jump], below[jump], above[jump]
        if len(low) == 0 or float((high - low).amax()) <= search.width:
            return low, high, below, above, False
        if search.rows.left < len(low):
            return low, high, below, above, True
        middle = (low + high) / 2
        g = search.gradients(p + middle[:, None] * (q - p))
        low, high = torch.cat([low, middle]), torch.cat([middle, high])
        below, above = torch.cat([below, g]), torch.cat([g, above])


def confirmed(search: Search, x: Tensor, D: Tensor, s: Tensor) -> Bool[Tensor, " m"]:
    """Which jumps come from one neuron: elsewhere on its presumed hyperplane, the gradient jumps by D as well.

    If the first place fails, a second is tried, since another neuron may flip just there.
    """
    single = torch.zeros(len(x), dtype=torch.bool)
    for _ in range(2):
        todo = ~single
        normal = torch.nn.functional.normalize(s[todo, None] * D[todo], dim=1)
        z = search.rows.uniform(int(todo.sum()), search.generator)
        away = z - x[todo] - ((z - x[todo]) * normal).sum(1, keepdim=True) * normal
        places = torch.stack([part_way(search, a, b) for a, b in zip(x[todo], away, strict=True)])
        off = NEAR * search.rows.half * normal
        after, before = search.gradients(torch.cat([places + off, places - off])).split(len(places))
        single[todo] = ~search.differ(after - before, D[todo])
        if single.all():
            break
    return single


def part_way(search: Search, x: Tensor, away: Tensor) -> Tensor:
    """x + away, or nine tenths of the way to where that ray leaves the box, whichever is nearer."""
    ahead = chord(search, x, away) - x
    return x + (away if away.norm() < 0.9 * ahead.norm() else 0.9 * ahead)


def chord(search: Search, x: Float[Tensor, " d"], direction: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """Where the ray from x leaves the box."""
    box = search.rows.box
    room = torch.where(direction > 0, box.high - x, x - box.low) / direction.abs().clamp(min=1e-300)
    return x + direction * room.amin()

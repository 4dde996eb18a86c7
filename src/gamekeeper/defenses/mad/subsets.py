"""MAD's search for the vertex that turns the gradient furthest, of the simplex or its part where the top class leads.

Source      Orekondy, Schiele, Fritz, "Prediction Poisoning" (ICLR 2020), section 4 ("MAD-argmax") and appendix B, and
            the authors' code
Equations   the vertices of {y_k >= y_j} are 1_S / |S|, S any set of classes with k in it. With s a vertex, w = (y - p)
            + a (s - y): the least <y - p, w> / (|y - p| |w|), a = 1, or the step that eps allows (`eps` given)
Assumes     inner products under Q, the Gram matrix of the surrogate's logits; the identity for its last layer
Deviations  all sets are tried for up to 10 classes; beyond, a set grows greedily by one class at a time, up to 100, and
            the best on the way is taken. The authors' code stops after 1,024 evaluations and fails for 11 to 45
            classes. Vertices at p itself, where the gradient vanishes, are left out. Measuring the angle at the end of
            the step is not in the paper
Keeps       argmax: yes for sets, no for single classes
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gamekeeper.simplex import Norm, one_hot
from gamekeeper.types import Posterior

ENUMERATED, LARGEST = 10, 100
"""The most classes for which all sets are tried, and the largest set that is grown where there are more."""
VANISHED = 1e-12
"""Squared length below which a gradient counts as zero."""
ROWS = 16
"""Rows enumerated at once: 512 sets of 10 classes each stay in cache."""

Gram = Float[Tensor, "n k k"]


@dataclass(frozen=True, eq=False)
class Turn:
    """The ingredients of the angle at p, in float64: y, q = y - p, and Q in `gram` (None: the identity)."""

    y: Float[Tensor, "n k"]
    q: Float[Tensor, "n k"]
    gram: Gram | None
    eps: float | None
    norm: Norm

    @property
    def image(self) -> Float[Tensor, "n k"]:
        return times(self.gram, self.q)

    def score(self, along: Tensor, length2: Tensor, distance: Tensor) -> Tensor:
        """The cosine after a step towards s, given <q, s - y>, |s - y|^2 and the distance from y to s; lower is better.

        Ties up to nine decimals go to the vertex further away. Rows are along dimension 0.
        """
        qq = (self.q * self.image).sum(1).reshape(-1, *[1] * (along.ndim - 1))
        a = torch.ones_like(along) if self.eps is None else (self.eps / distance.clamp(min=VANISHED)).clamp(max=1)
        size2 = qq + a * (2 * along + a * length2)
        cosine = (qq + a * along) / (qq * size2).clamp(min=VANISHED**2).sqrt()
        return torch.where(size2 > VANISHED, cosine.round(decimals=9), 2.0) - VANISHED * distance


def times(gram: Gram | None, v: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    return v if gram is None else (gram * v[:, None]).sum(2)


def turn(y: Posterior, p: Posterior, gram: Gram | None, eps: float | None, norm: Norm) -> Turn:
    p = p.double()
    return Turn(y.double(), y - p, None if gram is None else gram.double(), eps, norm)


def best_class(turn: Turn) -> Int[Tensor, " n"]:
    """The class k whose vertex e_k scores best."""
    y, image, over_y = turn.y, turn.image, times(turn.gram, turn.y)
    own = torch.ones_like(y) if turn.gram is None else turn.gram.diagonal(dim1=1, dim2=2)
    along = image - (image * y).sum(1, keepdim=True)
    length2 = own - 2 * over_y + (y * over_y).sum(1, keepdim=True)
    if turn.norm == "l1":
        distance = y.sum(1, keepdim=True) + 1 - 2 * y
    else:
        distance = (1 - 2 * y + y.square().sum(1, keepdim=True)).clamp(min=0).sqrt()
    return turn.score(along, length2, distance).argmin(1)


def best_set(turn: Turn) -> Bool[Tensor, "n k"]:
    """The set S, with the top class of y in it, whose vertex 1_S / |S| scores best."""
    n, k = turn.y.shape
    if k > ENUMERATED:
        return grown(turn)
    parts = [Turn(turn.y[i : i + ROWS], turn.q[i : i + ROWS], None if turn.gram is None else turn.gram[i : i + ROWS],
                  turn.eps, turn.norm) for i in range(0, n, ROWS)]  # fmt: skip
    return torch.cat([enumerated(part) for part in parts])


def enumerated(turn: Turn) -> Bool[Tensor, "n k"]:
    """By trying all 2^(k - 1) sets."""
    k = turn.y.shape[1]
    numbers = torch.arange(2 ** (k - 1))[:, None]
    others = (numbers >> torch.arange(k - 1)) & 1 == 1
    sets = torch.cat([torch.ones(len(others), 1, dtype=torch.bool), others], 1)  # the top class comes first
    rank = torch.arange(k).expand_as(turn.y)
    order = rank.masked_fill(rank == turn.y.argmax(1, keepdim=True), -1).argsort(1)
    vertices = torch.zeros(len(turn.y), len(sets), k, dtype=turn.y.dtype)
    shares = (sets / sets.sum(1, keepdim=True)).to(turn.y.dtype)
    vertices.scatter_(2, order[:, None].expand_as(vertices), shares.expand_as(vertices))
    step = vertices - turn.y[:, None]
    over = step if turn.gram is None else step @ turn.gram
    distance = step.abs().sum(2) if turn.norm == "l1" else step.square().sum(2).sqrt()
    best = turn.score((step * turn.image[:, None]).sum(2), (step * over).sum(2), distance).argmin(1)
    return vertices[torch.arange(len(best)), best] > 0


def grown(turn: Turn) -> Bool[Tensor, "n k"]:
    """By adding the class that scores best, one at a time, to the top class; returns the best set on the way."""
    y, gram, image, over_y = turn.y, turn.gram, turn.image, times(turn.gram, turn.y)
    own = torch.ones_like(y) if gram is None else gram.diagonal(dim1=1, dim2=2)
    all_along, all_over, total = (
        (v * w).sum(1, keepdim=True) for v, w in ((y, image), (y, over_y), (y, torch.ones_like(y)))
    )
    along, over, inside, mass = torch.zeros(4, len(y), 1, dtype=y.dtype)  # sums over the set, and over its pairs
    cross, chosen = torch.zeros_like(y), torch.zeros_like(y, dtype=torch.bool)
    best, least = chosen, torch.full_like(mass, float("inf"))
    for m in range(1, min(y.shape[1], LARGEST) + 1):
        allowed = chosen.scatter(1, y.argmax(1, keepdim=True), True) if m == 1 else ~chosen
        one = (along + image, over + over_y, inside + own + 2 * cross, mass + y)  # sums with each class added
        if turn.norm == "l1":
            extra = (1 / m - y).abs() - y
            distance = total + extra + (extra * chosen).sum(1, keepdim=True)
        else:
            distance = (1 / m - 2 * one[3] / m + y.square().sum(1, keepdim=True)).clamp(min=0).sqrt()
        score = turn.score(one[0] / m - all_along, one[2] / m**2 - 2 * one[1] / m + all_over, distance)
        score, new = score.masked_fill(~allowed, float("inf")).min(1, keepdim=True)
        along, over, inside, mass = (sums.gather(1, new) for sums in one)
        cross = cross + (one_hot(new[:, 0], y) if gram is None else gram[torch.arange(len(y)), new[:, 0]])
        chosen = chosen.scatter(1, new, True)
        best, least = torch.where(score < least, chosen, best), torch.minimum(score, least)
    return best

"""Lowd and Meek: a linear classifier from its labels alone, feature by feature, by line search.

Source      Lowd, Meek, "Adversarial learning" (KDD 2005), section 4.1; cost as measured by Tramèr et al., "Stealing
            machine learning models via prediction APIs" (USENIX Security 2016), section 6.1
Equations   w_f = +-1 for the feature f of the sign witness; w_i = -w_f s / u, where moving feature i by u moves the
            boundary along f by s; b = -w.x at a boundary point x
Assumes     two classes, a linear boundary, labels (posteriors are read as labels), continuous inputs
Deviations  the crossing is searched along f with feature i moved, not along i: inside a box the latter may not exist,
            which would leave w_i unknown. The step u starts at the far side of the box and is halved until the moved
            boundary lies inside. The sign witness is found by bisection instead of feature by feature; all features
            are searched together, one batch per step. w_i = 0 if the moved boundary stays inside the bracket. Weights
            have length 1, since labels do not reveal their scale
Keeps       no state
"""

import math
from contextlib import suppress
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gamekeeper.attacks.formula_clones import Linear
from gamekeeper.attacks.rows import Rows, flat
from gamekeeper.errors import BadConfig, BudgetExceeded, Unsuited
from gamekeeper.facts import Reads
from gamekeeper.types import Knowledge, Meter, Model, need_box

HALVINGS = 6
"""Queries a feature may need besides its bisection, used to estimate how many features a small budget can afford."""
MOST_HALVINGS = 60
"""Limit on halvings: a linear boundary is inside the box long before; another kind might never be."""


@dataclass(frozen=True)
class LowdMeek:
    """Weights of a linear two-class model from labels, to a relative precision of about eps."""

    eps: float = 1e-6

    def __post_init__(self) -> None:
        if not 1e-12 <= self.eps <= 0.1:
            raise BadConfig(f"The eps of LowdMeek must be from 1e-12 to 0.1. Got {self.eps}.")

    @property
    def reads(self) -> Reads:
        return "label"

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model:
        """Raises Unsuited unless there are two classes."""
        if knows.task.classes != 2:
            raise Unsuited(f"LowdMeek needs two classes; the target has {knows.task.classes}. Use equation_solving.")
        rows = Rows(oracle, need_box(knows.box, type(self).__name__))
        w, b, complete = torch.zeros(rows.d, dtype=torch.float64), 0.0, False
        positive, negative = witnesses(rows, knows, seed)
        if positive is None or negative is None:
            b = 0.0 if positive is negative else 1.0 if negative is None else -1.0
        else:
            edge = sign_witness(rows, positive, negative, self.eps)
            with suppress(BudgetExceeded):  # the weights not reached stay 0
                complete = search(rows, edge, w, self.eps, seed)
            w = w / w.norm()
            b = -float(w @ edge.point)
        weights, bias = torch.stack([-w / 2, w / 2]), torch.tensor([-b / 2, b / 2], dtype=torch.float64)
        return Linear(weights, bias, knows.task, complete=complete)


@dataclass(frozen=True, eq=False)
class Edge:
    """A point on the boundary, bracketed along feature f between a positive and a negative coordinate."""

    point: Float[Tensor, " d"]
    f: int
    positive: float
    negative: float


def positives(rows: Rows, x: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
    return rows(x).y.argmax(1) == 1


def witnesses(rows: Rows, knows: Knowledge, seed: int) -> tuple[Tensor | None, Tensor | None]:
    """One input of each class, from random inputs and the pool alternately; None for a class not seen within the budget."""
    generator = torch.Generator().manual_seed(seed)
    pool = flat(knows.pool)[torch.randperm(len(knows.pool), generator=generator)]
    by_class: dict[bool, Tensor] = {}
    n = 1
    while len(by_class) < 2 and rows.left:
        own, pool = pool[:n], pool[n:]
        x = torch.cat([rows.uniform(n, generator), own])[: rows.left]
        for row, side in zip(x, positives(rows, x).tolist(), strict=True):
            by_class.setdefault(side, row)
        n = min(2 * n, 128)
    return by_class.get(True), by_class.get(False)


def sign_witness(rows: Rows, positive: Tensor, negative: Tensor, eps: float) -> Edge:
    """Two inputs that differ in one feature and in their label, moved together until the boundary is bracketed.

    If the budget ends first, the bracket stays wide and the feature may be a guess.
    """
    low, high = 0, rows.d
    place = torch.arange(rows.d)
    try:
        while high - low > 1:
            middle = (low + high) // 2
            if positives(rows, torch.where(place < middle, negative, positive)[None]).item():
                low = middle
            else:
                high = middle
    except BudgetExceeded:
        low = int((positive - negative).abs().argmax())
    point = torch.where(place < low, negative, positive)
    plus, minus = float(positive[low]), float(negative[low])
    try:
        while abs(plus - minus) > bracket(rows, (plus + minus) / 2, eps):
            point[low] = (plus + minus) / 2
            if positives(rows, point[None]).item():
                plus = float(point[low])
            else:
                minus = float(point[low])
    except BudgetExceeded:
        pass
    point[low] = (plus + minus) / 2
    return Edge(point, low, plus, minus)


def bracket(rows: Rows, p: float, eps: float) -> float:
    """Target width of the bracket at p: eps times its distance to the nearer end of the box, but no finer than float64 allows."""
    low, high = rows.box.low, rows.box.high
    return max(eps * min(p - low, high - p), 1e-15 * max(abs(low), abs(high)))


def search(rows: Rows, edge: Edge, w: Float[Tensor, " d"], eps: float, seed: int) -> bool:
    """Writes the weights into w as they become known, w_f first. Returns whether the budget sufficed for all of them.

    Raises BudgetExceeded if the budget ends during a step.
    """
    f, p = edge.f, float(edge.point[edge.f])
    w[f] = math.copysign(1.0, edge.positive - edge.negative)
    width = bracket(rows, p, eps)
    bits = math.ceil(math.log2(2 * rows.half / width))
    order = torch.randperm(rows.d, generator=torch.Generator().manual_seed(seed))
    features = order[order != f][: rows.left // (bits + HALVINGS)]
    complete = len(features) == rows.d - 1 and abs(edge.positive - edge.negative) <= width
    step = torch.where(edge.point > rows.centre, rows.box.low - edge.point, rows.box.high - edge.point)[features]

    def sides(features: Int[Tensor, " m"], step: Tensor, along: Tensor) -> Bool[Tensor, " m"]:
        """The labels of the boundary point with each feature moved by its step and f at `along`."""
        x = edge.point.repeat(len(features), 1)
        x[torch.arange(len(x)), features] += step
        x[:, f] = along
        return positives(rows, x) if len(x) else torch.empty(0, dtype=torch.bool)

    at_plus = sides(features, step, torch.full_like(step, edge.positive))
    at_minus = sides(features, step, torch.full_like(step, edge.negative))
    moved = at_plus == at_minus  # otherwise the boundary still lies inside the bracket, and the weight is 0
    features, step, now = features[moved], step[moved], at_plus[moved]
    # if both ends of the bracket are positive now, the boundary moved towards the negative end of the box, and vice versa
    upwards = now != (w[f] > 0)
    inner = torch.full_like(step, p)
    outer = torch.where(upwards, rows.box.high, rows.box.low).double()
    far = torch.arange(len(features))
    try:
        for _ in range(MOST_HALVINGS):
            far = far[sides(features[far], step[far], outer[far]) == now[far]]
            step[far] /= 2
            if len(far) == 0:
                break
        while len(features) and (outer - inner).abs().amax() > width:
            middle = (inner + outer) / 2
            inside = sides(features, step, middle) == now
            inner, outer = torch.where(inside, middle, inner), torch.where(inside, outer, middle)
    finally:
        w[features] = -w[f] * ((inner + outer) / 2 - p) / step
    return complete

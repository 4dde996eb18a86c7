"""ModelGuard: the least likely answer within an L1 budget (W), or one of a few precomputed answers (S).

Source      Tang, Dai, DiValentin, Ding, Hass, Gong, Chen, Li, "ModelGuard: information-theoretic defense against model
            extraction attacks" (USENIX Security 2024), and the authors' code
Equations   W: min sum_k log(y_k + 1e-6) y~_k over the simplex with |y~ - y|_1 <= eps and y~_c >= y~_j + 1e-4, c the top
            class; exact for a whole batch. S: per top class, the nearest of its centroids within eps
Assumes     W: a posterior. S: inputs like those of benign users (the owner's), which the victim answers on arming
Deviations  W: the linear program is solved in closed form for a fixed y~_c, and over y~_c by cutting planes, to within
            1e-7 of an LP solver's optimum. Rows with no feasible answer (a lead below 1e-4 that eps cannot widen) do
            not move. S: the authors' centroids grow with users' queries, which hands one user's answer to another;
            here they are fitted once (farthest point first, until every benign posterior is within eps/2 of one) and
            frozen. An answer further than eps from all of them moves by eps towards the nearest; a class with no
            benign posterior uses its label
Keeps       argmax: both (W without keep_top1 is GRAD^2 towards the least likely class, and does not)

The owner's inputs are training inputs, on which a victim is more confident than on a user's.
"""

import functools
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gamekeeper.defenses.grad2 import grad2
from gamekeeper.defenses.stateless import Stateless, check_l1
from gamekeeper.errors import BadConfig
from gamekeeper.facts import L1, Strengths
from gamekeeper.needs import classes_of, needs_inputs
from gamekeeper.simplex import LEAD, distance, step_towards
from gamekeeper.types import Batch, Model, Owner, Posterior, Reply

SMALL, MARGIN = 1e-6, 1e-4
STEP, GAP = 1e-8, 1e-9
"""The step in y~_c over which a slope is measured, and the gap in the objective below which a row counts as solved."""
CUTS = 90
"""Largest number of cuts: every third halves an interval that is at most 1 wide."""
CELLS = 12_800
"""Probabilities solved at once: their dozen temporary arrays stay in cache."""

Column = Float[Tensor, "n 1"]
Centroids = Tensor
"""(m, k): the m centroids of one class; m differs between classes."""


def modelguard_w(y: Posterior, eps: float, keep_top1: bool = True) -> Posterior:
    """The posterior within eps of y in L1 with the least sum_k log(y_k + 1e-6) y~_k. eps = 0 returns y bit for bit."""
    if eps <= 0:
        return y
    if not keep_top1:
        return grad2(y, -y, eps)  # the logarithm does not change the order
    return torch.cat([least_likely_answer(rows, eps) for rows in y.split(max(1, CELLS // y.shape[1]))])


def least_likely_answer(y: Posterior, eps: float) -> Posterior:
    """`modelguard_w` with keep_top1, for a batch small enough to stay in the processor's cache."""
    exact = y.double()
    top = exact.argmax(1, keepdim=True)
    order = exact.scatter(1, top, 2.0).sort(dim=1, stable=True).indices[:, :-1]
    program = Program(exact.gather(1, order), exact.gather(1, top), eps)
    t, feasible = program.best()
    z = torch.empty_like(exact).scatter_(1, order, program.others_at(t)).scatter_(1, top, t)
    return torch.where(feasible, z.to(y.dtype), y)


@dataclass(frozen=True, eq=False)
class Program:
    """The linear program of each row as a function of t = y~_c; `others` are the other classes in ascending order."""

    others: Float[Tensor, "n m"]
    top: Column
    eps: float

    def least(self) -> Column:
        """The smallest t for which the mass to be moved, sum (y_j - t + MARGIN)^+ + (y_c - t)^+, is at most eps/2."""
        levels = torch.cat([self.others + MARGIN, self.top], 1).sort(1, descending=True).values
        rank = torch.arange(1, levels.shape[1] + 1, dtype=levels.dtype)
        filled = (levels.cumsum(1) - self.eps / 2) / rank
        above = (levels > filled).sum(1, keepdim=True).clamp(min=1)  # 0 where eps is lost in rounding
        k = levels.shape[1]
        total = self.others.sum(1, keepdim=True) + self.top
        return torch.maximum(filled.gather(1, above - 1), (total + (k - 1) * MARGIN) / k)

    def best(self) -> tuple[Column, Bool[Tensor, "n 1"]]:
        """The t that minimises the objective, which is convex and piecewise linear in t; and whether any t is feasible.

        By cutting planes: the next t is where the lines through the left and the right end meet, and a row is solved
        once its best value is within GAP of that height. Every third t halves the interval instead.
        """
        low = self.least()
        high = torch.minimum(self.others.sum(1, keepdim=True) + self.top, self.top + self.eps / 2)
        feasible = low <= high
        high = torch.maximum(low, high)
        left, right = self.cut(low), self.cut(torch.maximum(low, high - STEP))
        best = left.where(left.value <= right.value, right)
        for number in range(1, CUTS):
            t, floor = left.meets(right)
            settled = (left.slope >= 0) | (right.slope <= 0) | (best.value - floor < GAP)
            settled |= right.t - left.t <= 2 * STEP
            if settled.all():
                break
            t = (left.t + right.t) / 2 if number % 3 == 0 else t
            new = self.cut(torch.where(settled, best.t, torch.minimum(t, right.t)))
            best = new.where((new.value < best.value) & ~settled, best)
            left = new.where((new.slope < 0) & ~settled, left)
            right = new.where((new.slope >= 0) & ~settled, right)
        return best.t, feasible

    def cut(self, t: Column) -> "Cut":
        """The cut at t. The slope uses the difference of two answers, more accurate than that of two objectives."""
        z, ahead = self.others_at(t), t + STEP
        step = ahead - t
        rise = self.objective(self.others_at(ahead) - z, step)
        return Cut(t, self.objective(z, t), rise / step)

    def objective(self, z: Float[Tensor, "n m"], t: Column) -> Column:
        return (self.weights * z).sum(1, keepdim=True) + ((self.top + SMALL).log() - self.smallest) * t

    @functools.cached_property
    def weights(self) -> Float[Tensor, "n m"]:
        """Relative to the least likely class: over the simplex that changes only the rounding of the objective."""
        return (self.others + SMALL).log() - self.smallest

    @functools.cached_property
    def smallest(self) -> Column:
        return (self.others[:, :1] + SMALL).log()

    def others_at(self, t: Column) -> Float[Tensor, "n m"]:
        """The best answer for the other classes when the top class has t: as much mass as eps allows moves downward.

        Each is capped at t - MARGIN; the least likely class receives first, the most likely gives first.
        """
        capped = torch.minimum(self.others, t - MARGIN)
        room = t - MARGIN - capped
        rooms, masses = room.cumsum(1), capped.cumsum(1)
        after = masses[:, -1:] - masses  # the mass above each class
        taken = (self.others - capped).sum(1, keepdim=True) + (self.top - t).clamp(min=0)
        given = (t - self.top).clamp(min=0)
        # the first s classes receive and the others give: the best s is where the smaller of both is largest
        most = torch.minimum(rooms + given, after + taken).amax(1, keepdim=True).clamp(max=self.eps / 2)
        moved = torch.maximum(torch.maximum(taken, given), most)
        gain = torch.minimum((moved - given - (rooms - room)).clamp(min=0), room)
        loss = torch.minimum((moved - taken - after).clamp(min=0), capped)
        return capped + gain - loss


class Cut(NamedTuple):
    """For each row a t, the objective there and its slope just above: a line that is nowhere above the objective."""

    t: Column
    value: Column
    slope: Column

    def meets(self, right: "Cut") -> tuple[Column, Column]:
        """The t and the height where this falling line meets the other, rising one; meaningless for other slopes."""
        fall = self.slope - right.slope
        t = (right.value - self.value + self.slope * self.t - right.slope * right.t) / fall
        t = torch.maximum(t.nan_to_num(0.0), self.t)
        return t, self.value + self.slope * (t - self.t)

    def where(self, here: Bool[Tensor, "n 1"], other: "Cut") -> "Cut":
        return Cut(*(torch.where(here, mine, its) for mine, its in zip(self, other, strict=True)))


def spread(y: Posterior, radius: float) -> Float[Tensor, "m k"]:
    """Rows of y such that every row is within `radius` in L1 of one of them, chosen farthest point first.

    The first is the row nearest to the mean. A smaller radius gives the same rows and some more.
    """
    chosen = [int(distance(y, y.mean(0, keepdim=True).expand_as(y), "l1").argmin())]
    nearest = distance(y, y[chosen].expand_as(y), "l1")
    while nearest.max() > radius:
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, distance(y, y[chosen[-1:]].expand_as(y), "l1"))
    return y[chosen]


def centroids_of(y: Posterior, radius: float) -> list[Centroids]:
    """For each class, the centroids of the rows that it leads by LEAD or more; its label if there are none."""
    two = y.topk(2, 1).values
    y = y[two[:, 0] - two[:, 1] >= LEAD].double()
    top, labels = y.argmax(1), torch.eye(y.shape[1], dtype=y.dtype)
    return [spread(y[top == c], radius) if (top == c).any() else labels[c : c + 1] for c in range(y.shape[1])]


def modelguard_s(y: Posterior, centroids: list[Centroids], eps: float) -> Posterior:
    """The nearest centroid of each row's top class, or a point on the way to it if it is further than eps in L1."""
    goal, top = torch.empty_like(y), y.argmax(1)
    for c in top.unique().tolist():
        rows = torch.nonzero(top == c)[:, 0]
        goal[rows] = centroids[c][torch.cdist(y[rows].double(), centroids[c], p=1).argmin(1)].to(y.dtype)
    return step_towards(y, goal, eps, keep_top1=True)


@dataclass(frozen=True)
class ModelGuardW:
    """Answers with the posterior within eps of the true one that is hardest to learn from: an exact linear program."""

    eps: float = 1.0
    keep_top1: bool = True

    full_strength: ClassVar[tuple[str, float]] = ("eps", 2.0)

    def __post_init__(self) -> None:
        check_l1(self.eps, "ModelGuardW")

    @property
    def l1_bound(self) -> float:
        return self.eps

    @property
    def keeps_top1(self) -> bool:
        return self.keep_top1

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("eps={}", L1),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> Stateless:
        classes_of(victim, "ModelGuardW")
        return Stateless(functools.partial(modelguard_w, eps=self.eps, keep_top1=self.keep_top1))


@dataclass(frozen=True)
class ModelGuardS:
    """Answers with the nearest of a few posteriors fitted in advance: many true answers become one.

    sample  how many of the owner's inputs, from the first on, the centroids are fitted to
    """

    eps: float = 1.0
    sample: int = 5000

    full_strength: ClassVar[tuple[str, float]] = ("eps", 2.0)
    permutes: ClassVar[bool] = False  # the centroids' classes are not permuted

    def __post_init__(self) -> None:
        check_l1(self.eps, "ModelGuardS")
        if self.sample < 1:
            raise BadConfig(f"The sample of ModelGuardS must be 1 or more. Got {self.sample}.")

    @property
    def l1_bound(self) -> float:
        return self.eps

    @property
    def keeps_top1(self) -> bool:
        return True

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("eps={}", L1),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> "Quantiser":
        """Raises Unsuited if the owner has no inputs to fit centroids to."""
        classes_of(victim, "ModelGuardS")
        needs_inputs(owner, "ModelGuardS fits its centroids to the victim's answers on")
        y = victim(owner.x[: self.sample]).y
        return Quantiser(centroids_of(y, self.eps / 2) if self.eps > 0 else [], self.eps)


@dataclass(frozen=True, eq=False)
class Quantiser:
    """ModelGuardS armed with its centroids, one tensor per class."""

    centroids: list[Centroids]
    eps: float

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        if self.eps == 0:
            return reply
        return Reply(modelguard_s(reply.y, self.centroids, self.eps), reply.maps)

"""Nearest neighbours in a bank, exactly, at the cost of a few of its columns.

Equations   with a = P q the coordinates of q on a few orthonormal axes and a' = |q - P'a| what they leave over, in the same way
            b and b' of a row: |q - row|^2 >= |q|^2 + |row|^2 - 2 (a b + a' b'), one product of short vectors
Deviations  none: single precision only rules rows out, by a margin above its rounding error. The distances of all others are
            computed in double precision
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gamekeeper.types import Scores

AXES = 96
SAMPLE = 500
"""Rows that the axes are fitted to: their principal directions."""
ROUNDING = 1e-5
"""Above the relative error of a product of AXES + 2 numbers in single precision."""
PART, FEW = 128, 8
"""Pairs, and queries, whose distances are computed at a time, so that they stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Bank:
    """Rows to compare with.

    rows   in double precision
    axes   orthonormal
    short  each row on the axes, what is left over, and minus half its squared length over `scale`; single precision
    scale  the length of the longest row, or 1
    """

    rows: Float[Tensor, "m d"]
    axes: Float[Tensor, "d p"]
    short: Float[Tensor, "q m"]
    scale: float

    @staticmethod
    def of(rows: Float[Tensor, "m d"]) -> "Bank":
        rows = rows.double().contiguous()
        axes = torch.linalg.svd(rows[:SAMPLE], full_matrices=False)[2][:AXES].T.contiguous()
        longest = float(rows.norm(dim=1).amax()) or 1.0
        half = -rows.square().sum(1, keepdim=True) / (2 * longest)
        return Bank(rows, axes, torch.cat([*shadow(rows, axes), half], 1).float().T.contiguous(), longest)

    def kth(self, q: Float[Tensor, "n d"], k: int) -> Scores:
        """The distance of each row of q to its k-th nearest row of the bank."""
        q, k = q.double(), min(k, len(self.rows))
        near = self.nearness(q)
        reach = self.to(q, near.topk(k, 1).indices).amax(1)
        return self.kth_of(q, self.candidates(q, near, reach), k)

    def within(self, q: Float[Tensor, "n d"], k: int, radius: float) -> Bool[Tensor, " n"]:
        """Whether at least k rows of the bank, or all, are within this distance of each row of q. Faster than `kth`."""
        if radius < 0:
            return torch.zeros(len(q), dtype=torch.bool)
        q, k = q.double(), min(k, len(self.rows))
        turned, square = self.turned(q), q.square().sum(1)
        least = (square - radius**2) / 2 + self.slack(square)
        farthest = turned.clone()
        farthest[:, -2].neg_()  # upper bounds of the distances
        sure = (farthest @ self.short >= least[:, None].float()).sum(1) >= k
        if not bool(sure.all()):
            some = torch.nonzero(~sure)[:, 0]
            sure[some] = self.measured_within(q[some], turned[some] @ self.short, k, radius)
        return sure

    def measured_within(
        self, q: Float[Tensor, "n d"], near: Float[Tensor, "n m"], k: int, radius: float
    ) -> Bool[Tensor, " n"]:
        """The same by distances: of the k likeliest rows, then of all that may be within the radius."""
        sure = self.to(q, near.topk(k, 1).indices).amax(1) <= radius
        if not bool(sure.all()):
            some = torch.nonzero(~sure)[:, 0]
            reach = torch.full((len(some),), radius, dtype=torch.float64)
            rows, columns = self.candidates(q[some], near[some], reach)
            inside = rows[self.pairs(q[some], rows, columns) <= radius]
            sure[some] = torch.bincount(inside, minlength=len(some)) >= k
        return sure

    def nearness(self, q: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """(|q|^2 - l^2) / 2, with l a lower bound of the distance, up to rounding."""
        return self.turned(q) @ self.short

    def turned(self, q: Float[Tensor, "n d"]) -> Float[Tensor, "n q"]:
        """What `short` is multiplied with."""
        on, over = shadow(q, self.axes)
        own = torch.full((len(q), 1), self.scale, dtype=torch.float64)
        return torch.cat([on, over, own], 1).float()

    def candidates(
        self, q: Float[Tensor, "n d"], near: Float[Tensor, "n m"], reach: Float[Tensor, " n"]
    ) -> tuple[Int[Tensor, " c"], Int[Tensor, " c"]]:
        """Row numbers of q and of the bank: all pairs that may be within reach."""
        square = q.square().sum(1)
        least = ((square - reach.square()) / 2 - self.slack(square)).float()
        rows, columns = (near >= least[:, None]).nonzero(as_tuple=True)
        return rows, columns

    def slack(self, square: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The most that rounding changes the nearness of queries of these squared lengths."""
        return ROUNDING * 2 * self.scale * (square + self.scale**2).sqrt()

    def to(self, q: Float[Tensor, "n d"], columns: Int[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """The distances of each row of q to some rows of the bank."""
        parts = zip(columns.split(FEW), q.split(FEW), strict=True)
        return torch.cat([(self.rows[c] - r[:, None]).square_().sum(2) for c, r in parts]).sqrt_()

    def pairs(
        self, q: Float[Tensor, "n d"], rows: Int[Tensor, " c"], columns: Int[Tensor, " c"]
    ) -> Float[Tensor, " c"]:
        """The distance of each pair."""
        parts = zip(rows.split(PART), columns.split(PART), strict=True)
        return torch.cat([(self.rows[c] - q[r]).square_().sum(1) for r, c in parts]).sqrt()

    def kth_of(self, q: Float[Tensor, "n d"], pairs: tuple[Tensor, Tensor], k: int) -> Scores:
        """The k-th smallest distance of each row of q among its pairs, which come row by row."""
        rows, columns = pairs
        distances, order = self.pairs(q, rows, columns).sort()
        start = torch.bincount(rows, minlength=len(q)).cumsum(0).roll(1)
        start[:1] = 0
        return distances[rows[order].argsort(stable=True)][start + k - 1]


def shadow(q: Float[Tensor, "n d"], axes: Float[Tensor, "d p"]) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n 1"]]:
    """The rows on the axes, and the length of what is left over."""
    on = q @ axes
    return on, (q.square().sum(1, keepdim=True) - on.square().sum(1, keepdim=True)).clamp(min=0).sqrt()

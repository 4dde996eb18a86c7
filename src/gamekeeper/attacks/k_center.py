"""Greedy k-center: the rows that best cover a cloud of points, farthest first.

Source      Gonzalez, "Clustering to minimize the maximum intercluster distance" (1985); as a choice of queries:
            Sener and Savarese 2018, and ActiveThief (Pal et al., AAAI 2020)
Equations   next = argmax_i min_c ||p_i - c||_2 over the centers so far; the largest remaining distance is at most twice
            the smallest that any choice of as many centers achieves
Deviations  a row is chosen at most once, even where all distances are 0 (the public code drops such repeats and underspends)
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

ENTRIES = 20_000_000
"""Distances to the first centers are computed in chunks of points that keep arrays below this many numbers."""


def k_center(points: Float[Tensor, "n d"], centers: Float[Tensor, "m d"], k: int) -> Int[Tensor, " k"]:
    """k rows of `points`, each the farthest from `centers` and from the rows chosen before it; k <= n.

    Without centers the first choice is row 0. Ties go to the first row.
    """
    gap = squared_gap(points, centers)
    columns = points.T.contiguous()
    offset, square = torch.empty_like(columns), torch.empty_like(gap)
    chosen = torch.empty(k, dtype=torch.long)
    for place in range(k):
        row = gap.argmax()
        chosen[place] = row
        # in place, column by column: the loop allocates no memory
        torch.sub(columns, columns[:, row : row + 1], out=offset)
        torch.sum(offset.square_(), dim=0, out=square)
        torch.minimum(gap, square, out=gap)
        gap[row] = -1.0  # stays the minimum: no row is chosen twice, even where all distances are 0
    return chosen


def squared_gap(points: Float[Tensor, "n d"], centers: Float[Tensor, "m d"]) -> Float[Tensor, " n"]:
    """Squared distance to the nearest center; infinite without centers."""
    if len(centers) == 0:
        return torch.full((len(points),), torch.inf, dtype=points.dtype)
    rows = max(1, ENTRIES // len(centers))
    # in double precision: a confident clone's posteriors are closer together than |p|^2 + |c|^2 - 2 p.c resolves in float32
    near = [torch.cdist(part.double(), centers.double()).amin(1).square() for part in points.split(rows)]
    return torch.cat(near).to(points.dtype) if near else points.new_empty(0)

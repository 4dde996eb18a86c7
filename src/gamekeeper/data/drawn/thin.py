"""Thinning: what is left of a shape when its edge is peeled off until it is one pixel wide.

Source      Zhang and Suen, "A fast parallel algorithm for thinning digital patterns" (CACM 1984)
Deviations  none
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Masks = Bool[Tensor, "n h w"]


def thinned(masks: Masks) -> Masks:
    """The skeleton of each mask. Every pass peels south-east edges, then north-west ones, until nothing changes."""
    left = masks.clone()
    while True:
        before = left
        for half in (0, 1):
            left = left & ~removable(left, half)
        if torch.equal(left, before):
            return left


def removable(masks: Masks, half: int) -> Masks:
    """Pixels on an edge that connect nothing: 2 to 6 neighbours, in one run around, and none on the sides this half keeps."""
    north, east, south, west, around = neighbours(masks)
    count = around.sum(0)
    runs = ((around - around.roll(-1, 0)) == -1).sum(0)
    if half == 0:
        open_sides = (north * east * south == 0) & (east * south * west == 0)
    else:
        open_sides = (north * east * west == 0) & (north * south * west == 0)
    return masks & (count >= 2) & (count <= 6) & (runs == 1) & open_sides


def neighbours(masks: Masks) -> tuple[Tensor, Tensor, Tensor, Tensor, Int[Tensor, "8 n h w"]]:
    """Those to the north, east, south and west, and all eight clockwise from the north; 0 beyond the edge."""
    wide = torch.nn.functional.pad(masks.to(torch.int8), (1, 1, 1, 1))
    h, w = masks.shape[1:]
    steps = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    around = torch.stack([wide[:, 1 + down : 1 + down + h, 1 + right : 1 + right + w] for down, right in steps])
    return around[0], around[2], around[4], around[6], around

"""Thinning: what is left of a shape when its edge is peeled off until it is one pixel wide.

Source      Zhang and Suen, "A fast parallel algorithm for thinning digital patterns" (CACM 1984)
Deviations  none
"""

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

Bytes = UInt8[Tensor, "n h w"]
STEPS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""To the eight neighbours, as (down, right), clockwise from the north."""


def thinned(masks: Bool[Tensor, "n h w"]) -> Bool[Tensor, "n h w"]:
    """The skeleton of each mask. Every pass peels south-eastern edges, then north-western ones, until nothing changes."""
    whole = masks.byte()
    thick = torch.arange(len(whole))  # those that still change
    while len(thick):
        before = left = whole[thick]
        for half in (0, 1):
            left = left - removable(left, half)
        whole[thick] = left
        thick = thick[(left != before).flatten(1).any(1)]
    return whole.bool()


def removable(masks: Bytes, half: int) -> Bytes:
    """1 for pixels on an edge that connect nothing: 2 to 6 neighbours, all in one run, and none on a side of this half."""
    around = neighbours(masks)
    north, east, south, west = around[::2]
    count, runs = torch.zeros_like(masks), torch.zeros_like(masks)
    for one, following in zip(around, [*around[1:], around[0]], strict=True):
        count += one
        runs += (1 - one) * following
    corner = east * south * (north + west) if half == 0 else north * west * (east + south)
    return masks * ((count >= 2) & (count <= 6) & (runs == 1) & (corner == 0))


def neighbours(masks: Bytes) -> list[Bytes]:
    """Each pixel's eight neighbours, in the order of STEPS; 0 beyond the edge."""
    h, w = masks.shape[1:]
    wide = torch.nn.functional.pad(masks, (1, 1, 1, 1))
    return [wide[:, 1 + down : 1 + down + h, 1 + right : 1 + right + w] for down, right in STEPS]

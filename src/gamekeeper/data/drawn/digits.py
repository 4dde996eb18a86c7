"""Drawn digits: what somebody who has never seen the owner's images draws when told "handwritten digits, 0 to 9".

Source      none. Known publicly: the names of the classes, and of MNIST (LeCun, Cortes, Burges) that its digits are 28x28
            grey, ink bright on black, scaled to fit 20x20 with their aspect ratio kept, and centred by mass
Equations   a skeleton of the digit, displaced by a smooth random field, sheared and turned; Catmull-Rom curves through its
            points; ink = clip(pen/2 + 1/2 - distance to the curve, 0, 1); centred by mass
Assumes     nothing of the owner: no image is read here. What was tuned against what: the skeletons were drawn first and changed
            twice beside a sheet of 160 digits of MNIST's public training part, and six settings of pen, edge and bend were
            compared by a clone's accuracy on 1,000 digits of that part. The test set was not used
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.data.drawn import pen
from gamekeeper.data.drawn.skeletons import SKELETONS
from gamekeeper.data.transforms import Images

SIDE, BOX, EDGE = 28, 20, 1
"""Pixels of an image, of the square into which the digit is scaled, and around that square, for ink that grazes them."""


@dataclass(frozen=True)
class Digits:
    """Handwritten digits, 1x28x28 in [0, 1], the classes 0 to 9 in rotation.

    bend  how far the smooth field displaces a point, as a share of the digit's height
    """

    bend: float = 0.1

    def __call__(self, n: int, seed: int) -> tuple[Images, pen.Rows]:
        return pen.stream(n, seed, 10, self.draw)

    def draw(self, classes: pen.Rows, generator: torch.Generator) -> Images:
        """One drawing of each of these digits."""
        n = len(classes)
        points, starts, ends = styles(classes, generator)
        wide = torch.exp(pen.normal(0.0, 0.25, n, generator))[:, None]
        points = torch.stack([points[..., 0] * wide, points[..., 1]], -1)
        points = points + pen.field(points, self.bend, generator)
        points = pen.turned(points, pen.normal(0.0, 8.0, n, generator), pen.normal(0.2, 0.3, n, generator))
        a, b = starts @ points, ends @ points
        width = pen.between(1.3, 2.0, n, generator) ** 2  # as a thin pen more often than as a thick one
        middle, sides = pen.extent(torch.cat([a, b], 1))
        scale = (BOX - width) / sides.amax(1) * pen.between(0.92, 1.0, n, generator)
        edge = pen.between(1.0, 2.0, n, generator)
        side = BOX + 2 * EDGE
        a, b = (((end - middle[:, None]) * scale[:, None, None]) + (side - 1) / 2 for end in (a, b))
        drawn = (
            pen.ink(pen.distance(a, b, side, side), width, edge) * pen.between(0.95, 1.0, n, generator)[:, None, None]
        )
        around = (SIDE - side) // 2
        return pen.centred(torch.nn.functional.pad(drawn[:, None], (around,) * 4))


def styles(classes: pen.Rows, generator: torch.Generator) -> tuple[pen.Points, Tensor, Tensor]:
    """A random skeleton of each digit: its points, and the weights of them for both ends of every segment."""
    points, starts, ends, first, count = tables()
    share = torch.rand(len(classes), generator=generator)
    chosen = first[classes] + (share * count[classes]).long()
    return points[chosen], starts[chosen], ends[chosen]


@cache
def tables() -> tuple[Float[Tensor, "k p 2"], Float[Tensor, "k s p"], Float[Tensor, "k s p"], pen.Rows, pen.Rows]:
    """All skeletons, padded to the longest by repeating their first segment; and for each digit its first and how many."""
    whole = [pen.curves(skeleton) for digit in SKELETONS for skeleton in digit]
    most_points = max(len(points) for points, _, _ in whole)
    most = max(len(starts) for _, starts, _ in whole)
    padded = [padded_to(most_points, most, *each) for each in whole]
    count = torch.tensor([len(digit) for digit in SKELETONS])
    return *(torch.stack(part) for part in zip(*padded, strict=True)), count.cumsum(0) - count, count  # pyright: ignore


def padded_to(points: int, segments: int, p: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A skeleton with more points, all like its first, and more segments, all like its first."""
    more = segments - len(a)
    p_more = p[:1].expand(points - len(p), 2)
    a, b = (torch.nn.functional.pad(torch.cat([end, end[:1].expand(more, -1)]), (0, points - len(p))) for end in (a, b))
    return torch.cat([p, p_more]), a, b

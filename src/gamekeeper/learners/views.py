"""Views of inputs that preserve their meaning: shifted, erased and noisy images, noisy tables.

Everything is drawn from the given generator, one draw per input, and stays in the public box.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.data.transforms import Images, moved
from gamekeeper.types import Batch, Box

WEAK_SHIFT, STRONG_SHIFT, ERASED = 8, 3, 2
"""Shifts are up to 1/8 or 1/3 of a side (3 and 9 pixels of 28), and the erased square up to 1/2: FixMatch's 12.5 %,
RandAugment's 30 % (to the nearest unit fraction) and FixMatch's Cutout. None was tuned."""
WEAK_NOISE, STRONG_NOISE = 0.02, 0.1
"""Standard deviations, as shares of the box's range; the weak one is for tables only. Not from a paper, and not tuned."""

TURN, SHEAR, SMALLEST, LARGEST, SHIFT = 15.0, 0.3, 0.75, 1.15, 0.07
"""Of an affine view: degrees, shear, scales, and shift as a share of a side (2 pixels of 28)."""
GRID, BEND = 7, 0.02
"""Of an elastic view: knots along a side, and the standard deviation of a knot as a share of a side."""


def weak(x: Batch, box: Box, generator: torch.Generator) -> Batch:
    """A small shift of an image, a little noise on a table."""
    if len(box.shape) != 3:
        return noisy(x, box, WEAK_NOISE, generator)
    return shifted(x, most(x, WEAK_SHIFT), generator)


def strong(x: Batch, box: Box, generator: torch.Generator) -> Batch:
    """A larger shift of an image, a square of it erased, and noise; noise on a table."""
    if len(box.shape) == 3:
        x = erased(shifted(x, most(x, STRONG_SHIFT), generator), generator)
    return noisy(x, box, STRONG_NOISE, generator)


def slight(x: Batch, box: Box, generator: torch.Generator) -> Batch:
    """Half an affine view of an image, a little noise on a table."""
    return turned(x, 0.5, generator) if len(box.shape) == 3 else noisy(x, box, WEAK_NOISE, generator)


def plain(x: Batch, box: Box, generator: torch.Generator) -> Batch:
    """A whole affine view of an image, which leaves it legible; noise on a table."""
    return turned(x, 1.0, generator) if len(box.shape) == 3 else noisy(x, box, STRONG_NOISE, generator)


def most(x: Images, part: int) -> int:
    """The largest shift in pixels; 0 for very small images."""
    return min(x.shape[2:]) // part


def noisy(x: Batch, box: Box, deviation: float, generator: torch.Generator) -> Batch:
    """Gaussian noise, clipped to the box."""
    noise = torch.randn(x.shape, generator=generator) * (deviation * (box.high - box.low))
    return (x + noise).clamp(box.low, box.high)


def shifted(x: Images, pixels: int, generator: torch.Generator) -> Images:
    """Each image shifted by up to `pixels` along both axes; uncovered pixels repeat the border."""
    up, left = torch.randint(-pixels, pixels + 1, (2, len(x)), generator=generator)
    return moved(x, -up, -left)


def erased(x: Images, generator: torch.Generator, strength: float = 1.0) -> Images:
    """A square at a random place, its side up to half the image's (times `strength`), is filled with the image's mean."""
    n, _, h, w = x.shape
    side = torch.rand(n, 1, generator=generator) * min(h, w) * (strength / ERASED)
    top, left = (torch.rand(n, 1, generator=generator) * (size - side) for size in (h, w))
    down, across = ((torch.arange(size) >= at) & (torch.arange(size) < at + side) for size, at in ((h, top), (w, left)))
    hole = (down[:, :, None] & across[:, None, :])[:, None]
    return torch.where(hole, x.mean((2, 3), keepdim=True), x)


def turned(x: Images, strength: float, generator: torch.Generator) -> Images:
    """Each image turned, sheared, scaled and shifted by up to the sizes above, times `strength`; edges repeat."""
    turn, shear, size, down, right = 2 * torch.rand(5, len(x), generator=generator) - 1
    turn, shear = math.radians(TURN) * strength * turn, SHEAR * strength * shear
    # the grid says where each pixel comes from, so that an enlarged image reads a smaller part
    zoom = 1 / (1 + strength * torch.where(size < 0, (1 - SMALLEST) * size, (LARGEST - 1) * size))
    cos, sin = turn.cos() * zoom, turn.sin() * zoom
    theta = torch.stack([
        torch.stack([cos, cos * shear - sin, 2 * SHIFT * strength * right], 1),
        torch.stack([sin, sin * shear + cos, 2 * SHIFT * strength * down], 1),
    ], 1)  # fmt: skip
    return sampled(x, F.affine_grid(theta, list(x.shape), align_corners=False))


def bent(x: Images, strength: float, generator: torch.Generator) -> Images:
    """Each pixel moved by a smooth field: normal numbers on a GRID by GRID net, interpolated; edges repeat."""
    n, _, h, w = x.shape
    knots = torch.randn(n, 2, GRID, GRID, generator=generator) * (2 * BEND * strength)
    field = F.interpolate(knots, (h, w), mode="bicubic", align_corners=True)
    still = F.affine_grid(torch.eye(2, 3).expand(n, 2, 3), list(x.shape), align_corners=False)
    return sampled(x, still + field.permute(0, 2, 3, 1))


def sampled(x: Images, grid: Float[Tensor, "n h w 2"]) -> Images:
    """x read at the places of the grid, bilinearly; outside, the edge repeats."""
    return F.grid_sample(x, grid.to(x.dtype), padding_mode="border", align_corners=False)

"""Warped: query turned, sheared, scaled and moved copies of pool images in place of the images.

Source      none; the affine views with which Papernot et al. (2017) and others augment what was answered. Here the copy itself
            is asked about: an answer belongs to the input that was asked
Equations   x'(p) = x(A (p - c) + c + b), bilinear; A turns by up to 15 degrees, shears by up to .3 and scales by .75 to 1.15,
            b is up to 2 pixels of 28
Assumes     a pool of images whose class survives such moves; any answer
Deviations  none; the ranges were not tuned
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.attacks.copies import ask_copies, image_box
from gamekeeper.data.transforms import Images, pixels, sampled
from gamekeeper.errors import BadConfig
from gamekeeper.types import Batch, Box, Knowledge, Meter, Transfer

TURN, SHEAR, SMALLER, LARGER, MOVE = math.radians(15), 0.3, 0.25, 0.15, 2 / 28
"""How far copies are changed at strength 1: radians, pixels per pixel, shares of the size, share of the side."""


@dataclass(frozen=True)
class Warped:
    """A randomly warped copy of every pool image, then a second one. A larger budget starts with the same queries.

    strength  how far copies are changed; 0: not at all, they are the pool's images
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 3:
            raise BadConfig(f"The strength of Warped must be from 0 to 3. Got {self.strength}.")

    @property
    def prefix(self) -> bool:
        return True

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        box = image_box(knows, "warped")
        return ask_copies(oracle, knows, seed, partial(warp, box=box, strength=self.strength))


def warp(x: Batch, generator: torch.Generator, box: Box, strength: float) -> Batch:
    """One copy of each image. What comes in from outside repeats the edge."""
    n, _, h, w = x.shape
    turn, shear, size, right, down = torch.rand(5, n, generator=generator)
    matrix = affine(
        (2 * turn - 1) * TURN * strength,
        (2 * shear - 1) * SHEAR * strength,
        1 + (size * (SMALLER + LARGER) - SMALLER) * strength,
    )
    by = torch.stack([(2 * right - 1) * MOVE * w, (2 * down - 1) * MOVE * h], 1) * strength
    return seen_through(x, matrix, by).clamp(box.low, box.high)


def affine(turn: Float[Tensor, " n"], shear: Float[Tensor, " n"], size: Float[Tensor, " n"]) -> Float[Tensor, "n 2 2"]:
    """Where a pixel of the copy is taken from: the inverse of a shear, then a turn, then a scaling by `size`."""
    cos, sin = turn.cos(), turn.sin()
    rows = [torch.stack([cos - shear * sin, -sin - shear * cos], 1), torch.stack([sin, cos], 1)]
    return torch.stack(rows, 1) / size[:, None, None].clamp(min=0.1)


def seen_through(x: Images, matrix: Float[Tensor, "n 2 2"], by: Float[Tensor, "n 2"]) -> Images:
    """Pixel p of a copy is the image at matrix (p - middle) + middle + by, bilinear; beyond the image, its edge."""
    h, w = x.shape[2:]
    right, down = (grid - (size - 1) / 2 for grid, size in zip(pixels(x), (w, h), strict=True))
    places = [
        matrix[:, k, 0, None, None] * right + matrix[:, k, 1, None, None] * down + (size - 1) / 2 + by[:, k, None, None]
        for k, size in enumerate((w, h))
    ]
    return sampled(x, places[0].clamp(0, w - 1), places[1].clamp(0, h - 1))

"""What garments are cut from: a sheet of coordinates, edges that change with height, limbs, folds and prints.

On a sheet u runs to the right and v down, both from -1 to 1 over the image. A shape is a map of how far inside it each
pixel lies (below 0: outside), in the units of the sheet; the larger of two shapes covers both, the smaller what they share.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SIDE = 28
"""Pixels along each side of a drawing."""
Images = Float[Tensor, "n h w"]


@dataclass(frozen=True)
class Dice:
    """Random numbers for n drawings, one per drawing, from one generator."""

    n: int
    generator: torch.Generator

    def uniform(self, low: float, high: float, *shape: int) -> Float[Tensor, "n ..."]:
        return low + (high - low) * torch.rand((self.n, *shape), generator=self.generator)

    def normal(self, mean: float, deviation: float, *shape: int) -> Float[Tensor, "n ..."]:
        return mean + deviation * torch.randn((self.n, *shape), generator=self.generator)


Number = Float[Tensor, "n 1 1"]
"""One number per drawing."""
Knots = Sequence[tuple[Number | float, Number | float]]
"""Where an edge bends, in order, and how far out it is there; straight between, constant beyond both ends."""
HALF = SIDE / 2
"""Pixels in one unit of a sheet."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """Coordinates of every pixel of n drawings, each turned and stretched a little, and their random numbers."""

    u: Images
    v: Images
    dice: Dice

    def number(self, low: float, high: float) -> Number:
        return self.dice.uniform(low, high, 1, 1)

    def chance(self, share: float) -> Number:
        """1 in that share of the drawings, 0 in the others."""
        return (self.dice.uniform(0.0, 1.0, 1, 1) < share).float()

    def limb(
        self, start: tuple[Number, Number], end: tuple[Number, Number], radii: tuple[Number | float, Number | float]
    ) -> Images:
        """A straight limb with round ends, of one radius at its start and another at its end."""
        along = (end[0] - start[0], end[1] - start[1])
        square = (along[0] ** 2 + along[1] ** 2).clamp(min=1e-6)
        part = ((self.u - start[0]) * along[0] + (self.v - start[1]) * along[1]) / square
        part = part.clamp(0, 1)
        off = (self.u - start[0] - part * along[0]) ** 2 + (self.v - start[1] - part * along[1]) ** 2
        return radii[0] + part * (radii[1] - radii[0]) - off.sqrt()

    def disc(self, x: Number | float, y: Number | float, width: Number | float, height: Number | float) -> Images:
        """An ellipse about (x, y); the distance from its edge is near enough for ellipses that are not thin."""
        round_ = (((self.u - x) / width) ** 2 + ((self.v - y) / height) ** 2).sqrt()
        return (1 - round_) * torch.as_tensor(width).minimum(torch.as_tensor(height))

    def folds(self, depth: float) -> Images:
        """Light and shade of folds, mostly upright: a factor about 1."""
        total = torch.zeros_like(self.u)
        for _ in range(3):
            right, down = self.number(-1.6, 1.6), self.number(-0.5, 0.5)
            total = total + torch.sin(torch.pi * (right * 2 * self.u + down * 2 * self.v) + self.number(0.0, 6.3))
        return 1 + depth * self.number(0.2, 1.0) * total / 2

    def grain(self, deviation: float) -> Images:
        return self.dice.normal(0.0, deviation, SIDE, SIDE)


def sheet(dice: Dice) -> Sheet:
    """A new sheet, turned by up to 4 degrees and stretched by a few percent."""
    at = (torch.arange(SIDE) - (SIDE - 1) / 2) / HALF
    angle, right, down = dice.normal(0.0, 0.03, 1, 1), dice.uniform(0.98, 1.1, 1, 1), dice.uniform(0.98, 1.08, 1, 1)
    u, v = at[None, None, :], at[None, :, None]
    return Sheet(right * (angle.cos() * u - angle.sin() * v), down * (angle.sin() * u + angle.cos() * v), dice)


def edge(t: Images, knots: Knots) -> Images:
    """How far out the edge is at t."""
    (first, out), rest = knots[0], knots[1:]
    height = torch.zeros_like(t) + out
    for place, then in rest:
        share = ((t - first) / (place - first)).clamp(0, 1)
        height = height + share * (then - out)
        first, out = place, then
    return height


def both(*shapes: Images) -> Images:
    """What all shapes share."""
    whole = shapes[0]
    for shape in shapes[1:]:
        whole = torch.minimum(whole, shape)
    return whole


def either(*shapes: Images) -> Images:
    """What any of the shapes covers."""
    whole = shapes[0]
    for shape in shapes[1:]:
        whole = torch.maximum(whole, shape)
    return whole


def where(there: Number, shape: Images) -> Images:
    """The shape in the drawings that have it, nothing in the others."""
    return shape - 9 * (1 - there)


def cover(shape: Images) -> Images:
    """How much of each pixel the shape covers, 0 to 1."""
    return (shape * HALF + 0.5).clamp(0, 1)


def line(distance: Images, width: Number | float) -> Images:
    """A soft line where `distance` is 0: 1 on it, 0 beyond its width."""
    return (1 - (distance / width).abs()).clamp(0, 1)

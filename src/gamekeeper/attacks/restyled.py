"""Restyled: printed letters of the pool, redrawn as handwriting, for services that read handwriting.

Source      none. Thinning: Zhang and Suen, "A fast parallel algorithm for thinning digital patterns" (CACM 1984)
Equations   skeleton of the letter at three times its size; its points p moved by a smooth field, sheared, turned, scaled to the
            size of the style; ink = clip((pen / 2 - distance to the nearest point) / edge + 1/2, 0, 1), centred
Assumes     a pool of grey images with bright strokes on dark; the public `style` of the victim's images: how thick and how
            slanted strokes are, how large and how centred; any answer
Deviations  none; the bend was not tuned
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from gamekeeper.attacks.copies import ask_copies, image_box
from gamekeeper.data.drawn import pen
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.types import Batch, Box, Knowledge, Meter, Style, Transfer

FINER = 3
"""How many times larger an image is thinned, so that thin strokes stay whole."""
MOST_POINTS = 256
"""Points kept of a skeleton, evenly; a letter of 28 pixels has about 150."""
CHUNK = 32
"""Images whose distances are worked out at a time."""
TURN = 6.0
"""Standard deviation of the angle of writing, in degrees."""

Mask = Bool[Tensor, "n h w"]


@dataclass(frozen=True)
class Restyled:
    """The pool's letters in handwriting, each once, then once more. A larger budget starts with the same queries.

    bend  how far a smooth field moves the strokes: root mean square, as a share of the letter's height
    """

    bend: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.bend <= 1:
            raise BadConfig(f"The bend of Restyled must be from 0 to 1. Got {self.bend}.")

    @property
    def prefix(self) -> bool:
        return True

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        box = image_box(knows, "restyled")
        if box.shape[0] != 1:
            raise Unsuited(f"restyled redraws grey images; this target's have {box.shape[0]} channels. Leave it out.")
        if knows.style is None:
            raise Unsuited(
                "restyled redraws the pool as the victim's images are drawn; none of their public style is known. Leave it out."
            )
        return ask_copies(oracle, knows, seed, partial(restyle, box=box, style=knows.style, bend=self.bend))


def restyle(x: Batch, generator: torch.Generator, box: Box, style: Style, bend: float) -> Shaped[Tensor, "m ..."]:
    """One copy of each image in which there is any stroke."""
    fine = torch.nn.functional.interpolate(x, scale_factor=FINER, mode="bilinear")[:, 0]
    light, dark = fine.amax((1, 2), keepdim=True), fine.amin((1, 2), keepdim=True)
    thin = thinned((fine > (light + dark) / 2) & (light > dark))
    there = thin.any(2).any(1)
    n = int(there.sum())
    if not n:
        return x[:0]
    points = written(places(thin[there]), style, bend, generator)
    width = pen.between(style.pen[0], style.pen[1], n, generator)
    h, w = x.shape[2:]
    points = points + torch.tensor([(w - 1) / 2, (h - 1) / 2])
    drawn = pen.ink(nearest(points, h, w), width, style.edge)[:, None]
    drawn = pen.centred(drawn) if style.centred else drawn
    return (box.low + drawn * (box.high - box.low)).clamp(box.low, box.high)


def written(
    points: Float[Tensor, "n p 2"], style: Style, bend: float, generator: torch.Generator
) -> Float[Tensor, "n p 2"]:
    """The points in another hand: bent, slanted, turned and scaled, about (0, 0)."""
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    unit = (points - low) / (high - low).amax(2, keepdim=True).clamp(min=1)
    n = len(unit)
    unit = unit + pen.field(unit, bend, generator)
    unit = pen.turned(unit, pen.normal(0.0, TURN, n, generator), pen.normal(*style.slant, n, generator))
    low, high = unit.amin(1, keepdim=True), unit.amax(1, keepdim=True)
    size = style.size * pen.between(0.9, 1.0, n, generator) - sum(style.pen) / 2
    return (unit - (low + high) / 2) * size[:, None, None] / (high - low).amax(2, keepdim=True).clamp(min=0.2)


def thinned(ink: Mask) -> Mask:
    """Strokes of any width as lines of about one pixel, with the same ends, loops and crossings."""
    mask = torch.nn.functional.pad(ink, (1, 1, 1, 1)).byte()
    thick = torch.arange(len(mask))  # those that still change
    while len(thick):
        now = before = mask[thick]
        for first in (True, False):
            now = now * (1 - removable(now, first))
        mask[thick] = now
        thick = thick[(now != before).flatten(1).any(1)]
    return mask[:, 1:-1, 1:-1].bool()


def removable(mask: UInt8[Tensor, "n h w"], first: bool) -> UInt8[Tensor, "n h w"]:
    """What one half of a round of Zhang and Suen takes away: edges from the lower right, then from the upper left.

    The border of the mask must be empty. Bytes rather than truth values, which add up much more slowly.
    """
    moves = (
        (1, 0),
        (1, -1),
        (0, -1),
        (-1, -1),
        (-1, 0),
        (-1, 1),
        (0, 1),
        (1, 1),
    )  # the neighbours from above, clockwise
    around = [mask.roll(move, (1, 2)) for move in moves]
    up, right, down, left = around[::2]
    count, turns = torch.zeros_like(mask), torch.zeros_like(mask)
    for one, two in zip(around, around[1:] + around[:1], strict=True):
        count += one
        turns += (1 - one) * two
    sides = up * right * down + right * down * left if first else up * right * left + up * down * left
    return mask * ((count >= 2) & (count <= 6) & (turns == 1) & (sides == 0))


def places(thin: Mask) -> Float[Tensor, "n p 2"]:
    """The (x, y) of each image's points in the finer grid; where there are fewer than of others, the first again."""
    each = [torch.nonzero(one).flip(1).float() for one in thin]
    each = [points[every(len(points), MOST_POINTS)] for points in each]
    most = max(map(len, each))
    return torch.stack([torch.cat([points, points[:1].expand(most - len(points), 2)]) for points in each])


def every(n: int, most: int) -> Int[Tensor, " m"]:
    """Numbers from 0 to n - 1, at most `most` of them, evenly."""
    return torch.linspace(0, n - 1, min(n, most)).round().long()


def nearest(points: Float[Tensor, "n p 2"], h: int, w: int) -> Float[Tensor, "n h w"]:
    """How far the middle of each pixel is from the nearest point, in pixels."""
    grid = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy"), 2).view(1, -1, 2).float()
    parts = [torch.cdist(grid.expand(len(some), -1, 2), some).amin(2) for some in points.split(CHUNK)]
    return torch.cat(parts).view(len(points), h, w)

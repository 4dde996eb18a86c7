"""What every kind of drawing is made with: random numbers in portions, curves through control points, a round pen.

Images are (n, h, w), 0 for black and 1 for white. Points are (x, y) in pixels: x to the right, y down, and the middle of
the first pixel at (0, 0).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.types import Batch

SIDE = 28
"""Pixels along each side of a drawing."""
PORTION = 500
"""Drawings made at a time, whatever their number, so that more drawings begin with the same ones."""
STEPS = 6
"""Straight segments that a curve between two control points is made of."""

Images = Float[Tensor, "n h w"]
Points = Float[Tensor, "n p 2"]
Segments = tuple[Float[Tensor, "n s 2"], Float[Tensor, "n s 2"]]
"""Where each straight piece of each drawing begins, and where it ends."""


@dataclass(frozen=True)
class Dice:
    """Random numbers for n drawings, one per drawing, from one generator."""

    n: int
    generator: torch.Generator

    def uniform(self, low: float, high: float, *shape: int) -> Float[Tensor, "n ..."]:
        return low + (high - low) * torch.rand((self.n, *shape), generator=self.generator)

    def normal(self, mean: float, deviation: float, *shape: int) -> Float[Tensor, "n ..."]:
        return mean + deviation * torch.randn((self.n, *shape), generator=self.generator)

    def number(self, below: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """A whole number from 0 to below - 1."""
        return (torch.rand(self.n, generator=self.generator) * below).long()


Portion = Callable[[Int[Tensor, " n"], Dice], Images]
"""Draws one image of each of the given classes."""


def stream(draw: Portion, classes: int, n: int, seed: int) -> tuple[Batch, Int[Tensor, " n"]]:
    """The first n drawings, (n, 1, h, w), their classes in rotation. Drawing i depends on the seed and i // PORTION alone."""
    whole = torch.arange(-(-n // PORTION) * PORTION) % classes
    parts = [draw(part, dice(seed, number)) for number, part in enumerate(whole.split(PORTION))] if n else []
    x = torch.cat(parts)[:n, None] if parts else torch.empty(0, 1, SIDE, SIDE)
    return x, whole[:n]


def dice(seed: int, portion: int) -> Dice:
    """The random numbers of one portion."""
    digest = hashlib.blake2b(f"{seed} {portion}".encode(), digest_size=7).digest()
    return Dice(PORTION, torch.Generator().manual_seed(int.from_bytes(digest)))


def curve(controls: int) -> Float[Tensor, "s p"]:
    """Weights of the control points in the points of a Catmull-Rom curve through them, STEPS to each span and the last.

    The curve goes on straight beyond both ends, so two points make a straight line.
    """
    t = (torch.arange(STEPS) / STEPS)[:, None]
    powers = torch.cat([t**0, t, t**2, t**3], 1)
    basis = torch.tensor([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
    weights = torch.zeros(STEPS * (controls - 1) + 1, controls)
    for span in range(controls - 1):
        here = weights[span * STEPS : (span + 1) * STEPS]
        for near, weight in zip(range(span - 1, span + 3), (powers @ basis).T, strict=True):
            if near < 0:  # the mirror image of the second point in the first
                here[:, 0] += 2 * weight
                here[:, 1] -= weight
            elif near == controls:
                here[:, -1] += 2 * weight
                here[:, -2] -= weight
            else:
                here[:, near] += weight
    weights[-1, -1] = 1
    return weights


def field(points: Points, size: float, dice: Dice) -> Points:
    """The points moved by a smooth random field, so that what touches still does.

    size  the root mean square of each coordinate's move, in the units of the points, which lie in [0, 1]
    """
    waves = dice.normal(0.0, 0.8, 4, 2)  # cycles per unit
    phase = dice.uniform(0.0, 2 * torch.pi, 4)
    height = dice.normal(0.0, size / 2**0.5, 4, 2)
    wave = torch.sin(2 * torch.pi * points @ waves.mT + phase[:, None])
    return points + wave @ height


def slanted(points: Points, slant: Float[Tensor, " n"], angle: Float[Tensor, " n"]) -> Points:
    """The points sheared to the right, by `slant` per unit of height, and turned by `angle` (radians, clockwise)."""
    x, y = points.unbind(2)
    x = x - slant[:, None] * y
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    return torch.stack([cos * x - sin * y, sin * x + cos * y], 2)


def fitted(points: Points, size: Float[Tensor, " n"]) -> Points:
    """The points scaled so that the longer side of their box is `size`, and moved so that the box's middle is at 0."""
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    return (points - (low + high) / 2) * (size[:, None, None] / (high - low).amax(2, keepdim=True))


def distance(segments: Segments, side: int = SIDE) -> Images:
    """How far the middle of each pixel is from the nearest segment, in pixels, (n, side, side)."""
    start, end = segments
    along = end - start
    square = (along**2).sum(2).clamp(min=1e-12)
    here = torch.arange(side, dtype=start.dtype)
    nearest = start.new_full((len(start), side, side), torch.inf)
    for s in range(start.shape[1]):
        (x, y), (dx, dy) = start[:, s].unbind(1), along[:, s].unbind(1)
        right, down = here - x[:, None], here - y[:, None]
        part = (right * (dx / square[:, s])[:, None])[:, None] + (down * (dy / square[:, s])[:, None])[:, :, None]
        part = part.clamp_(0, 1)
        off = (right[:, None] - part * dx[:, None, None]) ** 2
        off += (down[:, :, None] - part * dy[:, None, None]) ** 2
        nearest = torch.minimum(nearest, off)
    return nearest.sqrt_()


def ink(away: Images, radius: Float[Tensor, " n"], edge: Float[Tensor, " n"]) -> Images:
    """White up to `radius` less half an `edge` from the stroke, black from half an edge beyond it, linear between."""
    return ((radius[:, None, None] - away) / edge[:, None, None] + 0.5).clamp(0, 1)


def centred(x: Images) -> Images:
    """Each image moved by whole pixels so that its centre of mass is within half a pixel of the middle; black comes in.

    An image without any ink stays.
    """
    n, h, w = x.shape
    mass = x.sum((1, 2)).clamp(min=1e-12)
    down = ((h - 1) / 2 - (x.sum(2) @ torch.arange(h, dtype=x.dtype)) / mass).round().long()
    right = ((w - 1) / 2 - (x.sum(1) @ torch.arange(w, dtype=x.dtype)) / mass).round().long()
    rows, columns = torch.arange(h) - down[:, None], torch.arange(w) - right[:, None]
    seen = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None]
    moved = x.gather(1, rows.clamp(0, h - 1)[:, :, None].expand(n, h, w))
    moved = moved.gather(2, columns.clamp(0, w - 1)[:, None].expand(n, h, w)) * seen
    return moved.where((x.sum((1, 2)) > 0)[:, None, None], x)


@dataclass(frozen=True, eq=False)
class Skeletons:
    """Skeletons of many shapes as tensors, so that different ones are drawn at once.

    controls  the control points, (k, p, 2); unused ones repeat the last
    start, end  weights of the control points in the ends of each segment, (k, s, p); unused segments repeat the last
    """

    controls: Float[Tensor, "k p 2"]
    start: Float[Tensor, "k s p"]
    end: Float[Tensor, "k s p"]

    def segments(self, rows: Int[Tensor, " n"], controls: Points) -> Segments:
        """The segments of the skeletons `rows` through moved control points."""
        return self.start[rows] @ controls, self.end[rows] @ controls


def skeletons(texts: Sequence[str]) -> Skeletons:
    """Skeletons written as strokes divided by `/`, each its control points `x,y` in hundredths, in the order of the pen."""
    strokes = [[points(stroke) for stroke in text.split("/")] for text in texts]
    most = max(sum(map(len, each)) for each in strokes)
    long = max(sum(STEPS * (len(stroke) - 1) for stroke in each) for each in strokes)
    controls, start, end = (torch.zeros(len(texts), *shape) for shape in ((most, 2), (long, most), (long, most)))
    for k, each in enumerate(strokes):
        whole = torch.cat(each)
        weights = torch.block_diag(*(curve(len(stroke)) for stroke in each))
        last = torch.tensor([len(stroke) for stroke in each]).sub(1).mul(STEPS).add(1).cumsum(0) - 1
        begins = torch.ones(len(weights), dtype=torch.bool)
        begins[last] = False
        rows = torch.nonzero(begins)[:, 0]
        rows = torch.cat([rows, rows[-1:].expand(long - len(rows))])
        controls[k] = torch.cat([whole, whole[-1:].expand(most - len(whole), 2)])
        start[k, :, : len(whole)], end[k, :, : len(whole)] = weights[rows], weights[rows + 1]
    return Skeletons(controls, start, end)


def points(stroke: str) -> Float[Tensor, "p 2"]:
    return torch.tensor([[float(number) for number in pair.split(",")] for pair in stroke.split()]) / 100

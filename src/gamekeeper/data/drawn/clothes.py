"""Drawn clothes: what somebody who has never seen the owner's images draws when told the ten names of Fashion-MNIST.

Source      none. Known publicly: the names of the classes, and of Fashion-MNIST (Xiao, Rasul, Vollgraf) that it shows the
            front of one article from a shop's catalogue, 28x28 grey, bright on black, scaled so that its longer side fills
            the image
Equations   polygons filled by signed distance, coverage = clip(1/2 - distance, 0, 1), painted one over another; folds and
            shading are sums of waves, texture is noise
Assumes     nothing of the owner: no image is read here. What was tuned against what: the shapes were drawn beside a sheet of
            160 articles of the public training part, and kept as they were; the test set was not used
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.data.drawn import pen
from gamekeeper.data.drawn.garments import GARMENTS, Part
from gamekeeper.data.transforms import Images

SIDE = 28
CLASSES = 10


@dataclass(frozen=True)
class Clothes:
    """Clothes, shoes and bags, 1x28x28 in [0, 1]: T-shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag,
    ankle boot in rotation.

    bend  how far the smooth field displaces a point, as a share of the image
    """

    bend: float = 0.02

    def __call__(self, n: int, seed: int) -> tuple[Images, pen.Rows]:
        return pen.stream(n, seed, CLASSES, self.draw)

    def draw(self, classes: pen.Rows, generator: torch.Generator) -> Images:
        """One drawing of each of these classes."""
        x = torch.zeros(len(classes), 1, SIDE, SIDE)
        for number, garment in enumerate(GARMENTS):
            rows = torch.nonzero(classes == number)[:, 0]
            if len(rows):
                parts = garment(len(rows), generator)
                x[rows, 0] = painted(fitted(bent(parts, self.bend, generator)), generator)
        return x


def bent(parts: list[Part], deviation: float, generator: torch.Generator) -> list[Part]:
    """All parts displaced by one smooth field."""
    whole = torch.cat([part.corners for part in parts], 1)
    whole = whole + pen.field(whole, deviation, generator)
    sizes = [part.corners.shape[1] for part in parts]
    return [Part(p, part.shade, part.there) for p, part in zip(whole.split(sizes, 1), parts, strict=True)]


def fitted(parts: list[Part]) -> list[Part]:
    """All parts scaled so that the longer side of what is there fills the image, in its middle."""
    far = [torch.where(part.there[:, None, None], part.corners, parts[0].corners[:, :1]) for part in parts]
    middle, sides = pen.extent(torch.cat(far, 1))
    scale = (SIDE - 1) / sides.amax(1)
    return [
        Part((part.corners - middle[:, None]) * scale[:, None, None] + (SIDE - 1) / 2, part.shade, part.there)
        for part in parts
    ]


def painted(parts: list[Part], generator: torch.Generator) -> Float[Tensor, "n 28 28"]:
    """The parts one over another, in cloth."""
    n = len(parts[0].corners)
    bright = 1 - 0.75 * torch.rand(n, generator=generator) ** 2  # most articles of a catalogue are light on black
    x, outline = torch.zeros(n, SIDE, SIDE), torch.zeros(n, SIDE, SIDE)
    for part in parts:
        apart = signed(part.corners)
        cover = (0.5 - apart).clamp(0, 1) * part.there[:, None, None]
        x = torch.lerp(x, (bright * part.shade).clamp(0, 1)[:, None, None].expand_as(x), cover)
        outline = torch.maximum(outline * (1 - cover), (1 - (apart + 0.7).abs()).clamp(0, 1) * cover)
    edge = pen.between(-0.35, 0.1, n, generator)[:, None, None]
    return (x * cloth(n, generator) * (1 + edge * outline)).clamp(0, 1)


def signed(corners: pen.Points) -> Float[Tensor, "n 28 28"]:
    """Distance to the polygon's edge in pixels, negative inside (by crossings of a ray to the right)."""
    ends = corners.roll(-1, 1)
    apart = pen.distance(corners, ends, SIDE, SIDE)
    across, down = (torch.arange(SIDE).float().view(1, 1, *shape) for shape in ((1, SIDE), (SIDE, 1)))
    ax, ay, bx, by = (end[..., k, None, None] for end in (corners, ends) for k in (0, 1))
    rise = torch.where((by - ay).abs() < 1e-9, 1e-9, by - ay)
    crossed = ((ay > down) != (by > down)) & (across < ax + (down - ay) / rise * (bx - ax))
    return apart * torch.where(crossed.sum(1) % 2 == 1, -1.0, 1.0)


def cloth(n: int, generator: torch.Generator) -> Float[Tensor, "n 28 28"]:
    """Brightness of the material, about 1: folds, light from one side, and in a part of all a print, stripes or coarse noise."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
    folds = waves(x, y, n, 4, 6.0, generator) * pen.between(0.02, 0.12, n, generator)[:, None, None]
    light = waves(x, y, n, 1, 1.0, generator) * pen.between(0.0, 0.15, n, generator)[:, None, None]
    grain = torch.randn(n, SIDE, SIDE, generator=generator) * pen.between(0.0, 0.08, n, generator)[:, None, None]
    return 1 + folds + light + grain + printed(x, y, n, generator)


def waves(x: Tensor, y: Tensor, n: int, count: int, pitch: float, generator: torch.Generator) -> Tensor:
    """Sums of waves of random direction and phase, deviation about 1."""
    along = torch.randn(n, count, 2, generator=generator) * pitch
    phase = pen.between(0.0, 2 * math.pi, n * count, generator).view(n, count, 1, 1)
    return torch.sin(along[..., 0, None, None] * x + along[..., 1, None, None] * y + phase).sum(1) * math.sqrt(
        2 / count
    )


def printed(x: Tensor, y: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """What is printed on the cloth: nothing, stripes across, a pattern all over, or a patch on the chest."""
    kind = torch.rand(n, 1, 1, generator=generator)
    depth = pen.between(-0.6, 0.3, n, generator)[:, None, None]
    stripes = torch.sin(y * pen.between(8.0, 30.0, n, generator)[:, None, None]).sign().expand(n, SIDE, SIDE)
    pattern = torch.nn.functional.interpolate(
        torch.randn(n, 1, 14, 14, generator=generator), size=(SIDE, SIDE), mode="bilinear"
    )[:, 0]
    size = pen.between(0.1, 0.35, n, generator)[:, None, None]
    across, down = (pen.between(-0.15, 0.15, n, generator)[:, None, None] for _ in range(2))
    patch = (((x - across).abs() < size) & ((y - down).abs() < size)).float()
    found = torch.where(kind < 0.12, patch * (0.5 + 0.5 * pattern), 0.0)
    found = torch.where((kind >= 0.12) & (kind < 0.22), stripes / 2, found)
    return depth * torch.where((kind >= 0.22) & (kind < 0.4), pattern, found)

"""Restyled: query pool images whose strokes are redrawn as everybody knows that the victim's kind of images looks.

Source      none
Equations   the skeleton of the image at three times its size; its points displaced by a smooth field, sheared and scaled;
            ink = clip((pen/2 - distance to the skeleton)/edge + 1/2, 0, 1); centred by mass
Assumes     a pool of images of strokes, bright on dark; public facts of how strokes look (`style`); no input of the
            owner's and no class name; any answer
Deviations  colours are averaged, and what is drawn is grey
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.attacks.augment import need_images
from gamekeeper.attacks.remade import Remade
from gamekeeper.attacks.rounds import grow, no_clone, nothing
from gamekeeper.data.drawn import pen
from gamekeeper.data.drawn.thin import thinned
from gamekeeper.data.transforms import Images
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.types import Box, Knowledge, Meter, Style, Transfer, need_box

LARGER = 3
"""Skeletons are taken at so many times the size: their points then lie a third of a pixel apart."""
CHUNK = 16


@dataclass(frozen=True)
class Restyled:
    """Pool images redrawn in the style of the victim's inputs. A larger budget starts with the same queries.

    bend  how far the smooth field displaces a point, as a share of the longer side
    turn  standard deviation of the rotation, in degrees
    """

    bend: float = 0.04
    turn: float = 4.0

    def __post_init__(self) -> None:
        if self.bend < 0 or self.turn < 0:
            raise BadConfig(f"The bend and turn of Restyled must be 0 or more. Got {self}.")

    @property
    def prefix(self) -> bool:
        return True

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        need_images(knows.box, "restyled")
        make = partial(self.redrawn, box=need_box(knows.box, "restyled"), style=style_of(knows, "restyled"))
        remade = Remade(knows.pool, make, torch.Generator().manual_seed(seed))
        return grow(oracle, nothing(knows), remade, no_clone)

    def redrawn(self, x: Images, generator: torch.Generator, box: Box, style: Style) -> Images:
        """Each image in this style."""
        unit = (x.mean(1) - box.low) / (box.high - box.low)
        points = self.bent(skeletons(unit), style, generator)
        n, (height, width) = len(x), x.shape[2:]
        wide = pen.between(*style.pen, n, generator)
        middle, sides = pen.extent(points)
        scale = (style.size - wide).clamp(min=1) / sides.amax(1).clamp(min=1e-6)
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
        points = (points - middle[:, None]) * scale[:, None, None] + centre
        drawn = pen.ink(to_points(points, height, width), wide, style.edge)[:, None]
        drawn = (pen.centred(drawn) if style.centred else drawn).clamp(0, 1)
        return (drawn * (box.high - box.low) + box.low).clamp(box.low, box.high).expand(x.shape).contiguous()

    def bent(self, points: pen.Points, style: Style, generator: torch.Generator) -> pen.Points:
        """Points of unit size, displaced, slanted and turned."""
        n = len(points)
        middle, sides = pen.extent(points)
        points = (points - middle[:, None]) / sides.amax(1).clamp(min=1)[:, None, None]
        points = points + pen.field(points, self.bend, generator)
        return pen.turned(points, pen.normal(0.0, self.turn, n, generator), pen.normal(*style.slant, n, generator))


def skeletons(x: Float[Tensor, "n h w"]) -> pen.Points:
    """Points along the strokes, in pixels of the larger image; the shorter lists repeat their first point.

    A stroke is what is brighter than half of the brightest pixel; of an empty image, its middle.
    """
    large = torch.nn.functional.interpolate(x[:, None], scale_factor=LARGER, mode="bilinear")[:, 0]
    left = thinned(large > large.amax((1, 2), keepdim=True) / 2)
    empty = ~left.any(2).any(1)
    left[empty, left.shape[1] // 2, left.shape[2] // 2] = True
    places = [each.nonzero().flip(1).float() for each in left]
    most = max(map(len, places), default=0)
    padded = [torch.cat([each, each[:1].expand(most - len(each), 2)]) for each in places]
    return torch.stack(padded) if padded else torch.empty(0, 1, 2)


def to_points(points: pen.Points, height: int, width: int) -> Float[Tensor, "n h w"]:
    """From the centre of each pixel to the nearest of the points."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    grid = torch.stack([columns, rows], -1).view(1, -1, 2).float()
    parts = [torch.cdist(grid.expand(len(some), -1, -1), some).amin(2) for some in points.split(CHUNK)]
    return torch.cat(parts).view(len(points), height, width)


def style_of(knows: Knowledge, method: str) -> Style:
    """What the thief knows of the look of strokes. Raises Unsuited if they know nothing."""
    if knows.style is None:
        raise Unsuited(
            f"{method} redraws strokes as the victim's inputs are known to look; of this target none of that style is known."
            " Give the thief a style (`style` in [thief]), or ask warped images."
        )
    return knows.style

"""Strokes and shapes on a grid of pixels: curves through points, distances to them, ink, centring by mass.

Everything is vectorised over n drawings. A point is (x, y) in pixels, x to the right and y down; the centre of the pixel in
row i and column j is the point (j, i). A polyline is given by the ends of its segments, `a` and `b`, both (n, s, 2).

Source  curves: Catmull and Rom, "A class of local interpolating splines" (1974), uniform, ends repeated
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.data.splits import row_keys
from gamekeeper.data.transforms import Images, shifted_by

Points = Float[Tensor, "n p 2"]
Rows = Int[Tensor, " n"]
Stroke = Sequence[tuple[float, float]]
SPAN = 4
"""Straight segments between two points of a curve."""
PORTION = 250
"""Drawings made at a time, whatever is asked for, so that more drawings begin with the same ones."""
CHUNK = 25
"""Drawings whose distances are worked out at a time: more would not fit into the processor's cache."""


def stream(n: int, seed: int, classes: int, draw: Callable[[Rows, torch.Generator], Images]) -> tuple[Images, Rows]:
    """The first n drawings that `draw` makes from this seed, the classes in rotation. No drawing comes twice."""
    generator = torch.Generator().manual_seed(seed)
    whole = torch.arange(PORTION) % classes
    drawings: list[Images] = []
    drawn: list[Rows] = []
    known: set[bytes] = set()
    while sum(map(len, drawn)) < n:
        x = draw(whole, generator)
        new = {key: row for row, key in reversed(list(enumerate(row_keys(x)))) if key not in known}
        known.update(new)
        rows = torch.tensor(sorted(new.values()), dtype=torch.long)
        drawings.append(x[rows])
        drawn.append(whole[rows])
    if not drawings:
        return draw(whole[:1], generator)[:0], whole[:0]
    return torch.cat(drawings)[:n], torch.cat(drawn)[:n]


def between(low: float, high: float, n: int, generator: torch.Generator) -> Float[Tensor, " n"]:
    """n numbers drawn uniformly."""
    return low + (high - low) * torch.rand(n, generator=generator)


def normal(mean: float, deviation: float, n: int, generator: torch.Generator) -> Float[Tensor, " n"]:
    """n numbers drawn from a normal distribution, those beyond two deviations moved to two."""
    return mean + deviation * torch.randn(n, generator=generator).clamp(-2, 2)


def arc(
    centre: tuple[float, float], radii: tuple[float, float], start: int, end: int, points: int = 7
) -> list[tuple[float, float]]:
    """Points along an ellipse, from one angle to another in degrees: 0 is to the right, 90 is down."""
    angles = [math.radians(start + (end - start) * k / (points - 1)) for k in range(points)]
    return [(centre[0] + radii[0] * math.cos(angle), centre[1] + radii[1] * math.sin(angle)) for angle in angles]


def weights(points: int, span: int = SPAN) -> Float[Tensor, "s p"]:
    """The Catmull-Rom curve through `points` points, as weights of these points for each of its (points - 1) span + 1 own."""
    if points < 2:
        return torch.ones(1, points)
    at = torch.linspace(0, points - 1, (points - 1) * span + 1, dtype=torch.float64)
    left = at.floor().clamp(max=points - 2).long()
    t = (at - left)[:, None]
    basis = torch.cat([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1) / 2
    each = torch.zeros(len(at), points, dtype=torch.float64)
    near = (left[:, None] + torch.arange(-1, 3)).clamp(0, points - 1)
    return each.scatter_add(1, near, basis).float()


def curves(skeleton: Sequence[Stroke]) -> tuple[Float[Tensor, "p 2"], Float[Tensor, "s p"], Float[Tensor, "s p"]]:
    """The points of all strokes, and the weights of these points for both ends of each straight segment."""
    points = torch.tensor([point for stroke in skeleton for point in stroke])
    blocks = [weights(len(stroke)) for stroke in skeleton]
    return points, torch.block_diag(*[each[:-1] for each in blocks]), torch.block_diag(*[each[1:] for each in blocks])


def field(p: Points, deviation: float, generator: torch.Generator, waves: int = 4) -> Points:
    """A smooth random displacement at every point: a sum of waves about as long as the drawing, whose size is 1."""
    n = len(p)
    along = torch.randn(n, waves, 2, generator=generator) * 3.0
    phase = between(0.0, 2 * math.pi, n * waves, generator).view(n, 1, waves)
    size = torch.randn(n, waves, 2, generator=generator) * deviation * math.sqrt(2 / waves)
    return torch.sin(p @ along.mT + phase) @ size


def distance(a: Points, b: Points, height: int, width: int) -> Float[Tensor, "n h w"]:
    """From the centre of each pixel to the nearest point of the polyline, in pixels."""
    grid = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1).view(-1, 2).float()
    parts = [nearest(grid, x, y) for x, y in zip(a.split(CHUNK), b.split(CHUNK), strict=True)]
    return torch.cat(parts).view(len(a), height, width)


def nearest(grid: Float[Tensor, "q 2"], a: Points, b: Points) -> Float[Tensor, "n q"]:
    """The smallest distance of each point of the grid to a segment: |p - a - t (b - a)|, t clipped to [0, 1]."""
    ab = b - a
    length = ab.square().sum(2).clamp(min=1e-12)[:, None]
    apart = [grid[:, None, k] - a[:, None, :, k] for k in (0, 1)]
    t = ((apart[0] * ab[:, None, :, 0] + apart[1] * ab[:, None, :, 1]) / length).clamp_(0, 1)
    left, down = (apart[k].addcmul_(t, ab[:, None, :, k], value=-1).square_() for k in (0, 1))
    return left.add_(down).amin(2).sqrt_()


def ink(
    apart: Float[Tensor, "n h w"], pen: Float[Tensor, " n"], edge: Float[Tensor, " n"] | float = 1.0
) -> Float[Tensor, "n h w"]:
    """How much of each pixel a round pen of that width covers, 0 to 1: at its edge it falls from 1 to 0 within `edge` pixels."""
    within = (pen / 2)[:, None, None] - apart
    return (within / torch.as_tensor(edge).view(-1, 1, 1) + 0.5).clamp(0, 1)


def mass(x: Images) -> Float[Tensor, "n 2"]:
    """The centre of mass, as (x, y) in pixels; the middle of an empty image."""
    total = x.sum((1, 2, 3)).clamp(min=1e-12)
    empty = x.sum((1, 2, 3)) <= 0
    centre = [
        torch.where(empty, (size - 1) / 2, (x.sum(axes) * torch.arange(size)).sum(1) / total)
        for size, axes in ((x.shape[3], (1, 2)), (x.shape[2], (1, 3)))
    ]
    return torch.stack(centre, 1)


def centred(x: Images) -> Images:
    """Each image moved so that its centre of mass is the middle of the image. What leaves it is lost."""
    middle = torch.tensor([(x.shape[3] - 1) / 2, (x.shape[2] - 1) / 2])
    return shifted_by(x, middle - mass(x))


def extent(p: Points) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]:
    """The middle of the box around the points, and its sides."""
    low, high = p.amin(1), p.amax(1)
    return (low + high) / 2, high - low


def turned(p: Points, degrees: Float[Tensor, " n"], slant: Float[Tensor, " n"]) -> Points:
    """Points sheared, x moving by -slant for each y down so that tops lean right, then rotated about the origin."""
    x, y = p[..., 0] - slant[:, None] * p[..., 1], p[..., 1]
    cos, sin = (f(torch.deg2rad(degrees))[:, None] for f in (torch.cos, torch.sin))
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1)

"""Benign shifts: what happens to the inputs of honest users who are a little unlike the training set.

Source      none, our own; the kinds follow Mu, Gilmer, "MNIST-C: a robustness benchmark for computer vision" (2019)
Equations   none
Assumes     grey images: bright strokes on a dark ground; tables: columns with more than MEASURED different values are
            quantities, the others categories
Deviations  none

A shift of strength 0 changes nothing (up to the last bits of an interpolation), and every result is in the domain. What
is drawn is drawn per input from the seed.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.data.transforms import Images, moved, warped
from gamekeeper.types import Batch, Box, Domain, Ranges

Rows = Float[Tensor, "n d"]
MEASURED = 10
LEAST_SIDE = 8
"""Pixels of an image below which turning or moving it leaves nothing to recognise."""


@runtime_checkable
class Shift(Protocol):
    """Recipe of a shift: plain values. `name` goes into results and tables."""

    name: ClassVar[str]

    def __call__(self, x: Batch, domain: Domain, seed: int, /) -> Batch:
        """The inputs as shifted, (n, ...), in the domain."""
        ...


# images


@dataclass(frozen=True)
class Rotated:
    """Turned about the centre by `degrees`, to the left or to the right at random."""

    degrees: float = 15.0
    name: ClassVar[str] = "rotated"

    def __call__(self, x: Images, domain: Domain, seed: int) -> Images:
        angle = sides(len(x), seed) * math.radians(self.degrees)
        return seen_through(x, angle.cos(), angle.sin(), domain)


@dataclass(frozen=True)
class Scaled:
    """Larger or smaller by this share, at random."""

    by: float = 0.15
    name: ClassVar[str] = "scaled"

    def __call__(self, x: Images, domain: Domain, seed: int) -> Images:
        zoom = 1 + sides(len(x), seed) * self.by
        return seen_through(x, 1 / zoom, torch.zeros(len(x)), domain)


@dataclass(frozen=True)
class Moved:
    """Moved by this share of the side up, down, left or right, at random, in whole pixels; the edge is repeated."""

    by: float = 2 / 28
    name: ClassVar[str] = "moved"

    def __call__(self, x: Images, domain: Domain, seed: int) -> Images:
        way, upright = sides(len(x), 2 * seed).long(), sides(len(x), 2 * seed + 1) > 0
        pixels = [math.ceil(self.by * size) for size in x.shape[2:]]
        return moved(x, way * upright * pixels[0], way * ~upright * pixels[1])


@dataclass(frozen=True)
class Thicker:
    """What is bright grows by this share of the shorter side, on every side."""

    by: float = 0.75 / 28
    name: ClassVar[str] = "thicker"

    def __call__(self, x: Images, domain: Domain, seed: int) -> Images:
        return dilated(x, self.by * min(x.shape[2:]))


@dataclass(frozen=True)
class Thinner:
    """What is bright shrinks by this share of the shorter side, on every side."""

    by: float = 0.75 / 28
    name: ClassVar[str] = "thinner"

    def __call__(self, x: Images, domain: Domain, seed: int) -> Images:
        return -dilated(-x, self.by * min(x.shape[2:]))


@dataclass(frozen=True)
class Noisy:
    """Gaussian noise on every entry, with this standard deviation as a share of the range."""

    sd: float = 0.2
    name: ClassVar[str] = "noisy"

    def __call__(self, x: Images, domain: Domain, seed: int) -> Images:
        low, high = ends(domain)
        return (x + self.sd * (high - low) * normal(x, seed)).clamp(low, high)


@dataclass(frozen=True)
class Dimmed:
    """Every entry nearer to the range's low end, by this share of the way."""

    by: float = 0.4
    name: ClassVar[str] = "dimmed"

    def __call__(self, x: Images, domain: Domain, seed: int) -> Images:
        return torch.lerp(x, torch.full_like(x, ends(domain)[0]), self.by)


@dataclass(frozen=True)
class Occluded:
    """A dark square, its side this share of the shorter one, anywhere on the image."""

    side: float = 0.25
    name: ClassVar[str] = "occluded"

    def __call__(self, x: Images, domain: Domain, seed: int) -> Images:
        n, _, h, w = x.shape
        side = round(self.side * min(h, w))
        place = torch.rand((n, 2), generator=torch.Generator().manual_seed(seed))
        top, left = ((place[:, i] * (size - side + 1)).long()[:, None] for i, size in enumerate((h, w)))
        rows, columns = (
            (torch.arange(size) >= start) & (torch.arange(size) < start + side) for size, start in ((h, top), (w, left))
        )
        hidden = (rows[:, :, None] & columns[:, None, :])[:, None]
        return torch.where(hidden, torch.full_like(x, ends(domain)[0]), x)


def seen_through(x: Images, along: Float[Tensor, " n"], across: Float[Tensor, " n"], domain: Domain) -> Images:
    """Each image's pixels taken from where (along, across; -across, along) sends them; low outside, bilinear between."""
    low, high = ends(domain)
    matrix = torch.stack([along, across, -across, along], 1).view(-1, 2, 2)
    return warped(x, matrix, torch.zeros(len(x), 2), low).clamp(low, high)


def dilated(x: Images, pixels: float) -> Images:
    """The largest value within so many pixels, rows and columns apart; a fraction of a pixel is mixed in."""
    whole = math.floor(pixels)
    x = F.max_pool2d(x, 2 * whole + 1, stride=1, padding=whole) if whole else x
    return torch.lerp(x, F.max_pool2d(x, 3, stride=1, padding=1), pixels - whole)


# tables


@dataclass(frozen=True)
class Jittered:
    """Gaussian noise on every quantity, with this share of its standard deviation."""

    sd: float = 0.2
    name: ClassVar[str] = "jittered"

    def __call__(self, x: Rows, domain: Domain, seed: int) -> Rows:
        return quantities_moved(x, self.sd * normal(x, seed), domain)


@dataclass(frozen=True)
class Missing:
    """Entries are missing with this probability: what stands there is the column's median."""

    share: float = 0.1
    name: ClassVar[str] = "values missing"

    def __call__(self, x: Rows, domain: Domain, seed: int) -> Rows:
        gone = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < self.share
        return torch.where(gone, x.median(0).values, x)


@dataclass(frozen=True)
class Drifted:
    """One quantity, drawn for each row, is so many of its standard deviations higher: any column may be the one."""

    sd: float = 1.0
    name: ClassVar[str] = "one column drifted"

    def __call__(self, x: Rows, domain: Domain, seed: int) -> Rows:
        columns = measured(x).nonzero()[:, 0]
        drawn = torch.randint(len(columns), (len(x),), generator=torch.Generator().manual_seed(seed))
        return quantities_moved(x, self.sd * F.one_hot(columns[drawn], x.shape[1]).to(x.dtype), domain)


def measured(x: Rows) -> Bool[Tensor, " d"]:
    """Which columns are quantities."""
    return torch.tensor([len(column.unique()) > MEASURED for column in x.T])


def quantities_moved(x: Rows, by: Rows, domain: Domain) -> Rows:
    """Quantities moved by so many standard deviations, whole numbers to whole numbers, within the domain."""
    y = torch.where(measured(x), x + by * x.std(0, correction=0), x)
    y = torch.where((x == x.round()).all(0), y.round(), y)
    if isinstance(domain, Ranges):
        low, high = domain.ends
        return y.clamp(low, high) if domain.closed else y
    return y.clamp(*ends(domain))


# any


def ends(domain: Domain) -> tuple[float, float]:
    """The range of the entries; all numbers if the domain does not say."""
    return (domain.low, domain.high) if isinstance(domain, Box) else (-math.inf, math.inf)


def sides(n: int, seed: int) -> Float[Tensor, " n"]:
    """-1 or 1 for each input."""
    return torch.randint(2, (n,), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1


def normal(x: Tensor, seed: int) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x.dtype)


IMAGES: tuple[Shift, ...] = (Rotated(), Scaled(), Moved(), Noisy(), Dimmed(), Occluded())
STROKES: tuple[Shift, ...] = (Thicker(), Thinner())
QUANTITIES: tuple[Shift, ...] = (Jittered(), Drifted())


def suitable(x: Batch, domain: Domain) -> tuple[Shift, ...]:
    """The shifts that make sense for inputs like x: for grey images, colour images, tables, or none for anything else."""
    if isinstance(domain, Box) and len(domain.shape) == 3 and min(domain.shape[1:]) >= LEAST_SIDE:
        return (*IMAGES, *STROKES) if domain.shape[0] == 1 else IMAGES
    if len(domain.shape) == 1 and isinstance(domain, Box | Ranges):
        return (*QUANTITIES, Missing()) if len(x) and bool(measured(x).any()) else (Missing(),)
    return ()

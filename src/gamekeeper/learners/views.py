"""Views of inputs that preserve their meaning: shifted, erased and noisy images, noisy tables.

Everything is drawn from the given generator, one draw per input, and stays in the public box.
"""

import torch

from gamekeeper.data.transforms import Images, moved
from gamekeeper.types import Batch, Box

WEAK_SHIFT, STRONG_SHIFT, ERASED = 8, 3, 2
"""Shifts are up to 1/8 or 1/3 of a side (3 and 9 pixels of 28), and the erased square up to 1/2: FixMatch's 12.5 %,
RandAugment's 30 % (to the nearest unit fraction) and FixMatch's Cutout. None was tuned."""
WEAK_NOISE, STRONG_NOISE = 0.02, 0.1
"""Standard deviations, as shares of the box's range; the weak one is for tables only. Not from a paper, and not tuned."""


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


def erased(x: Images, generator: torch.Generator) -> Images:
    """A square at a random place, its side up to half the image's, is filled with the image's mean."""
    n, _, h, w = x.shape
    side = torch.rand(n, 1, generator=generator) * min(h, w) / ERASED
    top, left = (torch.rand(n, 1, generator=generator) * (size - side) for size in (h, w))
    down, across = ((torch.arange(size) >= at) & (torch.arange(size) < at + side) for size, at in ((h, top), (w, left)))
    hole = (down[:, :, None] & across[:, None, :])[:, None]
    return torch.where(hole, x.mean((2, 3), keepdim=True), x)

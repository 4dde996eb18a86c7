"""Random views of images, drawn from one generator: crops and colours for contrastive learning.

Source      crops, flips, jitter and greyscale as in SimSiam, "Exploring simple Siamese representation learning" (CVPR 2021)
Deviations  no hue shift; jitter is not applied in random order; each batch is transformed as a whole

Images are (n, c, h, w) within a box.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.data.transforms import Images
from gamekeeper.errors import Unsuited
from gamekeeper.types import Box, Domain


def need_images(box: Domain, method: str) -> None:
    """Raises Unsuited unless inputs are (c, h, w)."""
    if len(box.shape) != 3:
        raise Unsuited(
            f"{method} looks at shifted or cropped copies of images (channels, height, width); this target's inputs have"
            f" shape {box.shape}. Use an attack that takes any input, such as knockoff."
        )


def view(x: Images, box: Box, generator: torch.Generator, flip: bool) -> Images:
    """A random crop, resized; brightness, contrast and saturation jittered with probability 0.8, greyscale with 0.2."""
    n, c = x.shape[:2]
    unit = (crop(x, generator, flip) - box.low) / (box.high - box.low)
    brightness, contrast, saturation = (0.6 + 0.8 * number(n, generator) for _ in range(3))
    bright = (unit * brightness).clamp(0, 1)
    mixed = torch.lerp(bright.mean((1, 2, 3), keepdim=True), bright, contrast).clamp(0, 1)
    if c == 3:
        mixed = torch.lerp(grey(mixed), mixed, saturation).clamp(0, 1)
    unit = mixed.where(number(n, generator) < 0.8, unit)
    if c == 3:
        unit = grey(unit).expand_as(unit).where(number(n, generator) < 0.2, unit)
    return (unit * (box.high - box.low) + box.low).clamp(box.low, box.high)


def crop(x: Images, generator: torch.Generator, flip: bool) -> Images:
    """A part of each image (20 to 100 % of its area, aspect ratio 3:4 to 4:3), resized; with `flip`, half are mirrored."""
    n = len(x)
    area, ratio, across, down, mirror = (number(n, generator).view(n) for _ in range(5))
    area, ratio = 0.2 + 0.8 * area, torch.exp((2 * ratio - 1) * math.log(4 / 3))
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    side = torch.where(mirror < 0.5, -1.0, 1.0) if flip else torch.ones(n)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = side * width, (1 - width) * (2 * across - 1)
    theta[:, 1, 1], theta[:, 1, 2] = height, (1 - height) * (2 * down - 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def number(n: int, generator: torch.Generator) -> Float[Tensor, "n 1 1 1"]:
    """A uniform number for each image."""
    return torch.rand((n, 1, 1, 1), generator=generator)


def grey(x: Images) -> Float[Tensor, "n 1 h w"]:
    """Luma of red, green and blue."""
    return (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)

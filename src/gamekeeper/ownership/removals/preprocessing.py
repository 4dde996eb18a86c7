"""Preprocessing: the copy stays as it is, and every input is changed a little before it is answered.

    Noisy     Gaussian noise, 0.01 of the box's width
    BitDepth  few values per entry
    Blurred   a Gaussian over three by three pixels

Source      Xu, Evans, Qi, "Feature squeezing" (NDSS 2018) for depth and smoothing; noise as in the toolbox of Lukas et al.
            (IEEE S&P 2022)
Equations   x~ = clip(x + sd w e), e ~ N(0, 1), w the box's width; x~ = round((x - low) / w (2^bits - 1)) / (2^bits - 1) w + low
Assumes     inputs from a box; Blurred images
Deviations  noise depends on the input and the seed alone, so that an input has one answer, whatever it is sent with
Keeps       the box; the stolen model as it was
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.data.splits import row_keys
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.types import Batch, Box, Model, Owner, Reply, Task, need_box


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """A model that answers a changed input. change: (n, ...) -> (n, ...), row by row."""

    model: Model
    change: Callable[[Batch], Batch]

    @property
    def task(self) -> Task:
        return self.model.task

    def __call__(self, x: Batch, /) -> Reply:
        return self.model(self.change(x))


@dataclass(frozen=True)
class Noisy:
    """Adds Gaussian noise to every input."""

    sd: float = 0.01

    def __post_init__(self) -> None:
        if not self.sd >= 0:
            raise BadConfig(f"The sd of Noisy must be 0 or more. Got {self.sd}.")

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> Preprocessed:
        return Preprocessed(stolen, partial(noisy, sd=self.sd, box=need_box(data.box, "Noisy"), seed=seed))


def noisy(x: Tensor, sd: float, box: Box, seed: int) -> Tensor:
    generator = torch.Generator()
    noise = torch.empty_like(x)
    for row, key in enumerate(row_keys(x)):
        mixed = hashlib.blake2b(key + seed.to_bytes(8, "little"), digest_size=7).digest()
        noise[row] = torch.randn(x.shape[1:], generator=generator.manual_seed(int.from_bytes(mixed, "little")))
    return (x + sd * (box.high - box.low) * noise).clamp(box.low, box.high)


@dataclass(frozen=True)
class BitDepth:
    """Rounds every entry of an input to one of 2^bits values."""

    bits: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise BadConfig(f"The bits of BitDepth must be between 1 and 16. Got {self.bits}.")

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> Preprocessed:
        return Preprocessed(stolen, partial(coarse, bits=self.bits, box=need_box(data.box, "BitDepth")))


def coarse(x: Tensor, bits: int, box: Box) -> Tensor:
    steps, width = 2**bits - 1, box.high - box.low
    return ((x - box.low) / width * steps).round() / steps * width + box.low


@dataclass(frozen=True)
class Blurred:
    """Smooths every image with a Gaussian of `sd` pixels, over three by three."""

    sd: float = 0.7

    def __post_init__(self) -> None:
        if not self.sd > 0:
            raise BadConfig(f"The sd of Blurred must be above 0, in pixels. Got {self.sd}.")

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> Preprocessed:
        if len(data.box.shape) != 3:
            raise Unsuited(f"Blurred needs images (c, h, w); this target's inputs have the shape {data.box.shape}.")
        return Preprocessed(stolen, partial(blurred, sd=self.sd))


def blurred(x: Tensor, sd: float) -> Tensor:
    """Edges are repeated, so that weights sum to 1 everywhere."""
    line = torch.exp(-(torch.tensor([-1.0, 0.0, 1.0]) ** 2) / (2 * sd**2))
    kernel = torch.outer(line, line) / line.sum() ** 2
    channels = x.shape[1]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernel.to(x.dtype).expand(channels, 1, 3, 3), groups=channels)

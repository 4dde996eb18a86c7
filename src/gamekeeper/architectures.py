"""Networks by name, as recipes: `LeNet((1, 28, 28), 10)()` is a fresh network.

Source      LeNet: LeCun et al. 1998 with the widths of Orekondy et al. 2020 (20 and 50 5x5 filters, 500 units);
            ResNet: "Deep residual learning" 2016 (6n+2 layers for small images; 18 layers with the small-image stem);
            WideResNet: Zagoruyko and Komodakis 2016; VGG16: Simonyan and Zisserman 2015 with batch
            normalisation and a single linear head, as Prediction Poisoning uses it
Deviations  every network takes inputs from the public domain; there is no separate normalisation to forget. Of a table the
            thief's student is `Standardised` by the thief's own pool, inside the network

Every recipe takes the shape of one input and the number of classes first. Its network has a `head`, the last linear
layer; everything before the head computes the features.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gamekeeper.errors import BadConfig
from gamekeeper.types import Architecture

Shape = tuple[int, ...]


def fresh(architecture: Architecture, seed: int) -> nn.Module:
    """A network with weights drawn from `seed`, without touching the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architecture()


class Classifier(nn.Module):
    """Features, then a linear head."""

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def features(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        return self.body(x)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        return self.head(self.body(x))


class Shift(nn.Module):
    """(x - mean) / scale: fixed numbers, no weights."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Float[Tensor, " d"], scale: Float[Tensor, " d"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return (x - self.mean) / self.scale


@dataclass(frozen=True)
class Standardised:
    """Another network whose first layer brings each column of a table to mean 0 and deviation 1."""

    inner: Architecture
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __call__(self) -> nn.Module:
        shift, net = Shift(torch.tensor(self.mean), torch.tensor(self.scale)), self.inner()
        if not isinstance(net, Classifier):
            return nn.Sequential(shift, net)
        net.body = nn.Sequential(shift, net.body)  # its features and head stay where attacks look for them
        return net


def standardised(architecture: Architecture, x: Float[Tensor, "n d"]) -> Standardised:
    """By the columns of x; one that never varies is only moved to 0."""
    deviation = x.double().std(0, correction=0)
    scale = torch.where(deviation > 0, deviation, 1.0)
    return Standardised(architecture, tuple(x.double().mean(0).tolist()), tuple(scale.tolist()))


@dataclass(frozen=True)
class Mlp:
    """Linear layers with ReLU between them; hidden widths in `hidden` (none: softmax regression)."""

    shape: Shape
    classes: int
    hidden: tuple[int, ...] = (128, 64)

    def __call__(self) -> nn.Module:
        widths = (math.prod(self.shape), *self.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return Classifier(nn.Sequential(*layers), nn.Linear(widths[-1], self.classes))


@dataclass(frozen=True)
class LeNet:
    """Two 5x5 convolutions with pooling, one hidden layer. 0.43 million parameters at 28x28."""

    shape: Shape
    classes: int
    hidden: int = 500

    def __call__(self) -> nn.Module:
        channels, height, width = image(self.shape, "LeNet", smallest=16)
        flat = 50 * ((height - 4) // 2 - 4) // 2 * (((width - 4) // 2 - 4) // 2)
        body = nn.Sequential(
            nn.Conv2d(channels, 20, 5), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.ReLU(),
            nn.Flatten(), nn.Linear(flat, self.hidden), nn.ReLU(),
        )  # fmt: skip
        return Classifier(body, nn.Linear(self.hidden, self.classes))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (a 1x1 convolution where shapes change)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        same = stride == 1 and before == after
        projection = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
        self.shortcut = nn.Identity() if same else projection
        self.stride = stride

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        # the stride is applied before the 1x1 convolution: a strided one makes torch 2.13 write past the end of its
        # weights' gradient, for 2 to 7 channels in channels_last memory
        return torch.relu(self.second(self.first(x)) + self.shortcut(x[:, :, :: self.stride, :: self.stride]))


class PreActivation(nn.Module):
    """The WideResNet block: normalise and activate before each convolution."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.path = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
        )  # fmt: skip
        same = stride == 1 and before == after
        self.shortcut = None if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        entered = self.enter(x)
        return self.path(entered) + (x if self.shortcut is None else self.shortcut(entered))


Block = Callable[[int, int, int], nn.Module]


def stages(block: Block, start: int, widths: Sequence[int], blocks: int) -> list[nn.Module]:
    """`blocks` blocks per width; every stage but the first halves the image."""
    layers: list[nn.Module] = []
    before = start
    for number, width in enumerate(widths):
        for position in range(blocks):
            layers.append(block(before, width, 2 if number > 0 and position == 0 else 1))
            before = width
    return layers


@dataclass(frozen=True)
class ResNet:
    """ResNet for small images: depth 6n+2, widths w, 2w, 4w. Depth 8 and width 16 have 78,000 parameters."""

    shape: Shape
    classes: int
    depth: int = 8
    width: int = 16

    def __call__(self) -> nn.Module:
        channels, _, _ = image(self.shape, "ResNet", smallest=4)
        if (self.depth - 2) % 6:
            raise BadConfig(f"the depth of ResNet must be 6n+2 (8, 14, 20, …); got {self.depth}.")
        w = self.width
        stem = [nn.Conv2d(channels, w, 3, 1, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU()]
        body = stages(BasicBlock, w, (w, 2 * w, 4 * w), (self.depth - 2) // 6)
        return Classifier(nn.Sequential(*stem, *body, *pooled()), nn.Linear(4 * w, self.classes))


@dataclass(frozen=True)
class ResNet18:
    """ResNet-18 with the stem for small images (3x3, stride 1, no pooling). 11.2 million parameters."""

    shape: Shape
    classes: int

    def __call__(self) -> nn.Module:
        channels, _, _ = image(self.shape, "ResNet18", smallest=8)
        stem = [nn.Conv2d(channels, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        body = stages(BasicBlock, 64, (64, 128, 256, 512), 2)
        return Classifier(nn.Sequential(*stem, *body, *pooled()), nn.Linear(512, self.classes))


@dataclass(frozen=True)
class Wrn:
    """WideResNet: depth 6n+4, width factor k. WRN-10-2 has 0.3 million parameters."""

    shape: Shape
    classes: int
    depth: int = 10
    factor: int = 2

    def __call__(self) -> nn.Module:
        channels, _, _ = image(self.shape, "Wrn", smallest=4)
        if (self.depth - 4) % 6:
            raise BadConfig(f"the depth of Wrn must be 6n+4 (10, 16, 28, …); got {self.depth}.")
        w = 16 * self.factor
        stem = [nn.Conv2d(channels, 16, 3, 1, 1, bias=False)]
        body = stages(PreActivation, 16, (w, 2 * w, 4 * w), (self.depth - 4) // 6)
        leave = [nn.BatchNorm2d(4 * w), nn.ReLU()]
        return Classifier(nn.Sequential(*stem, *body, *leave, *pooled()), nn.Linear(4 * w, self.classes))


@dataclass(frozen=True)
class Vgg16:
    """VGG16 with batch normalisation and one linear layer, for images of 32x32 or more. 14.7 million parameters."""

    shape: Shape
    classes: int

    def __call__(self) -> nn.Module:
        channels, _, _ = image(self.shape, "Vgg16", smallest=32)
        layers: list[nn.Module] = []
        for width, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(repeats):
                layers += [nn.Conv2d(channels, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        return Classifier(nn.Sequential(*layers, *pooled()), nn.Linear(512, self.classes))


def pooled() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def image(shape: Shape, name: str, smallest: int) -> tuple[int, int, int]:
    """The shape as (c, h, w), or BadConfig."""
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise BadConfig(
            f"{name} needs inputs of shape (channels, height, width), at least {smallest} pixels a side; got {shape}."
        )
    return shape[0], shape[1], shape[2]

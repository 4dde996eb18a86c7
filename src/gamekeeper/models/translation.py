"""Models of images in another range or layout, seen as models of (n, c, h, w) in [0, 1], as everything here sees images.

So students, gradients and step sizes are the same for a model of bytes, of -1 to 1, or with its channels last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from gamekeeper.models.network import TorchModel
from gamekeeper.models.opaque import Raw, Wire
from gamekeeper.types import Batch, Model, Reply, Task


@dataclass(frozen=True)
class Translation:
    """From images (n, c, h, w) in [0, 1] to what a model takes: entries in [low, high], channels last if `last`.

    flat: grey images without their channel, (n, h, w).
    """

    low: float = 0.0
    high: float = 1.0
    last: bool = False
    flat: bool = False

    @property
    def needed(self) -> bool:
        return self.last or self.flat or (self.low, self.high) != (0.0, 1.0)

    def __call__(self, x: Tensor) -> Tensor:
        y = x.permute(0, 2, 3, 1).contiguous() if self.last else x.squeeze(1) if self.flat else x
        if (self.low, self.high) == (0.0, 1.0):
            return y
        # x / 255 * 255 is x for every byte, so a model of bytes gets whole numbers
        return (y * (self.high - self.low) + self.low).clamp(self.low, self.high)


@dataclass(frozen=True, eq=False)
class TranslatedModel:
    """A model that takes inputs in a way of its own, behind the map from ours to its."""

    model: Model
    translation: Callable[[Batch], Batch]

    @property
    def task(self) -> Task:
        return self.model.task

    def __call__(self, x: Batch, /) -> Reply:
        return self.model(self.translation(x))


@dataclass(frozen=True, eq=False)
class TranslatedWire:
    """An API that takes images in a way of its own."""

    wire: Wire
    translation: Translation

    def __call__(self, x: Batch, names: Sequence[bytes] | None = None, /) -> Raw:
        return self.wire(self.translation(x), names)


class TranslatedNet(nn.Module):
    """A network that takes images in another range. Networks here have their channels first."""

    def __init__(self, net: nn.Module, translation: Translation) -> None:
        super().__init__()
        self.net, self.translation = net, translation

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.translation(x))


def translated_network(victim: TorchModel, translation: Translation) -> TorchModel:
    own = replace(translation, last=False, flat=False)
    return replace(victim, net=TranslatedNet(victim.net, own).eval()) if own.needed else victim


def translated_model(victim: Model, translation: Translation) -> Model:
    return TranslatedModel(victim, translation) if translation.needed else victim


def translated_wire(wire: Wire, translation: Translation) -> Wire:
    return TranslatedWire(wire, translation) if translation.needed else wire

"""Columns in units of their own, seen as the unit box: how a method made for a box works on a table in natural units.

The engine gives a thief of a target with `Ranges` a pool, a meter and seeds in the unit box, and makes a clone in natural
units of the clone they bring back. Steps, tolerances and distances are then fractions of each column's range, as those of a
`Box` are of its width. What is sent, recorded and measured is in the units of the data.
"""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gamekeeper.architectures import Shift
from gamekeeper.data.splits import row_keys
from gamekeeper.models.network import TorchModel
from gamekeeper.models.translation import TranslatedModel
from gamekeeper.types import Batch, Box, Meter, Model, Ranges, Reply


@dataclass(frozen=True)
class UnitBox:
    """The two ways between the columns' ranges and [0, 1]. A column of one value stays where it is, at 0."""

    ranges: Ranges

    @property
    def box(self) -> Box:
        return Box(self.ranges.shape)

    @property
    def affine(self) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
        """Low ends and widths, float64."""
        low, high = (torch.tensor(ends, dtype=torch.float64) for ends in (self.ranges.low, self.ranges.high))
        return low, torch.where(high > low, high - low, 1.0)

    def inside(self, x: Batch) -> Batch:
        """Natural units to the unit box."""
        low, width = self.affine
        return ((x.double() - low) / width).to(x.dtype)

    def natural(self, u: Batch) -> Batch:
        """The unit box to natural units, not past the ends by rounding where u is not past them."""
        low, width = self.affine
        x = torch.addcmul(low, u.double(), width).to(u.dtype)
        ends = [end.to(u.dtype) for end in self.ranges.ends]
        return torch.where((u >= 0) & (u <= 1), x.clamp(*ends), x)


@dataclass
class UnitMeter:
    """A thief's door whose inputs are in the unit box. Live.

    What the thief holds is asked about as it stands: rounding on the way there and back must not move a row past a
    threshold of the model.
    """

    meter: Meter
    units: UnitBox
    held: Batch
    known: dict[bytes, int] = field(init=False)

    def __post_init__(self) -> None:
        self.known = {key: row for row, key in enumerate(row_keys(self.units.inside(self.held)))}

    @property
    def budget(self) -> int:
        return self.meter.budget

    @property
    def left(self) -> int:
        return self.meter.left

    def __call__(self, u: Batch, /) -> Reply:
        x = self.units.natural(u)
        for row, key in enumerate(row_keys(u)):
            if key in self.known:
                x[row] = self.held[self.known[key]].to(x.dtype)
        return self.meter(x)


def in_natural_units(clone: Model, units: UnitBox) -> Model:
    """The clone of a thief in the unit box, for inputs as they come; a network keeps its gradients."""
    low, width = units.affine
    return shifted(clone, low, width) if isinstance(clone, TorchModel) else TranslatedModel(clone, units.inside)


def in_unit_box(model: Model, units: UnitBox) -> Model:
    """The reverse: a model of natural units, for inputs in the unit box."""
    low, width = units.affine
    if isinstance(model, TorchModel):
        return shifted(model, -low / width, 1 / width)
    return TranslatedModel(model, units.natural)


def shifted(model: TorchModel, mean: Float[Tensor, " d"], scale: Float[Tensor, " d"]) -> TorchModel:
    """The network behind (x - mean) / scale, in its own dtype."""
    first = next(model.net.parameters(), torch.empty(0))
    return replace(model, net=nn.Sequential(Shift(mean.to(first.dtype), scale.to(first.dtype)), model.net).eval())

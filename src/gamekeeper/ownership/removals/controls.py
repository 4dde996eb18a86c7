"""Controls: removals whose outcome is known, so that a wrong measurement shows.

    Untouched  the copy as it is: every claim on it must stay as it was
    Reset      all weights drawn anew: no claim may hold, and accuracy is that of a guess

Source      none
Assumes     nothing
Deviations  none
Keeps       the stolen model as it was
"""

from dataclasses import dataclass

from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.removals.layers import own_copy, reset
from gamekeeper.types import Owner


@dataclass(frozen=True)
class Untouched:
    """Leaves the copy as it is."""

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        return stolen


@dataclass(frozen=True)
class Reset:
    """Draws every weight anew, and trains nothing."""

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        copy = own_copy(stolen)
        reset(copy.net, seed)
        return copy

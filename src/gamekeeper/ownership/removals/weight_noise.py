"""Weight noise: every weight moves at random by a share of its layer's spread.

Source      none; a common baseline
Equations   w~ = w + N(0, (sd s)^2), s the standard deviation of the layer's weights
Assumes     nothing of the remover, not even inputs
Deviations  biases stay as they are
Keeps       the stolen model as it was
"""

from dataclasses import dataclass

import torch

from gamekeeper.errors import BadConfig
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.removals.layers import own_copy, weights
from gamekeeper.types import Owner


@dataclass(frozen=True)
class WeightNoise:
    """Adds Gaussian noise to the weights, `sd` times the standard deviation of each layer."""

    sd: float = 0.2

    def __post_init__(self) -> None:
        if not self.sd >= 0:
            raise BadConfig(f"The sd of WeightNoise must be 0 or more. Got {self.sd}.")

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        copy = own_copy(stolen)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in weights(copy.net):
                spread = weight.std(correction=0)
                weight += self.sd * spread * torch.randn(weight.shape, generator=generator)
        return copy

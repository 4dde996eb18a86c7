"""Quantisation: weights are rounded to few values.

Source      Hubara, Courbariaux, Soudry, El-Yaniv, Bengio, "Quantized neural networks" (JMLR 2018); five bits as in the
            toolbox of Lukas et al. (IEEE S&P 2022)
Equations   2^bits values at equal distances from the least to the largest weight of a layer; each weight takes the nearest
Assumes     nothing of the remover, not even inputs
Deviations  no epoch of calibration follows: nothing is trained, so that what is measured is the rounding alone. Biases
            stay as they are
Keeps       the stolen model as it was
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamekeeper.errors import BadConfig
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.removals.layers import own_copy, weights
from gamekeeper.types import Owner


@dataclass(frozen=True)
class Quantised:
    """Rounds every weight to one of 2^bits values per layer."""

    bits: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise BadConfig(f"The bits of Quantised must be between 1 and 16. Got {self.bits}.")

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        copy = own_copy(stolen)
        with torch.no_grad():
            for weight in weights(copy.net):
                weight.copy_(rounded(weight, self.bits))
        return copy


def rounded(w: Tensor, bits: int) -> Tensor:
    """Each entry as the nearest of 2^bits evenly spaced values between the ends; a constant stays as it is."""
    low, high = w.double().aminmax()
    step = (high - low) / (2**bits - 1)
    return w if step == 0 else (low + ((w - low) / step).round() * step).to(w.dtype)

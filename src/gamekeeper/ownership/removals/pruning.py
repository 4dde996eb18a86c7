"""Pruning: weights or channels that matter least become zero.

    Pruned      the smallest weights of the whole network, by absolute value
    FinePruned  the channels of the last convolution that respond least to clean inputs; then fine-tuning

Source      Zhu and Gupta 2017 (by magnitude); Liu, Dolan-Gavitt, Garg, "Fine-pruning: defending against backdooring
            attacks on deep neural networks" (RAID 2018), section 3
Equations   w = 0 for the round(share * d) smallest |w|; a channel's rank is its mean output over n inputs
Assumes     for FinePruned, inputs of the remover's own and their labels
Deviations  biases are never pruned by magnitude. The last layer stands in for the last convolution where there is none;
            a share of channels is rounded down, and one always stays
Keeps       the stolen model as it was; pruned channels stay zero while the rest is tuned
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gamekeeper.errors import BadConfig
from gamekeeper.models.layout import autocast, image_memory
from gamekeeper.models.network import CHUNK, TorchModel
from gamekeeper.ownership.removals.fine_tuning import need, short
from gamekeeper.ownership.removals.layers import late_layer, own_copy, weights
from gamekeeper.training.fit import Rows, descend
from gamekeeper.types import Batch, Owner


def check_share(share: float, method: str) -> None:
    if not 0 <= share <= 1:
        raise BadConfig(f"The share of {method} must be between 0 and 1. Got {share}.")


@dataclass(frozen=True)
class Pruned:
    """Sets a share of all weights to zero, the smallest first."""

    share: float = 0.5

    def __post_init__(self) -> None:
        check_share(self.share, "Pruned")

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        copy = own_copy(stolen)
        prune(weights(copy.net), self.share)
        return copy


@torch.no_grad()
def prune(tensors: list[Tensor], share: float) -> None:
    """In place. Of equal weights those that come first go first."""
    every = torch.cat([tensor.flatten() for tensor in tensors])
    count = round(share * len(every))
    every[every.abs().argsort(stable=True)[:count]] = 0.0
    for tensor, part in zip(tensors, every.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view(tensor.shape))


@dataclass(frozen=True)
class FinePruned:
    """Silences the channels that respond least to clean inputs, then trains on with true labels."""

    share: float = 0.96
    epochs: int = 10
    rate: float = 0.001

    def __post_init__(self) -> None:
        check_share(self.share, "FinePruned")

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> TorchModel:
        need(stolen, data)
        copy = own_copy(stolen)
        layer = late_layer(copy.net)
        response = mean_response(copy.net, layer, data.x)
        lowest = response.argsort(stable=True)[: min(int(self.share * len(response)), len(response) - 1)]
        x, y = image_memory(data.x), stolen.task.target(data.truth)

        def objective(rows: Rows) -> Tensor:
            silence(layer, lowest)  # the step before may have moved them
            with autocast():
                out = copy.net(x[rows])
            return stolen.task.loss(out.float(), y[rows])

        if self.epochs:
            descend(copy.net, len(x), objective, short(self.epochs, self.rate), seed)
        silence(layer, lowest)
        return copy


def mean_response(net: nn.Module, layer: nn.Module, x: Batch) -> Float[Tensor, " channels"]:
    """The mean of each output channel of a layer, after a ReLU, over the inputs."""
    total: list[Tensor] = []

    def note(_: nn.Module, __: object, out: Tensor) -> None:
        response = torch.relu(out)
        total.append((response.flatten(2).mean(2) if response.ndim > 2 else response).sum(0))

    handle = layer.register_forward_hook(note)
    try:
        net.eval()
        with torch.no_grad():
            for part in x.split(CHUNK):
                net(image_memory(part))
    finally:
        handle.remove()
    return torch.stack(total).sum(0) / len(x)


@torch.no_grad()
def silence(layer: nn.Conv2d | nn.Linear, channels: Int[Tensor, " c"]) -> None:
    """These outputs of a layer become zero, in place."""
    layer.weight[channels] = 0.0
    if layer.bias is not None:
        layer.bias[channels] = 0.0

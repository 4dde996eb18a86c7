"""Layers of a stolen network: what removals find in any of them."""

from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from gamekeeper.errors import Unsuited
from gamekeeper.models.network import TorchModel


def own_copy(stolen: TorchModel) -> TorchModel:
    """A copy to change; the stolen model stays as it is."""
    return replace(stolen, net=deepcopy(stolen.net))


def head(net: nn.Module) -> nn.Linear:
    """The last linear layer. Raises Unsuited if there is none."""
    linear = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise Unsuited(f"this removal needs a network with a linear layer at its end. {type(net).__name__} has none.")
    return linear[-1]


def late_layer(net: nn.Module) -> nn.Conv2d | nn.Linear:
    """The last convolution, or in a network without one the last linear layer before the head. Raises Unsuited."""
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    late = convolutions or [layer for layer in layers if layer is not head(net)]
    if not late:
        raise Unsuited("this removal needs a network with a layer before its last. This one has none.")
    return late[-1]


def weights(net: nn.Module) -> list[Tensor]:
    """The weights of all layers; neither biases nor the scales of normalisation."""
    return [weight for weight in net.parameters() if weight.ndim > 1]


def reset(module: nn.Module, seed: int) -> None:
    """Every layer in it begins anew, with weights drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in module.modules():
            if callable(again := getattr(layer, "reset_parameters", None)):
                again()

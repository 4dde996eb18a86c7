"""What explainers share: the shape of a map, evaluation mode, and the activation a CAM looks at."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gamekeeper.architectures import Classifier
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.types import Batch

Maps = Float[Tensor, "n h w"]
Activation = Float[Tensor, "n c h w"]
Explainer = Callable[[nn.Module, Batch, Int[Tensor, " n"]], Maps]
"""Takes a network, inputs and the class to explain for each; returns maps."""


def as_map(attribution: Batch) -> Maps:
    """Sums over channels; a vector becomes a map of one row."""
    return attribution.sum(1) if attribution.ndim == 4 else attribution.flatten(1)[:, None]


@contextmanager
def evaluating(net: nn.Module) -> Generator[None, None, None]:
    """With gradients and in evaluation mode: BatchNorm would otherwise mix the rows' maps."""
    training = net.training
    net.eval()
    try:
        with torch.enable_grad():
            yield
    finally:
        net.train(training)


def layers(net: nn.Module) -> list[nn.Module]:
    """The network's layers in order. Raises Unsuited unless it is sequential, as every architecture here is."""
    if isinstance(net, Classifier) and isinstance(net.body, nn.Sequential):
        return [*net.body, net.head]
    if isinstance(net, nn.Sequential):
        return list(net)
    raise Unsuited(
        f"this explainer looks inside the network, between its layers, and needs an nn.Sequential or a Classifier with such"
        f" a body; got {type(net).__name__}. Use gradient or gradient_x_input, which need no layers."
    )


def picture(net: nn.Module, x: Batch, layer: int | None = None) -> tuple[Activation, list[nn.Module]]:
    """The activation after the first `layer` layers, with its graph, and the layers that follow it.

    By default the last spatial activation: four dimensions, more than one pixel. Raises Unsuited if there is none, and
    BadConfig if `layer` is out of range.
    """
    whole = layers(net)
    if layer is not None and not 1 <= layer < len(whole):
        raise BadConfig(
            f"layer must be 1 to {len(whole) - 1}, the number of layers before the activation. Got {layer}."
        )
    split: tuple[Activation, list[nn.Module]] | None = None
    a = x
    for number, module in enumerate(whole[:layer], 1):
        a = module(a)
        if a.ndim == 4 and (number == layer or (layer is None and a.shape[2] * a.shape[3] > 1)):
            split = a, whole[number:]
        if a.ndim != 4:
            break  # no spatial activation follows a flat one
    if split is None:
        raise Unsuited(
            "this explainer needs a spatial activation, from a convolution, and this network has none"
            f"{'' if layer is None else f' after its first {layer} layers'}. Use gradient or gradient_x_input."
        )
    if not split[0].requires_grad:  # a network whose weights are frozen
        split[0].requires_grad_()
    return split


def class_score(rest: list[nn.Module], a: Activation, top: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """The logits of the classes `top`, summed over the rows, computed from an activation."""
    out: Tensor = a.clone()  # an in-place ReLU would overwrite the activation that is explained
    for module in rest:
        out = module(out)
    return out.gather(1, top[:, None]).sum()

"""What explainers share: the shape of a map, evaluation mode, and the activation in which a CAM looks."""

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
"""Network, inputs and the class to explain of each: maps."""


def as_map(attribution: Batch) -> Maps:
    """Channels summed; a vector is a map of one row."""
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
    """The network taken apart. Raises Unsuited unless it is one thing after the other, as every architecture here is."""
    if isinstance(net, Classifier) and isinstance(net.body, nn.Sequential):
        return [*net.body, net.head]
    if isinstance(net, nn.Sequential):
        return list(net)
    raise Unsuited(
        f"this explainer looks inside the network, between its layers, and needs an nn.Sequential or a Classifier with such"
        f" a body; got {type(net).__name__}. Take gradient or gradient_x_input, which need no layers."
    )


def picture(net: nn.Module, x: Batch, layer: int | None = None) -> tuple[Activation, list[nn.Module]]:
    """The activation behind the first `layer` layers, with its graph, and the layers that follow it.

    By default the last activation that is a picture: four dimensions, more than one pixel. Raises Unsuited if there is
    none, BadConfig if `layer` names none.
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
            break  # no picture comes back from a flat activation
    if split is None:
        raise Unsuited(
            "this explainer needs an activation that is a picture, from a convolution, and this network has none"
            f"{'' if layer is None else f' behind its first {layer} layers'}. Take gradient or gradient_x_input."
        )
    if not split[0].requires_grad:  # a network whose weights are frozen
        split[0].requires_grad_()
    return split


def class_score(rest: list[nn.Module], a: Activation, top: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """The logits of the classes `top`, summed over the rows, from an activation on."""
    out: Tensor = a.clone()  # an in-place ReLU would overwrite the activation that is explained
    for module in rest:
        out = module(out)
    return out.gather(1, top[:, None]).sum()

"""Features: what a network's inner layers make of an input, read off the pass that answers where that is possible."""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from gamekeeper.errors import Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.types import Batch, Model, Reply

Features = Float[Tensor, "n d"]
Layer = Literal["conv", "flat", "penultimate", "logits"]
"""The last convolution's output averaged over positions, the input of the first linear layer, the input of the last one,
and the network's output."""
HOOKING = threading.Lock()
"""Held while hooks come and go: torch may give two of them one number where threads register them at once."""


@dataclass(frozen=True, eq=False)
class ObservedModel(TorchModel):
    """A network that notes its features while it answers, so that detectors armed on it need no pass of their own.

    taps    where features are noted; arming a detector adds the layer that it reads
    noted   the features behind every answer that is still in use, by the tensor of posteriors
    """

    taps: "dict[Layer, Tap]" = field(default_factory=lambda: dict[Layer, Tap](), init=False, repr=False)
    noted: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary, init=False, repr=False)

    def __call__(self, x: Batch, /) -> Reply:
        taps = tuple(self.taps.values())
        with noting(taps) as seen:
            reply = super().__call__(x)
        # attribution maps take further passes, which come after the answer's own
        self.noted[reply.y] = {tap.layer: joined(parts)[: len(x)] for tap, parts in zip(taps, seen, strict=True)}
        return reply

    def behind(self, reply: Reply) -> "dict[Layer, Features]":
        """The features noted with a reply; empty if it is not an answer of this model."""
        return self.noted.get(reply.y) or {}

    def take(self, reply: Reply, rows: Tensor | slice) -> Reply:
        """Some of a reply's rows, with the features behind them."""
        taken = reply.take(rows)
        self.noted[taken.y] = {layer: f[rows] for layer, f in self.behind(reply).items()}
        return taken


def observed(victim: Model) -> Model:
    """The victim as a model whose features are noted; a model without a network stays as it is."""
    if isinstance(victim, TorchModel):
        return ObservedModel(victim.net, victim.task, victim.answers, victim.explain)
    return victim


def taken(victim: Model, reply: Reply, rows: Tensor | slice) -> Reply:
    """Some rows of the victim's reply, with the features behind them if they were noted."""
    return victim.take(reply, rows) if isinstance(victim, ObservedModel) else reply.take(rows)


def assembled(victim: Model, parts: Sequence[Reply]) -> Reply:
    """The victim's replies to the parts of a batch as one reply, with the features behind them if they were noted."""
    if len(parts) == 1:
        return parts[0]
    maps = [part.maps for part in parts if part.maps is not None]
    reply = Reply(torch.cat([part.y for part in parts]), torch.cat(maps) if maps else None)
    if isinstance(victim, ObservedModel):
        noted = [victim.behind(part) for part in parts]
        victim.noted[reply.y] = {layer: torch.cat([some[layer] for some in noted]) for layer in noted[0]}
    return reply


@dataclass(frozen=True, eq=False)
class Tap:
    """The features of a network at one layer."""

    victim: TorchModel
    layer: Layer

    def __call__(self, x: Batch) -> Features:
        return tapped([self], x)[0]

    def behind(self, x: Batch, reply: Reply) -> Features:
        """The features behind the victim's answer to x: those noted with it, else from a pass of their own."""
        noted = self.victim.behind(reply) if isinstance(self.victim, ObservedModel) else {}
        return noted[self.layer] if self.layer in noted else self(x)

    @cached_property
    def place(self) -> tuple[nn.Module, bool]:
        """The module, and whether to tap its input. Raises Unsuited if there is no such module."""
        if self.layer == "logits":
            return self.victim.net, False
        kind = nn.Conv2d if self.layer == "conv" else nn.Linear
        places = [module for module in self.victim.net.modules() if isinstance(module, kind)]
        if not places:
            raise Unsuited(f"features at the layer {self.layer} need a {kind.__name__}; the victim's network has none.")
        return places[0 if self.layer == "flat" else -1], self.layer != "conv"


def tapped(taps: Sequence[Tap], x: Batch) -> list[Features]:
    """The features at each of these taps of one network, in one pass."""
    with noting(taps) as seen:
        taps[0].victim.logits(x)
    return [joined(parts) for parts in seen]


def joined(parts: list[Tensor]) -> Tensor:
    """One tensor of the rows of all parts; a single one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


@contextmanager
def noting(taps: Sequence[Tap]) -> Generator[list[list[Tensor]], None, None]:
    """What passes each tap until the end of the block, in parts."""
    seen: list[list[Tensor]] = [[] for _ in taps]
    places = [tap.place for tap in taps]
    with HOOKING:
        hooks = [
            module.register_forward_hook(noter(entering, parts))
            for (module, entering), parts in zip(places, seen, strict=True)
        ]
    try:
        yield seen
    finally:
        with HOOKING:
            for hook in hooks:
                hook.remove()


def noter(entering: bool, seen: list[Tensor]):
    """A hook that appends to `seen` what goes into a module, or what comes out, in this thread: others may use it as well."""
    mine = threading.get_ident()

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        if threading.get_ident() == mine:
            seen.append(flat(inputs[0] if entering else out).detach())

    return hook


def flat(out: Tensor) -> Features:
    """A layer's output as one vector per input; for a convolution, the mean over positions."""
    return out.mean(tuple(range(2, out.ndim))) if out.ndim > 2 else out


def opened(victim: Model, method: str) -> TorchModel:
    """The victim as a network. Raises Unsuited for any other model."""
    if not isinstance(victim, TorchModel):
        raise Unsuited(
            f"{method} needs the victim's network, its features or gradients; of this model there are answers only."
            " Use msp, which needs answers only."
        )
    return victim


def tap(victim: Model, method: str, layer: Layer) -> Tap:
    """The tap for a layer. A network without convolutions has no `conv` and `flat`: it is tapped at the penultimate one."""
    net = opened(victim, method)
    convolves = any(isinstance(module, nn.Conv2d) for module in net.net.modules())
    at: Layer = layer if convolves or layer == "logits" else "penultimate"
    if isinstance(net, ObservedModel):
        return net.taps.setdefault(at, Tap(net, at))
    return Tap(net, at)

"""The network that stands in for the thief's in defenses that need gradients: untrained, or briefly trained."""

import functools
import hashlib

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.architectures import fresh
from gamekeeper.errors import Unsuited
from gamekeeper.models.estimators import Estimator
from gamekeeper.models.network import TorchModel
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Architecture, Batch, Model, Owner


def stand_in(
    method: str, architecture: Architecture, victim: Model, owner: Owner, seed: int, epochs: int = 0
) -> TorchModel:
    """A network of this architecture after `epochs` passes over the owner's inputs with the victim's answers.

    Raises Unsuited unless it takes the victim's inputs and has its classes, or if there is nothing to train it on.
    """
    net = fresh(architecture, surrogate_seed(method, seed))
    check(method, TorchModel(net, victim.task), architecture, owner.box.uniform(1, seed))
    if epochs > 0:
        if len(owner.x) == 0:
            raise Unsuited(
                f"{method} trains its surrogate on the owner's inputs, and there are none. Give the target some, or set"
                " epochs to 0 for an untrained surrogate."
            )
        return trained(method, architecture, victim, owner, seed, epochs)
    return TorchModel(net.eval(), victim.task)


@functools.lru_cache(maxsize=2)
def trained(method: str, architecture: Architecture, victim: Model, owner: Owner, seed: int, epochs: int) -> TorchModel:
    """Cached, since one defense at several strengths has one surrogate; the key is the identity of victim and owner."""
    net = fresh(architecture, surrogate_seed(method, seed))
    recipe = Fit(epochs=epochs, least_steps=0)
    fit(net, owner.x, victim(owner.x).y.float(), victim.task.loss, recipe, surrogate_seed(method, seed))
    return TorchModel(net.eval(), victim.task)


def runs(x: Batch) -> tuple[Int[Tensor, " m"], Int[Tensor, " n"]]:
    """Rows `first` of x that differ from the row before, and for every row its place in them: x[first][place] equals x.

    A thief who tabulates a defense gives it each input a hundred times, once for each posterior: one forward pass will do.
    """
    new = torch.ones(len(x), dtype=torch.bool)
    new[1:] = (x[1:] != x[:-1]).flatten(1).any(1)
    return new.nonzero()[:, 0], new.cumsum(0) - 1


def surrogate_seed(method: str, seed: int) -> int:
    """A separate seed for the surrogate: otherwise a student initialised from `seed` would *be* the surrogate."""
    return int.from_bytes(hashlib.sha256(f"{method} surrogate {seed}".encode()).digest()[:4])


def check(method: str, surrogate: TorchModel, architecture: Architecture, x: Batch) -> None:
    """Raises Unsuited unless the surrogate takes inputs like x and has the task's classes."""
    classes = surrogate.task.classes
    need = f"{method} needs a surrogate for inputs of shape {tuple(x.shape[1:])} and {classes} classes"
    if isinstance(surrogate.net, Estimator):
        raise Unsuited(f"{need}, and a network; {architecture} is none.")
    try:
        got = surrogate.logits(x).shape
    except RuntimeError as error:
        raise Unsuited(f"{need}; {architecture} does not take such inputs.") from error
    if got != (1, classes):
        raise Unsuited(f"{need}; {architecture} has {got[-1]} classes.")

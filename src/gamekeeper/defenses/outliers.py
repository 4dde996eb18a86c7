"""Training with auxiliary inputs beside the owner's: what Adaptive Misinformation and EDM share."""

import copy
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gamekeeper.architectures import fresh
from gamekeeper.defenses.ood_scores import auxiliary, needs_inputs
from gamekeeper.defenses.stateless import classes_of
from gamekeeper.models import TorchModel
from gamekeeper.training.fit import image_memory
from gamekeeper.types import Batch, Model, Owner, Posterior


def check_data(method: str, victim: Model, owner: Owner) -> Batch:
    """The auxiliary inputs. Raises Unsuited if these or the owner's own are missing."""
    classes_of(victim, method)
    needs_inputs(owner, method)
    return auxiliary(owner, method)


def starting(victim: Model, owner: Owner, seed: int) -> nn.Module:
    """The victim's weights to go on from; a fresh network of the owner's architecture where they are not on offer."""
    if isinstance(victim, TorchModel) and victim.answers == "logits":
        return copy.deepcopy(victim.net).float()
    return fresh(owner.architecture, seed)


def beside(other: Batch, seed: int) -> Iterator[Batch]:
    """Endless batches of 64 of the auxiliary inputs, in a random order that is a function of the seed."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(len(other), generator=generator).split(64):
            yield other[rows]


def alone(net: nn.Module, x: Batch, dtype: torch.dtype) -> Posterior:
    """A network's posteriors, each input on its own: what goes through together differs in the last bits."""
    with torch.no_grad():
        z: Float[Tensor, "n k"] = torch.cat([net(image_memory(row)) for row in x.float().split(1)])
    return torch.softmax(z.double(), 1).to(dtype)

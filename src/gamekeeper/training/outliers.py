"""Training with auxiliary inputs beside the owner's: what Adaptive Misinformation and EDM share."""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from gamekeeper.architectures import fresh
from gamekeeper.models.network import TorchModel
from gamekeeper.needs import auxiliary, classes_of, needs_inputs
from gamekeeper.types import Batch, Model, Owner


def check_data(method: str, victim: Model, owner: Owner) -> Batch:
    """The auxiliary inputs. Raises Unsuited if these or the owner's own are missing."""
    classes_of(victim, method)
    needs_inputs(owner, f"{method} is fitted on")
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

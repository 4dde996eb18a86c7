"""Training with auxiliary inputs in addition to the owner's: code shared by Adaptive Misinformation and EDM."""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from gamekeeper.architectures import fresh
from gamekeeper.models.network import TorchModel
from gamekeeper.needs import auxiliary, classes_of, needs_inputs
from gamekeeper.types import Batch, Model, Owner


def check_data(method: str, victim: Model, owner: Owner) -> Batch:
    """The auxiliary inputs. Raises Unsuited if they or the owner's inputs are missing."""
    classes_of(victim, method)
    needs_inputs(owner, f"{method} is fitted on")
    return auxiliary(owner, method)


def starting(victim: Model, owner: Owner, seed: int) -> nn.Module:
    """A copy of the victim's network to start from; a fresh one of the owner's architecture if it is not available."""
    if isinstance(victim, TorchModel) and victim.answers == "logits":
        return copy.deepcopy(victim.net).float()
    return fresh(owner.architecture, seed)


def beside(other: Batch, seed: int) -> Iterator[Batch]:
    """Endless batches of up to 64 auxiliary inputs, in a random order that depends on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(len(other), generator=generator).split(64):
            yield other[rows]

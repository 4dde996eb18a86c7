"""Handwritten digits of 8x8 pixels, dealt to the parties of a dispute: no two hold the same image."""

from dataclasses import dataclass
from functools import cache

import torch
from sklearn.datasets import load_digits

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.models.network import TorchModel
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import FAST, fit
from gamekeeper.types import Batch, Box, Owner

BOX, TASK, K = Box((1, 8, 8)), Classify(10), 10


@dataclass(frozen=True, eq=False)
class World:
    """owner, thief, accuser and judge each have inputs of their own; test and triggers are nobody's."""

    owner: Owner
    thief: Owner
    accuser: Owner
    court: Owner
    test: Batch
    truth: torch.Tensor


def holds(x: Batch, y: torch.Tensor) -> Owner:
    return Owner(x, y, BOX, Mlp(BOX.shape, K, hidden=(64,)))


@cache
def world() -> World:
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    images = (torch.as_tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16)[order]
    labels = torch.as_tensor(y)[order].long()
    ends = (0, 350, 600, 1100, 1500, 1797)
    parts = [(images[a:b], labels[a:b]) for a, b in zip(ends, ends[1:], strict=False)]
    owner, thief, accuser, court = (holds(*part) for part in parts[:4])
    return World(owner, thief, accuser, court, *parts[4])


def trained(data: Owner, seed: int, hidden: int = 64) -> TorchModel:
    net = fresh(Mlp(BOX.shape, K, hidden=(hidden,)), seed)
    return TorchModel(fit(net, data.x, data.truth, torch.nn.functional.cross_entropy, FAST, seed), TASK)


@cache
def independents() -> tuple[TorchModel, ...]:
    """Three innocents; they know the owner's data, or the thief's, and no claim."""
    here = world()
    return trained(here.owner, 100), trained(here.thief, 101), trained(here.owner, 102, 128)


@cache
def panel() -> tuple[TorchModel, ...]:
    """Ten models of the judge's, of two widths."""
    return tuple(trained(world().court, 200 + seed, 64 if seed % 2 else 96) for seed in range(10))


def accuracy(model: object) -> float:
    here = world()
    assert callable(model)
    return float((model(here.test).y.argmax(1) == here.truth).float().mean())

"""Benign inputs: which of the owner's thresholds and references are made of, and what is left to calibrate on."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.errors import Unsuited
from gamekeeper.training.surrogate import surrogate_seed
from gamekeeper.types import Batch, Owner

HELD_OUT, MOST_HELD_OUT = 4, 2_000
"""Without natural inputs one in HELD_OUT of the owner's is held out, at most MOST_HELD_OUT."""


@dataclass(frozen=True)
class Basis:
    """What a threshold or a reference was made of, for people to read.

    inputs   how many benign inputs
    natural  whether the victim never saw them in training
    """

    inputs: int
    natural: bool

    def __str__(self) -> str:
        if self.natural:
            return f"{self.inputs:,} natural inputs"
        return (
            f"{self.inputs:,} training inputs held out, on which the victim is surer than on users': expect more false"
            " alarms than stated"
        )


def parted(method: str, owner: Owner, seed: int) -> tuple[Owner, Batch]:
    """What is left to fit and calibrate on, and the inputs that set thresholds and references; the same for all methods.

    The latter are half of the owner's natural inputs, or part of the training inputs where there are none. No threshold
    or reference depends on the natural inputs that are left. Raises Unsuited without at least 2.
    """
    generator = torch.Generator().manual_seed(surrogate_seed("held out", seed))
    held, what = (owner.x, "inputs") if owner.natural is None else (owner.natural, "natural inputs")
    if len(held) < 2:
        raise Unsuited(f"{method} needs at least 2 of the owner's {what} to set its threshold; got {len(held)}.")
    order = torch.randperm(len(held), generator=generator)
    if owner.natural is not None:
        half, truth = len(order) // 2, owner.natural_truth
        left = order[half:]
        return (
            replace(owner, natural=held[left], natural_truth=None if truth is None else truth[left]),
            held[order[:half]],
        )
    m = min(max(1, len(order) // HELD_OUT), MOST_HELD_OUT)
    return replace(owner, x=owner.x[order[m:]], truth=owner.truth[order[m:]]), held[order[:m]]


def class_means(
    values: Float[Tensor, "m d"], classes: Int[Tensor, " m"], k: int
) -> tuple[Float[Tensor, "k d"], Int[Tensor, " k"]]:
    """The mean of each class's rows, and how many there are; a class of fewer than 2 gets the mean and number of all."""
    sizes = torch.bincount(classes, minlength=k)
    sums = torch.zeros((k, values.shape[1]), dtype=torch.float64).index_add(0, classes, values.double())
    few = sizes < 2
    means = torch.where(few[:, None], values.double().mean(0), sums / sizes.clamp(min=1)[:, None])
    return means, torch.where(few, len(values), sizes)

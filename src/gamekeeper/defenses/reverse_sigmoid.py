"""Reverse sigmoid: subtracts a sigmoid of the logits, so that different answers look alike.

Source      Lee, Edwards, Molloy, Su, "Defending against machine learning model stealing attacks using deceptive
            perturbations" (2018)
Equations   y~ = (y - r(y)) / sum(y - r(y)), r(y) = beta (sigmoid(gamma logit(y)) - 1/2), entry by entry
Assumes     a posterior; no knowledge of the thief
Deviations  probabilities are clamped to [1e-9, 1 - 1e-9] before the logit, which is undefined at 0 and 1; the
            arithmetic is float64, so that the clamp means the same for float32 answers. preserve_top1 (not in the
            paper) lifts an overtaken top class to just above the rest
Keeps       argmax: only with preserve_top1. Without it, a top-1 probability above 1/2 is safe for gamma up to 1; below
            1/2, tiny entries can overtake it, as in (.20, .18, .18, .18, .18, .08, 0, 0, 0, 0)
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from gamekeeper.defenses.stateless import Stateless
from gamekeeper.errors import BadConfig
from gamekeeper.facts import TENTHS, Strengths
from gamekeeper.needs import classes_of
from gamekeeper.simplex import restore_top1
from gamekeeper.types import Model, Owner, Posterior

CLAMP = 1e-9


def reverse_sigmoid(y: Posterior, beta: float, gamma: float) -> Posterior:
    """y - beta (sigmoid(gamma logit(y)) - 1/2), renormalised, in the dtype of y. beta = 0 returns y bit for bit."""
    if beta == 0:
        return y
    exact = y.double()
    # sigmoid(t) - 1/2 = tanh(t/2) / 2; the last bit of torch's sigmoid depends on a row's place in its batch
    r = beta / 2 * torch.tanh(gamma / 2 * torch.logit(exact, CLAMP))
    z = (exact - r).clamp(min=0)
    return (z / z.sum(1, keepdim=True)).to(y.dtype)


def reverse_sigmoid_top1(y: Posterior, beta: float, gamma: float) -> Posterior:
    """The same, preserving the top-1 class of y."""
    return y if beta == 0 else restore_top1(reverse_sigmoid(y, beta, gamma), y)


@dataclass(frozen=True)
class ReverseSigmoid:
    """Flattens each posterior by a sigmoid of its logits, most where it is confident."""

    beta: float = 0.9
    gamma: float = 0.2
    preserve_top1: bool = True

    full_strength: ClassVar[tuple[str, float]] = ("beta", 1.0)

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise BadConfig(f"The beta of ReverseSigmoid must be from 0 to 1. Got {self.beta}.")
        if not 0 < self.gamma < float("inf"):
            raise BadConfig(f"The gamma of ReverseSigmoid must be positive and finite. Got {self.gamma}.")

    @property
    def keeps_top1(self) -> bool:
        return self.preserve_top1

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("beta={}", TENTHS),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> Stateless:
        classes_of(victim, "ReverseSigmoid")
        change = reverse_sigmoid_top1 if self.preserve_top1 else reverse_sigmoid
        return Stateless(partial(change, beta=self.beta, gamma=self.gamma))

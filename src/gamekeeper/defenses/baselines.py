"""Trivial perturbations of a given L1 size: baselines that every cleverer one has to beat.

Source      none; least_likely is the `argmin` ablation of Orekondy, Schiele, Fritz, "Prediction Poisoning" (ICLR 2020)
Assumes     a posterior; no knowledge of the thief, no surrogate
Deviations  none
Keeps       argmax: Flatten yes; LeastLikely and ConstantTarget with keep_top1, which ends the step while the top class
            still leads (so an unsure answer moves by less than eps)

All use `simplex.step_towards`: ||y~ - y||_1 = min(eps, distance to the goal of the step).
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from gamekeeper.defenses.stateless import Stateless, check_l1
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.facts import L1, Strengths
from gamekeeper.needs import classes_of
from gamekeeper.simplex import label, one_hot, step_towards
from gamekeeper.types import Model, Owner, Posterior

TOP_SHARE = 0.01


def flatten(y: Posterior, eps: float) -> Posterior:
    """A step towards (1 - e) uniform + e label, e = 0.01: the label's share keeps the top class first."""
    flat = (1 - TOP_SHARE) / y.shape[1] + TOP_SHARE * label(y)
    return step_towards(y, flat, eps, keep_top1=True)


def least_likely(y: Posterior, eps: float, keep_top1: bool) -> Posterior:
    """A step towards the least likely class; ties go to the first."""
    return step_towards(y, one_hot(y.argmin(1), y), eps, keep_top1=keep_top1)


def constant_target(y: Posterior, eps: float, target: int, keep_top1: bool) -> Posterior:
    """A step towards class `target`, or towards the next class where `target` is the top class."""
    after = (target + 1) % y.shape[1]
    k = torch.where(y.argmax(1) == target, after, target)
    return step_towards(y, one_hot(k, y), eps, keep_top1=keep_top1)


@dataclass(frozen=True)
class Flatten:
    """Moves each answer towards the uniform posterior."""

    eps: float = 0.95

    full_strength: ClassVar[tuple[str, float]] = ("eps", 2.0)

    def __post_init__(self) -> None:
        check_l1(self.eps, "Flatten")

    @property
    def l1_bound(self) -> float:
        return self.eps

    @property
    def keeps_top1(self) -> bool:
        return True

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("eps={}", L1),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> Stateless:
        classes_of(victim, "Flatten")
        return Stateless(partial(flatten, eps=self.eps))


@dataclass(frozen=True)
class LeastLikely:
    """Moves each answer towards its least likely class: MAD without a surrogate."""

    eps: float = 0.95
    keep_top1: bool = False

    full_strength: ClassVar[tuple[str, float]] = ("eps", 2.0)

    def __post_init__(self) -> None:
        check_l1(self.eps, "LeastLikely")

    @property
    def l1_bound(self) -> float:
        return self.eps

    @property
    def keeps_top1(self) -> bool:
        return self.keep_top1

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("eps={}", L1),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> Stateless:
        classes_of(victim, "LeastLikely")
        return Stateless(partial(least_likely, eps=self.eps, keep_top1=self.keep_top1))


@dataclass(frozen=True)
class ConstantTarget:
    """Moves every answer towards the same class."""

    eps: float = 0.95
    target: int = 0
    keep_top1: bool = False

    full_strength: ClassVar[tuple[str, float]] = ("eps", 2.0)
    permutes: ClassVar[bool] = False  # the target is a fixed class number

    def __post_init__(self) -> None:
        check_l1(self.eps, "ConstantTarget")
        if self.target < 0:
            raise BadConfig(f"The target of ConstantTarget must be 0 or more. Got {self.target}.")

    @property
    def l1_bound(self) -> float:
        return self.eps

    @property
    def keeps_top1(self) -> bool:
        return self.keep_top1

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("eps={}", L1),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> Stateless:
        """Raises Unsuited if the victim has no such class."""
        classes = classes_of(victim, "ConstantTarget")
        if self.target >= classes:
            raise Unsuited(f"ConstantTarget needs a target below the victim's {classes} classes; got {self.target}.")
        return Stateless(partial(constant_target, eps=self.eps, target=self.target, keep_top1=self.keep_top1))

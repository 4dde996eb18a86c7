"""Jacobian-based data augmentation (JBDA) and its variants JB-self and JB-topk: grow seeds by gradient steps on the clone.

Source      JBDA, its periodic step and its reservoir: Papernot, McDaniel, Goodfellow, Jha, Celik, Swami, "Practical
            black-box attacks against machine learning" (ASIA CCS 2017); JB-self and JB-topk: Orekondy, Schiele,
            Fritz, "Prediction Poisoning" (ICLR 2020), section 5.1, and its authors' code
Equations   x' = clip(x + lambda_rho sgn(dF_c(x)/dx)), lambda_rho = lambda (-1)^floor(rho / tau), for every x queried so
            far; c is the class the oracle answered (JBDA) or the clone predicts (JB-self). JB-topk steps towards
            each of the clone's k likeliest classes other than the answered one
Assumes     a few inputs like the victim's own (`seeds`), a student with gradients; any answer
Deviations  starts from `seeds` of the thief's own inputs, drawn at random: 150 (Papernot et al., MNIST), for JB-self and
            JB-topk 100 (Prediction Poisoning, MNIST and FashionMNIST). lambda is a fraction of the width of the input
            box. F is the clone's logit; direction=loss climbs the cross-entropy instead, as Prediction Poisoning's code
            does, which points roughly the other way. The schedule is floor(rho / tau), stated because the public codes
            differ. JB-topk never flips the sign: a step away from its target would not be targeted; it covers lambda in
            8 steps. With fewer than k + 1 classes it takes all the others. The clone is retrained from scratch every
            round. A copy that was queried before is replaced by uniform noise of the same size (synthesis.py).
            Prediction Poisoning's code overwrites its set in place, and pairs x + delta with the answer to x - delta;
            this one does not
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.attacks.rounds import INTERIM, relearn, span
from gamekeeper.attacks.steps import climb, loss_of, output_of
from gamekeeper.attacks.synthesis import Copies, Ints, Step, check_sizes, synthesise
from gamekeeper.models.network import TorchModel
from gamekeeper.training.fit import Fit
from gamekeeper.types import Batch, Box, Knowledge, Meter, Posterior, Transfer, need_box

Direction = Literal["jacobian", "loss"]


@dataclass(frozen=True)
class Jbda:
    """Seeds and copies of them, moved along the clone's gradient for the class the victim answered."""

    seeds: int = 150
    lam: float = 0.1
    tau: int = 5
    direction: Direction = "jacobian"
    sigma: int = 3
    kappa: int = 0
    fit: Fit = INTERIM

    def __post_init__(self) -> None:
        counts = {"seeds": self.seeds, "tau": self.tau}
        check_sizes(type(self).__name__, self.lam, counts, {"sigma": self.sigma, "kappa": self.kappa})

    @property
    def prefix(self) -> bool:
        return False

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        return along_jacobian(self, lambda clone, x, answered: answered, oracle, knows, seed)


@dataclass(frozen=True)
class JbSelf:
    """JBDA along the gradient for the class the clone itself predicts."""

    seeds: int = 100
    lam: float = 0.1
    tau: int = 5
    direction: Direction = "jacobian"
    sigma: int = 3
    kappa: int = 0
    fit: Fit = INTERIM

    def __post_init__(self) -> None:
        counts = {"seeds": self.seeds, "tau": self.tau}
        check_sizes(type(self).__name__, self.lam, counts, {"sigma": self.sigma, "kappa": self.kappa})

    @property
    def prefix(self) -> bool:
        return False

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        return along_jacobian(self, lambda clone, x, answered: clone.logits(x).argmax(1), oracle, knows, seed)


@dataclass(frozen=True)
class JbTopk:
    """Seeds and k copies of each, moved towards the clone's k likeliest classes other than the answered one."""

    seeds: int = 100
    lam: float = 0.1
    k: int = 3
    steps: int = 8
    sigma: int = 3
    kappa: int = 0
    fit: Fit = INTERIM

    def __post_init__(self) -> None:
        counts = {"seeds": self.seeds, "k": self.k, "steps": self.steps}
        check_sizes(type(self).__name__, self.lam, counts, {"sigma": self.sigma, "kappa": self.kappa})

    @property
    def prefix(self) -> bool:
        return False

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        box = need_box(knows.box, type(self).__name__)

        def step(clone: TorchModel, x: Batch, answered: Ints, copy: Ints, rho: int) -> Batch:
            return targeted_step(self, clone, x, answered, copy, box)

        return augment(self, box, step, min(self.k, knows.task.classes - 1), oracle, knows, seed)


def along_jacobian(
    recipe: Jbda | JbSelf,
    classes: Callable[[TorchModel, Batch, Ints], Ints],
    oracle: Meter,
    knows: Knowledge,
    seed: int,
) -> Transfer:
    """Grows the seeds along the clone's gradient for `classes` (clone, parents, classes answered for them)."""
    box = need_box(knows.box, type(recipe).__name__)

    def step(clone: TorchModel, x: Batch, answered: Ints, copy: Ints, rho: int) -> Batch:
        return jacobian_step(recipe, clone, x, classes(clone, x, answered), box, rho)

    return augment(recipe, box, step, 1, oracle, knows, seed)


def jacobian_step(recipe: Jbda | JbSelf, clone: TorchModel, x: Batch, k: Ints, box: Box, rho: int) -> Batch:
    """lambda_rho along the sign of the gradient of logit k, or of the cross-entropy with class k."""
    score = output_of(clone.net) if recipe.direction == "jacobian" else loss_of(clone.net)
    return climb(clone.net, score, x, (k,), recipe.lam * span(box) * turn(rho, recipe.tau), box)


def targeted_step(recipe: JbTopk, clone: TorchModel, x: Batch, answered: Ints, copy: Ints, box: Box) -> Batch:
    """lambda, in small steps, towards the clone's likeliest class other than the answered one.

    Copy 1 goes towards the second likeliest, and so on.
    """
    target = runners_up(clone.logits(x), answered).gather(1, copy[:, None])[:, 0]
    return climb(clone.net, output_of(clone.net), x, (target,), recipe.lam * span(box), box, recipe.steps)


def turn(rho: int, tau: int) -> int:
    """The sign of lambda in round rho, counted from 0: (-1)^floor(rho / tau)."""
    return (-1) ** (rho // tau)


def runners_up(out: Posterior, answered: Ints) -> Int[Tensor, "n k"]:
    """All classes, likeliest first, with the answered one last."""
    return out.scatter(1, answered[:, None], -torch.inf).argsort(stable=True, dim=1, descending=True)


def augment(
    recipe: Jbda | JbSelf | JbTopk,
    box: Box,
    step: Step[TorchModel],
    each: int,
    oracle: Meter,
    knows: Knowledge,
    seed: int,
) -> Transfer:
    """Grows the seeds by `each` copies of every row per round."""
    generator = torch.Generator().manual_seed(seed)
    copies = Copies(step, recipe.lam * span(box), box, generator, each, recipe.sigma, recipe.kappa)
    learn = partial(relearn, knows, recipe.fit, seed)
    return synthesise(oracle, knows, type(recipe).__name__, recipe.seeds, copies, learn)

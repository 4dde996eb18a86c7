"""Knockoff Nets, adaptive strategy: a gradient bandit learns which classes of the thief's own pool pay off.

Source      Orekondy, Schiele, Fritz, "Knockoff Nets: stealing functionality of black-box models" (CVPR 2019),
            section 4.1.2
Equations   z ~ pi = softmax(H), x uniform in class z; H_z += a (r - r_mean)(1 - pi_z), H_z' -= a (r - r_mean) pi_z' for
            the others, a = 1 / N(z). Rewards: certainty y_(1) - y_(2); diversity sum_k max(0, y_k - mean_k) with the
            mean of past answers; loss, the clone's cross-entropy with y; all, their mean
Assumes     a pool whose classes the thief knows (`groups`; they need not be the victim's); any answer
Deviations  `batch` inputs are drawn, queried and rewarded at a time, with pi and the mean answer fixed from before the
            batch; rewards are scaled to [0, 1] by the smallest and largest so far. The clone of the loss reward takes
            a few steps on each new batch. A class that is used up is no longer drawn. The classes are flat, without the
            paper's hierarchy. r_mean is over the rewards before the current one
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.architectures import fresh
from gamekeeper.attacks.rounds import grow, lead, nothing
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Batch, Knowledge, Meter, Posterior, Transfer

Reward = Literal["certainty", "diversity", "loss", "all"]


@dataclass(frozen=True)
class KnockoffAdaptive:
    """Images from the pool, drawn more often from the classes whose answers earn higher rewards."""

    reward: Reward = "all"
    batch: int = 16
    fit: Fit = Fit(epochs=1, least_steps=5, rate=0.02)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise BadConfig(f"The batch of KnockoffAdaptive must be at least 1. Got {self.batch}.")

    @property
    def prefix(self) -> bool:
        return True

    @property
    def draws_from_pool(self) -> int:
        return 1

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        groups = knows.groups
        if groups is None or len(groups) != len(knows.pool):
            met = "none" if groups is None else f"{len(groups):,} classes for {len(knows.pool):,} inputs"
            raise Unsuited(
                f"adaptive Knockoff chooses by the class of the pool's inputs; this thief has {met}."
                " Give a class for each input of the pool, or use knockoff, which needs no classes."
            )
        arms = Arms(self, knows.pool, groups, torch.Generator().manual_seed(seed))
        return grow(oracle, nothing(knows), arms, Student(knows, self, seed))


@dataclass
class Bandit:
    """A gradient bandit: preferences h whose sum stays 0, how often each arm was pulled, the mean reward so far."""

    arms: int
    h: Float[Tensor, " k"] = field(init=False)
    pulled: list[int] = field(init=False)
    mean: float = field(default=0.0, init=False)
    rewarded: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.h = torch.zeros(self.arms, dtype=torch.float64)
        self.pulled = [0] * self.arms

    def policy(self, open_arms: Bool[Tensor, " k"]) -> Float[Tensor, " k"]:
        """softmax(h) over the arms that can still be pulled."""
        return torch.softmax(self.h.where(open_arms, -torch.inf), 0)

    def learn(self, arm: int, reward: float, pi: Float[Tensor, " k"]) -> None:
        """One step of gradient ascent for an arm pulled under the policy pi."""
        self.pulled[arm] += 1
        step = (reward - self.mean) / self.pulled[arm]
        self.h -= step * pi
        self.h[arm] += step
        self.rewarded += 1
        self.mean += (reward - self.mean) / self.rewarded


@dataclass
class Arms:
    """The next queries: inputs of the classes a bandit picks. Live; the last picks are rewarded before the next ones.

    rest   rows of the pool not queried yet, by class, in random order
    picks  class and policy of each input of the last batch
    least, most  smallest and largest reward so far, one per kind
    """

    recipe: KnockoffAdaptive
    pool: Batch
    groups: Int[Tensor, " n"]
    generator: torch.Generator
    bandit: Bandit = field(init=False)
    rest: list[list[int]] = field(init=False)
    picks: list[tuple[int, Tensor]] = field(default_factory=list[tuple[int, Tensor]], init=False)
    least: Tensor = field(default_factory=lambda: torch.tensor(torch.inf), init=False)
    most: Tensor = field(default_factory=lambda: torch.tensor(-torch.inf), init=False)

    def __post_init__(self) -> None:
        order = torch.randperm(len(self.pool), generator=self.generator)
        group = self.groups[order]
        self.rest = [order[group == name].tolist() for name in self.groups.unique()]
        self.bandit = Bandit(len(self.rest))

    def __call__(self, clone: TorchModel, transfer: Transfer, left: int) -> Batch:
        if self.picks:
            self.reward(clone, transfer)
        self.picks, rows = [], list[int]()
        for _ in range(min(self.recipe.batch, left, sum(map(len, self.rest)))):
            pi = self.bandit.policy(torch.tensor([bool(rest) for rest in self.rest]))
            arm = int(torch.multinomial(pi, 1, generator=self.generator))
            self.picks.append((arm, pi))
            rows.append(self.rest[arm].pop())
        return self.pool[rows]

    def reward(self, clone: TorchModel, transfer: Transfer) -> None:
        """Passes the rewards of the last batch, scaled to [0, 1], to the bandit."""
        y = transfer.reply.y
        past, new = y[: -len(self.picks)], y[-len(self.picks) :]
        earned = rewards(self.recipe.reward, new, past, clone.logits(transfer.x[-len(new) :]))
        self.least, self.most = earned.amin(0).minimum(self.least), earned.amax(0).maximum(self.most)
        width = self.most - self.least
        scaled = ((earned - self.least) / width.where(width > 0, 1.0)).mean(1)
        for (arm, pi), r in zip(self.picks, scaled.tolist(), strict=True):
            self.bandit.learn(arm, r, pi)


def rewards(kind: Reward, y: Posterior, past: Float[Tensor, "m k"], out: Float[Tensor, "n k"]) -> Float[Tensor, "n r"]:
    """The unscaled reward of each answer y: one column, or all three. `out` holds the clone's logits."""
    columns = {
        "certainty": lambda: lead(y),
        "diversity": lambda: diversity(y, (past if len(past) else y).mean(0)),
        "loss": lambda: F.cross_entropy(out, y.to(out.dtype), reduction="none"),
    }
    wanted = columns if kind == "all" else (kind,)
    return torch.stack([columns[name]().double() for name in wanted], 1)


def diversity(y: Posterior, mean: Float[Tensor, " k"]) -> Float[Tensor, " n"]:
    """How much of an answer exceeds the mean answer, 0 to 1; 0 for the mean answer itself."""
    return (y - mean).clamp(min=0).sum(1)


@dataclass
class Student:
    """The clone behind the loss reward: it takes a few steps on each new batch of answers. Live."""

    knows: Knowledge
    recipe: KnockoffAdaptive
    seed: int
    learnt: int = field(default=0, init=False)
    model: TorchModel = field(init=False)

    def __post_init__(self) -> None:
        self.model = TorchModel(fresh(self.knows.student, self.seed).eval(), self.knows.task)

    def __call__(self, transfer: Transfer) -> TorchModel:
        x, y = transfer.x[self.learnt :], transfer.reply.y[self.learnt :]
        # batch normalisation cannot train on a batch of one
        if self.recipe.reward in ("loss", "all") and len(x) > 1:
            fit(self.model.net, x, y.float(), self.knows.task.loss, self.recipe.fit, self.seed)
        self.learnt = len(transfer.x)
        return self.model

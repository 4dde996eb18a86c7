"""Adaptive Misinformation: inputs the victim is unsure of are answered by a network trained to be wrong.

Source      Kariyappa, Qureshi, "Defending against model stealing attacks with adaptive misinformation" (CVPR 2020), and
            the authors' code; outlier exposure: Hendrycks, Mazeika, Dietterich (ICLR 2019)
Equations   y' = (1 - a) f(x) + a f^(x), a = 1 / (1 + exp(nu (max f(x) - tau))); f: CE(f(x), y) + oe CE(f(x'), uniform);
            f^: -log(1 - f^(x)_y), on auxiliary inputs with y the top class of f
Assumes     the owner's training inputs, and auxiliary inputs like a thief's: the defense depends on how like they are
Deviations  f starts from the victim's weights where they are available (the fine-tuning form of outlier exposure),
            since the owner may have only a part of the training set; the paper's networks are trained from scratch.
            Both networks are in evaluation mode; the code leaves f^ in training mode. tau = 0 changes nothing
Keeps       argmax: no

The switch at tau is nearly hard (nu = 1000, as in the paper): answers jump there.
"""

import functools
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.architectures import fresh
from gamekeeper.defenses.stateless import Stateless
from gamekeeper.errors import BadConfig
from gamekeeper.facts import TENTHS, Strengths
from gamekeeper.models.layout import autocast, image_memory
from gamekeeper.models.network import alone
from gamekeeper.training.fit import Fit, Rows, descend
from gamekeeper.training.outliers import beside, check_data, starting
from gamekeeper.training.surrogate import surrogate_seed
from gamekeeper.types import Armed, Batch, Model, Owner, Posterior, Reply

NAME = "AdaptiveMisinformation"
TUNING = Fit(epochs=8, least_steps=100, rate=0.03)
MISLEARNING = Fit(epochs=3, least_steps=200, rate=0.05)

Logits = Float[Tensor, "n k"]


def share(y: Posterior, tau: float, nu: float) -> Float[Tensor, "n 1"]:
    """a: the share of the answer that is misinformation; one half where the largest probability is tau."""
    return torch.sigmoid(nu * (tau - y.double().amax(1, keepdim=True)))


def misinform(y: Posterior, wrong: Posterior, tau: float, nu: float) -> Posterior:
    a = share(y, tau, nu)
    return ((1 - a) * y + a * wrong).to(y.dtype)


def to_uniform(z: Logits) -> Float[Tensor, ""]:
    """Cross-entropy to the uniform posterior."""
    return (torch.logsumexp(z, 1) - z.mean(1)).mean()


def away(z: Logits, y: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """-log(1 - softmax(z)_y), computed from the other classes' logits: accurate for probabilities near 1."""
    others = z.scatter(1, y[:, None], float("-inf"))
    return (torch.logsumexp(z, 1) - torch.logsumexp(others, 1)).mean()


def exposed(victim: Model, owner: Owner, other: Batch, weight: float, recipe: Fit, seed: int) -> nn.Module:
    """f: trained to be right on the owner's inputs and uncertain on the auxiliary ones."""
    net, x, batches = starting(victim, owner, seed), owner.x.float(), beside(other.float(), seed)

    def objective(rows: Rows) -> Tensor:
        with autocast():
            z = net(image_memory(torch.cat([x[rows], next(batches)]))).float()
        return F.cross_entropy(z[: len(rows)], owner.truth[rows]) + weight * to_uniform(z[len(rows) :])

    return descend(net, len(x), objective, recipe, seed)


def misled(f: nn.Module, owner: Owner, other: Batch, recipe: Fit, seed: int) -> nn.Module:
    """f^: trained to be confident, and to avoid the right class."""
    net, x, batches = fresh(owner.architecture, seed), owner.x.float(), beside(other.float(), seed)

    def objective(rows: Rows) -> Tensor:
        strange = image_memory(next(batches))
        with torch.no_grad():
            guessed = f(strange).argmax(1)
        with autocast():
            z = net(image_memory(torch.cat([x[rows], strange]))).float()
        return away(z[: len(rows)], owner.truth[rows]) + away(z[len(rows) :], guessed)

    return descend(net, len(x), objective, recipe, seed)


@functools.lru_cache(maxsize=2)
def trained(victim: Model, owner: Owner, weight: float, epochs: int, seed: int) -> tuple[nn.Module, nn.Module]:
    """f and f^. Cached by object, so that one defense at several tau trains one pair of networks. Raises Unsuited."""
    other = check_data(NAME, victim, owner)
    seed = surrogate_seed(NAME, seed)
    f = exposed(victim, owner, other, weight, replace(TUNING, epochs=epochs), seed)
    return f, misled(f, owner, other, MISLEARNING, seed)


@dataclass(frozen=True)
class AdaptiveMisinformation:
    """Where the victim is less confident than tau, answers with a network that avoids the right class.

    tau     the strength; 0 is no defense, the victim as it is
    nu      how sharp the switch at tau is
    oe      weight of outlier exposure in the training of f
    epochs  passes of that training over the owner's inputs
    """

    tau: float = 0.5
    nu: float = 1000.0
    oe: float = 1.0
    epochs: int = 8

    full_strength: ClassVar[tuple[str, float]] = ("tau", 1.0)
    monotone: ClassVar[bool] = False  # at any strength above 0 another network answers
    permutes: ClassVar[bool] = False  # the answers come from its own networks

    def __post_init__(self) -> None:
        if not 0 <= self.tau <= 1 or self.nu <= 0 or self.oe < 0 or self.epochs < 1:
            raise BadConfig(
                f"{NAME} needs a tau from 0 to 1, a nu above 0, an oe of at least 0 and at least one epoch. Got {self}."
            )

    @property
    def keeps_top1(self) -> bool:
        return False

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("tau={}", TENTHS),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> Armed:
        """Trains both networks. Raises Unsuited without the owner's inputs and auxiliary ones."""
        if self.tau == 0:
            check_data(NAME, victim, owner)
            return Stateless(lambda y: y)
        return Misinformer(self, *trained(victim, owner, self.oe, self.epochs, seed))


@dataclass(frozen=True, eq=False)
class Misinformer:
    """AdaptiveMisinformation armed with its two networks."""

    recipe: AdaptiveMisinformation
    right: nn.Module
    wrong: nn.Module

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        y = alone(self.right, x, reply.y.dtype)
        return Reply(misinform(y, alone(self.wrong, x, reply.y.dtype), self.recipe.tau, self.recipe.nu), reply.maps)

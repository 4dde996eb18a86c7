"""Random noise on the logits: a baseline of Prediction Poisoning that needs no surrogate.

Source      Orekondy, Schiele, Fritz, "Prediction Poisoning" (ICLR 2020), section 5.1 ("random noise") and the authors'
            code; projection: Duchi, Shalev-Shwartz, Singer, Chandra, "Efficient projections onto the l1-ball" (ICML
            2008)
Equations   z = logit(y) + d, d ~ U[0, 2 eps / k^(1/p)]^k projected to |d|_p <= eps; y~ = sigmoid(z) / sum sigmoid(z)
Assumes     a posterior and its input; no knowledge of the thief
Deviations  the noise is drawn from HMAC(secret, input); the paper draws fresh noise for every answer, which a thief can
            average away. `signed` draws from [-2, 2] eps / k^(1/p) instead; the authors' noise is non-negative. Entries
            of exactly 0 and 1 stay so, the limit of the formula (the code's logits are infinite there)
Keeps       argmax: no

eps is measured on the logits, not on probabilities. A thief who changes an input slightly draws new noise.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.defenses.keyed import secret, uniforms
from gamekeeper.errors import BadConfig
from gamekeeper.facts import Strengths
from gamekeeper.needs import classes_of
from gamekeeper.types import Batch, Model, Owner, Posterior, Reply

Ball = Literal["l1", "l2"]
MOST = 700.0
"""Largest eps: beyond it the odds overflow float64."""


def noisy(y: Posterior, noise: Float[Tensor, "n k"]) -> Posterior:
    """sigmoid(logit(y) + noise), rows renormalised, in the dtype of y. Zero noise returns y up to rounding."""
    exact, up = y.double(), (noise / 2).exp()
    z = exact * up / (exact * up + (1 - exact) / up)  # by odds: defined at 0 and 1 too
    return (z / z.sum(1, keepdim=True)).to(y.dtype)


def draw(share: Float[Tensor, "n k"], eps: float, ball: Ball, signed: bool) -> Float[Tensor, "n k"]:
    """Turns numbers in [0, 1) into noise of norm at most eps."""
    most = 2 * eps / share.shape[1] ** (1 if ball == "l1" else 1 / 2)
    v = (2 * share - 1 if signed else share) * most
    return onto_l1_ball(v, eps) if ball == "l1" else onto_l2_ball(v, eps)


def onto_l1_ball(v: Float[Tensor, "n k"], radius: float) -> Float[Tensor, "n k"]:
    """The nearest points (in l2) with |.|_1 <= radius, for a positive radius; points inside come back bit for bit."""
    size = v.abs()
    largest = size.sort(1, descending=True).values
    over = largest.cumsum(1) - radius
    rank = torch.arange(1, v.shape[1] + 1, dtype=v.dtype)
    nonzero = (largest * rank > over).sum(1, keepdim=True)  # how many entries stay away from zero
    threshold = (over.gather(1, nonzero - 1) / nonzero).clamp(min=0)
    return (size - threshold).clamp(min=0) * v.sign()


def onto_l2_ball(v: Float[Tensor, "n k"], radius: float) -> Float[Tensor, "n k"]:
    """The nearest points with |.|_2 <= radius, for a positive radius."""
    return v / (v.square().sum(1, keepdim=True).sqrt() / radius).clamp(min=1)


@dataclass(frozen=True)
class RandomNoise:
    """Adds bounded noise to the logits, always the same for the same input.

    eps     radius of the ball the noise lies in, in logits; in l1, 5 to 40 moves answers by 0.1 to 0.8
    ball    the norm of that ball
    signed  whether the noise has both signs; the authors' is non-negative
    """

    eps: float = 10.0
    ball: Ball = "l1"
    signed: bool = False

    full_strength: ClassVar[tuple[str, float]] = ("eps", MOST)
    monotone: ClassVar[bool] = False  # rows are renormalised, so more noise can lead back; monotone on average only
    permutes: ClassVar[bool] = False  # the noise is drawn class by class

    def __post_init__(self) -> None:
        if not 0 <= self.eps <= MOST:
            raise BadConfig(f"The eps of RandomNoise must be from 0 to {MOST:g}. Got {self.eps}.")
        if self.ball not in get_args(Ball):
            raise BadConfig(f"The ball of RandomNoise must be l1 or l2. Got {self.ball}.")

    @property
    def keeps_top1(self) -> bool:
        return False

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("eps={}", ("1", "2", "5", "10", "20", "40")),)

    @property
    def keyed(self) -> bool:
        return True

    def arm(self, victim: Model, owner: Owner, seed: int) -> "Noisy":
        classes_of(victim, "RandomNoise")
        return Noisy(self, secret("RandomNoise", seed, owner.secret))


@dataclass(frozen=True)
class Noisy:
    """Noise armed with its secret."""

    recipe: RandomNoise
    key: bytes = field(repr=False)

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        if self.recipe.eps == 0:
            return reply
        share = uniforms(self.key, x, reply.y.shape[1])
        return Reply(noisy(reply.y, draw(share, self.recipe.eps, self.recipe.ball, self.recipe.signed)), reply.maps)

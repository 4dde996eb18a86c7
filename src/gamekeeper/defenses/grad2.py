"""GRAD^2: answers whose gradient points as far as possible in a chosen direction, by an exact linear program.

Source      Mazeika, Li, Forsyth, "How to steer your adversary: targeted and efficient model stealing defenses with
            gradient redirection" (ICML 2022), and the authors' code
Equations   max <G^T y~, z> over the simplex with |y~ - y|_1 <= eps; G the Jacobian of log p in the surrogate's
            weights. With v = G z, up to eps/2 of mass goes to the class of largest v, from the smallest v upward
Assumes     a surrogate of the thief's network, by default trained for 10 epochs on the owner's inputs with the victim's
            answers; the paper trains it on the queries it expects, which an owner seldom has
Deviations  v is computed from logits instead of log p: this adds the same number to every class of a row, which moves
            no mass. No mass is taken from classes that tie with the best. `random` directions are ours
Keeps       argmax: no
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from gamekeeper.architectures import Classifier
from gamekeeper.defenses.stateless import check_l1
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.facts import L1, Strengths
from gamekeeper.models.network import CHUNK, TorchModel
from gamekeeper.needs import classes_of
from gamekeeper.training.surrogate import stand_in, surrogate_seed
from gamekeeper.types import Architecture, Batch, Model, Owner, Posterior, Reply

Direction = Literal["ones", "random", "away"]
Jacobian = Literal["last", "all"]


def grad2(y: Posterior, v: Float[Tensor, "n k"], eps: float) -> Posterior:
    """The posterior within eps of y in L1 with the largest <v, .>. eps = 0 returns y bit for bit.

    Among classes of equal v, the first receives first and gives first.
    """
    if eps <= 0:
        return y
    exact = y.double()
    best = v.argmax(1, keepdim=True)
    order = v.sort(dim=1, stable=True).indices
    mass = torch.where(v < v.gather(1, best), exact, 0.0).gather(1, order)
    given = torch.minimum((eps / 2 - (mass.cumsum(1) - mass)).clamp(min=0), mass)
    z = exact.scatter_add(1, order, -given).scatter_add(1, best, given.sum(1, keepdim=True))
    return z.to(y.dtype)


def steered(net: nn.Module, x: Batch, towards: Mapping[str, Tensor]) -> Float[Tensor, "n k"]:
    """How fast each logit grows as the named weights move along `towards`: J z for the whole batch.

    By differentiating twice: u -> <J^T u, z> is linear with gradient J z.
    """
    net.eval()
    frozen = {name: weight.detach() for name, weight in net.named_parameters()}
    moving = {name: frozen[name].requires_grad_() for name in towards}
    parts: list[Tensor] = []
    with torch.enable_grad():
        for some in x.split(CHUNK):
            logits: Tensor = functional_call(net, frozen | moving, (some,))
            u = torch.zeros_like(logits, requires_grad=True)
            gradients = torch.autograd.grad(logits, list(moving.values()), u, create_graph=True)
            along = torch.stack([(g * z).sum() for g, z in zip(gradients, towards.values(), strict=True)]).sum()
            parts.append(torch.autograd.grad(along, u)[0])
    return torch.cat(parts)


def away(surrogate: TorchModel, x: Batch, y: Posterior, jacobian: Jacobian) -> Float[Tensor, "n k"]:
    """v for z = -G^T y, up to a positive factor and a constant per row: J J^T (p - y)."""
    q = torch.softmax(surrogate.logits(x), 1, dtype=torch.float64) - y
    if jacobian == "last":
        return q  # J J^T is a multiple of the identity
    weights = dict(surrogate.net.named_parameters())
    rows: list[Tensor] = []
    for row, step in zip(x.split(1), q.split(1), strict=True):
        with torch.enable_grad():
            logits: Tensor = surrogate.net(row)
        gradients = torch.autograd.grad(logits, list(weights.values()), step.to(logits.dtype))
        rows.append(steered(surrogate.net, row, dict(zip(weights, gradients, strict=True))))
    return torch.cat(rows)


def direction_of(net: nn.Module, direction: Direction, jacobian: Jacobian, seed: int) -> dict[str, Tensor]:
    """A direction for all weights or those of the last layer: ones, or normal variates drawn from the seed."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: w for name, w in net.named_parameters() if jacobian == "all" or name.startswith("head.")}
    if direction == "ones":
        return {name: torch.ones_like(weight) for name, weight in weights.items()}
    return {name: torch.randn(w.shape, generator=generator, dtype=w.dtype) for name, w in weights.items()}


@dataclass(frozen=True)
class GRAD2:
    """Steers a student's gradient in a chosen direction, as far as eps allows.

    direction  "ones": every weight up, the paper's coordinated defense; "random": drawn from the seed; "away": against
               the gradient of the clean answer, input by input
    jacobian   with respect to "all" weights, or to those of the "last" layer, where "ones" would move nothing
    surrogate  "victim": a network of the owner's architecture; or another architecture
    epochs     the surrogate's passes over the owner's inputs; 0 leaves it untrained and needs no data
    """

    eps: float = 0.95
    direction: Direction = "ones"
    jacobian: Jacobian = "all"
    surrogate: Architecture | Literal["victim"] = "victim"
    epochs: int = 10

    full_strength: ClassVar[tuple[str, float]] = ("eps", 2.0)
    permutes: ClassVar[bool] = False  # the surrogate's classes are not permuted

    def __post_init__(self) -> None:
        check_l1(self.eps, "GRAD2")
        if self.direction not in get_args(Direction):
            raise BadConfig(f"The direction of GRAD2 must be ones, random or away. Got {self.direction}.")
        if self.jacobian not in get_args(Jacobian):
            raise BadConfig(f"The jacobian of GRAD2 must be last or all. Got {self.jacobian}.")
        if self.direction == "ones" and self.jacobian == "last":
            raise BadConfig(
                "GRAD2 with direction=ones in the last layer moves nothing: every logit grows alike. Use"
                " direction=random or jacobian=all."
            )
        if self.epochs < 0:
            raise BadConfig(f"The epochs of GRAD2 must be 0 or more. Got {self.epochs}.")

    @property
    def l1_bound(self) -> float:
        return self.eps

    @property
    def keeps_top1(self) -> bool:
        return False

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("eps={}", L1),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> "Steerer":
        """Raises Unsuited for fewer than two classes, a surrogate that does not fit the victim, or missing data."""
        classes_of(victim, "GRAD2")
        architecture = owner.architecture if isinstance(self.surrogate, str) else self.surrogate
        surrogate = stand_in("GRAD2", architecture, victim, owner, seed, self.epochs)
        if self.jacobian == "last" and not isinstance(surrogate.net, Classifier):
            raise Unsuited(f"GRAD2 needs a surrogate with a last layer named `head`; {architecture} has none.")
        towards = direction_of(surrogate.net, self.direction, self.jacobian, surrogate_seed("GRAD2 direction", seed))
        return Steerer(self, surrogate, {} if self.direction == "away" else towards)


@dataclass(frozen=True, eq=False)
class Steerer:
    """GRAD2 armed with a surrogate and a direction."""

    recipe: GRAD2
    surrogate: TorchModel
    towards: Mapping[str, Tensor]

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        if self.recipe.direction == "away":
            v = away(self.surrogate, x, reply.y, self.recipe.jacobian)
        else:
            v = steered(self.surrogate.net, x, self.towards)
        return Reply(grad2(reply.y, v, self.recipe.eps), reply.maps)

"""MAD: answers whose gradient points away from the true one, in closed form.

Source      Orekondy, Schiele, Fritz, "Prediction Poisoning: towards defenses against DNN model stealing attacks"
            (ICLR 2020), section 4 and appendix B, and the authors' code
Equations   (4) to (7), solved over the vertices e_k of the simplex, or over those of the part where the top class leads
            (MAD-argmax). G is taken over the surrogate's last layer, where its features cancel: with q = y - p and p
            the surrogate's posterior, cos(G^T y, G^T e_k) = <q, e_k - p> / (|q| |e_k - p|), and the vertex of least
            cosine is chosen; or over all its weights, with the inner products of mad/jacobian.py
Assumes     a surrogate of the thief's network (randomly initialised, which the paper finds best), or p = 1/k
Deviations  the Jacobian is the last layer's by default, as in the authors' code; the paper's text uses all parameters.
            The objective is normalised (by default, the code's is not). Algorithm 1 prints max{eps / |y - y*|, 1}; min
            is meant, and is what the code computes. The surrogate is in evaluation mode; the code leaves it in training
            mode. MAD-argmax ends a step while the top class leads by 1e-6, where the code adds 1e-5 to it. The rules
            eps_aware and ball are ours
Keeps       argmax: with keep_top1, which is MAD-argmax. Without it, a confident answer (top-1 c) keeps its label up to
            eps = 2c / (1 + c) in L1

Cost: one forward pass of the surrogate and O(k) arithmetic per query. An answer depends on the surrogate only through
the vertex. The angle is the objective, not a measure of protection: evaluate the defense by what a thief learns.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gamekeeper.defenses.guarantees import ANY
from gamekeeper.defenses.keyed import secret, uniforms
from gamekeeper.defenses.mad.ball import mad_ball
from gamekeeper.defenses.mad.jacobian import Gram, gram
from gamekeeper.defenses.mad.subsets import ENUMERATED, best_class, best_set, times, turn
from gamekeeper.defenses.stateless import Stateless
from gamekeeper.errors import BadConfig
from gamekeeper.facts import L1, Strengths
from gamekeeper.models.network import TorchModel
from gamekeeper.needs import classes_of
from gamekeeper.simplex import Norm, distance, one_hot, step_towards
from gamekeeper.training.surrogate import runs, stand_in
from gamekeeper.types import Architecture, Armed, Batch, Model, Owner, Posterior, Reply

Rule = Literal["extreme", "eps_aware", "ball", "random"]
Jacobian = Literal["last", "all", "identity"]
SMALLEST = 1e-30


def mad(
    y: Posterior, p: Posterior, eps: float, norm: Norm = "l1", gram: Gram | None = None, eps_aware: bool = False
) -> Posterior:
    """From y towards the vertex that turns the gradient furthest, as far as dist(y, .) <= eps allows.

    p          the surrogate's posterior for the same inputs
    gram       Q of the surrogate's logits, for the Jacobian in all weights; None for the last layer's
    eps_aware  chooses the vertex by the angle where the step ends, not at the vertex itself; for l1 and l2

    eps = 0 returns y bit for bit.
    """
    if eps <= 0:
        return y
    if gram is None and not eps_aware:
        return step_towards(y, one_hot(vertex(y, p), y), eps, norm)
    k = best_class(turn(y, p, gram, eps if eps_aware else None, norm))
    k = torch.where((y == p).all(1), y.argmin(1), k)  # where y = p all vertices are equally good
    return step_towards(y, one_hot(k, y), eps, norm)


def mad_argmax(
    y: Posterior, p: Posterior, eps: float, norm: Norm = "l1", gram: Gram | None = None, eps_aware: bool = False
) -> Posterior:
    """MAD-argmax: towards a uniform posterior over some classes, among them the top class of y, which stays on top."""
    if eps <= 0:
        return y
    chosen = best_set(turn(y, p, gram, eps if eps_aware else None, norm)).to(y.dtype)
    return step_towards(y, chosen / chosen.sum(1, keepdim=True), eps, norm, keep_top1=True)


def mad_uniform(y: Posterior, eps: float, norm: Norm = "l1") -> Posterior:
    """MAD with p = 1/k, where the vertex is that of the least likely class."""
    return step_towards(y, one_hot(y.argmin(1), y), eps, norm)


def vertex(y: Posterior, p: Posterior) -> Int[Tensor, " n"]:
    """The class k of least <y - p, e_k - p> / |e_k - p|, in float64; ties go to the first; argmin y where y = p."""
    p = p.double()
    q = y - p
    pq, pp = (p * q).sum(1, keepdim=True), (p * p).sum(1, keepdim=True)
    squared = torch.sub(pp + 1, p, alpha=2).clamp_(min=SMALLEST)  # |e_k - p|^2 = 1 - 2 p_k + |p|^2
    k = ((q - pq) / squared.sqrt_()).argmin(1)
    # q = 0 implies p.q = 0: this cheap check spares nearly every batch the fallback
    return k if pq.all() else torch.where(q.any(1), k, y.argmin(1))


def deviation(y: Posterior, y_new: Posterior, p: Posterior, gram: Gram | None = None) -> Float[Tensor, " n"]:
    """Angle in degrees between the gradients under y and under y_new, for a network that answers p.

    The gradients are those of the last layer, or of all weights if `gram` is given. 90 where exactly one of them
    vanishes, 0 where both do.
    """
    if gram is None:
        u, v = (nn.functional.normalize(z.double() - p, dim=1) for z in (y, y_new))
        # accurate for small angles, unlike the arc cosine
        return torch.rad2deg(2 * torch.atan2(distance(u, v, "l2"), distance(u, -v, "l2")))
    gram, u, v = gram.double(), y.double() - p, y_new.double() - p
    u, v = (z / length(gram, z).clamp(min=SMALLEST)[:, None] for z in (u, v))
    return torch.rad2deg(2 * torch.atan2(length(gram, u - v), length(gram, u + v)))


def length(gram: Gram, v: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    return (v * times(gram, v)).sum(1).clamp(min=0).sqrt()


@dataclass(frozen=True)
class MAD:
    """Maximal angular deviation: moves each answer by eps in the direction that misleads a student most.

    keep_top1  MAD-argmax: towards a uniform posterior over some classes, among them the top class
    surrogate  "victim": a fresh network of the owner's architecture; an architecture: a fresh network of that one;
               "uniform": no network, p = 1/k
    epochs     the surrogate's passes over the owner's inputs; 0 leaves it untrained
    jacobian   of the surrogate's "last" layer or "all" weights; "identity": the ablation G = I
    rule       "extreme": the vertex of the largest angle; "eps_aware": that of the largest angle at the end of the
               step; "ball": the best answer within eps, not on the way to a vertex; "random": the ablation, a vertex
               drawn by HMAC(secret, input)
    """

    eps: float = 0.95
    norm: Norm = "l1"
    surrogate: Architecture | Literal["victim", "uniform"] = "victim"
    keep_top1: bool = False
    jacobian: Jacobian = "last"
    rule: Rule = "extreme"
    epochs: int = 0

    full_strength: ClassVar[tuple[str, float]] = ("eps", 2.0)

    def __post_init__(self) -> None:
        if isinstance(self.surrogate, str) and self.surrogate not in ("victim", "uniform"):
            raise BadConfig(f"The surrogate of MAD must be victim, uniform or an architecture. Got {self.surrogate}.")
        for name, allowed in (("norm", Norm), ("jacobian", Jacobian), ("rule", Rule)):
            words, got = get_args(allowed), getattr(self, name)
            if got not in words:
                raise BadConfig(f"The {name} of MAD must be {', '.join(words[:-1])} or {words[-1]}. Got {got}.")
        most = float("inf") if self.norm == "kl" else 2
        if not 0 <= self.eps <= most:
            raise BadConfig(f"The eps of MAD must be from 0 to {most:g} for {self.norm}. Got {self.eps}.")
        if self.epochs < 0:
            raise BadConfig(f"The epochs of MAD must be 0 or more. Got {self.epochs}.")
        self.check_together()

    def check_together(self) -> None:
        """Raises BadConfig for parameters that cannot be combined."""
        if self.rule == "eps_aware" and self.norm == "kl":
            raise BadConfig("MAD's rule eps_aware needs the norm l1 or l2; got kl.")
        if self.rule == "ball" and (self.norm != "l1" or self.keep_top1 or self.jacobian != "last"):
            raise BadConfig("MAD's rule ball needs norm=l1, jacobian=last and keep_top1=false.")
        if self.surrogate == "uniform" and (self.jacobian == "all" or self.epochs):
            raise BadConfig("MAD needs a surrogate network for jacobian=all and for epochs; got surrogate=uniform.")

    @property
    def permutes(self) -> bool:
        """Not with a surrogate, whose classes are not permuted, nor where the vertex is drawn by class number."""
        return self.rule != "random" and (self.surrogate == "uniform" or self.jacobian == "identity")

    @property
    def l1_bound(self) -> float:
        """KL bounds L1 (Pinsker); L2 bounds it only for a given number of classes."""
        return {"l1": self.eps, "l2": ANY, "kl": min(ANY, math.sqrt(2 * self.eps))}[self.norm]

    @property
    def keeps_top1(self) -> bool:
        return self.keep_top1

    def poison(self, y: Posterior, p: Posterior, gram: Gram | None = None) -> Posterior:
        """The answer for y, given the posterior p of the surrogate (or the thief's network). Not for rule random."""
        if self.rule == "ball":
            return mad_ball(y, p, self.eps)
        change = mad_argmax if self.keep_top1 else mad
        return change(y, p, self.eps, self.norm, gram, self.rule == "eps_aware")

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (
            Strengths("eps={}", L1),
            Strengths("eps={},keep_top1=true", L1),
        )

    @property
    def keyed(self) -> bool:
        return self.rule == "random"

    def arm(self, victim: Model, owner: Owner, seed: int) -> Armed:
        """Raises Unsuited for fewer than two classes, a surrogate that does not fit the victim, or missing data."""
        classes = classes_of(victim, "MAD")
        if self.rule == "random":
            return Scatterer(self, secret("MAD", seed, owner.secret))
        if self.jacobian == "identity":  # p = 0: the angle between the posteriors themselves
            return Stateless(partial(poison_alone, recipe=self, p=0.0))
        if self.surrogate == "uniform":
            if self.rule == "extreme" and not self.keep_top1:
                return Stateless(partial(mad_uniform, eps=self.eps, norm=self.norm))
            return Stateless(partial(poison_alone, recipe=self, p=1 / classes))
        architecture = owner.architecture if isinstance(self.surrogate, str) else self.surrogate
        return Poisoner(stand_in("MAD", architecture, victim, owner, seed, self.epochs), self)


def poison_alone(y: Posterior, recipe: MAD, p: float) -> Posterior:
    """The answer without a network, for p in every class."""
    return recipe.poison(y, torch.full_like(y, p))


@dataclass(frozen=True, eq=False)
class Poisoner:
    """MAD armed with a surrogate."""

    surrogate: TorchModel
    recipe: MAD

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        # the answers of `ball`, and sets grown class by class, depend on the last bit of p, which depends on the other
        # inputs in a forward pass
        grown = self.recipe.keep_top1 and reply.y.shape[1] > ENUMERATED
        first, place = runs(x)
        x = x[first]
        parts = x.split(1) if self.recipe.rule == "ball" or grown else (x,)
        p = torch.cat([torch.softmax(self.surrogate.logits(some), dim=1, dtype=torch.float64) for some in parts])[place]
        q = gram(self.surrogate.net, x)[place] if self.recipe.jacobian == "all" else None
        return Reply(self.recipe.poison(reply.y, p, q), reply.maps)


@dataclass(frozen=True)
class Scatterer:
    """MAD armed for the rule random: towards a vertex drawn for each input, whatever the gradient."""

    recipe: MAD
    key: bytes = field(repr=False)

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        y, share = reply.y, uniforms(self.key, x, reply.y.shape[1])
        if self.recipe.keep_top1:
            chosen = (share < 0.5).scatter(1, y.argmax(1, keepdim=True), True).to(y.dtype)
            goal = chosen / chosen.sum(1, keepdim=True)
        else:
            goal = one_hot(share.argmax(1), y)
        return Reply(step_towards(y, goal, self.recipe.eps, self.recipe.norm, self.recipe.keep_top1), reply.maps)

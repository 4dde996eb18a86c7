"""Distances, steps and labels on posteriors. Pure functions; rows are independent of each other."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.types import Posterior

Norm = Literal["l1", "l2", "kl"]
BISECTIONS = 30
TINY = 1e-12
LEAD = 1e-6
"""By how much a preserved top class must lead: several units in the last place of a float32 probability."""


def one_hot(k: Int[Tensor, " n"], like: Posterior) -> Posterior:
    """Vertices e_k, in the dtype and width of `like`."""
    return torch.zeros_like(like).scatter_(1, k.unsqueeze(1), 1.0)


def label(y: Posterior) -> Posterior:
    """The top-1 label as a one-hot posterior; ties go to the first class."""
    return one_hot(y.argmax(1), y)


def distance(y: Posterior, z: Posterior, norm: Norm) -> Float[Tensor, " n"]:
    """Row-wise ||y - z||_1 (at most 2), ||y - z||_2, or KL(y || z) in nats with z clamped at 1e-12."""
    if norm == "l1":
        return (y - z).abs().sum(1)
    if norm == "l2":
        return (y - z).square().sum(1).sqrt()
    return (torch.xlogy(y, y) - y * z.clamp(min=TINY).log()).sum(1).clamp(min=0)


def step_towards(y: Posterior, goal: Posterior, eps: float, norm: Norm = "l1", keep_top1: bool = False) -> Posterior:
    """The point y + a (goal - y), a in [0, 1], as far as dist(y, .) <= eps allows. eps = 0 returns y bit for bit.

    `goal` may be any point of the simplex. With keep_top1 the step ends while the top class of y still leads by LEAD;
    a row whose lead is smaller to begin with does not move.
    """
    if eps <= 0:
        return y
    a = reach(y, goal, eps, norm)
    if not keep_top1:
        return torch.lerp(y, goal, a)
    z = torch.lerp(y, goal, torch.minimum(a, leads_until(y, goal)))
    # a near tie that the step does not narrow can still round to a tie; such rows do not move either
    return torch.where((z.argmax(1) == y.argmax(1))[:, None], z, y)


def reach(y: Posterior, goal: Posterior, eps: float, norm: Norm) -> Float[Tensor, "n 1"]:
    """The largest a in [0, 1] with dist(y, y + a (goal - y)) <= eps, for eps > 0.

    A norm is linear along the segment, so a = min(1, eps / dist(y, goal)). KL is monotone along it: a by bisection.
    """
    if norm != "kl":
        # the same number as `distance`, in fewer calls: at batch 1 each costs as much as a small layer
        length: Tensor = torch.linalg.vector_norm(goal - y, 1 if norm == "l1" else 2, dim=1, keepdim=True)
        return (length / max(eps, torch.finfo(y.dtype).tiny)).clamp_(min=1.0).reciprocal_()
    low, high = torch.zeros_like(y[:, :1]), torch.ones_like(y[:, :1])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        inside = distance(y, torch.lerp(y, goal, middle), "kl")[:, None] <= eps
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return torch.where(distance(y, goal, "kl")[:, None] <= eps, 1.0, low)


def leads_until(y: Posterior, goal: Posterior) -> Float[Tensor, "n 1"]:
    """The largest a in [0, 1] up to which the top class of y leads every other by LEAD on the way to `goal`.

    The lead over class j is d_j at a = 0 and u_j at a = 1, linear in between; only classes with u_j < d_j catch up.
    """
    top = y.argmax(1, keepdim=True)
    d, u = y.gather(1, top) - y, goal.gather(1, top) - goal
    until = (d - LEAD) / torch.where(u < d, d - u, 1.0)
    return torch.where(u < d, until, 1.0).clamp_(0.0, 1.0).amin(1, keepdim=True)


def restore_top1(y: Posterior, clean: Posterior, margin: float = LEAD) -> Posterior:
    """Lifts the top-1 class of `clean` to `margin` above all others, in rows of y where it does not lead.

    A lifted row is renormalised; rows that already agree come back bit for bit.
    """
    top = clean.argmax(1, keepdim=True)
    others = y.scatter(1, top, -1.0).amax(1, keepdim=True)
    wrong = y.gather(1, top) <= others
    lifted = y.scatter(1, top, others + margin)
    return torch.where(wrong, lifted / lifted.sum(1, keepdim=True), y)


def entropy(y: Posterior) -> Float[Tensor, " n"]:
    """Shannon entropy in bits."""
    return -torch.xlogy(y, y).sum(1) / torch.log(torch.tensor(2.0, dtype=y.dtype))

"""The answer within eps that turns the gradient furthest: MAD's objective without MAD's heuristic.

Source      the objective of Orekondy, Schiele, Fritz, "Prediction Poisoning" (ICLR 2020), equations (4) to (7)
Equations   min <q, w> / (|q| |w|), q = y - p, w = y~ - p, over the simplex with |y~ - y|_1 <= eps. If p is within
            reach, y~ lies behind it: 180 degrees. Otherwise, if the least <q, w> is negative, the problem is
            quasi-convex: y~ is the projection of p - q/c for one c, found by bisection. Otherwise the maximum is at a
            vertex of the ball: by linear programs from up to 32 starts
Assumes     a surrogate's posterior p, the Jacobian of its last layer, l1
Deviations  the paper moves towards a vertex of the simplex instead. The last case is a local ascent: in brute-force
            tests it comes within 0.5 degrees of the best vertex
Keeps       argmax: no

A larger angle is not a better defense: just behind p the poisoned gradient almost vanishes.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.defenses.grad2 import grad2
from gamekeeper.simplex import one_hot, step_towards
from gamekeeper.types import Posterior

STARTS, ASCENTS, BISECTIONS, SCALE = 16, 12, 48, 30
EQUAL = 1e-12


def mad_ball(y: Posterior, p: Posterior, eps: float) -> Posterior:
    """The best of three cases for each row. eps = 0 returns y bit for bit; y = p moves to the least likely class."""
    if eps <= 0:
        return y
    exact, p = y.double(), p.double()
    # p is scaled to the sum of y, which float32 rounds: `behind` would multiply the difference
    p = p * (exact.sum(1, keepdim=True) / p.sum(1, keepdim=True))
    opposite, linear = behind(exact, p, eps), grad2(exact, p - exact, eps)
    over = (cosine(exact, p, linear) < 0) & (cosine(exact, p, opposite) > -1 + EQUAL)
    if over.any():
        linear[over] = blunt(exact[over], p[over], eps)
    candidates = torch.stack([opposite, linear, ascended(exact, p, eps)])
    cosines = torch.stack([cosine(exact, p, z) for z in candidates])
    best = (cosines <= cosines.amin(0) + EQUAL).to(torch.uint8).argmax(0)  # ties go to the first
    answer = candidates[best, torch.arange(len(y))].to(y.dtype)
    same = (exact == p).all(1, keepdim=True)
    return torch.where(same, step_towards(y, one_hot(y.argmin(1), y), eps), answer)


def cosine(y: Posterior, p: Posterior, z: Posterior) -> Float[Tensor, " n"]:
    """The cosine of the angle at p between y and z; 1 where a side vanishes."""
    q, w = y - p, z - p
    size = (q.square().sum(1) * w.square().sum(1)).sqrt()
    return torch.where(size > 1e-15, (q * w).sum(1) / size.clamp(min=1e-300), 1.0)


def behind(y: Posterior, p: Posterior, eps: float) -> Posterior:
    """p - t (y - p) with the largest t that eps and the simplex allow; y itself where p is out of reach."""
    q = y - p
    room = torch.where(q > 0, p / torch.where(q > 0, q, 1.0), torch.inf).amin(1, keepdim=True)
    reach = eps / q.abs().sum(1, keepdim=True).clamp(min=1e-300) - 1
    t = torch.minimum(room, reach)
    return torch.where((t > 0) & t.isfinite(), (p - t * q).clamp(min=0), y)


def blunt(y: Posterior, p: Posterior, eps: float) -> Posterior:
    """The least cosine where it is negative: the projection of p - q/c for the c with <q, w> + c |w|^2 = 0.

    There w itself has the least inner product with the gradient of the cosine, q + c w, over the ball. By bisection:
    for small c the projection is the vertex of least <q, w> < 0, for large c the point nearest to p.
    """
    q = y - p
    low, high = torch.full_like(y[:, :1], -SCALE), torch.full_like(y[:, :1], SCALE)
    z = y
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        c = middle.exp2()
        z = onto_ball(p - q / c, y, eps)
        w = z - p
        more = (q * w + c * w * w).sum(1, keepdim=True) < 0
        low, high = torch.where(more, middle, low), torch.where(more, high, middle)
    return z


def onto_ball(v: Float[Tensor, "n k"], y: Posterior, eps: float) -> Posterior:
    """The point of the simplex with |. - y|_1 <= eps that is nearest to v.

    Receivers end at v - a, givers at max(0, v - b). With eps/2 received and eps/2 given, a and b are found separately;
    if that gives a < b, the ball does not bind, and a = b.
    """
    lead = v - y
    a, b = level(lead, y, eps / 2, receive=True), level(lead, y, eps / 2, receive=False)
    loose = a < b
    common = simplex_level(v)
    a, b = torch.where(loose, common, a), torch.where(loose, common, b)
    return torch.where(lead > a, v - a, torch.where(lead < b, (v - b).clamp(min=0), y))


def level(lead: Float[Tensor, "n k"], y: Posterior, amount: float, receive: bool) -> Float[Tensor, "n 1"]:
    """The level at which `amount` is received, sum (lead - a)^+, or given, sum min(y, (b - lead)^+). By bisection."""
    low, high = lead.amin(1, keepdim=True) - amount, lead.amax(1, keepdim=True) + 1
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        moved = (lead - middle).clamp(min=0) if receive else torch.minimum((middle - lead).clamp(min=0), y)
        below = (moved.sum(1, keepdim=True) > amount) == receive
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high if receive else low


def simplex_level(v: Float[Tensor, "n k"]) -> Float[Tensor, "n 1"]:
    """The t with sum (v - t)^+ = 1."""
    largest = v.sort(dim=1, descending=True).values
    rank = torch.arange(1, v.shape[1] + 1, dtype=v.dtype)
    filled = (largest.cumsum(1) - 1) / rank
    return filled.gather(1, (largest > filled).sum(1, keepdim=True) - 1)


def ascended(y: Posterior, p: Posterior, eps: float) -> Posterior:
    """The best vertex of the ball reached by linear programs along the gradient, each started towards another class."""
    k = y.shape[1]
    q = y - p
    ahead = q.sort(dim=1, stable=True).indices[:, :STARTS]  # the classes whose gain turns the gradient furthest
    ahead = torch.cat([ahead, ahead], 1)  # once from the classes of largest q, once from those of smallest
    starts = ahead.shape[1]
    y_wide, p_wide, q_wide = (v.repeat_interleave(starts, 0) for v in (y, p, q))
    order = torch.tensor([-1.0, 1.0], dtype=y.dtype).repeat_interleave(starts // 2).repeat(len(y))[:, None]
    z = grad2(y_wide, one_hot(ahead.flatten(), y_wide) * 9 + order * q_wide, eps)
    for _ in range(ASCENTS):
        w = z - p_wide
        size2 = w.square().sum(1, keepdim=True).clamp(min=1e-300)
        slope = q_wide - (q_wide * w).sum(1, keepdim=True) / size2 * w  # of the cosine, up to a positive factor
        new = grad2(y_wide, -slope, eps)
        better = cosine(y_wide, p_wide, new) < cosine(y_wide, p_wide, z)
        if not better.any():
            break
        z = torch.where(better[:, None], new, z)
    best = cosine(y_wide, p_wide, z).reshape(-1, starts).argmin(1)
    return z.reshape(-1, starts, k)[torch.arange(len(y)), best]

"""The answer within eps that turns the gradient most of all: MAD's objective without MAD's heuristic.

Source      the objective of Orekondy, Schiele, Fritz, "Prediction Poisoning" (ICLR 2020), equations (4) to (7)
Equations   min <q, w> / (|q| |w|), q = y - p, w = y~ - p, over the simplex with |y~ - y|_1 <= eps. If p is within reach,
            y~ lies behind it: 180 degrees. Else, if the least <q, w> is negative, quasi-convex: y~ is the projection of p - q/c for
            one c, found by bisection. Else the maximum is a vertex of the ball: by linear programs from up to 32 starts
Assumes     a surrogate's posterior p, the Jacobian of its last layer, l1
Deviations  the paper moves towards a vertex of the simplex instead. The last case is an ascent: in brute-force tests it
            reaches the best vertex to 0.5 degrees
Keeps       argmax: no

A larger angle is not a better defense: just behind p the poisoned gradient is nearly nothing.
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
    """The best of the three cases for each row. eps = 0 returns y bit for bit; y = p goes to the least likely class."""
    if eps <= 0:
        return y
    exact, p = y.double(), p.double()
    p = p * (
        exact.sum(1, keepdim=True) / p.sum(1, keepdim=True)
    )  # what float32 sums to; `behind` would multiply the rest
    opposite, linear = behind(exact, p, eps), grad2(exact, p - exact, eps)
    over = (cosine(exact, p, linear) < 0) & (cosine(exact, p, opposite) > -1 + EQUAL)
    if over.any():
        linear[over] = blunt(exact[over], p[over], eps)
    candidates = torch.stack([opposite, linear, ascended(exact, p, eps)])
    cosines = torch.stack([cosine(exact, p, z) for z in candidates])
    best = (cosines <= cosines.amin(0) + EQUAL).to(torch.uint8).argmax(0)  # the first of equals
    answer = candidates[best, torch.arange(len(y))].to(y.dtype)
    same = (exact == p).all(1, keepdim=True)
    return torch.where(same, step_towards(y, one_hot(y.argmin(1), y), eps), answer)


def cosine(y: Posterior, p: Posterior, z: Posterior) -> Float[Tensor, " n"]:
    """Of the angle at p between y and z; 1 where a side vanishes."""
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
    """The least cosine where negative ones can be had: the projection of p - q/c for the c with <q, w> + c |w|^2 = 0.

    There the gradient of the cosine, q + c w, has its least inner product over the ball at w itself. By bisection:
    for a small c the projection is the vertex of least <q, w> < 0, for a large one the point nearest to p.
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
    """The nearest point to v of the simplex with |. - y|_1 <= eps.

    Receivers end at v - a, givers at max(0, v - b). With eps/2 received and eps/2 given, a and b are found apart;
    where that makes a < b the ball does not bind, and a = b.
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
    """The best vertex of the ball that linear programs along the gradient reach, from a push to each of some classes."""
    k = y.shape[1]
    q = y - p
    ahead = q.sort(dim=1, stable=True).indices[:, :STARTS]  # the classes whose gain turns the gradient most
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

"""The global optimum within the ball, against a general solver and brute force."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from gamekeeper.defenses.grad2 import grad2
from gamekeeper.defenses.mad.ball import cosine, mad_ball, onto_ball
from gamekeeper.defenses.mad.recipe import deviation, mad
from gamekeeper.simplex import distance
from tests.defenses.programs import peaked


def drawn(y: Tensor, eps: float, n: int) -> Tensor:
    """Points of the ball round one posterior: vertices of it, and points between two of them."""
    generator = torch.Generator().manual_seed(3)
    z = grad2(y.expand(n, -1), torch.randn(n, len(y), generator=generator, dtype=torch.float64), eps)
    between = torch.lerp(z, z.flip(0), torch.rand(n, 1, generator=generator, dtype=torch.float64))
    return torch.cat([z, between])


def solved(y: Tensor, p: Tensor, eps: float, start: Tensor) -> float:
    """The cosine that SLSQP reaches from a start; variables are z and bounds on |z - y|."""
    k, clean, apex = len(y), y.numpy(), p.numpy()
    q = clean - apex

    def objective(v: np.ndarray) -> float:
        w = v[:k] - apex
        return float(q @ w / np.linalg.norm(q) / max(np.linalg.norm(w), 1e-12))

    constraints = [
        {"type": "eq", "fun": lambda v: v[:k].sum() - 1},
        {"type": "ineq", "fun": lambda v: eps - v[k:].sum()},
        {"type": "ineq", "fun": lambda v: v[k:] - v[:k] + clean},
        {"type": "ineq", "fun": lambda v: v[k:] + v[:k] - clean},
    ]
    first = np.r_[start.numpy(), np.abs(start.numpy() - clean)]
    found = minimize(objective, first, bounds=[(0, 2)] * 2 * k, constraints=constraints, options={"ftol": 1e-12})
    feasible = abs(found.x[:k].sum() - 1) < 1e-7 and np.abs(found.x[:k] - clean).sum() <= eps + 1e-7
    return float(found.fun) if feasible else 1.0


def degrees(cosine: float) -> float:
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize(("sharp_y", "sharp_p"), [(1.0, 0.1), (3.0, 0.3), (3.0, 3.0)])
@pytest.mark.parametrize("eps", [0.1, 0.5, 1.2])
def test_nothing_within_the_ball_turns_further(k: int, sharp_y: float, sharp_p: float, eps: float):
    y, p = peaked(4, k, sharp_y), peaked(4, k, sharp_p, seed=1)
    found = cosine(y, p, mad_ball(y, p, eps))
    for i in range(4):
        points = drawn(y[i], eps, 2000)
        many = cosine(y[i].expand_as(points), p[i].expand_as(points), points)
        best = min(float(many.min()), solved(y[i], p[i], eps, points[int(many.argmin())]))
        assert degrees(found[i].item()) >= degrees(best) - 0.5


def test_where_p_is_within_reach_the_gradient_is_turned_round():
    y, p = peaked(200, 6, 1.0), peaked(200, 6, 0.3, seed=1)
    near = distance(y, p, "l1") < 0.9
    assert near.any()
    assert deviation(y, mad_ball(y, p, 1.0), p)[near].min() > 179.99


def test_never_less_than_the_papers_rule():
    for k in (2, 3, 10, 50):
        y, p = peaked(30, k, 2.0), peaked(30, k, 0.3, seed=1)
        for eps in (0.2, 0.9, 1.9):
            assert (deviation(y, mad_ball(y, p, eps), p) >= deviation(y, mad(y, p, eps), p) - 1e-3).all()


def test_stays_in_the_ball_and_on_the_simplex():
    for k in (2, 10, 100):
        for sharpness in (0.1, 3.0, 50.0):
            y, p = peaked(20, k, sharpness), peaked(20, k, 0.3, seed=1)
            for eps in (0.01, 0.9, 2.0):
                z = mad_ball(y, p, eps)
                assert (z >= 0).all()
                assert distance(y, z, "l1").max() <= eps + 1e-9
                torch.testing.assert_close(z.sum(1), torch.ones(20, dtype=torch.float64), atol=1e-9, rtol=0)


def test_projection_is_nearest_of_the_balls_points():
    y, v = peaked(10, 5, 1.0), torch.randn(10, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for eps in (0.2, 1.0, 2.0):
        z = onto_ball(v, y, eps)
        for i in range(10):
            points = torch.cat([drawn(y[i], eps, 500), y[i : i + 1]])
            # no point lies on the far side of the tangent plane at a projection onto a convex set
            assert ((points - z[i]) @ (v[i] - z[i])).max() <= 1e-7
        assert distance(y, z, "l1").max() <= eps + 1e-9


def test_rows_alone_as_in_any_batch():
    y, p = peaked(60, 8, 2.0), peaked(60, 8, 0.5, seed=1)
    assert torch.equal(mad_ball(y, p, 0.8)[37:], mad_ball(y[37:], p[37:], 0.8))


def test_permutes_with_the_classes():
    y, p = peaked(60, 8, 2.0), peaked(60, 8, 0.5, seed=1)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        mad_ball(y[:, order], p[:, order], 0.8), mad_ball(y, p, 0.8)[:, order], atol=1e-7, rtol=0
    )


def test_a_surrogate_that_agrees_falls_back_to_the_least_likely_class():
    y = peaked(5, 4, 1.0)
    torch.testing.assert_close(mad_ball(y, y, 0.4), mad(y, torch.full_like(y, 0.25), 0.4))

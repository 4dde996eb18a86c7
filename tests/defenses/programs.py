"""Posteriors to test on, and the linear programs as an LP solver sees them."""

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor


def peaked(n: int, k: int, sharpness: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(sharpness * torch.randn(n, k, generator=generator, dtype=torch.float64), 1)


def optimum(cost: Tensor, y: Tensor, eps: float, margin: float | None = None) -> float | None:
    """min <cost, z> over the simplex with |z - y|_1 <= eps, by HiGHS; None if there is no such z.

    With a margin, the top class of y must lead by it. Variables: z, then bounds on |z - y|.
    """
    k, eye = len(y), np.eye(len(y))
    rows = [*np.hstack([eye, -eye]), *np.hstack([-eye, -eye]), np.r_[np.zeros(k), np.ones(k)]]
    limits = [*y.tolist(), *(-y).tolist(), eps]
    if margin is not None:
        lead = np.delete(np.hstack([eye - eye[int(y.argmax())], np.zeros((k, k))]), int(y.argmax()), 0)
        rows, limits = [*rows, *lead], [*limits, *[-margin] * (k - 1)]
    total = np.r_[np.ones(k), np.zeros(k)][None]
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    aim = np.r_[cost.numpy(), np.zeros(k)]
    found = linprog(aim, np.array(rows), limits, total, [1.0], bounds=(0, None), method="highs", options=tight)
    return float(found.fun) if found.status == 0 else None

"""Equation solving by optimisation: models whose equations have no closed-form solution, fitted to random queries.

Source      Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing machine learning models via prediction APIs"
            (USENIX Security 2016), section 4.1: softmax, one-vs-rest, one hidden layer
Equations   minimise the cross-entropy with the answers over the model's unknowns: k (d + 1) for linear scores,
            h (d + 1) + k (h + 1) with h hidden units; `alpha` queries per unknown, as in the paper's Table 4
Assumes     posteriors; a known link and a known number of hidden units (tanh, as in the authors' code)
Deviations  L-BFGS for all models (the paper: BFGS for linear scores, SGD over 1,000 epochs for the network), no weight
            decay; several starts, of which the best fit is kept. Labels are fitted as one-hot posteriors
Keeps       no state
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from gamekeeper.attacks.formula_clones import Linear, Link, log_posterior
from gamekeeper.attacks.rows import Rows, flat
from gamekeeper.errors import BadConfig
from gamekeeper.types import Batch, Knowledge, Meter, Model, Posterior, Reply, Task, need_box

LINKS: dict[str, Link] = {"softmax": "softmax", "ovr": "one-vs-rest"}
EXACT = 1e-12
"""Nats above the answers' own entropy below which a fit counts as exact and no further start is tried."""
MEMORY = 30
"""Pairs L-BFGS keeps."""


@dataclass(frozen=True)
class EquationFitting:
    """Fits linear scores (softmax or one-vs-rest), or a network with one hidden layer, to alpha queries per unknown."""

    link: Literal["softmax", "ovr"] = "softmax"
    hidden: int = 0
    alpha: float = 5.0
    restarts: int = 3
    iterations: int = 1000

    def __post_init__(self) -> None:
        if self.hidden < 0 or self.alpha <= 0 or self.restarts < 1 or self.iterations < 1:
            raise BadConfig(
                "EquationFitting needs hidden of at least 0, alpha above 0, restarts and iterations of at least 1."
                f" Got {self.hidden}, {self.alpha}, {self.restarts} and {self.iterations}."
            )

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model:
        rows, k = Rows(oracle, need_box(knows.box, type(self).__name__)), knows.task.classes
        generator = torch.Generator().manual_seed(seed)
        shapes = layers(rows.d, k, self.hidden)
        unknowns = sum(out * (into + 1) for out, into in shapes)
        wanted = int(np.ceil(self.alpha * unknowns))
        n = min(rows.left, wanted)
        x = rows.uniform(n, generator)
        y = rows(x).y.double() if n else torch.empty(0, k, dtype=torch.float64)
        t = (x - rows.centre) / rows.half
        best = self.best(shapes, t, y, generator)
        # from t = (x - centre) / half back to the public domain
        weights = best[0][:, :-1] / rows.half
        bias = best[0][:, -1] - rows.centre * weights.sum(1)
        if self.hidden == 0:
            return Linear(weights, bias, knows.task, LINKS[self.link], n == wanted)
        return Perceptron(weights, bias, best[1][:, :-1], best[1][:, -1], knows.task, LINKS[self.link], n == wanted)

    def best(self, shapes: list[tuple[int, int]], t: Tensor, y: Posterior, generator: torch.Generator) -> list[Tensor]:
        """The layers, each (out, in + 1), of the best fit."""
        starts = [start(shapes, generator) for _ in range(self.restarts if len(t) else 1)]
        if len(t) == 0:
            return unpack(starts[0], shapes)
        best, least = starts[0], float("inf")
        for theta in starts:
            theta, loss = descend(theta, shapes, t, y, LINKS[self.link], self.iterations)
            if loss < least:
                best, least = theta, loss
            if least < EXACT:
                break
        return unpack(best, shapes)


@dataclass(frozen=True, eq=False)
class Perceptron:
    """One hidden layer of tanh units on flat x in the public domain."""

    first: Float[Tensor, "h d"]
    first_bias: Float[Tensor, " h"]
    second: Float[Tensor, "k h"]
    second_bias: Float[Tensor, " k"]
    task: Task
    link: Link = "softmax"
    complete: bool = True

    @property
    def caveats(self) -> tuple[str, ...]:
        return () if self.complete else ("cut-short",)

    def __call__(self, x: Batch, /) -> Reply:
        hidden = torch.tanh(flat(x) @ self.first.T + self.first_bias)
        return Reply(log_posterior(hidden @ self.second.T + self.second_bias, self.link).exp())


def layers(d: int, k: int, hidden: int) -> list[tuple[int, int]]:
    """(out, in) of every layer."""
    return [(hidden, d), (k, hidden)] if hidden else [(k, d)]


def unpack(theta: Float[Tensor, " p"], shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Splits one vector into layers (out, in + 1) with the bias in the last column."""
    parts = theta.split([out * (into + 1) for out, into in shapes])
    return [part.reshape(out, into + 1) for part, (out, into) in zip(parts, shapes, strict=True)]


def start(shapes: Sequence[tuple[int, int]], generator: torch.Generator) -> Float[Tensor, " p"]:
    """Uniform weights within sqrt(6 / (in + out)), biases 0."""
    drawn: list[Tensor] = []
    for out, into in shapes:
        layer = torch.rand(out, into + 1, generator=generator, dtype=torch.float64) * 2 - 1
        layer *= (6 / (into + out)) ** 0.5
        layer[:, -1] = 0
        drawn.append(layer.reshape(-1))
    return torch.cat(drawn)


def scores(parts: Sequence[Tensor], t: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
    out = t @ parts[0][:, :-1].T + parts[0][:, -1]
    for part in parts[1:]:
        out = torch.tanh(out) @ part[:, :-1].T + part[:, -1]
    return out


def descend(
    theta: Float[Tensor, " p"], shapes: Sequence[tuple[int, int]], t: Tensor, y: Posterior, link: Link, most: int
) -> tuple[Tensor, float]:
    """L-BFGS from theta, at most `most` iterations: the end point and its mean KL divergence from the answers, in nats."""
    entropy = torch.xlogy(y, y).sum(1).mean()

    def objective(values: Any) -> tuple[float, Any]:
        unknown = torch.from_numpy(values).requires_grad_()
        log_p = log_posterior(scores(unpack(unknown, shapes), t), link)
        loss = entropy - (y * log_p).sum(1).mean()
        (gradient,) = torch.autograd.grad(loss, unknown)
        return loss.item(), gradient.numpy()

    options = {"maxiter": most, "maxfun": 2 * most, "maxcor": MEMORY, "ftol": 1e-16, "gtol": 1e-10}
    end = minimize(objective, theta.numpy(), jac=True, method="L-BFGS-B", options=options)
    return torch.from_numpy(end.x), float(end.fun)

"""A small two-layer ReLU network that answers its posterior and its input gradient, and boxes that show all of it."""

import torch
from torch import Tensor

from gamekeeper.types import Box, Reply


class Net:
    """f(x) = w.max(A x + b, 0) + c with its posterior and its input gradient, the latter in the shape (n, 1, d)."""

    def __init__(self, d: int, h: int, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        self.A = torch.randn(h, d, generator=generator, dtype=torch.float64) / d**0.5
        self.b = torch.randn(h, generator=generator, dtype=torch.float64)
        self.w = torch.randn(h, generator=generator, dtype=torch.float64) / h**0.5
        self.c = 0.3

    def f(self, x: Tensor) -> Tensor:
        return (x.double().flatten(1) @ self.A.T + self.b).clamp(min=0) @ self.w + self.c

    def gradient(self, x: Tensor) -> Tensor:
        on = (x.double().flatten(1) @ self.A.T + self.b > 0).double()
        return (on * self.w) @ self.A

    def __call__(self, x: Tensor, /) -> Reply:
        return Reply(posterior(self.f(x)), self.gradient(x)[:, None])


def posterior(f: Tensor) -> Tensor:
    return torch.softmax(torch.stack([torch.zeros_like(f), f], 1), 1)


def wide(d: int, half: float = 50.0) -> Box:
    """A box that every neuron's hyperplane cuts."""
    return Box((d,), -half, half)

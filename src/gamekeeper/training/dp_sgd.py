"""DP-SGD: training in which noise hides how much any single example moves the weights.

Source      Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep learning with differential privacy" (CCS
            2016), Algorithm 1
Equations   g_i <- g_i / max(1, |g_i|_2 / C), the gradient of example i over all weights together
            w <- w - rate (sum_i g_i + N(0, sigma^2 C^2)) / (q n), the sum over a Poisson sample of rate q
Assumes     a network without BatchNorm, which mixes the examples of a batch
Deviations  with momentum, which costs no privacy. Noise and samples come from the seed, not from a secure source: a
            measurement, not a release
"""

from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from gamekeeper.types import Batch, Task

PART = 32
"""Number of examples whose gradients are in memory at a time."""
Gradients = dict[str, Tensor]
"""Gradients by name of weight: (n, *weight), one per example, or (*weight), summed."""


def per_example(net: nn.Module, task: Task, x: Batch, target: Tensor) -> Gradients:
    """The gradient of each example's loss, in one pass."""
    weights = {name: weight.detach() for name, weight in net.named_parameters()}

    def loss(weights: Gradients, one: Tensor, wanted: Tensor) -> Tensor:
        return task.loss(functional_call(net, weights, (one[None],)), wanted[None])

    return vmap(grad(loss), in_dims=(None, 0, 0))(weights, x, target)


def clipped_sum(gradients: Gradients, clip: float) -> Gradients:
    """The sum of the examples' gradients, each clipped to norm `clip` over all weights together."""
    norms = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0).sqrt()
    scale = (clip / norms.clamp(min=1e-12)).clamp(max=1.0)
    return {name: torch.einsum("n,n...->...", scale, g) for name, g in gradients.items()}


@dataclass(frozen=True)
class PrivateFit:
    """The parameters of Algorithm 1.

    clip   norm to which each example's gradient is clipped
    noise  standard deviation of the noise, in units of `clip` (sigma)
    q      Poisson sampling rate of a step
    steps  number of steps
    rate, momentum  of gradient descent
    """

    clip: float
    noise: float
    q: float
    steps: int
    rate: float
    momentum: float


def train(net: nn.Module, task: Task, x: Batch, truth: Shaped[Tensor, " n"], recipe: PrivateFit, seed: int) -> None:
    """Runs Algorithm 1 in place. A step with an empty sample moves the weights by noise alone."""
    generator = torch.Generator().manual_seed(seed)
    weights = dict(net.named_parameters())
    moving = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    target = task.target(truth)
    net.train()
    for _ in range(recipe.steps):
        rows = torch.nonzero(torch.rand(len(x), generator=generator) < recipe.q)[:, 0]
        total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for some in rows.split(PART):
            for name, part in clipped_sum(per_example(net, task, x[some], target[some]), recipe.clip).items():
                total[name] += part
        for name, weight in weights.items():
            drawn = torch.randn(weight.shape, generator=generator) * (recipe.noise * recipe.clip)
            moving[name].mul_(recipe.momentum).add_((total[name] + drawn) / (recipe.q * len(x)))
            weight.data.sub_(recipe.rate * moving[name])

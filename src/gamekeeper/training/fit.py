"""The training loop, used by owners for victims and by thieves for clones.

Data stay on the device as whole tensors, and batches are selected by index. Convolutional networks use channels_last
memory and, where the processor multiplies bf16 in hardware, bf16 autocast. There is no data loader, no test set and no
checkpoint selection: the result is the network after the last step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.optim.sgd import sgd

from gamekeeper.errors import BadConfig
from gamekeeper.models.layout import autocast, image_memory, network_memory
from gamekeeper.types import Batch

Loss = Callable[[Float[Tensor, "n k"], Shaped[Tensor, "n ..."]], Float[Tensor, ""]]
Rows = Int[Tensor, " b"]
Objective = Callable[[Rows], Float[Tensor, ""]]
"""The loss of one step, given the row numbers of its batch."""
Step = Callable[[float], None]
"""Updates the weights from their gradients, at the given learning rate."""
Optimiser = Literal["sgd", "adam", "adamw"]


@dataclass(frozen=True)
class Fit:
    """Training parameters: one cycle of the learning rate, with SGD with momentum, Adam or AdamW.

    epochs       passes over the data, each in a new random order
    least_steps  small data sets get more passes until they reach this many steps
    rate         peak learning rate, reached after a quarter of the steps; the default suits SGD, Adam needs about 0.001
    momentum     of SGD; for Adam and AdamW, the decay of the first moment
    decay        weight decay: added to the gradient, or with adamw subtracted from the weights
    batch        inputs per step
    """

    epochs: int = 30
    least_steps: int = 300
    rate: float = 0.05
    momentum: float = 0.9
    decay: float = 5e-4
    batch: int = 64
    optimiser: Optimiser = "sgd"

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.decay < 0 or not 0 <= self.momentum < 1:
            raise BadConfig(
                f"training needs a positive rate, a decay of at least 0 and a momentum from 0 to below 1. Got {self}."
            )
        if min(self.epochs, self.least_steps) < 0 or max(self.epochs, self.least_steps) < 1 or self.batch < 1:
            raise BadConfig(f"training needs at least one epoch or step, and a batch of at least 1. Got {self}.")
        if self.optimiser not in get_args(Optimiser):
            raise BadConfig(f"the optimiser must be {' or '.join(get_args(Optimiser))}. Got {self.optimiser}.")

    def steps(self, n: int) -> int:
        return max(self.least_steps, self.epochs * math.ceil(n / self.batch))

    def shortened(
        self, share: float, epochs: Callable[[float], int] = round, least_steps: Callable[[float], int] = round
    ) -> "Fit":
        """The same training for a share of its length, at least one epoch.

        epochs, least_steps  functions that round these numbers. For the default training all give the same; for other
                             settings, committed results depend on the rounding that each caller chose
        """
        return replace(
            self, epochs=max(1, epochs(self.epochs * share)), least_steps=least_steps(self.least_steps * share)
        )


POSTERIOR = Fit(epochs=45, least_steps=1_000, rate=0.1)
"""For students of whole answers, which go on learning where students of labels only memorise. Chosen on answers held out by
thieves (tools/choose_training.py, decision 006)."""
FAST = Fit()
"""A third of that with few answers: enough to try things out (`soft:fit=fast`)."""


def fit(net: nn.Module, x: Batch, y: Shaped[Tensor, "n ..."], loss: Loss, recipe: Fit, seed: int) -> nn.Module:
    """Trains `net` in place on (x, y) and returns it in evaluation mode.

    The order of batches depends on the seed alone. Networks with BatchNorm never see a batch of one.
    """
    x = image_memory(x)

    def objective(rows: Rows) -> Tensor:
        with autocast():
            out = net(x[rows])
        return loss(out.float(), y[rows])

    return descend(net, len(x), objective, recipe, seed)


def descend(net: nn.Module, n: int, objective: Objective, recipe: Fit, seed: int) -> nn.Module:
    """The loop itself: each step lowers `objective` on the next batch of rows, out of n.

    For losses that need more than outputs and answers. `net` may contain several networks.
    """
    generator = torch.Generator().manual_seed(seed)
    net = network_memory(net.train())
    steps, batch = recipe.steps(n), min(recipe.batch, n)
    take = descent(net, recipe)
    order = torch.empty(0, dtype=torch.long)
    for number in range(steps):
        if len(order) < batch:
            # the remainder of one pass starts the next one, so that every batch is full
            order = torch.cat([order, torch.randperm(n, generator=generator)])
        rows, order = order[:batch], order[batch:]
        value = objective(rows)
        net.zero_grad(set_to_none=True)
        value.backward()
        take(one_cycle(number, steps, recipe.rate))
    return net.eval()


def one_cycle(number: int, steps: int, peak: float) -> float:
    """The learning rate of a step: from a 25th of the peak up to it in a quarter of the steps, then to almost zero.

    Half cosines, with the same values as torch's OneCycleLR.
    """
    # with four steps, a quarter would leave no room for the rise
    top, last = (0.25 if steps != 4 else 0.5) * steps - 1, steps - 1
    start, end, done = (
        (peak / 25, peak, number / top) if number <= top else (peak, peak / 25 / 1e4, (number - top) / (last - top))
    )
    return end + (start - end) / 2 * (math.cos(math.pi * done) + 1)


def descent(net: nn.Module, recipe: Fit) -> Step:
    """The recipe's optimiser for all weights of `net`."""
    if recipe.optimiser == "sgd":
        return momentum(list(net.parameters()), recipe)
    make = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    betas = (recipe.momentum, 0.999)
    optimiser = make(net.parameters(), lr=recipe.rate, betas=betas, weight_decay=recipe.decay, fused=True)

    def step(rate: float) -> None:
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()

    return step


def momentum(weights: list[nn.Parameter], recipe: Fit) -> Step:
    """The step of torch.optim.SGD without that class, which first loads torch's compiler: 1.5 seconds per process."""
    velocity = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(rate: float) -> None:
        moving = [(w, w.grad, v) for w, v in zip(weights, velocity, strict=True) if w.grad is not None]
        if not moving:
            return
        ours, slopes, velocities = map(list, zip(*moving, strict=True))
        sgd(
            ours, slopes, velocities, fused=True, weight_decay=recipe.decay, momentum=recipe.momentum, lr=rate,
            dampening=0.0, nesterov=False, maximize=False,
        )  # fmt: skip

    return step

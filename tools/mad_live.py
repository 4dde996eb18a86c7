"""MAD measured on a live thief: the angle between their gradients (Fig. 6) and their test loss under poisoning (Fig. 7).

Source      Orekondy, Schiele, Fritz, "Prediction Poisoning" (ICLR 2020), section 5.2.3 ("How much angular deviation does
            MAD introduce?"): online SGD, rate 0.001, batch 1, answers crafted with the thief's own parameters
Assumes     white box: the defender reads the thief's weights at every step, the most any surrogate could be worth
Deviations  the thief's network is in evaluation mode throughout, so that the defender's gradient is their own
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gamekeeper.defenses.mad.jacobian import gram
from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.simplex import distance
from gamekeeper.types import Batch, Posterior

Poison = Callable[[nn.Module, Batch, Posterior], Posterior]


def white_box(recipe: MAD) -> Poison:
    """The recipe with the thief's own network for a surrogate: the answer instead of y, for their weights as they are."""

    def poison(thief: nn.Module, x: Batch, y: Posterior) -> Posterior:
        thief.eval()
        with torch.no_grad():
            p = torch.softmax(thief(x), 1, dtype=torch.float64)
        return recipe.poison(y, p, gram(thief, x) if recipe.jacobian == "all" else None)

    return poison


def gradient(net: nn.Module, x: Batch, y: Posterior) -> Float[Tensor, " d"]:
    """Of the cross-entropy with y over all weights, one vector; the mean over the batch."""
    loss = nn.functional.cross_entropy(net(x), y)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])


def gradient_angle(net: nn.Module, x: Batch, y: Posterior, y_new: Posterior) -> Float[Tensor, " n"]:
    """Angle in degrees, input by input, between the network's gradients under y and under y_new, over all weights.

    90 where exactly one of the two gradients vanishes, 0 where both do.
    """
    rows = zip(x.split(1), y.split(1), y_new.split(1), strict=True)
    pairs = [torch.stack([gradient(net, row, before), gradient(net, row, after)]) for row, before, after in rows]
    u, v = nn.functional.normalize(torch.stack(pairs).double(), dim=2).unbind(1)
    return torch.rad2deg(2 * torch.atan2(distance(u, v, "l2"), distance(u, -v, "l2")))


@dataclass(frozen=True, eq=False)
class Trace:
    """What happened to a thief who learns online: an angle in degrees for every step, his test loss at some steps."""

    angles: Float[Tensor, " t"]
    losses: Mapping[int, float]


def learn_online(
    thief: nn.Module,
    x: Batch,
    y: Posterior,
    poison: Poison,
    test: tuple[Batch, Int[Tensor, " m"]],
    rate: float = 0.001,
    every: int = 100,
) -> Trace:
    """The thief learns from poisoned answers one at a time, in the order given; their weights change in place.

    test  inputs and true labels for the loss, measured before the first step, after every `every` steps and at the end
    """
    thief.eval()
    optimiser = torch.optim.SGD(thief.parameters(), lr=rate)
    angles: list[Tensor] = []
    losses = {0: held_out_loss(thief, *test)}
    for step, (row, answer) in enumerate(zip(x.split(1), y.split(1), strict=True), 1):
        poisoned = poison(thief, row, answer)
        angles.append(gradient_angle(thief, row, answer, poisoned))
        optimiser.zero_grad()
        nn.functional.cross_entropy(thief(row), poisoned).backward()
        optimiser.step()
        if step % every == 0 or step == len(x):
            losses[step] = held_out_loss(thief, *test)
    return Trace(torch.cat(angles), losses)


def held_out_loss(thief: nn.Module, x: Batch, truth: Int[Tensor, " m"]) -> float:
    """Mean cross-entropy with the true labels, in nats."""
    with torch.no_grad():
        return nn.functional.cross_entropy(thief(x), truth).item()

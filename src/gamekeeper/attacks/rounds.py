"""The active loop (pick, query, append, retrain), and small helpers that every active attack needs."""

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from gamekeeper.data.splits import row_keys
from gamekeeper.errors import Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import train
from gamekeeper.types import Batch, Box, Knowledge, Meter, Posterior, Reply, Transfer

Clone = TypeVar("Clone")
INTERIM = Fit(epochs=10, least_steps=100)
"""Training between rounds: a clone that only chooses the next queries is trained for a third of the time."""


def grow(
    oracle: Meter,
    transfer: Transfer,
    pick: Callable[[Clone, Transfer, int], Batch],
    learn: Callable[[Transfer], Clone],
) -> Transfer:
    """Queries round by round until the budget is spent, or nothing is picked.

    learn(transfer)              a clone of the answers so far; None if the picks do not use one
    pick(clone, transfer, left)  the next inputs; those that exceed the remaining budget are dropped
    """
    while oracle.left:
        x = pick(learn(transfer), transfer, oracle.left)
        if len(x) == 0:
            break
        transfer = ask(oracle, transfer, x)
    return transfer


def ask(oracle: Meter, transfer: Transfer, x: Batch) -> Transfer:
    """`transfer` followed by as many rows of x as the meter lets through and the API answers, with their answers."""
    x = x[: oracle.left]
    if len(x) == 0:
        return transfer
    reply = oracle(x)
    maps = reply.maps
    if maps is not None and transfer.reply.maps is not None:
        maps = torch.cat([transfer.reply.maps, maps])
    reply = Reply(torch.cat([transfer.reply.y, reply.y]), maps)
    return Transfer(torch.cat([transfer.x, x]), reply, transfer.cost + len(x)).usable()


def relearn(knows: Knowledge, fit: Fit, seed: int, transfer: Transfer) -> TorchModel:
    """A fresh student, trained on the unmodified answers."""
    return train(knows, transfer.x, transfer.reply.y, fit, seed)


def no_clone(transfer: Transfer) -> None:
    """For picks that do not look at a clone."""


def nothing(knows: Knowledge) -> Transfer:
    """The transfer set of a thief who has not queried yet."""
    return Transfer(knows.pool[:0], Reply(torch.empty(0, knows.task.classes)), 0)


def portion(budget: int, rounds: int) -> int:
    """Queries per round, so that `rounds` rounds spend the budget; at least 1."""
    return max(1, -(-budget // rounds))


def seeds_of(knows: Knowledge, method: str) -> Batch:
    """The thief's own inputs. Raises Unsuited if there are none."""
    if knows.seeds is None or len(knows.seeds) == 0:
        raise Unsuited(
            f"{method} starts from a few inputs like the victim's own; this thief has none."
            " Give the thief seeds, or use an attack that draws from a pool, such as knockoff."
        )
    return knows.seeds


def shuffled(x: Batch, generator: torch.Generator) -> Batch:
    """The rows of x in a random order."""
    return x[torch.randperm(len(x), generator=generator)]


def span(box: Box) -> float:
    """The width of the box: step sizes are fractions of it."""
    return box.high - box.low


def uniform(box: Box, n: int, generator: torch.Generator) -> Float[Tensor, "n ..."]:
    """n inputs drawn uniformly from the box; successive calls draw different ones."""
    return torch.rand((n, *box.shape), generator=generator) * span(box) + box.low


def lead(y: Posterior) -> Float[Tensor, " n"]:
    """By how much the top class leads the second, 0 to 1."""
    best = y.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def unasked(x: Batch, queried: Shaped[Tensor, "m ..."]) -> Bool[Tensor, " n"]:
    """Which rows of x differ from every row of `queried` and from all earlier rows of x."""
    known = set(row_keys(queried))
    fresh: list[bool] = []
    for key in row_keys(x):
        fresh.append(key not in known)
        known.add(key)
    return torch.tensor(fresh, dtype=torch.bool)

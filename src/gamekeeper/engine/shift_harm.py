"""What a defense does to honest users whose inputs are benignly shifted, against the undefended model on the same inputs.

A local target is asked about its test inputs under every shift that suits them, once per target and process. Somebody else's
API is asked only about the owner's own shifted set. The defended answers are made from the same clean ones, so that no
input is asked twice.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gamekeeper.data.dataset import Dataset
from gamekeeper.data.shifts import suitable
from gamekeeper.metrics import UNSHIFTED, ShiftHarm
from gamekeeper.service.service import Service
from gamekeeper.targets.target import Target
from gamekeeper.types import Batch, Model, Posterior, Reply, Task, answered

MOST = 500
"""Inputs per shift."""
SURE = 0.9
"""A wrong answer with a top probability of at least this is a confident error."""
SEED = 20_262


@dataclass(frozen=True, eq=False)
class Shifted:
    """Inputs of honest users with their true classes and the clean answers to them. `name` says how they are shifted."""

    name: str
    x: Batch
    truth: Int[Tensor, " n"]
    clean: Reply


def sample(n: int) -> Int[Tensor, " m"]:
    """Which of n inputs are asked about: all, or MOST of them at random, always the same ones."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(SEED))[:MOST].sort().values


def shifted_sets(target: Target) -> Iterator[tuple[str, Dataset]]:
    """What the target is asked about, by name."""
    if not target.remote:
        plain = target.test.take(sample(len(target.test)))
        for shift in suitable(plain.x, target.box):
            yield shift.name, Dataset(shift(plain.x, target.box, SEED), plain.y)
    for name, held in target.shifted.items():
        yield name, held.take(sample(len(held)))


def shifted_queries(target: Target) -> int:
    """How many inputs that is."""
    plain = 0 if target.remote else min(MOST, len(target.test)) * len(suitable(target.test.x[:MOST], target.box))
    return plain + sum(min(MOST, len(held)) for held in target.shifted.values())


def ask(target: Target, victim: Model) -> list[Shifted]:
    """The clean answers; inputs that an API does not answer are left out."""
    sets: list[Shifted] = []
    for name, held in shifted_sets(target):
        assert held.y is not None, "load_target refuses shifted inputs without labels"
        reply = victim(held.x)
        rows = answered(reply)
        if rows.any():
            sets.append(Shifted(name, held.x[rows], held.y[rows], reply.take(rows)))
    return sets


def harms(plain: ShiftHarm, shifted: list[Shifted], service: Service, task: Task) -> list[ShiftHarm]:
    """What the service does to inputs as they are, and to all the others. Every shift is a client of its own."""

    def given(one: Shifted) -> Posterior:
        return service.answer(f"alice, {one.name}", one.x, one.clean, time.time()).y

    return [plain, *(harm(one.name, one.clean.y, given(one), one.truth, task.right) for one in shifted)]


def unshifted(clean: Posterior, defended: Posterior, truth: Int[Tensor, " n"], task: Task) -> ShiftHarm:
    """The same of test inputs as they are."""
    rows = sample(len(truth))
    return harm(UNSHIFTED, clean[rows], defended[rows], truth[rows], task.right)


def harm(
    name: str,
    clean: Posterior,
    defended: Posterior,
    truth: Int[Tensor, " n"],
    right: Callable[[Posterior, Tensor], Bool[Tensor, " n"]],
) -> ShiftHarm:
    """Counts answers that a defense makes wrong or right, and confident errors with and without it."""
    before, after = right(clean, truth), right(defended, truth)
    sure, sure_defended = (~good & (y.amax(1) >= SURE) for good, y in ((before, clean), (after, defended)))
    counts = (before, before & ~after, ~before & after, sure, sure_defended)
    return ShiftHarm(name, len(truth), *(int(count.sum()) for count in counts))

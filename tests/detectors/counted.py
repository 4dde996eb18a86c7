"""What every detector that adds up its queries must hold, and a small victim to hold it on."""

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gamekeeper.detectors.features import ObservedModel, observed
from gamekeeper.models.network import TorchModel
from gamekeeper.service.stored import packed, unpacked
from gamekeeper.targets.builtin import shipped
from gamekeeper.targets.target import Target
from gamekeeper.types import Batch, Mergeable, Owner, Reply, Watch


@functools.cache
def mnist() -> tuple[ObservedModel, Target]:
    """The shipped victim, whose features are noted, and its target."""
    target = shipped("mnist")
    victim = observed(target.victim)
    assert isinstance(victim, ObservedModel)
    return victim, target


@functools.cache
def small() -> Owner:
    """Some of the owner's inputs: 600 for training, 800 natural, half of which are left for calibration."""
    owner = mnist()[1].owner
    assert owner.natural is not None
    return replace(owner, x=owner.x[:600], truth=owner.truth[:600], natural=owner.natural[:800], natural_truth=None)


def scored(watch: Watch, x: Batch, reply: Reply, sizes: list[int], memory: Any) -> Tensor:
    """The scores of x in batches of these sizes, with the features noted with the reply."""
    victim, parts, start = mnist()[0], [], 0
    for size in sizes:
        rows = slice(start, start + size)
        parts.append(watch.score(x[rows], victim.take(reply, rows), 0.0, memory))
        start += size
    return torch.cat(parts)


def adds_up(watch: Watch, x: Batch, reply: Reply, tolerance: float) -> None:
    """Batch = one by one; saved and restored in mid-stream = never stopped, bit for bit; merged = one client."""
    n = len(x)
    whole, single = watch.fresh(), watch.fresh()
    scores = scored(watch, x, reply, [n], whole)
    assert scores.dtype == torch.float64
    assert scores.shape == (n,)
    torch.testing.assert_close(scored(watch, x, reply, [1] * n, single), scores, rtol=tolerance, atol=tolerance)

    half, victim = n // 2, mnist()[0]
    first, rest = watch.fresh(), slice(half, n)
    head = watch.score(x[:half], victim.take(reply, slice(half)), 0.0, first)
    again = unpacked(type(first), packed(first))
    tail = watch.score(x[rest], victim.take(reply, rest), 0.0, first)
    assert torch.equal(watch.score(x[rest], victim.take(reply, rest), 0.0, again), tail)
    assert packed(again) == packed(first) == packed(whole)
    torch.testing.assert_close(torch.cat([head, tail]), scores, rtol=tolerance, atol=tolerance)

    # interleaved between two clients, merged in either order
    assert isinstance(watch, Mergeable)
    even, odd = watch.fresh(), watch.fresh()
    for memory, start in ((even, 0), (odd, 1)):
        rows = torch.arange(start, n, 2)
        watch.score(x[rows], victim.take(reply, rows), 0.0, memory)
    before = packed(even)
    assert packed(watch.merged([even, odd])) == packed(watch.merged([odd, even])) == packed(whole)
    assert packed(even) == before
    assert packed(watch.merged([])) == packed(watch.fresh())


def renamed(order: Tensor) -> ObservedModel:
    """The victim with its classes in another order."""
    victim = mnist()[0]

    class Renamed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = victim.net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)[:, order]

    other = observed(TorchModel(Renamed(), victim.task))
    assert isinstance(other, ObservedModel)
    return other

"""Events on their way to detectors: in parts, with their names escaped, and through the victim in blocks."""

import hashlib
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.detectors.features import ObservedModel
from gamekeeper.logs.event import Event
from gamekeeper.types import Batch, Model, Reply

ROWS, VALUES = 4_096, 2**24
"""A part of the log ends with the event that reaches so many queries, or numbers in their inputs."""
BLOCK = 256
"""Inputs in one pass of the victim."""


def parts(events: Iterable[Event]) -> Iterator[list[Event]]:
    """The events in parts; where a part ends depends on nothing but the events in it."""
    part: list[Event] = []
    rows = values = 0
    for event in events:
        part.append(event)
        rows, values = rows + max(1, event.n), values + (0 if event.inputs is None else event.inputs.numel())
        if rows >= ROWS or values >= VALUES:
            yield part
            part, rows, values = [], 0, 0
    if part:
        yield part


def passed(victim: Model, x: Batch) -> Reply:
    """The victim's answers with the features behind them, in padded blocks of one size.

    The last bits of an answer depend on how many inputs share a pass, but not on which.
    """
    padded = torch.cat([x, x[-1:].expand(-len(x) % BLOCK, *x.shape[1:])])
    replies = [victim(block) for block in padded.split(BLOCK)]
    whole = Reply(torch.cat([reply.y for reply in replies])[: len(x)])
    if isinstance(victim, ObservedModel):
        layers = victim.behind(replies[0])
        victim.noted[whole.y] = {
            layer: torch.cat([victim.behind(reply)[layer] for reply in replies])[: len(x)] for layer in layers
        }
    return whole


def one_hot(y: Float[Tensor, "n k"]) -> Tensor:
    """Rows that are a label and say nothing else."""
    return (y == 1).any(1) & ((y != 0).sum(1) == 1)


def hashes(event: Event) -> Int[Tensor, " n"]:
    """64 bits of each input's hash; of inputs themselves where nobody can look at them."""
    raw = event.hashes
    if event.inputs is not None:
        shape = str(tuple(event.inputs.shape[1:])).encode()
        raw = tuple(hashlib.sha256(shape + each.numpy().tobytes()).digest() for each in event.inputs)
    short = [each if len(each) == 32 else hashlib.sha256(each).digest() for each in raw]
    return torch.tensor([int.from_bytes(each[:8], "little", signed=True) for each in short], dtype=torch.int64)


def printable(client: str) -> str:
    """A name that any file can hold: half characters are escaped."""
    return client.encode("utf-8", "backslashreplace").decode()

"""Best style: a tenth of the budget finds out which style of inputs the target answers as its own, the rest asks in that style.

Source      none. That a model's answers change less under small changes of inputs like its own: Tian et al., "Consistency
            regularization" and kin; here it chooses between the pool, warped, restyled and drawn inputs
Equations   score = E_i[a(y(x_i), y(x'_i))] - E_i!=j[a(y(x_i), y(x'_j))], a(p, q) = sum_k min(p_k, q_k), x' = x moved a little: how
            much more two answers agree if they belong to the same input. A constant answer scores 0
Assumes     a pool of images; a style or drawings are used if the thief has them; any answer
Deviations  none
Keeps       every answer: those to the inputs that were tried are learnt from as well, each asked once
"""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.attacks.augment import need_images
from gamekeeper.attacks.drawn import Drawn
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.attacks.restyled import Restyled
from gamekeeper.attacks.warped import Warped, askew
from gamekeeper.errors import BadConfig
from gamekeeper.types import Batch, Box, Knowledge, Meter, Posterior, Querying, Reply, Transfer, answered, need_box

LITTLE = 0.3
"""Strength of the warp between an input and the copy that should be answered alike."""


@dataclass(frozen=True)
class BestStyle:
    """Tries pool images and warped, restyled and drawn inputs, then asks what is answered most consistently.

    share  of the budget, spent on finding out
    """

    share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise BadConfig(f"The share of BestStyle must be from 0 to 1. Got {self.share}.")

    @property
    def prefix(self) -> bool:
        return False

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        need_images(knows.box, "best_style")
        box, styles = need_box(knows.box, "best_style"), possible(knows)
        generator, pairs = torch.Generator().manual_seed(seed), math.ceil(self.share * oracle.left / 2)
        tried = [
            tryout(style, (pairs + number) // len(styles), oracle, knows, seed, box, generator)
            for number, style in enumerate(styles)
        ]
        # without a tryout, and of equals, the style that the thief knows most about
        best = max(range(len(styles)), key=lambda number: (tried[number].score, number))
        rest = styles[best](Replayed(oracle, tried[best].first), knows, seed)
        others = [Transfer(part.x, part.reply, len(part.x), part.drawn) for part in pieces(tried, best)]
        return together([rest, *others])


@dataclass(frozen=True, eq=False)
class Tryout:
    """What one style was asked: its first queries, and a moved copy of each."""

    first: Transfer
    moved: Transfer

    @property
    def score(self) -> float:
        """By how much more answers agree if they belong to the same input; 0 with fewer than two answered pairs."""
        rows = answered(self.first.reply) & answered(self.moved.reply)
        return consistency(self.first.reply.y[rows], self.moved.reply.y[rows])


def possible(knows: Knowledge) -> list[Querying]:
    """The styles in which this thief can ask, from the least to the most that they know."""
    styles: list[Querying] = [Knockoff(), Warped()]
    styles += [Restyled()] if knows.style is not None else []
    return styles + ([Drawn()] if knows.drawings is not None else [])


def tryout(
    style: Querying, n: int, oracle: Meter, knows: Knowledge, seed: int, box: Box, generator: torch.Generator
) -> Tryout:
    """Asks n inputs of a style, and n copies of them moved a little."""
    n = min(n, oracle.left // 2)
    some = Limited(oracle, n)
    drawn = style(some, knows, seed).drawn if n else None
    x = torch.cat(some.sent) if some.sent else knows.pool[:0]
    first = Transfer(x, joined(some.replies, knows), len(x), drawn)
    copies = askew(x, LITTLE, box.low, generator)
    moved = Transfer(copies, oracle(copies) if len(x) else first.reply, len(x), drawn)
    return Tryout(first, moved)


def consistency(y: Posterior, moved: Posterior) -> float:
    """E[sum min(y_i, moved_i)] minus the same for answers to different inputs."""
    n = len(y)
    if n < 2:
        return 0.0
    agree = torch.minimum(y[:, None], moved[None]).sum(2)
    own = float(agree.diagonal().mean())
    return own - (float(agree.mean()) * n - own) / (n - 1)


def pieces(tried: list[Tryout], best: int) -> list[Transfer]:
    """What was asked besides the first queries of the best style, which its own transfer set begins with."""
    return [
        part
        for number, each in enumerate(tried)
        for part in ((each.moved,) if number == best else (each.first, each.moved))
        if len(part.x)
    ]


def together(parts: list[Transfer]) -> Transfer:
    """All transfer sets as one; -1 for what was not drawn, None if nothing was."""
    maps = [part.reply.maps for part in parts]
    reply = Reply(
        torch.cat([part.reply.y for part in parts]),
        torch.cat([m for m in maps if m is not None]) if None not in maps else None,
    )
    classes = torch.cat([drawn_as(part) for part in parts])
    drawn = None if all(part.drawn is None for part in parts) else classes
    return Transfer(torch.cat([part.x for part in parts]), reply, sum(part.cost for part in parts), drawn)


def drawn_as(part: Transfer) -> Int[Tensor, " n"]:
    return torch.full((len(part.x),), -1) if part.drawn is None else part.drawn


def joined(replies: list[Reply], knows: Knowledge) -> Reply:
    """Several replies as one; empty if there is none."""
    if not replies:
        return Reply(torch.empty(0, knows.task.classes))
    maps = [reply.maps for reply in replies if reply.maps is not None]
    return Reply(torch.cat([reply.y for reply in replies]), torch.cat(maps) if maps else None)


@dataclass
class Limited:
    """A meter that lets through no more than `budget` inputs, and remembers them with their answers."""

    oracle: Meter
    budget: int
    sent: list[Batch] = field(default_factory=list[Batch])
    replies: list[Reply] = field(default_factory=list[Reply])

    @property
    def left(self) -> int:
        return self.budget - sum(map(len, self.sent))

    def __call__(self, x: Batch, /) -> Reply:
        reply = self.oracle(x)
        self.sent.append(x)
        self.replies.append(reply)
        return reply


@dataclass
class Replayed:
    """A meter that answers the first queries, which were asked before, from memory, and sends the others."""

    oracle: Meter
    first: Transfer
    replayed: int = 0

    @property
    def budget(self) -> int:
        return self.oracle.budget

    @property
    def left(self) -> int:
        return self.oracle.left + len(self.first.x) - self.replayed

    def __call__(self, x: Batch, /) -> Reply:
        known = self.first.reply.take(slice(self.replayed, self.replayed + len(x)))
        self.replayed += len(known)
        if len(known) == len(x):
            return known
        new = self.oracle(x[len(known) :])
        maps = new.maps if known.maps is None or new.maps is None else torch.cat([known.maps, new.maps])
        return Reply(torch.cat([known.y, new.y]), maps)

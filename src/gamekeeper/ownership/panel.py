"""The panel: independent models that a judge trains on data of their own, to see what models that copied nothing do.

A panel is a list of recipes: architecture, seed, half of the data. Their repr goes into the evidence, so that somebody
else can train the same panel. Each pair of recipes divides the data anew into two halves; architectures take turns.

More accurate models repeat more of each other's mistakes, so each architecture is given a share of the data with which it is
about as accurate as the suspect. Only accuracy decides that: what a model answers to the claim plays no part.

Source      none; Lukas et al., IEEE S&P 2022, take their chance levels from independently trained models as well
Assumes     data like those that a suspect's maker had, with none of the owner's marks: inputs of the claim are left out
Deviations  ours: the shares, and that an architecture is left out which no share brings near the suspect's accuracy
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.architectures import LeNet, Mlp
from gamekeeper.data.dataset import Dataset
from gamekeeper.data.splits import row_keys
from gamekeeper.errors import BadConfig
from gamekeeper.models.estimators import Forest, Linear, for_table
from gamekeeper.models.network import TorchModel
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import train
from gamekeeper.types import Architecture, CloneCache, Domain, Knowledge, Task

FIT = Fit(epochs=10)
SHARES = (0.0625, 0.125, 0.25, 0.5, 0.9)
"""Of the judge's data, for one model; the first try is a half."""
HALF = SHARES.index(0.5)
NEAR, FAR = 0.015, 0.06
"""How far the accuracy of an architecture may be from the suspect's: to be taken without a further try, and to be taken at all
where another one is nearer."""
LEAST = 20
"""Fewest inputs to train a panel on."""
IMAGE = 16
"""Smallest side of an image for LeNet."""

Accuracy = Callable[["Independent"], float]


@dataclass(frozen=True)
class Independent:
    """Recipe of one model of a panel.

    seed   of its weights, and of the order in which the data are divided
    half   0 or 1: rows are taken from the beginning or from the end of that order
    share  of all rows
    """

    architecture: Architecture
    seed: int
    half: int
    share: float = 0.5
    fit: Fit = FIT

    def rows(self, n: int) -> Int[Tensor, " m"]:
        """Which of n rows it is trained on, one at least."""
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))
        return (order.flip(0) if self.half else order)[: max(1, round(self.share * n))]

    def trained(self, data: Dataset, box: Domain, task: Task, clones: CloneCache | None) -> TorchModel:
        """From scratch, or as found in the cache. data: labelled."""
        rows = self.rows(len(data))
        assert data.y is not None
        x, y = data.x[rows], task.target(data.y[rows])
        knows = Knowledge(x, box, task, for_table(self.architecture, x), clones=clones)
        return train(knows, x, y, self.fit, self.seed)


def architectures(shape: tuple[int, ...], classes: int) -> tuple[Architecture, ...]:
    """Several that suit inputs of this shape and train in seconds."""
    wide, deep = Mlp(shape, classes, (256,)), Mlp(shape, classes)
    if len(shape) == 3 and min(shape[1:]) >= IMAGE:
        return LeNet(shape, classes), deep, LeNet(shape, classes, hidden=100)
    if len(shape) == 1:
        return deep, Linear(shape, classes), Forest(shape, classes), wide
    return deep, wide, Forest(shape, classes)


def recipes(count: int, shares: Mapping[Architecture, float]) -> tuple[Independent, ...]:
    """A panel of so many models, the architectures taking turns."""
    kinds = list(shares)
    turns = [kinds[place % len(kinds)] for place in range(count)]
    return tuple(Independent(kind, place // 2, place % 2, shares[kind]) for place, kind in enumerate(turns))


def matched(kinds: Sequence[Architecture], accuracy: float, measure: Accuracy) -> dict[Architecture, float]:
    """Each architecture with the share of the data that brings it nearest to an accuracy; without those that stay far off.

    measure  the accuracy of a recipe; asked of a few recipes per architecture
    """
    nearest = {kind: nearest_share(kind, place, accuracy, measure) for place, kind in enumerate(kinds)}
    bar = max(FAR, min(apart for _, apart in nearest.values()))
    return {kind: share for kind, (share, apart) in nearest.items() if apart <= bar}


def nearest_share(kind: Architecture, place: int, accuracy: float, measure: Accuracy) -> tuple[float, float]:
    """(share, how far its accuracy is from the one wanted): from a half towards more or fewer rows while that helps."""
    first = Independent(kind, place // 2, place % 2)
    at, gap = HALF, measure(first) - accuracy
    step = -1 if gap > 0 else 1
    while abs(gap) > NEAR and 0 <= at + step < len(SHARES):
        further = measure(replace(first, share=SHARES[at + step])) - accuracy
        if abs(further) >= abs(gap):
            break
        at, gap = at + step, further
    return SHARES[at], abs(gap)


def without(data: Dataset, *others: Tensor) -> Dataset:
    """The rows that none of these batches holds: a panel that had seen a claim's inputs would not be independent of it."""
    taken = {key for x in others for key in row_keys(x.to(data.x.dtype))}
    rows = torch.tensor([row for row, key in enumerate(row_keys(data.x)) if key not in taken], dtype=torch.long)
    return data.take(rows)


def enough(data: Dataset) -> Dataset:
    """Raises BadConfig for data that no panel can be trained on."""
    if data.y is None or len(data) < LEAST:
        raise BadConfig(
            f"a panel needs {LEAST} labelled training inputs or more that are not in the claim. Got"
            f" {len(data) if data.y is not None else 0}; name a target that has them with --data (in its file: data.train)."
        )
    return data

"""A random decision tree as an oracle: every node answers a posterior of its own unless they are made to collide."""

import torch

from gamekeeper.architectures import Mlp
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Knowledge, Reply


class Tree:
    """Two classes. `distinct` answers are shared by all nodes; a feature equal to `missing` ends the walk where it is.

    `split` lists (feature, threshold) of the inner nodes; thresholds lie in (0, 1), well inside their node's box.
    """

    def __init__(self, d: int, leaves: int, seed: int, distinct: int | None = None, missing: float | None = None):
        generator = torch.Generator().manual_seed(seed)
        self.missing = missing
        self.nodes: list[tuple[int, float, int, int] | None] = [None]
        spans, live = {0: [(0.0, 1.0)] * d}, [0]
        while len(live) < leaves:
            node = live.pop(int(torch.randint(len(live), (1,), generator=generator)))
            feature = int(torch.randint(d, (1,), generator=generator))
            low, high = spans[node][feature]
            threshold = low + (high - low) * (0.2 + 0.6 * float(torch.rand(1, generator=generator)))
            below, above = len(self.nodes), len(self.nodes) + 1
            self.nodes[node] = (feature, threshold, below, above)
            self.nodes += [None, None]
            spans[below], spans[above] = list(spans[node]), list(spans[node])
            spans[below][feature], spans[above][feature] = (low, threshold), (threshold, high)
            live += [below, above]
        share = torch.rand(len(self.nodes), generator=generator, dtype=torch.float64)
        if distinct:
            share = (share * distinct).floor() / distinct
        self.answers = torch.stack([share, 1 - share], 1)

    @property
    def split(self) -> list[tuple[int, float]]:
        return [node[:2] for node in self.nodes if node]

    def __call__(self, x: torch.Tensor, /) -> Reply:
        return Reply(self.answers[[self.walk(row) for row in x.double().flatten(1).tolist()]])

    def walk(self, row: list[float]) -> int:
        here = 0
        while (node := self.nodes[here]) is not None:
            feature, threshold, below, above = node
            if row[feature] == self.missing:
                return here
            here = below if row[feature] <= threshold else above
        return here


def thief(box: Box, classes: int = 2) -> Knowledge:
    return Knowledge(torch.empty(0, *box.shape), box, Classify(classes), Mlp(box.shape, classes))


def agreement(copy, victim, x: torch.Tensor) -> float:
    return float((copy(x).y == victim(x).y).all(1).double().mean())

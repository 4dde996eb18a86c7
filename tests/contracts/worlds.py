"""Small targets of every kind a thief can meet, each with a thief who has all that one can have.

A method is tried on every one of them; which of them suit it, it says itself by refusing the others with Unsuited.
"""

from dataclasses import dataclass, replace

import torch

from gamekeeper.architectures import Mlp
from gamekeeper.service.oracles import Metered
from gamekeeper.tasks import Classify
from gamekeeper.types import Batch, Box, Knowledge, Oracle, Reply, Style
from tests.attacks.relus import Net, wide
from tests.attacks.toys import IMAGES, PLANE, images, plane
from tests.attacks.trees import Tree


@dataclass(frozen=True)
class Scribbles:
    """Drawings of the classes of a target: noise, each class a little brighter than the one before."""

    box: Box
    classes: int

    def __call__(self, n: int, seed: int) -> tuple[Batch, torch.Tensor]:
        classes = torch.arange(n) % self.classes
        x, lift = self.box.uniform(n, seed), (classes / self.classes).view(n, *[1] * len(self.box.shape))
        return x + (self.box.high - x) * lift / 2, classes


@dataclass(frozen=True, eq=False)
class InputSpec:
    """A target, and what it is to a thief."""

    name: str
    oracle: Oracle
    box: Box
    classes: int
    hidden: tuple[int, ...] = (16,)

    def thief(self, pool: int = 300, box: Box | None = None) -> Knowledge:
        """One with a pool whose classes they know, a few inputs like the victim's own, drawings, and a small network."""
        box = box or self.box
        return Knowledge(
            box.uniform(pool, 2),
            box,
            Classify(self.classes),
            Mlp(box.shape, self.classes, self.hidden),
            seeds=box.uniform(10, 1),
            groups=torch.arange(pool) % 5,
            drawings=Scribbles(box, self.classes),
            style=Style(pen=(1.0, 1.5), slant=(0.1, 0.1), size=6.0),
        )

    def poor(self) -> Knowledge:
        """The same without seeds, drawings, a known style and classes of the pool."""
        return replace(self.thief(), seeds=None, groups=None, drawings=None, style=None)

    def meter(self, budget: int, oracle: Oracle | None = None, box: Box | None = None) -> Metered:
        return Metered(oracle or self.oracle, budget, box or self.box)


def grey(x: torch.Tensor, /) -> Reply:
    return images(x.float())


def colours(x: torch.Tensor, /) -> Reply:
    """Softmax regression, each row by itself."""
    return Reply(torch.cat([torch.softmax((row.flatten() - 0.5) @ COLOUR_WEIGHTS.T, 0)[None] for row in x.float()]))


def line(x: torch.Tensor, /) -> Reply:
    """Two classes, softly, either side of a line, to the last digit of a double."""
    score = x.double() @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 0.3
    return Reply(torch.softmax(torch.stack([score, -score], 1), 1))


COLOUR_WEIGHTS = torch.randn(4, 192, generator=torch.Generator().manual_seed(0))
GREY, COLOUR, POINTS = (
    InputSpec("grey images", grey, IMAGES, 4),
    InputSpec("colour images", colours, Box((3, 8, 8)), 4),
    InputSpec("points of the plane", plane, PLANE, 2, hidden=()),
)
WORLDS = (
    GREY,
    COLOUR,
    POINTS,
    InputSpec("points either side of a line", line, Box((3,)), 2),
    InputSpec("a tree that takes incomplete inputs", Tree(3, 8, seed=0, missing=0.0), Box((3,)), 2),
    InputSpec("a ReLU network that sells gradients", Net(4, 3), wide(4), 2),
)

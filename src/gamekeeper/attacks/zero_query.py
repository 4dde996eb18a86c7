"""The zero-query clone: what a thief has without asking anything. Only what queries add to it is stolen.

Source      none; the review's question to every table: how good is the best copy that never asked? Of a table's classes it
            is the majority vote that every classifier is compared with
Assumes     what the classes are called, and inputs drawn from that (`NamesOnly`); or how frequent the classes are
            (`CommonestClass`)
Deviations  the thief learns from the classes they drew as from answers. Audits give them affine views of images: these were
            chosen on drawings of another seed (cross-entropy on 2,000 of them, mnist and fashion: .21 and .10 without views,
            .13 and .09 with affine, .11 and .12 with affine and elastic ones). 1,000 of MNIST's public training digits were
            looked at beside them and not counted

Neither is named with `--attack`: every audit has one of them, with a budget of 0, so that a question to the target would be
refused.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.facts import Reads
from gamekeeper.types import Batch, Knowledge, Learner, Meter, Model, Posterior, Reply, Task, Transfer

ROUNDED = 0.01
"""How far the sum of shares may be from 1."""
DRAWN = 3_000
"""Drawings that a thief makes: on MNIST more taught a student hardly anything new."""


@dataclass(frozen=True)
class NamesOnly:
    """A learner whose answers are the thief's own: drawings of the classes, each with the class it was drawn as.

    drawn_by  the repr of `knows.drawings`, so that other drawings make another thief
    learner   how they learn from them
    n         drawings
    """

    drawn_by: str
    learner: Learner
    n: int = DRAWN

    @property
    def reads(self) -> Reads:
        return "nothing"

    @property
    def assumption(self) -> str:
        return (
            f"The zero-query clone asks nothing. Its thief knows what the classes are called, draws {self.n:,} inputs from that"
            " and trains the same network on them."
        )

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model:
        if knows.drawings is None:
            raise Unsuited("names_only needs drawings, and this thief cannot draw the classes. Use commonest_class.")
        x, drawn = knows.drawings(self.n, seed)
        return self.learner(Transfer(x, Reply(knows.task.target(drawn)), 0, drawn), knows, seed)


@dataclass(frozen=True)
class CommonestClass:
    """Answers every input with the shares of the classes, hence always the commonest class.

    shares  of each class, 0 to 1, at least 0, with a sum of 1
    public  whether the owner declared them as publicly known; else they are those of the test set, and this thief is assumed
            to know them: no constant answer is right more often
    """

    shares: tuple[float, ...]
    public: bool = False

    def __post_init__(self) -> None:
        if not all(share >= 0 for share in self.shares) or abs(sum(self.shares) - 1) > ROUNDED:
            raise BadConfig(f"a prior is a share of each class, at least 0, with a sum of 1. Got {list(self.shares)}.")

    @property
    def reads(self) -> Reads:
        return "nothing"

    @property
    def assumption(self) -> str:
        known = "from public shares of the classes" if self.public else "as in the test set"
        return (
            f"The zero-query clone asks nothing. Its thief knows only which class is the commonest, {known}, and always answers"
            " that one."
        )

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model:
        if len(self.shares) != knows.task.classes:
            raise BadConfig(
                f"a prior needs one share for each of {knows.task.classes} classes. Got {len(self.shares)} shares."
            )
        return Constant(torch.tensor([self.shares]), knows.task)


@dataclass(frozen=True, eq=False)
class Constant:
    """The same answer (1, k) to every input."""

    y: Posterior
    task: Task

    def __call__(self, x: Batch, /) -> Reply:
        return Reply(self.y.expand(len(x), -1))


def class_shares(truth: Tensor, classes: int) -> tuple[float, ...]:
    """How frequent each class is among labels (n,), at least one."""
    return tuple((torch.bincount(truth.long(), minlength=classes).double() / len(truth)).tolist())

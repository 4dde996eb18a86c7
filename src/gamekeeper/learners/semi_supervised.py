"""Learning from the pool's unqueried inputs as well: FixMatch, and S4L's rotations.

Source      fixmatch: Sohn et al., "FixMatch: simplifying semi-supervised learning with consistency and confidence"
            (NeurIPS 2020); s4l: Zhai, Oliver, Kolesnikov, Beyer, "S4L: self-supervised semi-supervised learning" (ICCV
            2019), as ModelGuard (USENIX Security 2024) uses it; semi-supervised extraction: Jagielski et al., "High
            accuracy and high fidelity extraction of neural networks" (USENIX Security 2020)
Equations   fixmatch: CE on answers + 1[max p >= 0.95] CE(strong view, argmax p), p of the weak view; s4l: CE on answers
            + CE of predicting which of four rotations was applied
Assumes     a pool with unqueried inputs; if it is used up, the transfer set takes its place. s4l: square images and
            a student with features and a head
Deviations  fixmatch: both views are mild affine ones, half and whole, since the paper's (a shift by 3 pixels of 28; a larger
            one, an erased square and noise, for all of RandAugment) hide a letter or a digit from a student of a few
            hundred steps: `views=paper` for these, with the paper's sizes, see views.py; tables get noise; the weights
            are not averaged; one cycle of the learning rate. s4l: the mean over four rotations; ModelGuard's code divides
            by four once more.
            Both learn from labels by default
Keeps       no state: every budget and seed trains its own student
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.architectures import Classifier, fresh
from gamekeeper.data.splits import row_keys
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.facts import Reads
from gamekeeper.learners.distil import normalised
from gamekeeper.learners.views import plain, slight, strong, weak
from gamekeeper.models.layout import autocast, image_memory
from gamekeeper.simplex import label
from gamekeeper.training.fit import Fit, Rows, descend
from gamekeeper.training.student import taught
from gamekeeper.types import Batch, Knowledge, Model, Posterior, Transfer, need_box

Answers = Literal["labels", "soft"]
Pair = Literal["mild", "paper"]
PAIRS = {"mild": (slight, plain), "paper": (weak, strong)}
"""The weak and the strong view by name."""
ROTATIONS = 4


@dataclass(frozen=True)
class FixMatch:
    """Answers, and for unqueried inputs the student's confident predictions as targets for harder views of the same input.

    answers    what is learnt from the answers: their top class, or the whole posterior
    threshold  probability from which a prediction counts
    ratio      unqueried inputs per answered one in a step
    weight     weight of the loss on unqueried inputs
    views      `mild` ones leave an image legible; `paper` shifts it further and hides a part
    """

    answers: Answers = "labels"
    threshold: float = 0.95
    ratio: int = 7
    weight: float = 1.0
    views: Pair = "mild"
    fit: Fit = Fit(epochs=15, least_steps=600)

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or self.ratio < 1 or self.weight < 0:
            raise BadConfig(
                f"FixMatch needs a threshold from 0 to 1, a ratio of at least 1 and a weight of at least 0. Got {self}."
            )

    @property
    def reads(self) -> Reads:
        return "label" if self.answers == "labels" else "posterior"

    @property
    def cost(self) -> float:
        return 8.0

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        box = need_box(knows.box, type(self).__name__)
        x, y = transfer.x, targets(transfer, self.answers)
        more = unasked(knows.pool, x)
        easy, hard = PAIRS[self.views]

        def teach(student: nn.Module) -> None:
            generator = torch.Generator().manual_seed(seed)

            def objective(rows: Rows) -> Tensor:
                some = more[torch.randint(len(more), (self.ratio * len(rows),), generator=generator)]
                guesses = guess(student, easy(some, box, generator))
                views = torch.cat([easy(x[rows], box, generator), hard(some, box, generator)])
                with autocast():
                    out = student(image_memory(views))
                answered, guessed = out.float().split([len(rows), len(some)])
                sure = guesses.amax(1) >= self.threshold
                consistency = (F.cross_entropy(guessed, guesses.argmax(1), reduction="none") * sure).mean()
                return knows.task.loss(answered, y[rows]) + self.weight * consistency

            descend(student, len(x), objective, self.fit, seed)

        return taught(knows, (x, y, more), self, seed, teach)


@dataclass(frozen=True)
class S4L:
    """Answers, and for unqueried images the task of predicting by which quarter turn each was rotated."""

    answers: Answers = "labels"
    weight: float = 1.0
    fit: Fit = Fit()

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise BadConfig(f"The weight of S4L must be at least 0. Got {self.weight}.")

    @property
    def reads(self) -> Reads:
        return "label" if self.answers == "labels" else "posterior"

    @property
    def cost(self) -> float:
        return 4.0

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        shape = knows.box.shape
        if len(shape) != 3 or shape[1] != shape[2]:
            raise Unsuited(f"S4L rotates square images; these inputs have shape {shape}. Use fixmatch, or labels.")
        x, y = transfer.x, targets(transfer, self.answers)
        more = unasked(knows.pool, x)

        def teach(student: nn.Module) -> None:
            if not isinstance(student, Classifier):
                raise Unsuited(f"S4L needs a student with features and a head; {type(student).__name__} has none.")
            turn = fresh(lambda: nn.Linear(student.head.in_features, ROTATIONS), seed + 1)
            generator = torch.Generator().manual_seed(seed)

            def objective(rows: Rows) -> Tensor:
                some = more[torch.randint(len(more), (len(rows),), generator=generator)]
                turned = torch.cat([some.rot90(quarter, (2, 3)) for quarter in range(ROTATIONS)])
                with autocast():
                    out = student(image_memory(x[rows]))
                    turns = turn(student.features(image_memory(turned)))
                quarters = torch.arange(ROTATIONS).repeat_interleave(len(some))
                return knows.task.loss(out.float(), y[rows]) + self.weight * F.cross_entropy(turns.float(), quarters)

            descend(nn.ModuleList([student, turn]), len(x), objective, self.fit, seed)

        return taught(knows, (x, y, more), self, seed, teach)


def targets(transfer: Transfer, answers: Answers) -> Posterior:
    """What the student learns from the answers, in float32."""
    y = transfer.reply.y.float()
    return label(y) if answers == "labels" else normalised(y)


def unasked(pool: Batch, queried: Shaped[Tensor, "m ..."]) -> Shaped[Tensor, "left ..."]:
    """The pool's inputs that were not queried; the queried ones if there are none."""
    known = set(row_keys(queried))
    left = [row for row, key in enumerate(row_keys(pool)) if key not in known]
    return pool[left] if left else queried


def guess(student: nn.Module, x: Batch) -> Posterior:
    """The student's posteriors in its current mode, without gradient."""
    with torch.no_grad(), autocast():
        return torch.softmax(student(image_memory(x)).float(), 1)

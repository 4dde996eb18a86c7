"""Augmentation around any learner: its student sees every image of a training step turned, bent or partly erased, anew each time.

Source      affine and elastic: Simard, Steinkraus, Platt, "Best practices for convolutional neural networks applied to visual
            document analysis" (ICDAR 2003); erasing: DeVries and Taylor, "Improved regularization of convolutional neural
            networks with Cutout" (arXiv 2017)
Assumes     images, and classes that survive what is done to them: the thief knows enough of the task to tell
Deviations  elastic: noise on a 7x7 grid, interpolated, instead of a smoothed field; erasing: fills with the image's mean.
            The answer stays that to the image as it was sent
Keeps       no state: what a student sees is drawn from the seed it is trained with. A strength of 0 is the learner alone
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from gamekeeper.data.transforms import Images
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.facts import Reads, facts
from gamekeeper.learners.views import bent, erased, turned
from gamekeeper.models.estimators import Estimator
from gamekeeper.models.layout import image_memory
from gamekeeper.types import Architecture, Knowledge, Learner, Model, Transfer

GLANCE = 0.2
"""What drawing views adds to a training's time, roughly."""


@runtime_checkable
class View(Protocol):
    """How images are changed before a student sees them. Sizes are in the range that the views keep: bilinear between
    pixels, so that no value leaves the input's box."""

    def show(self, x: Images, generator: torch.Generator) -> Images: ...


@dataclass(frozen=True)
class Affine:
    """Turns by up to 15 degrees, shears by 0.3, scales by 0.75 to 1.15 and shifts by 7 % of a side, times `strength`."""

    strength: float = 1.0

    def __post_init__(self) -> None:
        check(self, self.strength)

    def show(self, x: Images, generator: torch.Generator) -> Images:
        return turned(x, self.strength, generator) if self.strength else x


@dataclass(frozen=True)
class Elastic:
    """Bends by a smooth random field: a standard deviation of 2 % of a side at its knots, times `strength`."""

    strength: float = 1.0

    def __post_init__(self) -> None:
        check(self, self.strength)

    def show(self, x: Images, generator: torch.Generator) -> Images:
        return bent(x, self.strength, generator) if self.strength else x


@dataclass(frozen=True)
class Erasing:
    """Erases a square at a random place, its side up to half the image's, times `strength`."""

    strength: float = 1.0

    def __post_init__(self) -> None:
        check(self, self.strength)

    def show(self, x: Images, generator: torch.Generator) -> Images:
        return erased(x, generator, self.strength) if self.strength else x


def check(view: View, strength: float) -> None:
    """Raises BadConfig unless a strength is from 0 to 2."""
    if not 0 <= strength <= 2:
        raise BadConfig(f"The strength of {type(view).__name__} must be from 0 to 2. Got {strength}.")


@dataclass(frozen=True)
class Watching:
    """Another network that, while it is trained, sees its images through `views`. Evaluated, it is the network itself."""

    inner: Architecture
    views: tuple[View, ...]
    hooks: list[RemovableHandle] = field(default_factory=list, repr=False, compare=False)

    def __call__(self) -> nn.Module:
        net = self.inner()
        if isinstance(net, Estimator):
            raise Unsuited(
                f"{self.inner} is fitted in one go, and views are drawn anew for every step. Give the learner a network (put"
                " @lenet behind it), or leave the views out."
            )
        # drawn after the weights, which are then those of the network alone
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, (1,))))

        def look(net: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            x, *rest = given
            return (shown(self.views, x, generator), *rest) if net.training else given

        self.hooks.append(net.register_forward_pre_hook(look))
        return net

    def leave(self) -> None:
        """Takes the views off every network made so far."""
        for hook in self.hooks:
            hook.remove()


def shown(views: Sequence[View], x: Images, generator: torch.Generator) -> Images:
    """x through one view after the other, in full precision: bf16 cannot tell neighbouring pixels of a large image."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        for view in views:
            x = view.show(x, generator)
    return image_memory(x)


@dataclass(frozen=True)
class Augmented:
    """Another learner whose student sees its images through views, one after the other."""

    learner: Learner
    views: tuple[View, ...]

    @property
    def fit(self) -> object:
        """The learner's own training; None if it has none."""
        return getattr(self.learner, "fit", None)

    @property
    def reads(self) -> Reads:
        return facts(self.learner).reads

    @property
    def uses_defense(self) -> bool:
        return facts(self.learner).uses_defense

    @property
    def cost(self) -> float:
        return (1 + facts(self.learner).cost) * (1 + GLANCE) - 1

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        if len(knows.box.shape) != 3:
            raise Unsuited(
                f"Views turn, bend or erase images (channels, height, width); these inputs have shape {knows.box.shape}."
                " Leave them out."
            )
        student = Watching(knows.student, self.views)
        try:
            return self.learner(transfer, replace(knows, student=student), seed)
        finally:
            student.leave()

"""Somebody's own methods, outside the package, as a user writes them: named by their dotted path."""

from dataclasses import dataclass

from gamekeeper.defenses.stateless import Stateless
from gamekeeper.learners.distil import Soft
from gamekeeper.learners.lookup_table import arm
from gamekeeper.simplex import label
from gamekeeper.training.fit import Fit
from gamekeeper.types import Knowledge, Model, Transfer


@dataclass(frozen=True)
class Classes:
    """A learner that looks at the top class only, and says so."""

    fit: Fit = Fit(epochs=1, least_steps=30)

    @property
    def reads(self) -> str:
        return "label"

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        reply = transfer.reply.take(slice(None))
        return Soft(self.fit)(Transfer(transfer.x, type(reply)(label(reply.y)), transfer.cost), knows, seed)


@dataclass(frozen=True)
class Undoes:
    """A learner that arms the defense it is told and (here) makes nothing of it, and says so."""

    fit: Fit = Fit(epochs=1, least_steps=30)

    @property
    def uses_defense(self) -> bool:
        return True

    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        arm(knows, seed)
        return Soft(self.fit)(transfer, knows, seed)


@dataclass(frozen=True)
class Turned:
    """A defense that gives each class's probability to the next one, by `share`."""

    share: float = 1.0

    @property
    def keeps_top1(self) -> bool:
        return False

    def arm(self, victim, owner, seed):
        return Stateless(lambda y: (1 - self.share) * y + self.share * y.roll(1, 1))


@dataclass(frozen=True)
class Squared:
    """A defense that keeps every label."""

    @property
    def keeps_top1(self) -> bool:
        return True

    def arm(self, victim, owner, seed):
        return Stateless(lambda y: y.square() / y.square().sum(1, keepdim=True))

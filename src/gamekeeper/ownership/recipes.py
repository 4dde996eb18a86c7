"""The parts that people play in a dispute, as recipes: frozen dataclasses of plain values, whose repr names a row.

Mark         the owner, before training: data that leave a mark in whatever is trained on them
Fingerprint  the owner, afterwards: what the finished model does and others do not
Removal      the thief: what they do to a copy so that no claim finds it
Forgery      a dishonest accuser: a claim on models that they never saw
"""

from typing import Protocol, runtime_checkable

from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.draws import Draw
from gamekeeper.types import Batch, Model, Owner


@runtime_checkable
class Mark(Protocol):
    """What is put into training data, in two steps: a beacon published between them draws the labels."""

    def triggers(self, owner: Owner, seed: int) -> Batch:
        """The inputs to commit to, (n, *shape), all different, from the owner's domain."""
        ...

    def claim(self, triggers: Batch, draw: Draw, classes: int) -> Claim:
        """The claim on a model that answers the triggers as drawn."""
        ...

    def marked(self, owner: Owner, claim: Claim) -> Owner:
        """The owner with training data that hold the mark."""
        ...


@runtime_checkable
class Fingerprint(Protocol):
    """What is taken from a finished model. Raises Unsuited where there is nothing to take."""

    def __call__(self, victim: Model, owner: Owner, seed: int) -> Claim: ...


@runtime_checkable
class Removal(Protocol):
    """What a thief does to a copy. They have inputs of their own, never those of the claim or the test set."""

    def __call__(self, stolen: TorchModel, data: Owner, seed: int) -> Model: ...


@runtime_checkable
class Forgery(Protocol):
    """How a dishonest accuser makes a claim: from models and inputs of their own, and never from a suspect's answers."""

    def __call__(self, accuser: Owner, classes: int, seed: int) -> Claim: ...

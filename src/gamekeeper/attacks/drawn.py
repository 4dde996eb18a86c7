"""Drawn: query inputs that the thief draws or generates, knowing what the classes are called.

Source      none; thieves who make inputs without data: MAZE (Kariyappa et al., CVPR 2021) and DFME (Truong et al., CVPR
            2021) train a generator through many queries; here it is drawn beforehand, from the names, and costs none
Assumes     a way to draw each class (`drawings`); any answer
Deviations  none
Keeps       the class that each input was drawn as, for learners that compare it with the answer
"""

from dataclasses import dataclass

import torch

from gamekeeper.errors import Unsuited
from gamekeeper.types import Drawings, Knowledge, Meter, Reply, Transfer


@dataclass(frozen=True)
class Drawn:
    """The thief's own drawings of the classes, in rotation. A larger budget starts with the same queries."""

    @property
    def prefix(self) -> bool:
        return True

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        x, classes = drawings_of(knows, "drawn")(oracle.left, seed)
        reply = oracle(x) if len(x) else Reply(torch.empty(0, knows.task.classes))
        return Transfer(x, reply, len(x), classes)


def drawings_of(knows: Knowledge, method: str) -> Drawings:
    """How the thief draws. Raises Unsuited if they cannot."""
    if knows.drawings is None:
        raise Unsuited(
            f"{method} queries inputs that the thief draws from the names of the classes; for this target there are none."
            " Give the thief drawings, a folder of generated images or a recipe of your own (`drawings` in [thief]), or use"
            " an attack that draws from a pool, such as knockoff."
        )
    return knows.drawings

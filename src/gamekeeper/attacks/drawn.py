"""Drawn: query what the thief can draw, or generate, from the names of the classes; no input of anybody's is needed.

Source      none; a thief who knows what a service tells apart can draw it, photograph it, or have a generator make it.
            Truong et al., "Data-free model extraction" (CVPR 2021) train a generator on the answers instead, for millions of
            queries
Assumes     a way to draw each class (`drawings`): the built-in image targets bring one, a target file names images; any
            answer
Deviations  none. The class that each input was drawn as goes with the answers; `agreeing` uses it, other learners do not
"""

from dataclasses import dataclass

import torch

from gamekeeper.errors import Unsuited
from gamekeeper.types import Drawings, Knowledge, Meter, Reply, Transfer


@dataclass(frozen=True)
class Drawn:
    """Drawings of every class in turn, each queried once. A larger budget starts with the same queries."""

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
            f"{method} asks about drawings of the classes, and the thief has none. Name a folder with a sub-folder of images for"
            " each class in the target file (thief.drawings), or leave it out."
        )
    return knows.drawings

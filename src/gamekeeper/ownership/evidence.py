"""What a judge has before them: the counts of the suspect and the panel, and the claim's place in a register."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.register import Entry
from gamekeeper.ownership.stamps import Stamp


@dataclass(frozen=True)
class Measured:
    """Of the suspect: how many of n answers hit, the queries paid for that, and its accuracy on the judge's own inputs."""

    hits: int
    n: int
    queries: int
    accuracy: float


@dataclass(frozen=True)
class PanelMeasured:
    """Of the judge's own models, and of the claim itself.

    hits       of n, for each model of the panel
    accuracy   of each, on the judge's own inputs
    own        hits of what must pass: the marked model or, for marks that are in answers only, a clone trained on these
    agreement  of the panel with each other and the claim, see `agreement`
    variety    of the claimed labels, see `variety`
    """

    hits: tuple[int, ...]
    accuracy: tuple[float, ...]
    own: int
    agreement: float
    variety: float

    def __post_init__(self) -> None:
        if len(self.accuracy) != len(self.hits):
            raise BadClaim(
                f"every model of a panel has an accuracy. Got {len(self.hits)} models, {len(self.accuracy)} accuracies."
            )


@dataclass(frozen=True)
class Committed:
    """A claim's place in a register. stamps: those of the entry that hold, by authorities that the judge trusts."""

    entry: Entry
    claim: str
    opening: bytes
    stamps: tuple[Stamp, ...]

    @property
    def since(self) -> int | None:
        """The earliest time that is certain, in seconds since 1970; None without a stamp."""
        return min((stamp.at for stamp in self.stamps), default=None)


def agreement(right: Bool[Tensor, "models n"]) -> float:
    """How often two models of the panel, drawn at random, both answer as the claim says; in [0, 1], 0 for one model.

    About 1 / k^2 for honest random labels over k classes, as many as 1 / k where models agree with each other; near 1 for
    adversarial examples that transfer.
    """
    models, n = right.shape
    both = right.sum(0)
    return float((both * (both - 1)).sum()) / (n * models * (models - 1)) if models > 1 and n else 0.0


def variety(labels: Int[Tensor, " n"], classes: int) -> float:
    """Shannon entropy of the labels' shares over that of uniform ones, min(classes, n) of them; in [0, 1]."""
    most = min(classes, len(labels))
    if most < 2:
        return 0.0
    shares = torch.bincount(labels).double() / len(labels)
    return float(torch.special.entr(shares).sum()) / math.log(most)

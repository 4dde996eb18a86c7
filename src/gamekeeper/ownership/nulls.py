"""Null hypotheses: what a suspect's hits are held against. Each gives a p-value for a model that copied nothing.

    OfPanel      such a model is like those of the judge's panel; how much these differ counts
    DrawnLabels  the claim's labels were drawn by a beacon after the inputs were committed to: no model can know them
    Ranks        the suspect would be as likely as any of the panel to hit most; needs 99 models for .01

DrawnLabels needs no trust in the panel, yet is held to its rate as well. It is the judge who must have recomputed the labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

from gamekeeper.ownership.chance import binomial, panel_rate, predictive, rank


@runtime_checkable
class NullModel(Protocol):
    """Whom the suspect is compared with."""

    @property
    def name(self) -> str:
        """For a sentence, before 'would hit …'."""
        ...

    def log10_p(self, hits: int, n: int, panel: Sequence[int]) -> float:
        """log10 of the chance of at least as many hits of n; `panel` has the hits of each of its models."""
        ...


@dataclass(frozen=True)
class OfPanel:
    """Another model like those of the panel, whose rates of hits differ from each other."""

    @property
    def name(self) -> str:
        return "another model like those of the panel"

    def log10_p(self, hits: int, n: int, panel: Sequence[int]) -> float:
        return averaged(tuple(sorted(panel)), n)[hits]


@lru_cache(maxsize=256)
def averaged(panel: tuple[int, ...], n: int) -> tuple[float, ...]:
    """`predictive`, computed once per panel: a judge asks of many suspects, and of the panel without each of its models."""
    return tuple(predictive(panel, n).tolist())


@dataclass(frozen=True)
class DrawnLabels:
    """A model that cannot know labels which were drawn uniformly from `labels` after the inputs were committed to.

    labels  from how many a label was drawn: one less than there are classes, where the natural one was left out
    """

    labels: int

    @property
    def name(self) -> str:
        return f"a model that cannot know labels drawn from {self.labels}"

    def log10_p(self, hits: int, n: int, panel: Sequence[int]) -> float:
        return binomial(hits, n, panel_rate(panel, n, self.labels))


@dataclass(frozen=True)
class Ranks:
    """A model that is as likely as each of the panel to hit most."""

    @property
    def name(self) -> str:
        return "a model exchangeable with those of the panel"

    def log10_p(self, hits: int, n: int, panel: Sequence[int]) -> float:
        return rank(hits, panel)

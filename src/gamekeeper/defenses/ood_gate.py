"""A gate: queries that do not look like the owner's inputs get a misleading answer.

Source      Atli, Szyller, Juuti, Marchal, Asokan, "Extraction of complex DNN models: real threat or boogeyman?"
            (EDSMLS 2020); the scores' own papers are in detectors/ood.py
Equations   none: flagged iff the score is below the threshold; shuffled: the posterior's entries in an order drawn from
            HMAC(secret, input); uniform: 1/k
Assumes     what the score assumes; for the threshold inputs like a user's that the victim was not trained on, or some of
            its training inputs
Deviations  the threshold is set on inputs of the owner's alone, for a stated false positive rate; the paper's
            detector decides by its larger output. The paper draws a new shuffle for each answer, so averaging undoes it
Keeps       argmax: not for flagged queries. fpr = 0 flags nothing

Honest users whose inputs look unusual are flagged too. Set on natural inputs (`data.natural`), the threshold flags the stated
share of users; set on the victim's training inputs, it flags more of them (measured in results/studies.json; table in
docs/papers/ood-gates.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal, get_args

import torch

from gamekeeper.defenses.keyed import secret, uniforms
from gamekeeper.defenses.when import When
from gamekeeper.detectors.ood import SCORERS, Calibrated, ScoreName, calibrated
from gamekeeper.errors import BadConfig
from gamekeeper.facts import SHARES, Strengths
from gamekeeper.needs import classes_of
from gamekeeper.types import Batch, Model, Owner, Posterior, Reply

Answer = Literal["shuffled", "uniform"]
Mislead = Callable[[Batch, Posterior], Posterior]
"""Takes gated inputs and their clean answers; returns the answers to give instead."""


def shuffled(key: bytes, x: Batch, y: Posterior) -> Posterior:
    """Every row's entries, in an order drawn for its input."""
    return y.gather(1, uniforms(key, x, y.shape[1]).argsort(1)) if len(y) else y


def uniform(x: Batch, y: Posterior) -> Posterior:
    """The same probability for every class, whatever the input."""
    return torch.full_like(y, 1 / y.shape[1])


@dataclass(frozen=True)
class OodGate:
    """Gives misleading answers to inputs that do not look like the owner's, and clean answers to all others.

    score   measures how much an input looks like the owner's
    fpr     the strength: share of benign queries that may be flagged
    answer  what a flagged query gets: its posterior shuffled by HMAC(secret, input), or the uniform posterior
    """

    score: ScoreName = "msp"
    fpr: float = 0.01
    answer: Answer = "shuffled"

    calibrates: ClassVar[bool] = True
    full_strength: ClassVar[tuple[str, float]] = ("fpr", 1.0)
    permutes: ClassVar[bool] = False  # it shuffles by position, and its score uses the victim's own network

    def __post_init__(self) -> None:
        if not 0 <= self.fpr <= 1:
            raise BadConfig(f"The fpr of OodGate must be from 0 to 1. Got {self.fpr}.")
        for name, words in (("score", get_args(ScoreName)), ("answer", get_args(Answer))):
            if getattr(self, name) not in words:
                raise BadConfig(f"The {name} of OodGate must be {' or '.join(words)}. Got {getattr(self, name)}.")

    @property
    def keeps_top1(self) -> bool:
        return False

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return tuple(
            Strengths(f"score={score},fpr={{}}", SHARES)
            for score in ("msp", "energy", "mahalanobis", "odin", "knn", "detector")
        )

    @property
    def keyed(self) -> bool:
        return self.answer == "shuffled"

    def arm(self, victim: Model, owner: Owner, seed: int) -> When:
        """Raises Unsuited if the victim or the owner lacks what the score needs."""
        classes_of(victim, "OodGate")
        score = calibrated(SCORERS[self.score], victim, owner, seed)
        mislead = partial(shuffled, secret("OodGate", seed, owner.secret)) if self.answer == "shuffled" else uniform
        return gate(score, self.fpr, mislead)


@dataclass(frozen=True, eq=False)
class Misleading:
    """Answers every input with `mislead`."""

    mislead: Mislead = field(repr=False)  # may hold a key

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        return Reply(self.mislead(x, reply.y), reply.maps)


def gate(score: Calibrated, share: float, mislead: Mislead) -> When:
    """Misleads on the inputs that look least like the owner's: at most a share `share` of benign ones."""
    return When(score.watch(), -score.threshold(share), Misleading(mislead))

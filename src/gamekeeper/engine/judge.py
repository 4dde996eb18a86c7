"""The judge: measures the clone and the honest user's loss, behind the meter.

Nothing here is ever seen by a thief. Answers of the clean victim on the test set and on uniform inputs are asked
once per target and process; answers of the defended one once per defense.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from gamekeeper.engine.grid import REPEATED
from gamekeeper.engine.results import Clone, Utility, Victim
from gamekeeper.metrics import Rate, ece, wilson
from gamekeeper.oracles import Witness
from gamekeeper.service import Service
from gamekeeper.simplex import distance
from gamekeeper.targets.target import Target
from gamekeeper.types import Model, Posterior, Reply

BINS = 20
TIMED = 64
WITNESSED = 10_000


@dataclass
class Bench:
    """What clones of one target are measured against. `session` opens the clean victim for a client of his own."""

    target: Target
    session: Callable[[], Model]
    uniform: int

    @cached_property
    def truth(self) -> Tensor:
        assert self.target.test.y is not None, "load_target refuses a test set without labels"
        return self.target.test.y

    @cached_property
    def chance(self) -> float:
        """Share of the most frequent class: what a constant answer scores."""
        return float(torch.bincount(self.truth).max()) / len(self.truth)

    @cached_property
    def clean(self) -> Posterior:
        return self.session()(self.target.test.x).y

    @cached_property
    def clean_uniform(self) -> tuple[Tensor, Posterior]:
        x = self.target.box.uniform(self.uniform, seed=20_260_000)
        return x, self.session()(x).y

    def clone(self, clone: Model) -> Clone:
        """Accuracy against the truth; fidelity and total variation against the clean victim."""
        answers = clone(self.target.test.x).y
        right = self.target.victim.task.right(answers, self.truth)
        found = Clone(rate(right), rate(agreement(answers, self.clean)), None, apart(answers, self.clean))
        if not self.uniform:
            return found
        x, clean = self.clean_uniform
        answers = clone(x).y
        return replace(found, fidelity_uniform=rate(agreement(answers, clean)), tv_uniform=apart(answers, clean))


@dataclass
class Honest:
    """What a defense costs honest users, measured on the test set."""

    bench: Bench
    service: Service

    @cached_property
    def defended(self) -> Posterior:
        return self.service.reply("alice", self.bench.target.test.x).y

    @cached_property
    def victim(self) -> Victim:
        task, truth = self.bench.target.victim.task, self.bench.truth
        return Victim(
            accuracy=rate(task.right(self.bench.clean, truth)),
            defended_accuracy=rate(task.right(self.defended, truth)),
        )

    @cached_property
    def repeats(self) -> bool:
        """Whether the same inputs, asked again, get the same answers (up to the rounding of another batch size)."""
        again = self.service.reply("alice", self.bench.target.test.x[:REPEATED]).y
        return torch.allclose(self.defended[:REPEATED], again, rtol=0, atol=1e-5)

    @cached_property
    def seconds_per_query(self) -> float:
        """Median of five batches of 64, defenses only."""
        x = self.bench.target.test.x[:TIMED]
        clean = Reply(self.bench.clean[:TIMED])
        times: list[float] = []
        for _ in range(5):
            start = time.perf_counter()
            reply = clean
            for place, defense in enumerate(self.service.defenses):
                reply = defense.respond(x, reply, self.service.memories.get(("alice", place)))
            times.append(time.perf_counter() - start)
        return statistics.median(times) / len(x)

    def utility(self, witness: Witness) -> Utility:
        """Honest users' loss, and beside it what the thief's queries met."""
        clean = self.bench.clean
        l1 = distance(clean.double(), self.defended.double(), "l1")
        asked, answered = witness.seen(WITNESSED)
        clean_asked = self.bench.session()(asked).y
        return Utility(
            l1=float(l1.mean()),
            l1_thief=float(distance(clean_asked.double(), answered.double(), "l1").mean()),
            l1_histogram=[int(n) for n in torch.histc(l1.clamp(0, 2), BINS, 0, 2)],
            ece=ece(self.defended, self.bench.truth),
            ece_clean=ece(clean, self.bench.truth),
            top1_kept=float(agreement(self.defended, clean).double().mean()),
            top1_kept_thief=float(agreement(answered, clean_asked).double().mean()),
            deterministic=self.repeats,
        )


def agreement(a: Posterior, b: Posterior) -> Tensor:
    """Which rows have the same top-1 class, as booleans."""
    return a.argmax(1) == b.argmax(1)


def apart(a: Posterior, b: Posterior) -> float:
    """Mean total variation distance of the rows, 0 to 1: half their L1 distance."""
    return float(distance(a.double(), b.double(), "l1").mean()) / 2


def rate(right: Tensor) -> Rate:
    return wilson(int(right.sum()), len(right))

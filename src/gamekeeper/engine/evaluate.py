"""Evaluation: what a clone is like and what honest users lose, measured behind the meter.

No thief ever sees any of this. The clean victim is asked about the test set and about uniform inputs once per target and
process, the defended one once per defense.

Source      fidelity: Tramer et al., "Stealing machine learning models via prediction APIs" (2016), R and R^TV on the
            test set and on uniform inputs
Deviations  uniform means uniform in the box for every feature, since no schema names the categorical ones. The paper
            measures on 10,000; so do we for tables, and on 2,000 for images, which a network has to see
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from gamekeeper.analysis.bootstrap import packed
from gamekeeper.data.dataset import Dataset
from gamekeeper.defenses.guarantees import Guarantees
from gamekeeper.engine import shift_harm
from gamekeeper.engine.grid import REPEATED
from gamekeeper.errors import Malformed
from gamekeeper.explain import metrics as map_metrics
from gamekeeper.metrics import Estimate, ShiftHarm, average, ece, ratio, wilson
from gamekeeper.results import Band, Clone, MapsKept, Utility, Victim
from gamekeeper.service.oracles import Transcript
from gamekeeper.service.service import Service
from gamekeeper.simplex import distance
from gamekeeper.targets.target import Target
from gamekeeper.types import Batch, Model, Posterior, Reply, Task, answered

BINS = 20
TIMED, MAPPED = 64, 500
WITNESSED = 10_000
EDGES = (0.5, 0.7, 0.9, 0.99, 1.0)
"""Upper ends of the bands of confidence."""
ROUNDING = 5e-5
"""What two batch sizes, or a sum of a thousand float32 terms, may change."""
PART = 1_000
"""Uniform inputs in memory at a time."""
SEED = 20_260_000


@dataclass
class CloneMetrics:
    """Measures clones of one target. `open_victim` opens the clean victim for a client of its own."""

    target: Target
    open_victim: Callable[[], Model]
    uniform: int

    @cached_property
    def test(self) -> Dataset:
        """The test set, without the inputs that somebody's API gave no answer to."""
        rows = answered(self.whole)
        return self.target.test if bool(rows.all()) else self.target.test.take(rows.nonzero()[:, 0])

    @property
    def unanswered(self) -> int:
        """How many test inputs that leaves out."""
        return len(self.target.test) - len(self.test)

    @property
    def truth(self) -> Tensor:
        assert self.test.y is not None, "load_target refuses a test set without labels"
        return self.test.y

    @cached_property
    def chance(self) -> float:
        """Share of the most frequent class: what a constant answer scores."""
        return float(torch.bincount(self.truth).max()) / len(self.truth)

    @cached_property
    def whole(self) -> Reply:
        """The answers to the whole test set; only an API may leave some out."""
        reply = self.open_victim()(self.target.test.x)
        if not self.target.remote and not bool(answered(reply).all()):
            silent = len(reply) - int(answered(reply).sum())
            raise Malformed(
                f"the target answers NaN or infinity to {silent:,} of {len(reply):,} test inputs. Find out why: are they"
                " in the units it was trained on?"
            )
        return reply

    @cached_property
    def clean_reply(self) -> Reply:
        return self.whole.take(answered(self.whole))

    @property
    def clean(self) -> Posterior:
        return self.clean_reply.y

    def uniform_inputs(self) -> Iterator[Batch]:
        """The uniform inputs in parts, always the same ones."""
        for part, start in enumerate(range(0, self.uniform, PART)):
            yield self.target.box.uniform(min(PART, self.uniform - start), SEED + part)

    @cached_property
    def clean_uniform(self) -> Posterior:
        return self.on_uniform(self.open_victim())

    def on_uniform(self, model: Model) -> Posterior:
        """A model's answers to the uniform inputs; there must be some."""
        return torch.cat([model(x).y for x in self.uniform_inputs()])

    @cached_property
    def shifted(self) -> list[shift_harm.Shifted]:
        """The clean answers to inputs unlike the test set."""
        return shift_harm.ask(self.target, self.open_victim())

    def clone(self, clone: Model) -> Clone:
        """Accuracy against the truth, agreement and distance in total variation against the clean victim."""
        task = self.target.victim.task
        answers = clone(self.test.x).y
        right = task.right(answers, self.truth)
        whole = self.target.answers in ("probabilities", "logits")
        measured = Clone(
            accuracy=rate(right),
            fidelity=rate(agreement(answers, self.clean)),
            fidelity_uniform=None,
            tv=average(variation(answers, self.clean)) if whole else None,
            accuracy_ratio=ratio(right, task.right(self.clean, self.truth)),
            right=packed(right.tolist()),
        )
        if not self.uniform:
            return measured
        answers, clean = self.on_uniform(clone), self.clean_uniform
        return replace(
            measured,
            fidelity_uniform=rate(agreement(answers, clean)),
            tv_uniform=average(variation(answers, clean)) if whole else None,
        )


@dataclass
class UtilityMetrics:
    """Measures what a defense costs honest users, on the test set."""

    clone_metrics: CloneMetrics
    service: Service
    promised: Guarantees

    @cached_property
    def reply(self) -> Reply:
        return self.service.reply("alice", self.clone_metrics.test.x)

    @property
    def defended(self) -> Posterior:
        return self.reply.y

    @cached_property
    def victim(self) -> Victim:
        task, truth = self.clone_metrics.target.victim.task, self.clone_metrics.truth
        return Victim(
            accuracy=rate(task.right(self.clone_metrics.clean, truth)),
            defended_accuracy=rate(task.right(self.defended, truth)),
        )

    @cached_property
    def repeats(self) -> bool:
        """Whether the same inputs, asked again, get the same answers (up to the rounding of another batch size)."""
        again = self.service.reply("alice", self.clone_metrics.test.x[:REPEATED])
        rows = answered(again)
        return torch.allclose(self.defended[:REPEATED][rows], again.y[rows], rtol=0, atol=1e-5)

    @cached_property
    def seconds_per_query(self) -> float:
        """Median of five batches of 64, defenses only."""
        x = self.clone_metrics.test.x[:TIMED]
        clean = self.clone_metrics.clean_reply.take(slice(TIMED))
        times: list[float] = []
        for _ in range(5):
            start = time.perf_counter()
            self.service.answer("alice", x, clean, time.time())
            times.append(time.perf_counter() - start)
        return statistics.median(times) / len(x)

    @cached_property
    def own(self) -> Utility:
        """What honest users lose, whatever a thief does."""
        clean = self.clone_metrics.clean
        l1, l2, kl = (distance(clean.double(), self.defended.double(), norm) for norm in ("l1", "l2", "kl"))
        return Utility(
            l1=float(l1.mean()),
            l1_thief=None,
            l1_histogram=[int(n) for n in torch.histc(l1.clamp(0, 2), BINS, 0, 2)],
            ece=ece(self.defended, self.clone_metrics.truth),
            ece_clean=ece(clean, self.clone_metrics.truth),
            top1_kept=float(agreement(self.defended, clean).double().mean()),
            top1_kept_thief=None,
            deterministic=self.repeats,
            l1_most=float(l1.max()),
            l2=float(l2.mean()),
            kl=float(kl.mean()),
            bands=by_confidence(clean, self.defended, self.clone_metrics.target.victim.task, self.clone_metrics.truth),
            promised=self.promised,
            broken=broken(self.promised, clean, self.defended),
            maps=maps_kept(
                self.clone_metrics.test.x[:MAPPED],
                self.clone_metrics.clean_reply.take(slice(MAPPED)),
                self.reply.take(slice(MAPPED)),
                None if self.clone_metrics.target.remote else self.clone_metrics.open_victim(),
            ),
            shifted=self.shifted,
        )

    @cached_property
    def shifted(self) -> list[ShiftHarm] | None:
        """The same for users whose inputs are unlike the test set; None if there are no such inputs."""
        there, task = self.clone_metrics, self.clone_metrics.target.victim.task
        if not there.shifted:
            return None
        plain = shift_harm.unshifted(there.clean, self.defended, there.truth, task)
        return shift_harm.harms(plain, there.shifted, self.service, task)

    def utility(self, transcript: Transcript) -> Utility:
        """Honest users' loss, and beside it what became of the thief's queries."""
        if not transcript.queries:  # the budget was too small for the thief's first step
            return self.own
        x, given = transcript.seen(WITNESSED)
        clean = self.clone_metrics.open_victim()(x)
        rows = answered(clean)
        clean, given = clean.y[rows], given[rows]
        return replace(
            self.own,
            l1_thief=float(distance(clean.double(), given.double(), "l1").mean()),
            top1_kept_thief=float(agreement(given, clean).double().mean()),
            broken=list(dict.fromkeys([*self.own.broken, *broken(self.promised, clean, given)])),
        )


def maps_kept(x: Batch, clean: Reply, given: Reply, model: Model | None) -> MapsKept | None:
    """Of the maps in two replies to x; None without maps. `model` says what the maps leave of x; it is asked twice per input."""
    if clean.maps is None or given.maps is None:
        return None
    ranks = map_metrics.rank_correlation(clean.maps, given.maps)
    measured = MapsKept(
        n=len(x),
        rank=None if ranks.isnan().all() else float(ranks.nanmean()),
        overlap=float(map_metrics.overlap(clean.maps, given.maps).mean()),
        flat=map_metrics.degenerate_share(given.maps).value,
        flat_clean=map_metrics.degenerate_share(clean.maps).value,
    )
    if model is None:
        return measured
    drop, drop_clean = (
        map_metrics.average_drop(map_metrics.confidence(model, x, maps, clean.y.argmax(1))).value
        for maps in (given.maps, clean.maps)
    )
    return replace(measured, drop=drop, drop_clean=drop_clean)


def by_confidence(clean: Posterior, defended: Posterior, task: Task, truth: Tensor) -> list[Band]:
    """Where the top-1 class was kept, by how sure the clean answer was."""
    confidence, same = clean.max(1).values, agreement(clean, defended)
    rights = task.right(clean, truth), task.right(defended, truth)
    place = torch.bucketize(confidence, torch.tensor(EDGES[:-1], dtype=confidence.dtype))
    return [
        Band(upto, *(int(some[place == i].sum()) for some in (torch.ones_like(same), same, *rights)))
        for i, upto in enumerate(EDGES)
    ]


def broken(promised: Guarantees, clean: Posterior, answered: Posterior) -> list[str]:
    """Names of the guarantees that some answer breaks. Where the clean answer has a tie at the top, either class will do."""
    best, chosen = clean.max(1).values, clean.gather(1, answered.argmax(1, keepdim=True))[:, 0]
    failed = {
        "keeps_top1": promised.keeps_top1 and bool((chosen < best - ROUNDING).any()),
        "l1_bound": bool((distance(clean.double(), answered.double(), "l1") > promised.l1_bound + ROUNDING).any()),
        "keeps_confidence": promised.keeps_confidence
        and bool(((answered.max(1).values - best).abs() > ROUNDING).any()),
    }
    return [name for name, true in failed.items() if true]


def agreement(a: Posterior, b: Posterior) -> Tensor:
    """Which rows have the same top-1 class, as booleans."""
    return a.argmax(1) == b.argmax(1)


def variation(a: Posterior, b: Posterior) -> Tensor:
    """Total variation distance of each pair of rows, 0 to 1; rounded rows may sum to a little more than 1."""
    return (distance(a.double(), b.double(), "l1") / 2).clamp(max=1.0)


def rate(right: Tensor) -> Estimate:
    return wilson(int(right.sum()), len(right))

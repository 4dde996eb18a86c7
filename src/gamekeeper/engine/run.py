"""One theft: `run_cell` is a pure function of its cell.

Targets, armed defenses and the evaluation's answers are cached per process; clones in a folder that all processes share.
A cell that fails is a row with its error and with what it had spent. A Halt stops the whole run: a damaged ledger, or an API
that is gone.
"""

import functools
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from gamekeeper.analysis.skill import Skill, skill
from gamekeeper.attacks.theft import Theft, thief_facts
from gamekeeper.data.splits import overlap
from gamekeeper.defenses.guarantees import guarantees
from gamekeeper.engine.backends import Work
from gamekeeper.engine.evaluate import CloneMetrics, UtilityMetrics
from gamekeeper.engine.failure import WORKER_DIED, failure
from gamekeeper.engine.follow_on import FollowOnEvaluator
from gamekeeper.engine.grid import Cell
from gamekeeper.engine.pictures import keep
from gamekeeper.engine.session import Session, opened
from gamekeeper.errors import Unsuited
from gamekeeper.facts import Reads
from gamekeeper.models.estimators import for_table
from gamekeeper.models.opaque import Decides
from gamekeeper.results import FollowOn, Results, Row, Seconds
from gamekeeper.service.ledger import Ledger, Recorded, RecordedModel
from gamekeeper.service.oracles import Metered, Transcript
from gamekeeper.service.service import Service
from gamekeeper.simplex import label
from gamekeeper.targets.choice import Source, shares_architecture, untested_classes
from gamekeeper.targets.target import Target, boxed
from gamekeeper.training.student import DiskCloneCache
from gamekeeper.types import (
    Architecture,
    Armed,
    Caveats,
    Defense,
    Knowledge,
    Meter,
    Model,
    Posterior,
    Ranges,
    Reply,
    answered,
)
from gamekeeper.units import UnitBox, UnitMeter, in_natural_units

LEDGER, CLONES = "ledger.sqlite", "clones"
LEAKED = 0.1
"""Share of the test set in the thief's pool above which clones are measured on what they were trained on."""
UNANSWERED = 0.01
"""Share of a thief's inputs without an answer above which a clone is not what its budget says."""
SAME = 0.01
"""Probabilities that differ by no more than this between inputs teach a thief nothing."""


@dataclass(eq=False)
class Stage:
    """Everything of one target that cells share, in one process and for one run folder."""

    target: Target
    folder: Path
    uniform: int

    @functools.cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / LEDGER)

    def open_victim(self) -> Model:
        """The target for one client; a live API through the ledger, since every answer costs, whoever the client is."""
        return opened_victim(self.target, self.ledger) if self.target.remote else self.target.victim

    @functools.cached_property
    def boxed(self) -> Target:
        """The target as its thieves see it."""
        return boxed(self.target)

    @functools.cached_property
    def clone_metrics(self) -> CloneMetrics:
        return CloneMetrics(self.target, self.open_victim, self.uniform)

    @functools.cached_property
    def follow_on_evaluator(self) -> FollowOnEvaluator:
        return FollowOnEvaluator(self.clone_metrics)

    @functools.cache  # noqa: B019 - a stage lives as long as its process
    def utility_metrics(self, defenses: tuple[Defense, ...], seed: int) -> UtilityMetrics:
        service = Service(self.open_victim(), armed(self.target, defenses, seed))
        return UtilityMetrics(self.clone_metrics, service, guarantees(defenses))

    @functools.cached_property
    def skill(self) -> Skill:
        """How the victim does on its test set."""
        return skill_on(self.clone_metrics.clean, self.clone_metrics.truth)

    @functools.cached_property
    def flags(self) -> list[str]:
        """Flags of the target, whoever steals it: of its data and of its answers to the test set."""
        target, clean = self.target, self.clone_metrics.clean
        leaked = overlap(target.test.x, target.pool.x)
        conditions = {
            "test-in-pool": leaked > LEAKED * len(target.test),
            "leaked-test": leaked > 0,
            "untested-classes": bool(untested_classes(target)),
            "same-architecture": shares_architecture(target, target.student),
            "weak-victim": not self.skill.sound,
            "predict-differs": isinstance(target.victim, Decides)
            and bool((target.victim.decisions(target.test.x) != clean.argmax(1)).any()),
        }
        return [name for name, true in conditions.items() if true]


def skill_on(y: Posterior, truth: Tensor) -> Skill:
    """How a model that gave the posteriors y does on inputs of these classes; rows without an answer are left out."""
    rows = answered(Reply(y))
    return skill(y[rows].numpy(), truth[rows].numpy())


def opened_victim(target: Target, ledger: Ledger) -> RecordedModel:
    """A live API, whose answers are recorded before anybody sees them and are never paid for twice."""
    scope = upstream(target)
    recorded = Recorded(target.victim, ledger, scope, target.batch, costly=True, unanswered="asked again")
    return RecordedModel(recorded, target.victim.task)


def upstream(target: Target) -> str:
    """The ledger's scope of a live API: what is in it was sent to that API."""
    return f"{target.digest} | upstream"


@functools.cache
def loaded(target: Source) -> Target:
    return target.load()


@functools.cache
def armed(target: Target, defenses: tuple[Defense, ...], seed: int) -> tuple[Armed, ...]:
    return tuple(defense.arm(target.victim, target.owner, seed) for defense in defenses)


@functools.cache
def stage(target: Source, folder: Path, uniform: int) -> Stage:
    return Stage(loaded(target), folder, uniform)


def prepared(choice: Source) -> Target:
    """The target as its files are now, loaded as a worker would load it; cells that run in this process use it too."""
    torch.set_num_threads(1)
    for cache in (loaded, armed, stage):
        cache.cache_clear()
    return loaded(choice)


@dataclass(frozen=True)
class Connection:
    """One thief's way to the target, and what it has cost so far.

    `sent` counts inputs where they cost something: on their way to a live API, or to our own service.
    """

    sent: Recorded
    transcript: Transcript
    meter: Metered
    price: float

    def billed(self, row: Row) -> Row:
        """The row with what was spent: queries and money under the budget, and the inputs that were newly sent."""
        return replace(row, queries=self.meter.spent, paid=self.sent.charged, price=self.meter.spent * self.price)


def connect(cell: Cell, here: Stage) -> Connection:
    target, victim = here.target, here.open_victim()
    service = Service(victim, armed(target, cell.defenses, cell.seed))
    scope = f"{cell.digest} | {cell.defenses} seed {cell.seed} | {cell.client}"
    silence = "passed on" if target.remote else "refused"
    recorded = Recorded(service.open(cell.client), here.ledger, scope, target.batch, unanswered=silence)
    transcript = Transcript(recorded)
    sent = victim.recorded if isinstance(victim, RecordedModel) else recorded
    return Connection(sent, transcript, Metered(transcript, cell.budget, target.box), target.price)


def run_cell(cell: Cell, folder: Path) -> Row:
    """One theft and its evaluation. Raises Halt if going on is pointless; any other failure is a row with its error."""
    connection = None
    try:
        here = stage(cell.target, folder, cell.uniform)
        connection = connect(cell, here)
        return steal_and_evaluate(cell, here, connection)
    except Exception as error:  # noqa: BLE001 - one broken cell must not cost the others
        kind, message = failure(error, cell.id, folder)
    row = blank(cell, message, kind)
    return connection.billed(row) if connection else row


def steal_and_evaluate(cell: Cell, here: Stage, connection: Connection) -> Row:
    clones = DiskCloneCache(here.folder / CLONES)
    stolen, seconds = steal(cell, door(connection.meter, here.target), knowledge(cell, here.boxed, clones))
    clone = in_natural_units(stolen, UnitBox(here.target.box)) if isinstance(here.target.box, Ranges) else stolen
    if cell.budget and connection.meter.spent == 0:
        raise Unsuited(f"{cell.attack} asked nothing: a budget of {cell.budget} is too small for it. Raise --budget.")
    utility_metrics, given = here.utility_metrics(cell.defenses, cell.seed), connection.transcript.answered
    row = replace(
        blank(cell),
        clone=here.clone_metrics.clone(clone),
        victim=utility_metrics.victim,
        utility=utility_metrics.utility(connection.transcript),
        seconds=Seconds(thief=seconds + clones.seconds, defense_per_query=utility_metrics.seconds_per_query),
        flags=[
            *here.flags,
            *(of_answers(torch.cat(given), thief_facts(cell.thief).reads) if given else ()),
            *(stolen.caveats if isinstance(stolen, Caveats) else ()),
        ],
        chance=here.clone_metrics.chance,
        unanswered=here.clone_metrics.unanswered,
        follow_on=follow_on(cell, here, stolen) if cell.follow_on else None,
    )
    return connection.billed(row)


def knowledge(cell: Cell, target: Target, clones: DiskCloneCache | None = None) -> Knowledge:
    """What the thief of a cell knows about a target in a box."""
    return thief_knowledge(target, cell.student, cell.defenses, clones)


def thief_knowledge(
    target: Target, student: Architecture, defenses: tuple[Defense, ...] = (), clones: DiskCloneCache | None = None
) -> Knowledge:
    """What a thief who trains this student and knows these defenses knows about a target in a box."""
    return Knowledge(
        target.pool.x,
        target.box,
        target.victim.task,
        for_table(student, target.pool.x),
        target.seeds,
        target.pool.y,
        target.drawings,
        target.style,
        defenses,
        clones,
    )


def door(meter: Metered, target: Target) -> Meter:
    """The meter for a thief who sees the target in a box."""
    if not isinstance(target.box, Ranges):
        return meter
    held = target.pool.x if target.seeds is None else torch.cat([target.pool.x, target.seeds])
    return UnitMeter(meter, UnitBox(target.box), held)


def of_answers(given: Posterior, reads: Reads) -> list[str]:
    """Flags of the answers that a thief got, of which they read so much; a row of NaN is none."""
    y = given[answered(Reply(given))]
    silent = len(given) - len(y)
    y = label(y) if reads == "label" else y
    return [
        *["one-class-answers"] * (len(y) > 0 and one_answer(y)),
        *["unanswered"] * (silent > UNANSWERED * len(given)),
    ]


def one_answer(y: Posterior) -> bool:
    """Whether all answers say the same: one top class, and no probability that moves by more than SAME."""
    return len(y) == 0 or (len(y.argmax(1).unique()) == 1 and float((y.amax(0) - y.amin(0)).max()) <= SAME)


def follow_on(cell: Cell, here: Stage, clone: Model) -> FollowOn:
    """What the clone is good for; the pictures drawn with it are stored beside the results."""
    scores, pictures = here.follow_on_evaluator.measure(clone)
    if pictures is not None:
        keep(here.folder, cell.id, pictures)
    return scores


def steal(cell: Cell, meter: Meter, knows: Knowledge) -> tuple[Model, float]:
    """The clone, and the seconds it took, without those of a Theft's queries."""
    if isinstance(cell.thief, Theft):
        transfer = cell.thief.ask(meter, knows, cell.seed)
        start = time.perf_counter()
        return cell.thief.learner(transfer, knows, cell.seed), time.perf_counter() - start
    start = time.perf_counter()
    return cell.thief(meter, knows, cell.seed), time.perf_counter() - start


def blank(cell: Cell, error: str | None = None, kind: str | None = None) -> Row:
    """The row of a cell before anything is measured, or of one that failed. kind: the class of the error."""
    method = thief_facts(cell.thief)
    return Row(
        cell=cell.id,
        target=cell.target.name,
        defense=cell.defense,
        attack=cell.attack,
        querying=type(cell.thief.querying if isinstance(cell.thief, Theft) else cell.thief).__name__.lower(),
        learner=type(cell.thief.learner).__name__.lower() if isinstance(cell.thief, Theft) else "exact",
        budget=cell.budget,
        seed=cell.seed,
        error=error,
        reads=method.reads,
        uses_defense=method.uses_defense,
        error_kind=kind,
    )


def work(folder: Path) -> Work[Cell, Row]:
    """How thefts are done, for a backend."""
    return Work(partial(run_cell, folder=folder), lost, __name__)


def lost(cell: Cell) -> Row:
    """The row of a theft whose worker died."""
    return blank(cell, WORKER_DIED, "WorkerDied")


@contextmanager
def thefts(folder: Path, work: Work[Cell, Row], look_only: bool = False) -> Generator[Session[Cell, Row]]:
    """A session of thefts in a folder whose ledger, if there is one, is whole. Raises LedgerError, or as `opened` does."""
    with opened(folder, Results(folder), work, look_only) as session:
        if (folder / LEDGER).exists():
            with closing(Ledger(folder / LEDGER)) as ledger:
                ledger.check()
        yield session

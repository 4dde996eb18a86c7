"""Before anything is spent: what a run asks, what it costs at most, and what is left out."""

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from gamekeeper.architectures import fresh
from gamekeeper.attacks.theft import thief_facts
from gamekeeper.engine.backends import default_jobs
from gamekeeper.engine.ensemble import thieves
from gamekeeper.engine.grid import (
    Audit,
    Cell,
    evaluation_queries,
    expand,
    fitted,
    queries,
    repeated_queries,
    steps,
    weight,
    zero_query_cells,
    zero_query_thief,
)
from gamekeeper.engine.run import LEDGER, armed, prepared, upstream
from gamekeeper.engine.strengths import ResolvedDefenses, as_before, question, resolve_defenses
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.learners.lookup_table import arm
from gamekeeper.models.estimators import Learns
from gamekeeper.results import SCHEMA, Results, Run
from gamekeeper.service.ledger import Ledger
from gamekeeper.targets.choice import assumptions, header_entry
from gamekeeper.targets.target import Target
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Architecture, Defense, Knowledge
from gamekeeper.version import __version__

PROBE_STEPS = 8
JUDGING, FOLLOWING = 0.3, 6.0
"""Seconds that a cell takes besides training, roughly, and what --follow-on adds."""
WORTH_WORKERS = 45.0
"""With fewer seconds of work than this, starting worker processes takes longer than it saves."""


@dataclass(frozen=True)
class Question:
    """An audit with every name resolved: what is asked of which target.

    audit     its defenses are those that take part
    chosen    what `--defense all` stood for; it goes into the header, so that a resumed run need not choose again
    left_out  a sentence for each defense or thief that does not take part
    zero_query  the cells of the thief who asks nothing, one per seed; `cells` holds those of the others
    """

    audit: Audit
    target: Target
    cells: tuple[Cell, ...]
    chosen: dict[str, Any]
    left_out: tuple[str, ...]
    zero_query: tuple[Cell, ...] = ()

    @property
    def every(self) -> tuple[Cell, ...]:
        """Those that cost nothing come first."""
        return (*self.zero_query, *self.cells)

    def header(self, arguments: Sequence[str]) -> Run:
        """The run's header; `arguments` is the command line that reproduces it."""
        asks_nothing = [zero_query_thief(self.target)[1].assumption] if self.zero_query else []
        notes = [*asks_nothing, *thieves(self.audit.attacks, self.target).left_out, *self.left_out]
        return Run(
            schema=SCHEMA,
            version=__version__,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            command="gamekeeper " + shlex.join(arguments),
            cells=[cell.id for cell in self.every],
            target=header_entry(self.target),
            assumptions=[*assumptions(self.target, self.cells[0].student, told_the_defense(self.cells)), *notes],
            seeds=list(self.audit.seeds),
            budgets=sorted(set(self.audit.budgets)),
            names={cell.id: [cell.defense, cell.attack] for cell in self.every},
            chosen=self.chosen,
        )


def settle(audit: Audit, folder: Path, say: Callable[[str], None]) -> Question:
    """Loads the target, chooses the defenses and expands the grid. `say` is called with what takes a while.

    Raises BadConfig for a question that makes no sense, or that leaves nothing to measure.
    """
    target = prepared(audit.target)
    chosen = chosen_defenses(audit, target, folder, say)
    narrowed = replace(audit, defenses=chosen.defenses)
    cells, left_out = possible(expand(narrowed, target), target)
    choice = question(audit.defenses, target, audit.seeds[0]) | asdict(chosen)
    free = tuple(zero_query_cells(narrowed, target))
    return Question(narrowed, target, tuple(cells), choice, (*chosen.left_out, *left_out), free)


def chosen_defenses(audit: Audit, target: Target, folder: Path, say: Callable[[str], None]) -> ResolvedDefenses:
    """The defenses to compare: those an earlier run in the folder chose, or chosen now."""
    with suppress(BadConfig):  # no header, or one cut short: it is written anew
        if before := as_before(Results(folder).header().chosen, audit.defenses, target, audit.seeds[0]):
            return before
    return resolve_defenses(audit.defenses, target, audit.seeds[0], say)


def possible(cells: Sequence[Cell], target: Target) -> tuple[list[Cell], list[str]]:
    """The cells without those of a thief who would have to arm a defense and cannot; and a sentence for each such thief.

    Raises BadConfig if none is left.
    """
    without = unusable_defenses(cells, target)
    left = [cell for cell in cells if (cell.defense, cell.attack) not in without]
    notes = [
        f"{attack} does not take part against {', '.join(sorted(d for d, a in without if a == attack))}: this thief"
        " has to arm the defense too, and it cannot be armed without the owner's inputs or weights."
        for attack in sorted({attack for _, attack in without})
    ]
    if not left:
        raise BadConfig(f"nothing is left to measure: {' '.join(notes)} Give another --attack.")
    return left, notes


def unusable_defenses(cells: Sequence[Cell], target: Target) -> set[tuple[str, str]]:
    """Pairs of a defense and a thief, as written, where the thief undoes the defense but cannot arm it.

    A thief arms it without the owner's data, which some defenses refuse. This is known before anything is spent.
    """
    knowing = [cell for cell in cells if cell.defenses and thief_facts(cell.thief).uses_defense]
    refusing: set[tuple[tuple[Defense, ...], Architecture]] = set()
    for chain, student in dict.fromkeys((cell.defenses, cell.student) for cell in knowing):
        knows = Knowledge(target.pool.x[:0], target.box, target.victim.task, student, defenses=chain)
        try:
            arm(knows, 0)
        except Unsuited:
            refusing.add((chain, student))
    return {(cell.defense, cell.attack) for cell in knowing if (cell.defenses, cell.student) in refusing}


def told_the_defense(cells: Sequence[Cell]) -> list[str]:
    """The thieves who know which defense they face, as the user wrote them."""
    return list(dict.fromkeys(cell.attack for cell in cells if thief_facts(cell.thief).uses_defense))


def check_defenses(cells: Sequence[Cell], target: Target) -> None:
    """Arms every chain once, before anything is spent. Raises Unsuited, naming the chain that does not suit the target.

    Cells that run in this process use what was armed; worker processes arm their own.
    """
    for cell in {cell.defenses: cell for cell in reversed(cells)}.values():
        try:
            armed(target, cell.defenses, cell.seed)
        except Unsuited as error:
            raise Unsuited(f"--defense {cell.defense}: {error}") from error


@dataclass(frozen=True)
class Plan:
    """What a run is about to do, at most. seconds: of the whole run over `jobs` processes.

    judged      of the queries, how many are the evaluation's own; paid: how many cost the price. The evaluation of a local
                model is its owner's own, and free
    repeated    of these, how many inputs of the test set are bought a second time, to see whether answers repeat
    unanswered  inputs that earlier runs sent to a live API without getting an answer
    zero_query  clones still to be made that ask nothing; they are not among the thefts
    """

    thefts: int
    done: int
    queries: int
    judged: int
    paid: int
    repeated: int
    price: float
    unanswered: int
    jobs: int
    seconds: float
    currency: str = ""
    zero_query: int = 0


def plan(asks: Question, missing: Sequence[Cell], folder: Path, jobs: int | None) -> Plan:
    """What running the missing cells costs. jobs: None for as many as pay for their start."""
    target = asks.target
    work = estimate(missing, target)
    total, judged = (queries(missing, target), evaluation_queries(missing, target)) if missing else (0, 0)
    jobs = min(jobs or (default_jobs() if work > WORTH_WORKERS else 1), max(1, len(missing)))
    return Plan(
        thefts=len(asks.cells),
        done=len(asks.cells) - sum(cell.budget > 0 for cell in missing),
        zero_query=sum(cell.budget == 0 for cell in missing),
        queries=total,
        judged=judged,
        paid=total if target.remote else total - judged,
        repeated=repeated_queries(target) if missing else 0,
        price=target.price,
        unanswered=spending(target, folder).unanswered,
        jobs=jobs,
        seconds=work / jobs,
        currency=target.currency,
    )


def estimate(missing: Sequence[Cell], target: Target) -> float:
    """Seconds on one process, from a few timed training steps of each student. Clones trained once for several cells count
    every time."""
    students = dict.fromkeys(cell.student for cell in missing)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a_step = {student: seconds_a_step(student, target) for student in students}
    torch.set_num_threads(threads)
    judging = sum((JUDGING + FOLLOWING * cell.follow_on for cell in missing), 0.0)
    # a student that is fitted in one go does not care how long a network would be trained
    work = (steps(cell, Fit()) if fitted(cell.student) else weight(cell) for cell in missing)
    return judging + sum(a_step[cell.student] * one for cell, one in zip(missing, work, strict=True))


def seconds_a_step(student: Architecture, target: Target) -> float:
    """Of training, on a batch of random inputs."""
    classes, recipe = target.victim.task.classes, Fit(epochs=1, least_steps=PROBE_STEPS)
    x = target.box.uniform(recipe.batch, 0)
    y = torch.full((len(x), classes), 1 / classes)
    net = fresh(student, 0)
    if isinstance(net, Learns):
        start = time.perf_counter()
        net.learn(x, y, 0)
        return (time.perf_counter() - start) / Fit().steps(len(x))  # a whole fit, spread over a network's steps
    fit(net, x, y, target.victim.task.loss, Fit(epochs=1, least_steps=2), 0)
    start = time.perf_counter()
    fit(net, x, y, target.victim.task.loss, recipe, 0)
    return (time.perf_counter() - start) / PROBE_STEPS


@dataclass(frozen=True)
class Spending:
    """What somebody else's API was sent, as the ledger of a run folder has it.

    inputs      that were answered; thieves: those the thieves asked, the rest being the evaluation's own
    unanswered  sent without getting an answer, and perhaps charged; earlier: of these, those of earlier runs
    price       money per input, in that currency if one is known
    """

    inputs: int = 0
    thieves: int = 0
    unanswered: int = 0
    price: float = 0.0
    currency: str = ""
    earlier: int = 0

    def since(self, before: "Spending", thieves: int) -> "Spending":
        """What was answered since, `thieves` of it to thieves; `unanswered` stays the total."""
        earlier = min(before.unanswered, self.unanswered)
        return Spending(self.inputs - before.inputs, thieves, self.unanswered, self.price, self.currency, earlier)


def spending(target: Target, folder: Path) -> Spending:
    """So far. Nothing for a local target, which charges nobody."""
    if not (target.remote and (folder / LEDGER).exists()):
        return Spending(price=target.price, currency=target.currency)
    scope = upstream(target)
    with closing(Ledger(folder / LEDGER)) as ledger:
        return Spending(
            ledger.answers(scope), unanswered=ledger.unanswered(scope), price=target.price, currency=target.currency
        )

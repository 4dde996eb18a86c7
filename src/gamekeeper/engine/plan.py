"""Before anything is spent: what a run asks, what it costs at most, and what has no part in it."""

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
from gamekeeper.engine.grid import Audit, Cell, expand, judged, queries, weight
from gamekeeper.engine.run import LEDGER, armed, prepared, upstream
from gamekeeper.engine.strengths import ResolvedDefenses, as_before, question, resolve_defenses
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.learners.lookup_table import arm
from gamekeeper.results import SCHEMA, Results, Run
from gamekeeper.service.ledger import Ledger
from gamekeeper.targets.choice import assumptions, facts
from gamekeeper.targets.target import Target
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Architecture, Defense, Knowledge
from gamekeeper.version import __version__

PROBE_STEPS = 8
JUDGING, FOLLOWING = 0.3, 6.0
"""Seconds a cell takes beside training, roughly, and with --follow-on as well."""
WORTH_WORKERS = 45.0
"""Seconds of work below which starting worker processes takes longer than it saves."""


@dataclass(frozen=True)
class Question:
    """An audit with every name resolved: what is asked of which target.

    audit     its defenses are those that take part
    chosen    what `--defense all` stood for, kept in the header so that a resumed run need not choose again
    left_out  a sentence for each defense or thief without a part
    """

    audit: Audit
    target: Target
    cells: tuple[Cell, ...]
    chosen: dict[str, Any]
    left_out: tuple[str, ...]

    def header(self, arguments: Sequence[str]) -> Run:
        """The run's header; `arguments` is the command line that reproduces it."""
        notes = [*thieves(self.audit.attacks, self.target).left_out, *self.left_out]
        return Run(
            schema=SCHEMA,
            version=__version__,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            command="gamekeeper " + shlex.join(arguments),
            cells=[cell.id for cell in self.cells],
            target=facts(self.target),
            assumptions=[*assumptions(self.target, self.cells[0].student, told(self.cells)), *notes],
            seeds=list(self.audit.seeds),
            budgets=sorted(set(self.audit.budgets)),
            names={cell.id: [cell.defense, cell.attack] for cell in self.cells},
            chosen=self.chosen,
        )


def settle(audit: Audit, folder: Path, say: Callable[[str], None]) -> Question:
    """Loads the target, chooses the defenses and expands the grid. `say` is told what takes a while.

    Raises BadConfig for what makes no sense, and where nothing is left to measure.
    """
    target = prepared(audit.target)
    chosen = compared(audit, target, folder, say)
    narrowed = replace(audit, defenses=chosen.defenses)
    cells, left_out = possible(expand(narrowed, target), target)
    kept = question(audit.defenses, target, audit.seeds[0]) | asdict(chosen)
    return Question(narrowed, target, tuple(cells), kept, (*chosen.left_out, *left_out))


def compared(audit: Audit, target: Target, folder: Path, say: Callable[[str], None]) -> ResolvedDefenses:
    """The defenses to compare: those an earlier run in the folder chose, or chosen now."""
    with suppress(BadConfig):  # no header, or one cut short: it is written anew
        if before := as_before(Results(folder).header().chosen, audit.defenses, target, audit.seeds[0]):
            return before
    return resolve_defenses(audit.defenses, target, audit.seeds[0], say)


def possible(cells: Sequence[Cell], target: Target) -> tuple[list[Cell], list[str]]:
    """The cells but for those of a thief who knows a defense that they cannot use; and a sentence for each such thief.

    Raises BadConfig where none is left.
    """
    without = out_of_hand(cells, target)
    left = [cell for cell in cells if (cell.defense, cell.attack) not in without]
    notes = [
        f"{attack} does not take part against {', '.join(sorted(d for d, a in without if a == attack))}: they learn with the"
        " defense in their own hands, and it cannot be armed without the owner's inputs or weights."
        for attack in sorted({attack for _, attack in without})
    ]
    if not left:
        raise BadConfig(f"nothing is left to measure: {' '.join(notes)} Give another --attack.")
    return left, notes


def out_of_hand(cells: Sequence[Cell], target: Target) -> set[tuple[str, str]]:
    """Defense and thief, as written, where the thief learns with a defense they cannot take into their own hands.

    They would have to arm it themselves, without the owner's data, and it refuses that. Known before anything is spent.
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


def told(cells: Sequence[Cell]) -> list[str]:
    """The thieves who are told which defense they meet, as the user wrote them."""
    return list(dict.fromkeys(cell.attack for cell in cells if thief_facts(cell.thief).uses_defense))


def check_defenses(cells: Sequence[Cell], target: Target) -> None:
    """Arms every chain once, before anything is spent. Raises Unsuited, naming the chain that cannot stand here.

    Kept for the cells that run in this process; worker processes arm their own.
    """
    for cell in {cell.defenses: cell for cell in reversed(cells)}.values():
        try:
            armed(target, cell.defenses, cell.seed)
        except Unsuited as error:
            raise Unsuited(f"--defense {cell.defense}: {error}") from error


@dataclass(frozen=True)
class Plan:
    """What a run is about to do, at most. seconds are of the whole run over `jobs` processes.

    judged      of the queries, how many are the judge's own
    unanswered  inputs that earlier runs sent to a live API without getting an answer
    """

    thefts: int
    done: int
    queries: int
    judged: int
    price: float
    unanswered: int
    jobs: int
    seconds: float


def plan(asked: Question, missing: Sequence[Cell], folder: Path, jobs: int | None) -> Plan:
    """What running the missing cells costs; jobs None: as many as are worth their start."""
    target = asked.target
    work = estimate(missing, target)
    jobs = min(jobs or (default_jobs() if work > WORTH_WORKERS else 1), max(1, len(missing)))
    return Plan(
        thefts=len(asked.cells),
        done=len(asked.cells) - len(missing),
        queries=queries(missing, target) if missing else 0,
        judged=judged(missing, target) if missing and target.remote else 0,
        price=target.price,
        unanswered=spending(target, folder).unanswered,
        jobs=jobs,
        seconds=work / jobs,
    )


def estimate(missing: Sequence[Cell], target: Target) -> float:
    """Seconds of one process, from a few timed training steps of each student. Clones that repeat are counted too."""
    students = dict.fromkeys(cell.student for cell in missing)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a_step = {student: seconds_a_step(student, target) for student in students}
    torch.set_num_threads(threads)
    judging = sum((JUDGING + FOLLOWING * cell.follow_on for cell in missing), 0.0)
    return judging + sum(a_step[cell.student] * Fit().steps(round(weight(cell))) for cell in missing)


def seconds_a_step(student: Architecture, target: Target) -> float:
    """Of training on a batch of random inputs."""
    classes, recipe = target.victim.task.classes, Fit(epochs=1, least_steps=PROBE_STEPS)
    x = target.box.uniform(recipe.batch, 0)
    y = torch.full((len(x), classes), 1 / classes)
    net = fresh(student, 0)
    fit(net, x, y, target.victim.task.loss, Fit(epochs=1, least_steps=2), 0)
    start = time.perf_counter()
    fit(net, x, y, target.victim.task.loss, recipe, 0)
    return (time.perf_counter() - start) / PROBE_STEPS


@dataclass(frozen=True)
class Spending:
    """What somebody else's API was sent, as the ledger of a run folder has it.

    inputs      answered ones; thieves: of these the thieves', the rest are the judge's own
    unanswered  sent without getting an answer, and perhaps charged
    price       money per input
    """

    inputs: int = 0
    thieves: int = 0
    unanswered: int = 0
    price: float = 0.0

    def since(self, before: "Spending", thieves: int) -> "Spending":
        """What was answered since, `thieves` of it the thieves'; what never was answered counts whole."""
        return Spending(self.inputs - before.inputs, thieves, self.unanswered, self.price)


def spending(target: Target, folder: Path) -> Spending:
    """So far. Nothing for a target of ours, which charges nobody."""
    if not (target.remote and (folder / LEDGER).exists()):
        return Spending(price=target.price)
    scope = upstream(target)
    with closing(Ledger(folder / LEDGER)) as ledger:
        return Spending(ledger.answers(scope), unanswered=ledger.unanswered(scope), price=target.price)

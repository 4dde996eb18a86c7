"""Running a grid: `run_cell` is a pure function of the cell; `run` spreads cells over processes and resumes.

Every worker has one torch thread, so that results do not depend on the number of workers. Targets, armed
defenses and the judge's answers are kept per process by the hash of their recipe; clones on a shelf shared by all.
A cell that fails is a row with its error and with what it had spent. What stops the whole run is a Halt: a damaged ledger, an API that is gone.
"""

import functools
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.context import BaseContext
from pathlib import Path

import torch
from torch import Tensor

from gamekeeper.attacks.theft import Theft
from gamekeeper.data.splits import overlap
from gamekeeper.defenses.promise import promise
from gamekeeper.engine.checks import RECOVERING
from gamekeeper.engine.follow_on import Aftermath
from gamekeeper.engine.grid import RUN_UP, Cell
from gamekeeper.engine.judge import Bench, Honest
from gamekeeper.engine.pictures import keep
from gamekeeper.engine.results import FollowOn, Row, Seconds
from gamekeeper.errors import GamekeeperError, Halt, Unsuited
from gamekeeper.learners.table import arm
from gamekeeper.ledger import Ledger, Recorded, RecordedModel
from gamekeeper.metrics import Rate, wilson
from gamekeeper.oracles import Metered, Witness
from gamekeeper.service import Service
from gamekeeper.student import ClonesOnDisk
from gamekeeper.targets.choice import Source, shares_architecture
from gamekeeper.targets.target import Target
from gamekeeper.training.fit import Fit
from gamekeeper.types import Architecture, Armed, Defense, Doubted, Knowledge, Learner, Model, Transfer

LEDGER, CLONES = "ledger.sqlite", "clones"
HELD_OUT = 10
"""One answer of so many is held out in a rehearsal."""


@dataclass(eq=False)
class Stage:
    """Everything of one target that cells share, in one process and for one run folder."""

    target: Target
    folder: Path
    uniform: int

    @functools.cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / LEDGER)

    def session(self) -> Model:
        """The target for one client; somebody else's API through the ledger, since every answer costs, whoever asks."""
        if not self.target.remote:
            return self.target.victim
        recorded = Recorded(self.target.victim, self.ledger, upstream(self.target), self.target.batch, costly=True)
        return RecordedModel(recorded, self.target.victim.task)

    @functools.cached_property
    def bench(self) -> Bench:
        return Bench(self.target, self.session, self.uniform)

    @functools.cached_property
    def aftermath(self) -> Aftermath:
        return Aftermath(self.bench)

    @functools.cache  # noqa: B019 - a stage lives as long as its process
    def honest(self, defenses: tuple[Defense, ...], seed: int) -> Honest:
        service = Service(self.session(), armed(self.target, defenses, seed))
        return Honest(self.bench, service, promise(defenses))

    @functools.cached_property
    def leaks(self) -> list[str]:
        """Flags of the target's data: what the thief must not hold."""
        leaked = overlap(self.target.test.x, self.target.pool.x) > 0
        same = shares_architecture(self.target, self.target.student)
        return ["leaked-test"] * leaked + ["same-architecture"] * same


def upstream(target: Target) -> str:
    """The ledger's scope of somebody else's API: what is in it was sent to that API."""
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
    """The target as its files are now, loaded as a worker would: cells that run in this process use the very same."""
    torch.set_num_threads(1)
    for kept in (loaded, armed, stage):
        kept.cache_clear()
    return loaded(choice)


@dataclass(frozen=True)
class Books:
    """What a run folder's ledger says of somebody else's API: inputs answered, and sent without an answer."""

    answered: int = 0
    unanswered: int = 0


def books(target: Target, folder: Path) -> Books:
    """Nothing for a target of ours, which charges nobody."""
    if not (target.remote and (folder / LEDGER).exists()):
        return Books()
    with closing(Ledger(folder / LEDGER)) as ledger:
        return Books(ledger.answers(upstream(target)), ledger.unanswered(upstream(target)))


def check_defenses(cells: Sequence[Cell], target: Target) -> None:
    """Arms every chain once, before anything is spent. Raises Unsuited, naming the chain that cannot stand here.

    Kept for the cells that run in this process; worker processes arm their own.
    """
    for cell in {cell.defenses: cell for cell in reversed(cells)}.values():
        try:
            armed(target, cell.defenses, cell.seed)
        except Unsuited as error:
            raise Unsuited(f"--defense {cell.defense}: {error}") from error


def out_of_hand(cells: Sequence[Cell], target: Target) -> set[tuple[str, str]]:
    """Defense and thief, as written, where the thief learns with a defense he cannot take into his own hands.

    He would have to arm it himself, without the owner's data, and it refuses that. Known before anything is spent.
    """
    told = [cell for cell in cells if cell.defenses and blank(cell).learner in RECOVERING]
    refusing: set[tuple[tuple[Defense, ...], Architecture]] = set()
    for chain, student in dict.fromkeys((cell.defenses, cell.student) for cell in told):
        knows = Knowledge(target.pool.x[:0], target.box, target.victim.task, student, defenses=chain)
        try:
            arm(knows, 0)
        except Unsuited:
            refusing.add((chain, student))
    return {(cell.defense, cell.attack) for cell in told if (cell.defenses, cell.student) in refusing}


@dataclass(frozen=True)
class Session:
    """One thief's way to the target, and what it has cost so far.

    `sent` counts inputs where they cost something: on their way to somebody else's API, or to our own service.
    """

    sent: Recorded
    witness: Witness
    meter: Metered
    price: float

    def billed(self, row: Row) -> Row:
        """The row with what was spent: queries and money under the budget, and the inputs that were newly sent."""
        return replace(row, queries=self.meter.spent, paid=self.sent.charged, price=self.meter.spent * self.price)


def connect(cell: Cell, here: Stage) -> Session:
    target, victim = here.target, here.session()
    service = Service(victim, armed(target, cell.defenses, cell.seed))
    scope = f"{target.digest} | {cell.defenses} seed {cell.seed} | {cell.client}"
    recorded = Recorded(service.open(cell.client), here.ledger, scope, target.batch)
    witness = Witness(recorded)
    sent = victim.recorded if isinstance(victim, RecordedModel) else recorded
    return Session(sent, witness, Metered(witness, cell.budget, target.box), target.price)


def run_cell(cell: Cell, folder: Path) -> Row:
    """One theft, judged. Raises Halt where going on is pointless; every other failure is a row with its error."""
    session = None
    try:
        here = stage(cell.target, folder, cell.uniform)
        session = connect(cell, here)
        return steal_and_judge(cell, here, session)
    except Halt:
        raise
    except GamekeeperError as error:
        said = f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - one broken cell must not cost the others; its traceback is kept
        with (folder / "errors.log").open("a") as log:
            log.write(f"--- cell {cell.id}\n{traceback.format_exc()}\n")
        said = f"{type(error).__name__}: {error} (traceback in errors.log)"
    return session.billed(blank(cell, said)) if session else blank(cell, said)


def steal_and_judge(cell: Cell, here: Stage, session: Session) -> Row:
    target = here.target
    shelf = ClonesOnDisk(here.folder / CLONES)
    knows = Knowledge(
        target.pool.x, target.box, target.victim.task, cell.student, target.seeds, target.pool.y, cell.defenses, shelf
    )
    clone, held_out, seconds = steal(cell, session.meter, knows)
    if session.meter.spent == 0:
        raise Unsuited(f"{cell.attack} asked nothing: a budget of {cell.budget} is too small for it. Raise --budget.")
    honest = here.honest(cell.defenses, cell.seed)
    row = replace(
        blank(cell),
        clone=here.bench.clone(clone),
        victim=honest.victim,
        utility=honest.utility(session.witness),
        seconds=Seconds(thief=seconds + shelf.seconds, defense_per_query=honest.seconds_per_query),
        flags=[*here.leaks, *(clone.doubts if isinstance(clone, Doubted) else ())],
        chance=here.bench.chance,
        held_out=held_out,
        follow_on=follow_on(cell, here, clone) if cell.follow_on else None,
    )
    return session.billed(row)


def follow_on(cell: Cell, here: Stage, clone: Model) -> FollowOn:
    """What the copy is good for; the pictures drawn with it go beside the results."""
    found, pictures = here.aftermath.measure(clone)
    if pictures is not None:
        keep(here.folder, cell.id, pictures)
    return found


def steal(cell: Cell, meter: Metered, knows: Knowledge) -> tuple[Model, Rate | None, float]:
    """The clone, what a rehearsal promised of it, and the seconds both took; of a Theft without those of asking."""
    if isinstance(cell.thief, Theft):
        transfer = cell.thief.ask(meter, knows, cell.seed)
        start = time.perf_counter()
        promised = rehearse(cell.thief.learner, transfer, knows, cell.seed) if cell.rehearsed else None
        return cell.thief.learner(transfer, knows, cell.seed), promised, time.perf_counter() - start
    start = time.perf_counter()
    return cell.thief(meter, knows, cell.seed), None, time.perf_counter() - start


def rehearse(learner: Learner, transfer: Transfer, knows: Knowledge, seed: int) -> Rate | None:
    """How often a clone of 90 % of the answers, trained for a third of the time, foretells the top class of the others.

    The thief's own yardstick: no truth and no further query. Which answers are held out depends on the seed alone, so
    that every learner is held to the same ones. None with fewer than ten answers.
    """
    n = len(transfer.x)
    if n < HELD_OUT:
        return None
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    held, rest = order[: n // HELD_OUT], order[n // HELD_OUT :]
    clone = shortened(learner)(part(transfer, rest), knows, seed)
    right = clone(transfer.x[held]).y.argmax(1) == transfer.reply.y[held].argmax(1)
    return wilson(int(right.sum()), len(held))


def part(transfer: Transfer, rows: Tensor) -> Transfer:
    return Transfer(transfer.x[rows], transfer.reply.take(rows), transfer.cost)


def shortened(learner: Learner) -> Learner:
    """The same learner with a third of the training; one that does not say how it trains stays as it is."""
    fit = getattr(learner, "fit", None)
    if not isinstance(fit, Fit):
        return learner
    short = replace(fit, epochs=max(1, round(fit.epochs * RUN_UP)), least_steps=round(fit.least_steps * RUN_UP))
    return replace(learner, fit=short)  # pyright: ignore[reportArgumentType, reportCallIssue]


def blank(cell: Cell, error: str | None = None) -> Row:
    """The row of a cell before anything is measured."""
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
    )


def prepare_worker() -> None:
    """One thread a process: processes do not fight for cores.

    An interrupt is the parent's business, and a worker whose parent was killed ends at once instead of waiting for ever.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()


def workers() -> BaseContext:
    """Workers are forked from a server that has imported everything once, before any thread or model existed.

    Where there is no such server, every worker imports for itself.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run(cells: Sequence[Cell], folder: Path, jobs: int) -> Iterator[Row]:
    """Rows as they are finished, over `jobs` processes (1: in this one). Cells go out in order.

    A worker that dies (killed, out of memory) costs the cells that were under way: each becomes a row with that error.
    """
    if jobs == 1:
        torch.set_num_threads(1)
        yield from (run_cell(cell, folder) for cell in cells)
        return
    queue = list(cells)
    while queue:
        with ProcessPoolExecutor(jobs, workers(), prepare_worker) as pool:
            under_way: dict[Future[Row], Cell] = {}
            try:
                while queue or under_way:
                    while queue and len(under_way) < jobs:
                        cell = queue.pop(0)
                        under_way[pool.submit(run_cell, cell, folder)] = cell
                    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in done:
                        row = future.result()
                        del under_way[future]
                        yield row
            except BrokenProcessPool:
                for cell in under_way.values():
                    yield blank(cell, "WorkerDied: the worker process was killed (out of memory?). Run again to retry.")
            except BaseException:
                for process in list((pool._processes or {}).values()):
                    process.terminate()
                raise


def default_jobs() -> int:
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

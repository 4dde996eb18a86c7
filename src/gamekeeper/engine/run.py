"""Running a grid: `run_cell` is a pure function of the cell; `run` spreads cells over processes and resumes.

Every worker has one torch thread, so that results do not depend on the number of workers. Targets, armed
defenses and the judge's answers are kept per process by the hash of their recipe; clones on a shelf shared by all.
A cell that fails is a row with its error. What stops the whole run is a Halt: a damaged ledger, an API that is gone.
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
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path

import torch

from gamekeeper.attacks.theft import Theft
from gamekeeper.data.splits import overlap
from gamekeeper.engine.grid import Cell
from gamekeeper.engine.judge import Bench, Honest
from gamekeeper.engine.results import Row, Seconds
from gamekeeper.errors import GamekeeperError, Halt
from gamekeeper.ledger import Ledger, Recorded, RecordedModel
from gamekeeper.oracles import Metered, Witness
from gamekeeper.service import Service
from gamekeeper.student import ClonesOnDisk
from gamekeeper.targets.choice import Choice, shares_architecture
from gamekeeper.targets.target import Target
from gamekeeper.types import Armed, Defense, Knowledge, Model

LEDGER, CLONES = "ledger.sqlite", "clones"


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

    @functools.cache  # noqa: B019 - a stage lives as long as its process
    def armed(self, defenses: tuple[Defense, ...], seed: int) -> tuple[Armed, ...]:
        return tuple(d.arm(self.target.victim, self.target.owner, seed) for d in defenses)

    def service(self, defenses: tuple[Defense, ...], seed: int) -> Service:
        return Service(self.session(), self.armed(defenses, seed))

    @functools.cache  # noqa: B019
    def honest(self, defenses: tuple[Defense, ...], seed: int) -> Honest:
        return Honest(self.bench, self.service(defenses, seed))

    @functools.cached_property
    def leaks(self) -> list[str]:
        """Flags of the target's data: what the thief must not hold."""
        leaked = overlap(self.target.test.x, self.target.pool.x) > 0
        ood = self.target.owner.ood
        shared = ood is not None and overlap(ood, self.target.pool.x) > 0
        same = shares_architecture(self.target, self.target.student)
        return ["leaked-test"] * leaked + ["leaked-queries"] * shared + ["same-architecture"] * same


def upstream(target: Target) -> str:
    """The ledger's scope of somebody else's API: what is in it was sent to that API."""
    return f"{target.digest} | upstream"


@functools.cache
def stage(target: Choice, folder: Path, uniform: int) -> Stage:
    return Stage(target.load(), folder, uniform)


def run_cell(cell: Cell, folder: Path) -> Row:
    """One theft, judged. Raises Halt where going on is pointless; every other failure is a row with its error."""
    try:
        here = stage(cell.target, folder, cell.uniform)
        return steal_and_judge(cell, here)
    except Halt:
        raise
    except GamekeeperError as error:
        return blank(cell, f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - one broken cell must not cost the others; its traceback is kept
        with (folder / "errors.log").open("a") as log:
            log.write(f"--- cell {cell.id}\n{traceback.format_exc()}\n")
        return blank(cell, f"{type(error).__name__}: {error} (traceback in errors.log)")


def steal_and_judge(cell: Cell, here: Stage) -> Row:
    target = here.target
    service = here.service(cell.defenses, cell.seed)
    scope = f"{target.digest} | {cell.defenses} seed {cell.seed} | {cell.client}"
    recorded = Recorded(service.open(cell.client), here.ledger, scope, target.batch)
    witness = Witness(recorded)
    meter = Metered(witness, cell.budget, target.box)
    shelf = ClonesOnDisk(here.folder / CLONES)
    knows = Knowledge(
        target.pool.x, target.box, target.victim.task, cell.student, target.seeds, target.pool.y, cell.defenses, shelf
    )
    clone, seconds = steal(cell, meter, knows)
    honest = here.honest(cell.defenses, cell.seed)
    return replace(
        blank(cell),
        queries=meter.spent,
        paid=charged(service, recorded),
        price=meter.spent * target.price,
        clone=here.bench.clone(clone),
        victim=honest.victim,
        utility=honest.utility(witness),
        seconds=Seconds(thief=seconds + shelf.seconds, defense_per_query=honest.seconds_per_query),
        flags=here.leaks,
        chance=here.bench.chance,
    )


def steal(cell: Cell, meter: Metered, knows: Knowledge) -> tuple[Model, float]:
    """The clone, and the seconds it took to make; of a Theft without those of asking."""
    if isinstance(cell.thief, Theft):
        transfer = cell.thief.ask(meter, knows, cell.seed)
        start = time.perf_counter()
        return cell.thief.learner(transfer, knows, cell.seed), time.perf_counter() - start
    start = time.perf_counter()
    return cell.thief(meter, knows, cell.seed), time.perf_counter() - start


def charged(service: Service, recorded: Recorded) -> int:
    """Inputs newly sent to where they cost: somebody else's API, or our own service."""
    upstream = service.victim
    return upstream.recorded.charged if isinstance(upstream, RecordedModel) else recorded.charged


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
        with ProcessPoolExecutor(jobs, get_context("spawn"), prepare_worker) as pool:
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

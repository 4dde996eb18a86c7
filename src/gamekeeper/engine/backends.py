"""Where cells run: in this process, or over several. Another machine would be one more backend.

A backend knows nothing of thefts: it hands cells, in order, to a pure function and yields the rows as they are done.
Every process has one torch thread, so that results do not depend on how many there are.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.context import BaseContext
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch

C = TypeVar("C")
R = TypeVar("R")
MOST_WORKERS = 61 if sys.platform == "win32" else sys.maxsize
"""Windows waits for no more processes at a time."""


@dataclass(frozen=True)
class Work(Generic[C, R]):
    """How cells of one kind become rows. Both functions cross processes.

    measure  a pure function of the cell; its failures are rows, and what it raises stops the whole run
    lost     the row of a cell whose worker died
    module   imported once, before any worker is forked
    """

    measure: Callable[[C], R]
    lost: Callable[[C], R]
    module: str


@runtime_checkable
class Backend(Protocol):
    """Rows as they are finished; cells go out in order."""

    def submit(self, work: Work[C, R], cells: Sequence[C]) -> Iterator[R]: ...


@dataclass(frozen=True)
class InThisProcess:
    """One cell after the other, in this process: what it has loaded and armed serves them all."""

    def submit(self, work: Work[C, R], cells: Sequence[C]) -> Iterator[R]:
        torch.set_num_threads(1)
        yield from map(work.measure, cells)


@dataclass(frozen=True)
class Processes:
    """Cells over several processes.

    A worker that dies (killed, out of memory) costs the cells that were under way: each becomes the row that says so.
    """

    jobs: int

    def submit(self, work: Work[C, R], cells: Sequence[C]) -> Iterator[R]:
        queue = list(cells)
        while queue:
            with ProcessPoolExecutor(self.jobs, workers(work.module), prepare_worker) as pool:
                under_way: dict[Future[R], C] = {}
                try:
                    while queue or under_way:
                        while queue and len(under_way) < self.jobs:
                            cell = queue.pop(0)
                            under_way[pool.submit(work.measure, cell)] = cell
                        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                        for future in done:
                            row = future.result()
                            del under_way[future]
                            yield row
                except BrokenProcessPool:
                    yield from map(work.lost, under_way.values())
                except BaseException:
                    for process in list((pool._processes or {}).values()):
                        process.terminate()
                    raise


def backend(jobs: int) -> Backend:
    return InThisProcess() if jobs == 1 else Processes(min(jobs, MOST_WORKERS))


def prepare_worker() -> None:
    """One thread per process: processes do not fight for cores.

    An interrupt is the parent's business, and a worker whose parent was killed ends at once instead of waiting for ever.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()


def workers(module: str = __name__) -> BaseContext:
    """Workers are forked from a server that has imported the module once, before any thread or model existed.

    Every worker imports for itself where there is no such server (Windows), and where the system's own libraries may
    crash in a fork (macOS).
    """
    if sys.platform == "darwin" or "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def backend_for(cells: int, jobs: int | None) -> Backend:
    """Over as many processes as are wished for, or as there are cores, and never more than cells."""
    return backend(min(jobs or default_jobs(), max(1, cells)))


def default_jobs() -> int:
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

"""Threads that answer requests for the event loop: bounded, fair between clients, each answer within its time.

The loop alone keeps the books, so there is no lock. A client's requests wait for each other (their memory is read and written
by one at a time), so that a client may keep at most half of the threads busy; those who wait take turns by client.
Threads are daemons: one that is stuck in a model does not keep the process from ending.
"""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from gamekeeper.errors import Busy, Denied

GRACE = 0.5
"""Seconds past the deadline for which an answer is waited for: it may be in the journal already, and then it is the client's."""


@dataclass(slots=True)
class Job:
    """Something to be called in a thread, and where its result goes."""

    owner: str
    call: Callable[[], Any]
    result: "asyncio.Future[Any]"


class Pool:
    """At most `most` jobs at once, `most_of_one` of one owner; `threads` of them run, the others wait."""

    def __init__(self, threads: int, most: int, most_of_one: int, now: Callable[[], float]) -> None:
        self.most, self.most_of_one, self._now = most, most_of_one, now
        self.busy_threads = max(1, threads // 2)
        self._idle = threads
        self._under_way: dict[str, int] = {}
        self._running: dict[str, int] = {}
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name="gateway", daemon=True) for _ in range(threads)]
        self.under_way = 0
        for thread in self._threads:
            thread.start()

    async def run(self, owner: str, call: Callable[[], Any], seconds: float) -> Any:
        """What the call returns. Raises what it raises; Busy or Denied when too much is under way; TimeoutError.

        seconds  for which the result is waited for; the call itself cannot be stopped, and counts as under way until it ends
        """
        job = self._admitted(owner, call)
        # the handle, not wait_for: a task and a context for each request would cost more than the thread
        timer = job.result.get_loop().call_later(seconds, expire, job.result)
        try:
            return await job.result
        finally:
            timer.cancel()

    def close(self) -> None:
        """No more jobs; threads end with what they are at."""
        for _ in self._threads:
            self._jobs.put(None)

    def _admitted(self, owner: str, call: Callable[[], Any]) -> Job:
        of_one = self._under_way.get(owner, 0)
        if self.under_way >= self.most:
            raise Busy(f"{self.under_way} requests are under way, as many as this server takes. Try again later.")
        if of_one >= self.most_of_one:
            raise Denied(
                f"{of_one} of your requests are under way, as many as one client may have. Wait for their answers.",
                until=self._now() + 1.0,
            )
        job = Job(owner, call, asyncio.get_running_loop().create_future())
        self.under_way += 1
        self._under_way[owner] = of_one + 1
        if self._idle and self._running.get(owner, 0) < self.busy_threads:
            self._start(job)
        else:
            self._waiting.setdefault(owner, deque()).append(job)
        return job

    def _start(self, job: Job) -> None:
        self._idle -= 1
        self._running[job.owner] = self._running.get(job.owner, 0) + 1
        self._jobs.put(job)

    def _ended(self, job: Job, value: Any, error: BaseException | None) -> None:
        """On the loop, after a thread is done with a job."""
        self._idle += 1
        self.under_way -= 1
        for counts in (self._running, self._under_way):
            counts[job.owner] -= 1
            if not counts[job.owner]:
                del counts[job.owner]
        if not job.result.done():
            if error is None:
                job.result.set_result(value)
            else:
                job.result.set_exception(error)
        if self._waiting:
            self._next()

    def _next(self) -> None:
        """Starts the first job of the client who has waited longest for a turn and may have another thread."""
        for owner in self._waiting:
            if self._running.get(owner, 0) < self.busy_threads:
                jobs = self._waiting.pop(owner)
                self._start(jobs.popleft())
                if jobs:
                    self._waiting[owner] = jobs  # behind the others
                return

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            value: Any = None
            problem: BaseException | None = None
            try:
                # nobody waits any more: nothing is charged
                value = None if job.result.done() else job.call()
            except BaseException as error:  # noqa: BLE001 - it is raised again, where the result is awaited
                problem = error
            try:
                job.result.get_loop().call_soon_threadsafe(self._ended, job, value, problem)
            except RuntimeError:  # the loop was closed: the server has stopped
                return


def expire(result: "asyncio.Future[Any]") -> None:
    if not result.done():
        result.set_exception(TimeoutError())

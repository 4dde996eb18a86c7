"""The model's own thread: passes follow each other, in padded buckets of one size if wanted.

A network's last bits depend on how many rows a pass has, and so on who else asks at the same time. In a bucket of fixed size
they do not: a row's answer is then the same alone, in any company and at any place. That holds for kernels that treat
all rows alike; `steady` tries it out, and a model that fails is served without buckets.

Features noted with an answer (`detectors/features.py`) go with its rows to those who asked.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeVar

import torch
from torch import Tensor

from gamekeeper.detectors.features import assembled, taken
from gamekeeper.engine.gateway.request import seconds_left
from gamekeeper.errors import Busy
from gamekeeper.types import Batch, Domain, Model, Reply, Task

T = TypeVar("T")
Passed = Callable[[int, int, float], None]
"""Is given what a pass was: inputs, rows with the padding, seconds."""
WAITING = 256


@dataclass(eq=False)
class Waiting:
    """Inputs that wait for the model, and the parts of their answer so far."""

    x: Batch
    deadline: float
    result: "Future[Reply]" = field(default_factory=lambda: Future[Reply]())
    parts: list[Reply] = field(default_factory=lambda: list[Reply]())
    start: int = 0

    @property
    def left(self) -> int:
        return len(self.x) - self.start


class ModelThread:
    """A model that answers in one thread, whoever asks; a Model itself. Use it as a context, or close it.

    model    what is run; when it notes features, they are noted for every answer that leaves here
    batch    rows of a bucket; None: each batch of inputs in a pass of its own, as it comes
    waiting  batches and calls that may wait; more raise Busy
    passed   is given what each pass was
    """

    def __init__(
        self, model: Model, batch: int | None = None, waiting: int = WAITING, passed: Passed | None = None
    ) -> None:
        self.model, self.batch, self.most, self._passed = model, batch, waiting, passed
        self._queue: deque[Waiting] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def task(self) -> Task:
        return self.model.task

    def __call__(self, x: Batch, /) -> Reply:
        """The model's answer. Raises Busy when too many wait or the deadline has passed, and what the model raises."""
        one = Waiting(x, time.monotonic() + seconds_left())
        with self._changed:
            self._check_room()
            self._queue.append(one)
            self._changed.notify()
        return one.result.result()

    def run(self, call: Callable[[], T]) -> T:
        """Runs a call between two passes: for what touches the network beside its answers, such as a detector's own pass.

        Raises Busy as above, and what the call raises.
        """
        if threading.current_thread() is self._thread:
            return call()
        result: Future[T] = Future()
        with self._changed:
            self._check_room()
            self._calls.append(lambda: settle(result, call))
            self._changed.notify()
        return result.result()

    def close(self) -> None:
        """Answers those who wait, and ends. Later questions raise Busy."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join()

    def __enter__(self) -> "ModelThread":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_room(self) -> None:
        if not self._open:
            raise Busy("the model has been stopped. Ask another replica.")
        if len(self._queue) + len(self._calls) >= self.most:
            raise Busy(f"{self.most} requests wait for the model, as many as may. Try again later.")

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._open and not self._queue and not self._calls:
                    self._changed.wait()
                if not self._queue and not self._calls:
                    return
                call = self._calls.popleft() if self._calls else None
                share = [] if call else self._next()
            if call:
                call()
            elif share:
                self._answer(share)

    def _next(self) -> list[tuple[Waiting, Tensor]]:
        """What the next pass holds: rows of those who wait, in turns, as many as a bucket has."""
        share: list[tuple[Waiting, Tensor]] = []
        room = self.batch or 1
        for _ in range(len(self._queue)):
            one = self._queue.popleft()
            if one.result.done():
                continue
            if time.monotonic() > one.deadline:
                one.result.set_exception(Busy("the request waited for the model until its time was over. Try again."))
                continue
            rows = min(one.left, room) if self.batch else one.left
            share.append((one, one.x[one.start : one.start + rows]))
            one.start += rows
            room -= rows
            if one.left:
                self._queue.append(one)  # behind the others: a large request does not hold up small ones
            if room <= 0:
                break
        return share

    def _answer(self, share: list[tuple[Waiting, Tensor]]) -> None:
        """One pass for all of them; if it fails, one for each, so that nobody fails for what another sent."""
        try:
            reply = self._pass(torch.cat([x for _, x in share]) if len(share) > 1 else share[0][1])
            parts = self._parts(reply, [len(x) for _, x in share])
        except Exception as error:  # noqa: BLE001 - it is raised again where the answer is waited for
            if len(share) > 1:
                for one in share:
                    self._answer([one])
            elif not share[0][0].result.done():
                share[0][0].result.set_exception(error)
            return
        for (one, _), part in zip(share, parts, strict=True):
            one.parts.append(part)
            if sum(map(len, one.parts)) == len(one.x) and not one.result.done():
                settle(one.result, lambda parts=one.parts: assembled(self.model, parts))

    def _pass(self, x: Batch) -> Reply:
        """The model's reply to x, padded to a bucket."""
        start, places = time.perf_counter(), self.batch or len(x)
        reply = self.model(padded(x, places))
        if self._passed is not None:
            self._passed(len(x), places, time.perf_counter() - start)
        return reply

    def _parts(self, reply: Reply, lengths: list[int]) -> list[Reply]:
        """The rows of each who asked, with the features behind them; the padding is dropped."""
        if lengths == [len(reply)]:
            return [reply]
        ends = list(accumulate(lengths))
        return [taken(self.model, reply, slice(end - n, end)) for n, end in zip(lengths, ends, strict=True)]


def settle(result: "Future[T]", call: Callable[[], T]) -> None:
    """Gives a waiting thread what a call returns or raises."""
    try:
        result.set_result(call())
    except Exception as error:  # noqa: BLE001 - it is raised again where the result is waited for
        result.set_exception(error)


def padded(x: Batch, places: int) -> Tensor:
    """x with its first row repeated until it has `places` rows."""
    if len(x) == places:
        return x
    return torch.cat([x, x[:1].expand(places - len(x), *x.shape[1:])])


def steady(model: Model, domain: Domain, batch: int, seed: int = 0) -> bool:
    """Whether, in a bucket of `batch` rows, an answer has the same bits alone, in company and at every place.

    Tried with inputs drawn from the domain: a row at each place, first padded, then among others.
    """
    x = domain.uniform(batch, seed)
    alone = torch.cat([model(padded(row, batch)).y[:1] for row in x.split(1)])
    return all(torch.equal(model(x.roll(shift, 0)).y.roll(-shift, 0), alone) for shift in range(batch))

"""A circuit breaker: a server that has failed several times in a row is left alone for a while, then tried by one request."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from gamekeeper.errors import Busy


class Trial:
    """One request to the server; whoever sent it says how it went, or nothing if that says nothing about the server."""

    def __init__(self) -> None:
        self.worked: bool | None = None


class Breaker:
    """Threads may share it.

    failures  in a row, after which nothing is sent
    rest      seconds for which nothing is sent; then one request goes out, and what becomes of it decides for the others
    """

    def __init__(self, failures: int = 5, rest: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures, self.rest = failures, rest
        self._clock, self._lock = clock, threading.Lock()
        self._failed, self._until = 0, 0.0
        self._probe: Trial | None = None

    @property
    def resting(self) -> bool:
        """Whether the server counts as down."""
        return self._failed >= self.failures

    @contextmanager
    def trial(self) -> Generator[Trial]:
        """A request's turn. Raises Busy, and nothing is to be sent, while the server is left alone."""
        trial = self._begin()
        try:
            yield trial
        finally:
            self._end(trial)

    def _begin(self) -> Trial:
        with self._lock:
            trial, wait = Trial(), self._until - self._clock()
            if self.resting:
                if wait > 0 or self._probe is not None:
                    raise Busy(
                        f"the model behind this service has failed {self._failed} times in a row and is left alone for"
                        f" {self.rest:g} s at a time. Try again later.",
                        max(wait, 1.0),
                    )
                self._probe = trial
            return trial

    def _end(self, trial: Trial) -> None:
        with self._lock:
            if self._probe is trial:
                self._probe = None
            if trial.worked:
                self._failed = 0
            elif trial.worked is False:
                self._failed += 1
                self._until = self._clock() + self.rest

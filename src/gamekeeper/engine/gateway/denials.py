"""Requests that were denied, as events: in every minute one row for a client, however many they send."""

import math
import threading
from dataclasses import dataclass, replace

from gamekeeper.errors import JournalError
from gamekeeper.service.journal.event import Event
from gamekeeper.service.journal.journal import Journal

SECONDS = 60.0
"""Between two events of one client, at least."""
Who = tuple[str, str]


@dataclass
class Waiting:
    """Of one client.

    event     the first request that is not written yet, with the inputs of all of them; None: all are written
    requests  how many these are
    written   when the last event was, in seconds since 1970
    """

    event: Event | None = None
    requests: int = 0
    written: float = -math.inf

    def add(self, event: Event, requests: int) -> None:
        self.event = event if self.event is None else replace(self.event, n=self.event.n + event.n)
        self.requests += requests


class Denials:
    """Counts denied requests of every client, and writes them down. Threads may share it."""

    def __init__(self, journal: Journal, seconds: float = SECONDS) -> None:
        self.journal, self.seconds = journal, seconds
        self._waiting: dict[Who, Waiting] = {}
        self._swept = -math.inf
        self._lock = threading.Lock()

    def note(self, event: Event) -> None:
        """One denied request, of `event.n` inputs: written now, or with those that follow within a minute.

        If the journal fails, they stay counted, and are written later.
        """
        who = (event.tenant, event.client)
        with self._lock:
            self._waiting.setdefault(who, Waiting()).add(event, 1)
            due = {who} if event.at - self._waiting[who].written >= self.seconds else set[Who]()
            due |= self._over(event.at)
        for each in due:
            self._write(each, event.at)

    def flush(self, now: float) -> None:
        """Writes all that is still counted."""
        for who in list(self._waiting):
            self._write(who, now)

    def _over(self, now: float) -> set[Who]:
        """Once a minute: the clients whose minute is over. Those of whom nothing is counted are dropped."""
        if now - self._swept < self.seconds:
            return set()
        self._swept = now
        over = {who for who, waiting in self._waiting.items() if now - waiting.written >= self.seconds}
        for who in {who for who in over if self._waiting[who].event is None}:
            del self._waiting[who]
        return over & self._waiting.keys()

    def _write(self, who: Who, now: float) -> None:
        with self._lock:
            waiting = self._waiting.get(who)
            if waiting is None or waiting.event is None:
                return
            event, requests = waiting.event, waiting.requests
            waiting.event, waiting.requests, waiting.written = None, 0, now
        # somebody may have released them since: an event that comes late says nothing of today's level
        level = event.level if event.at == now else ""
        try:
            self.journal.append(replace(event, level=level, scores={"requests": float(requests)}))
        except JournalError:
            with self._lock:
                self._waiting.setdefault(who, waiting).add(event, requests)

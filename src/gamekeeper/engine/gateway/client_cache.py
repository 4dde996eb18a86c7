"""The clients that a gateway has at hand: those who came last, each behind a lock of their own."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gamekeeper.engine.gateway.client_memory import Known
from gamekeeper.errors import Busy

CLIENTS, SIZE = 10_000, 2**30
"""Clients at hand, and bytes that what is known of them takes, at most."""
Who = tuple[str, str]
"""Tenant and client."""
LATE = "the request could not be answered before its deadline. Try again later."


@dataclass
class Held:
    """One client, while their lock is held.

    known  None: to be read. Whoever changes it takes it out first, so that no half of a change is ever used
    users  requests that hold the lock or wait for it
    """

    known: Known | None = None
    size: int = 0
    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self) -> Known:
        """What is known, no longer held: whatever happens to it now, the next request reads it again."""
        known, self.known = self.known, None
        assert known is not None, "read it first"
        return known


class ClientCache:
    """Clients by tenant and name. Threads may share it."""

    def __init__(self, clients: int = CLIENTS, size: int = SIZE) -> None:
        self.clients, self.most = clients, size
        self._held: OrderedDict[Who, Held] = OrderedDict()
        self._size = 0
        self._table = threading.Lock()

    @contextmanager
    def hold(self, who: Who, deadline: float = math.inf) -> Generator[Held]:
        """The client, for the duration of a block; others wait. Raises Busy at the deadline, by `time.monotonic`."""
        with self._table:
            held = self._held.setdefault(who, Held())
            self._held.move_to_end(who)
            held.users += 1
        size = None
        try:
            if not held.lock.acquire(timeout=timeout(deadline)):
                raise Busy(LATE)
            try:
                yield held
            finally:
                size = 0 if held.known is None else held.known.size
                held.lock.release()
        finally:
            self._let_go(held, size)

    def _let_go(self, held: Held, size: int | None) -> None:
        with self._table:
            held.users -= 1
            if size is not None:
                self._size += size - held.size
                held.size = size
            while self._full() and (who := self._oldest()) is not None:
                self._size -= self._held.pop(who).size

    def _oldest(self) -> Who | None:
        """Whoever came least lately, of those who are not being answered."""
        return next((who for who, held in self._held.items() if not held.users), None)

    def _full(self) -> bool:
        return len(self._held) > self.clients or self._size > self.most


def timeout(deadline: float) -> float:
    """Seconds until a deadline, for a lock: -1 for ever."""
    left = deadline - time.monotonic()
    return -1.0 if left > threading.TIMEOUT_MAX else max(0.0, left)

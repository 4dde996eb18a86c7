"""A journal in this process, lost when it ends: for tests, and the plain twin that databases are compared with."""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future

from gamekeeper.errors import GamekeeperError, JournalError
from gamekeeper.service.journal.accounts import Account, Charge, granted
from gamekeeper.service.journal.event import Event, Remembered, Seen, Stale
from gamekeeper.service.journal.keyring import KeyRecord
from gamekeeper.service.journal.tables import LOWEST, STANDING, denied

Who = tuple[str, str]
"""Tenant and client."""


class InProcessJournal:
    """See `Journal`."""

    def __init__(self) -> None:
        self._events: dict[int, Event] = {}
        self._numbers: dict[bytes, int] = {}
        self._clients: dict[Who, Remembered] = {}
        self._used: dict[tuple[str, str, int], int] = {}
        self._until: dict[tuple[str, str, int], float] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._seen: dict[Who, tuple[float, str]] = {}
        """When a client came last, and the last level that an event named."""
        self._last, self._open = 0, True
        self._lock = threading.RLock()

    def submit(self, event: Event, remembered: Remembered | None = None, others: Sequence[Event] = ()) -> "Future[int]":
        future: Future[int] = Future()
        try:
            future.set_result(self.append(event, remembered, others))
        except (Stale, GamekeeperError) as error:
            future.set_exception(error)
        return future

    def append(self, event: Event, remembered: Remembered | None = None, others: Sequence[Event] = ()) -> int:
        with self._lock:
            self._check()
            if event.id in self._numbers:
                return self._numbers[event.id]
            who = (event.tenant, event.client)
            before = self._clients.get(who, Remembered())
            if event.client and remembered is not None and remembered.version != before.version:
                raise Stale(f"the memories have version {before.version}; these are of {remembered.version}")
            seq = self._write(event)
            if event.client:
                self._seen[who] = (event.at, event.level or self._seen.get(who, (0.0, ""))[1])
                self._clients[who] = before if remembered is None else Remembered(seq, after(before, remembered))
            for each in others:
                self._write(each)
            return seq

    def remembered(self, tenant: str, client: str, only: Collection[str] | None = None) -> Remembered:
        with self._lock:
            known = self._clients.get((tenant, client), Remembered())
            if only is None:
                return known
            return Remembered(known.version, {name: data for name, data in known.parts.items() if name in only})

    def read(self, tenant: str, since: int = 0) -> Iterator[tuple[int, Event]]:
        with self._lock:
            chosen = [(seq, event) for seq, event in self._events.items() if seq > since and event.tenant == tenant]
        yield from chosen

    def take(self, charges: Sequence[Charge]) -> tuple[int, ...]:
        with self._lock:
            self._check()
            amounts = granted(charges, [self.used(charge.account) for charge in charges])
            if isinstance(amounts, Account):
                raise denied(amounts)
            for charge, n in zip(charges, amounts, strict=True):
                self.give(charge.account, -n)
            return amounts

    def give(self, account: Account, n: int) -> None:
        with self._lock:
            self._check()
            place = (account.tenant, account.holder, account.window)
            self._used[place], self._until[place] = self.used(account) - n, account.until

    def used(self, account: Account) -> int:
        with self._lock:
            return self._used.get((account.tenant, account.holder, account.window), 0)

    def put_key(self, record: KeyRecord, event: Event) -> None:
        with self._lock:
            self._check()
            self._keys[record.id] = record
            self.append(event)

    def key(self, public: str) -> KeyRecord | None:
        with self._lock:
            return self._keys.get(public)

    def keys(self, tenant: str) -> tuple[KeyRecord, ...]:
        with self._lock:
            return tuple(self._keys[public] for public in sorted(self._keys) if self._keys[public].tenant == tenant)

    def clients(self, tenant: str) -> tuple[Seen, ...]:
        with self._lock:
            mine = sorted((who[1], *seen) for who, seen in self._seen.items() if who[0] == tenant)
        return tuple(Seen(client, level, at) for client, at, level in mine)

    def forget(self, tenant: str, client: str, at: float) -> int:
        with self._lock:
            self._check()
            count = self._erase(lambda event: (event.tenant, event.client) == (tenant, client))
            self._clients.pop((tenant, client), None)
            self._seen.pop((tenant, client), None)
            self._write(Event(tenant, client, "forget", at, reason="everything about this client was erased"))
            return count

    def prune(self, tenant: str, before: float, at: float) -> int:
        with self._lock:
            self._check()
            count = self._erase(lambda event: event.tenant == tenant and event.at < before)
            for who, (seen, level) in list(self._seen.items()):
                if who[0] == tenant and seen < before:
                    self._let_go(who, level)
            for place in [p for p, until in self._until.items() if p[0] == tenant and until < before]:
                del self._used[place], self._until[place]
            if count:
                self.append(Event(tenant, "", "prune", at, n=count, reason=f"events before {before:.0f} were erased"))
            return count

    def close(self) -> None:
        self._open = False

    def _let_go(self, who: Who, level: str) -> None:
        """Of a client who has not come for long: all, or all but the level at which they are held."""
        if level in LOWEST:
            del self._seen[who], self._clients[who]
            return
        known = self._clients[who]
        left = {name: data for name, data in known.parts.items() if name == STANDING}
        self._clients[who] = Remembered(-abs(known.version), left)

    def _write(self, event: Event) -> int:
        self._last += 1
        self._events[self._last], self._numbers[event.id] = event, self._last
        return self._last

    def _erase(self, chosen: Callable[[Event], bool]) -> int:
        gone = [seq for seq, event in self._events.items() if chosen(event)]
        for seq in gone:
            del self._numbers[self._events.pop(seq).id]
        return len(gone)

    def _check(self) -> None:
        if not self._open:
            raise JournalError("the journal is closed. Open it again.")


def after(before: Remembered, stored: Remembered) -> dict[str, bytes]:
    """The parts once some have been stored over others."""
    return {**{name: data for name, data in before.parts.items() if name not in stored.erased}, **stored.parts}

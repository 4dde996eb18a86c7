"""A journal in a database: one writer thread, and one session to read."""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

from gamekeeper.errors import BadConfig, JournalError
from gamekeeper.service.journal import tables
from gamekeeper.service.journal.accounts import Account, Charge
from gamekeeper.service.journal.database import Database, Session
from gamekeeper.service.journal.event import Event, Remembered, Seen, as_row
from gamekeeper.service.journal.keyring import KeyRecord
from gamekeeper.service.journal.postgres import PostgresServer
from gamekeeper.service.journal.sqlite import SqliteFile
from gamekeeper.service.journal.writer import Writer

T = TypeVar("T")
PAGE = 1_000
"""Events that are read at a time."""


class DatabaseJournal:
    """See `Journal`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writer = Writer(database, database.connect())
        self._reader: Session | None = None
        self._reading = threading.Lock()

    def submit(self, event: Event, remembered: Remembered | None = None, others: Sequence[Event] = ()) -> "Future[int]":
        rows = [as_row(each) for each in (event, *others)]
        return self._writer.submit(partial(tables.write, event=event, rows=rows, remembered=remembered))

    def append(self, event: Event, remembered: Remembered | None = None, others: Sequence[Event] = ()) -> int:
        return self.submit(event, remembered, others).result()

    def remembered(self, tenant: str, client: str, only: Collection[str] | None = None) -> Remembered:
        return self._read(lambda session: tables.remembered(session, tenant, client, only))

    def read(self, tenant: str, since: int = 0) -> Iterator[tuple[int, Event]]:
        while page := self._read(partial(_page, tenant=tenant, since=since)):
            yield from page
            since = page[-1][0]

    def take(self, charges: Sequence[Charge]) -> tuple[int, ...]:
        return self._writer.submit(lambda session: tables.take(session, charges)).result()

    def give(self, account: Account, n: int) -> None:
        self._writer.submit(lambda session: tables.add(session, account, -n)).result()

    def used(self, account: Account) -> int:
        return self._read(lambda session: tables.used(session, account))

    def put_key(self, record: KeyRecord, event: Event) -> None:
        def both(session: Session) -> None:
            tables.put_key(session, record)
            tables.write(session, event, [as_row(event)], None)

        self._writer.submit(both).result()

    def key(self, public: str) -> KeyRecord | None:
        return next(iter(self._read(lambda session: tables.keys(session, "id", public))), None)

    def keys(self, tenant: str) -> tuple[KeyRecord, ...]:
        return self._read(lambda session: tables.keys(session, "tenant", tenant))

    def clients(self, tenant: str) -> tuple[Seen, ...]:
        return self._read(lambda session: tables.clients(session, tenant))

    def forget(self, tenant: str, client: str, at: float) -> int:
        event = Event(tenant, client, "forget", at, reason="everything about this client was erased")
        count = self._writer.submit(lambda session: tables.forget(session, event)).result()
        self._read(lambda session: session.scrub())
        return count

    def prune(self, tenant: str, before: float, at: float) -> int:
        """In short transactions, so that nobody waits for long."""
        count = 0
        for first in range(0, self._read(tables.last) + 1, tables.SLICE):
            count += self._writer.submit(
                partial(tables.prune_events, tenant=tenant, before=before, first=first)
            ).result()
        self._writer.submit(partial(tables.prune_clients, tenant=tenant, before=before)).result()
        if count:
            self.append(Event(tenant, "", "prune", at, n=count, reason=f"events before {before:.0f} were erased"))
        self._read(lambda session: session.scrub())
        return count

    def close(self) -> None:
        self._writer.close()
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _read(self, reading: Callable[[Session], T]) -> T:
        """What a reading gives, one at a time; after an error the next one has a new session."""
        with self._reading:
            if self._reader is None:
                self._reader = self._database.connect()
            try:
                return reading(self._reader)
            except JournalError:
                self._reader.close()
                self._reader = None
                raise


def _page(session: Session, tenant: str, since: int) -> list[tuple[int, Event]]:
    return list(tables.events(session, tenant, since, PAGE))


def open_journal(place: str) -> DatabaseJournal:
    """The journal in a file, or at a `postgresql://` URL without a password. Raises BadConfig or JournalError."""
    scheme = place.partition("://")[0] if "://" in place else ""
    if scheme in ("postgresql", "postgres"):
        return DatabaseJournal(PostgresServer(place))
    if scheme or not place:
        raise BadConfig(f"a journal is a file or a postgresql:// URL; got {scheme or 'nothing'}. Give one of them.")
    return DatabaseJournal(SqliteFile(Path(place)))

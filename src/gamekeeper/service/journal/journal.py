"""What a journal is, whatever holds it: SQLite (one machine), PostgreSQL (several replicas), or this process (tests)."""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol, runtime_checkable

from gamekeeper.service.journal.accounts import Account, Charge
from gamekeeper.service.journal.event import Event, Remembered, Seen
from gamekeeper.service.journal.keyring import KeyRecord


@runtime_checkable
class Journal(Protocol):
    """Append-only, shared by threads. Whatever has returned is on disk.

    Every method raises JournalError if the store is damaged, locked, full or out of reach; then nothing of the call was
    written, or all of it was and the answer got lost: repeating an append under its id is safe.
    """

    def submit(self, event: Event, remembered: Remembered | None = None, others: Sequence[Event] = ()) -> "Future[int]":
        """Like `append`, for those who wait in some other way than in a thread."""
        ...

    def append(self, event: Event, remembered: Remembered | None = None, others: Sequence[Event] = ()) -> int:
        """Writes an event, and the memories that it left, in one transaction. Returns its number, which only grows.

        An id that is known already is not written again, nor are its memories; the number is the first one's.

        remembered  the parts that have changed, with the version that they were computed from. Raises Stale if that is no
                    longer the client's
        others      what else happened to this client at that moment, written after the event in the same transaction
        """
        ...

    def remembered(self, tenant: str, client: str, only: Collection[str] | None = None) -> Remembered:
        """What is remembered of a client; `only`: of these parts, those that there are. Without any: the version alone."""
        ...

    def read(self, tenant: str, since: int = 0) -> Iterator[tuple[int, Event]]:
        """A tenant's events after a number, in the order they were written. Raises JournalError at a damaged one."""
        ...

    def take(self, charges: Sequence[Charge]) -> tuple[int, ...]:
        """Takes from every account or from none; raises Denied for the first one with too little left."""
        ...

    def give(self, account: Account, n: int) -> None:
        """Gives back queries that were taken and not used."""
        ...

    def used(self, account: Account) -> int:
        """Queries that are taken in the account's window."""
        ...

    def put_key(self, record: KeyRecord, event: Event) -> None:
        """Stores an API key's record, in place of an earlier one of its id, together with the event that says so."""
        ...

    def key(self, public: str) -> KeyRecord | None:
        """The record of an API key by its id; None if there is none."""
        ...

    def keys(self, tenant: str) -> tuple[KeyRecord, ...]:
        """A tenant's keys, in the order of their ids."""
        ...

    def clients(self, tenant: str) -> tuple[Seen, ...]:
        """A tenant's clients in the order of their names, also those whose events were erased but not their level."""
        ...

    def forget(self, tenant: str, client: str, at: float) -> int:
        """Erases a client's events and memories; one event, which says so, is left. Returns how many events were erased.

        What the client has spent stays until its window ends, or else to be forgotten would renew a quota.
        """
        ...

    def prune(self, tenant: str, before: float, at: float) -> int:
        """Erases a tenant's events from before a time, and memories of clients who have not come since. Returns how many.

        A client above the lowest level keeps the memories that say so: a level holds until it is released.
        """
        ...

    def close(self) -> None:
        """Finishes what was submitted. Later calls raise JournalError."""
        ...

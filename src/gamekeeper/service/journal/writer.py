"""One thread that writes for all: what waits together is committed together (group commit).

While one transaction is on its way to the disk, the next operations gather: the more wait, the more share one commit.
Those whom one commit has released usually come back together, but the first of them comes first. So the writer waits for
as many as last time, half as long as a commit takes; for one caller alone, not at all.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from gamekeeper.errors import Denied, GamekeeperError, JournalError
from gamekeeper.service.journal.database import Database, Session
from gamekeeper.service.journal.event import Stale

T = TypeVar("T")
MOST = 256
"""Operations in one transaction."""
Waiting = tuple[Callable[[Session], Any], "Future[Any]"]


class Writer:
    """Runs operations on one session, in the order they were submitted, several in one transaction.

    An operation that raises Stale or Denied has changed nothing, and its neighbours are not concerned. If the database
    fails, the whole transaction is undone and everybody in it gets the JournalError. Any other error is the operation's own:
    then its neighbours' are repeated without it.
    """

    def __init__(self, database: Database, session: Session) -> None:
        self._database, self._session = database, session
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._open = True
        self._usual, self._patience = 1, 0.0
        """Operations of the last transaction, and seconds to wait for as many."""
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def submit(self, operation: Callable[[Session], T]) -> "Future[T]":
        """The operation's result, once it is on disk. Cancelled before its transaction begins, it is not carried out."""
        future: Future[T] = Future()
        with self._gate:
            if not self._open:
                raise JournalError("the journal is closed. Open it again.")
            self._queue.put((operation, future))
        return future

    def close(self) -> None:
        """Ends when everything submitted has been written, or has failed."""
        with self._gate:
            if self._open:
                self._open = False
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._next()
            if batch:
                self._commit(batch)
        if self._session is not None:
            self._session.close()

    def _next(self) -> tuple[list[Waiting], bool]:
        """What waits now, and whether more may come."""
        batch: list[Waiting] = []
        waiting = self._queue.get()
        end = time.monotonic() + self._patience
        while waiting is not None:
            if waiting[1].set_running_or_notify_cancel():  # from here on it is too late to cancel
                batch.append(waiting)
            left = end - time.monotonic() if len(batch) < self._usual else 0.0
            if len(batch) == MOST:
                return batch, True
            try:
                waiting = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[Waiting]) -> None:
        try:
            outcomes = self._transaction([operation for operation, _ in batch])
        except BaseException as error:  # noqa: BLE001  whoever waits must hear of it, whatever it is
            self._undo()
            if isinstance(error, JournalError) or len(batch) == 1:
                for _, future in batch:
                    future.set_exception(error)
            else:
                for waiting in batch:
                    self._commit([waiting])
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Stale | Denied):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _transaction(self, operations: list[Callable[[Session], Any]]) -> list[Any]:
        if self._session is None:
            self._session = self._database.connect()
        session = self._session
        session.begin()
        outcomes = [outcome(operation, session) for operation in operations]
        start = time.monotonic()
        session.commit()
        self._usual, self._patience = len(operations), (time.monotonic() - start) / 2
        return outcomes

    def _undo(self) -> None:
        """Leaves no transaction open; a session that cannot even do that is replaced."""
        if self._session is None:
            return
        try:
            self._session.rollback()
        except GamekeeperError:
            self._session.close()
            self._session = None


def outcome(operation: Callable[[Session], Any], session: Session) -> Any:
    """What an operation returns, or the refusal that it raises."""
    try:
        return operation(session)
    except (Stale, Denied) as refusal:
        return refusal

"""What a journal needs of a database: a session with transactions, in which one writer at a time is at work."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from gamekeeper.errors import JournalError

Row = tuple[Any, ...]


@runtime_checkable
class Session(Protocol):
    """One connection. Every method raises JournalError, with a sentence, where the database cannot be used."""

    def begin(self) -> None:
        """Begins a transaction, once every other writer's has ended, in this process or another."""
        ...

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Executes one statement, with `?` for each value; the rows that it returns."""
        ...

    def commit(self) -> None:
        """Ends the transaction; it is on disk when this returns."""
        ...

    def rollback(self) -> None:
        """Ends a transaction, if there is one, as if it had not been."""
        ...

    def scrub(self) -> None:
        """Removes what was deleted from the files, as far as the database lets us."""
        ...

    def damaged(self, what: object) -> JournalError:
        """The error that says so, and what to do."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Database(Protocol):
    """Where a journal is. `schema` are its tables in the database's dialect, statement by statement."""

    @property
    def schema(self) -> Sequence[str]: ...

    def connect(self) -> Session:
        """A new session. Raises JournalError if there is none to be had."""
        ...

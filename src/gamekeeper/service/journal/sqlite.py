"""A journal in one SQLite file: write-ahead log, synchronous=FULL, and deleted rows overwritten."""

import errno
import os
import sqlite3
import stat
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gamekeeper.errors import JournalError
from gamekeeper.service.journal.database import Row
from gamekeeper.service.journal.tables import SCHEMA, prepare

TYPES = {"serial": "INTEGER PRIMARY KEY AUTOINCREMENT", "bytes": "BLOB", "real": "REAL", "int": "INTEGER"}
APPLICATION = 0x676B6A6C  # "gkjl"
POLL = 0.05


@dataclass(frozen=True)
class SqliteFile:
    """The file of a journal. Several processes of one machine may share it.

    patience  seconds to wait for another process that writes
    """

    path: Path
    patience: float = 10.0

    @property
    def schema(self) -> Sequence[str]:
        return [statement.format(**TYPES) for statement in SCHEMA]

    def connect(self) -> "SqliteSession":
        """Opens the file, and makes it if there is none, readable by this user alone."""
        end = time.monotonic() + self.patience
        while True:
            try:
                return self._connect()
            except JournalError as error:  # two processes that make the file at once do not wait for each other
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(POLL)

    def _connect(self) -> "SqliteSession":
        with guarded(self.path):
            self._make()
            db = sqlite3.connect(self.path, timeout=self.patience, isolation_level=None, check_same_thread=False)
        session = SqliteSession(db, self.path)
        try:
            for setting in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
                session.rows(f"PRAGMA {setting}")
            session.begin()
            self._prepare(session)
            session.commit()
        except BaseException:
            session.close()
            raise
        return replace(session, files=numbers(self.path))

    def _make(self) -> None:
        """An empty file, if there is none. One that is there must not be opened but by SQLite: closing it drops this process's
        locks, and another process would take itself for the last one and delete the log of what was written.
        """
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not self.path.exists():
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def _check_mode(self) -> None:
        """Raises JournalError for a file that everybody may read or write, as copies and backups often are: inputs are in it."""
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if os.name == "posix" and mode & stat.S_IRWXO:
            raise JournalError(
                f"the journal {self.path} is open to everybody (mode {mode:04o}). Run: chmod 600 {self.path}"
            )

    def _prepare(self, session: "SqliteSession") -> None:
        ((application,),) = session.rows("PRAGMA application_id")
        ((tables,),) = session.rows("SELECT count(*) FROM sqlite_master")
        if tables and application != APPLICATION:
            raise JournalError(f"{self.path} is an SQLite file of another program. Name another file for the journal.")
        self._check_mode()
        try:
            prepare(session, self.schema, empty=not tables)
        except JournalError as error:
            raise JournalError(f"the journal {self.path} cannot be used: {error}.") from None
        if not tables:
            session.rows(f"PRAGMA application_id={APPLICATION}")


@dataclass(frozen=True)
class SqliteSession:
    """One connection to the file; one thread at a time uses it.

    files  which files these are, as the system numbers them: the database and its write-ahead log
    """

    db: sqlite3.Connection
    path: Path
    files: tuple[int, ...] = ()

    def begin(self) -> None:
        """Raises JournalError also if other files, or none, lie where these did: whatever SQLite wrote then would be lost."""
        self.rows("BEGIN IMMEDIATE")
        if self.files and numbers(self.path) != self.files:
            raise JournalError(
                f"the journal {self.path} (or its -wal file) was removed or replaced while it is in use. Put it back, or"
                " stop this service, which then writes what it holds into the file that it opened, and start it again."
            )

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with guarded(self.path):
            return self.db.execute(sql, values).fetchall()

    def commit(self) -> None:
        self.rows("COMMIT")

    def rollback(self) -> None:
        if self.db.in_transaction:
            self.rows("ROLLBACK")

    def scrub(self) -> None:
        """Moves the write-ahead log, which still has what was deleted, into the file; not while somebody reads."""
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def damaged(self, what: object) -> JournalError:
        return damaged(self.path, what)

    def close(self) -> None:
        self.db.close()


def numbers(path: Path) -> tuple[int, ...]:
    """The inodes of the database and its write-ahead log; 0 for one that is not there."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return tuple(file.stat().st_ino if file.exists() else 0 for file in files)


@contextmanager
def guarded(path: Path) -> Generator[None]:
    """Turns errors of SQLite and of the system into JournalError, with what to do."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.DataError):
        raise  # of one statement and its values, not of the file
    except sqlite3.OperationalError as error:
        if "malformed" in str(error):
            raise damaged(path, error) from error
        raise JournalError(
            f"the journal {path} cannot be used: {error}. Is the disk full, the file read-only, or locked by another"
            " process? What was not acknowledged is not in it; repeat it once that is mended."
        ) from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from error
    except OSError as error:
        raise JournalError(
            f"the journal {path} cannot be opened: {error.strerror}. Name a file in a folder that exists and is yours."
        ) from error


def damaged(path: Path, what: object) -> JournalError:
    return JournalError(
        f"the journal {path} is damaged: {what}. It has not been changed. Restore it from a copy, or move it aside"
        " (with its -wal file) to begin a new one: quotas and memories of clients then begin anew."
    )

"""A journal on a PostgreSQL server, for several replicas: in the schema `gamekeeper` of the database that a URL names.

Writers take turns by an advisory lock, one transaction each. So numbers grow in the order of commits, no two transactions
can deadlock, and an account is read and written without a race. Group commit makes up for it: the longer a replica waits
for its turn, the more it writes in it.
"""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from gamekeeper.errors import BadConfig, JournalError
from gamekeeper.service.journal.database import Row
from gamekeeper.service.journal.tables import SCHEMA, prepare

if TYPE_CHECKING:
    import psycopg

TYPES = {"serial": "BIGSERIAL PRIMARY KEY", "bytes": "BYTEA", "real": "DOUBLE PRECISION", "int": "BIGINT"}
LOCK = 0x676B6A6C  # "gkjl"
PATIENCE = 10
"""Seconds to wait for a connection, and for the turn to write."""
SETTINGS = (
    "SET search_path TO gamekeeper",
    "SET synchronous_commit TO on",
    f"SET lock_timeout TO '{PATIENCE}s'",
    # a replica that hangs in its turn loses it
    f"SET idle_in_transaction_session_timeout TO '{PATIENCE}s'",
    "SET client_min_messages TO warning",
)


@dataclass(frozen=True)
class PostgresServer:
    """Where the server is: `postgresql://user@host/database`. The password is in PGPASSWORD or in a .pgpass file."""

    url: str

    def __post_init__(self) -> None:
        if re.search(r"://[^/@]*:[^/@]*@", self.url) or re.search(r"[?&]password=", self.url):
            raise BadConfig(
                "the URL of the journal must not hold a password, since it is shown and may lie in a file that others read."
                " Put it in the environment variable PGPASSWORD, or in a .pgpass file of mode 0600."
            )

    @property
    def schema(self) -> Sequence[str]:
        return [statement.format(**TYPES) for statement in SCHEMA]

    def connect(self) -> "PostgresSession":
        driver = load_driver()
        with guarded(self.url):
            db = driver.connect(self.url, autocommit=True, connect_timeout=PATIENCE, application_name="gamekeeper")
        session = PostgresSession(db, self.url)
        try:
            self._prepare(session)
        except BaseException:
            session.close()
            raise
        return session

    def _prepare(self, session: "PostgresSession") -> None:
        for setting in SETTINGS:
            session.rows(setting)
        if not session.rows("SELECT to_regclass('gamekeeper.about') IS NULL")[0][0]:
            return self._check(session, empty=False)
        session.begin()
        session.rows("CREATE SCHEMA IF NOT EXISTS gamekeeper")
        self._check(session, session.rows("SELECT to_regclass('gamekeeper.about') IS NULL")[0][0])
        return session.commit()

    def _check(self, session: "PostgresSession", empty: bool) -> None:
        try:
            prepare(session, self.schema, empty)
        except JournalError as error:
            raise JournalError(f"the journal at {self.url} cannot be used: {error}.") from None


@dataclass(frozen=True)
class PostgresSession:
    """One connection to the server; one thread at a time uses it."""

    db: "psycopg.Connection[Any]"
    url: str

    def begin(self) -> None:
        self.rows("BEGIN")
        self.rows("SELECT pg_advisory_xact_lock(?)", [LOCK])

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with guarded(self.url), self.db.cursor() as cursor:
            cursor.execute(theirs(sql), values)
            return cursor.fetchall() if cursor.description else []

    def commit(self) -> None:
        self.rows("COMMIT")

    def rollback(self) -> None:
        self.rows("ROLLBACK")

    def scrub(self) -> None:
        """Nothing: the server's own vacuum removes what was deleted."""

    def damaged(self, what: object) -> JournalError:
        return JournalError(
            f"the journal at {self.url} is damaged: {what}. It has not been changed. Restore the database from a copy."
        )

    def close(self) -> None:
        self.db.close()


@cache
def theirs(sql: str) -> bytes:
    """The statement with PostgreSQL's placeholders."""
    return sql.replace("?", "%s").encode()


def load_driver() -> Any:
    try:
        import psycopg
    except ImportError:
        raise BadConfig(
            "a journal on PostgreSQL needs psycopg: pip install 'gamekeeper[postgres]'. Or name a file for it."
        ) from None
    return psycopg


@contextmanager
def guarded(url: str) -> Generator[None]:
    """Turns what the server or the way to it does into JournalError, with what to do."""
    driver = load_driver()
    try:
        yield
    except (driver.OperationalError, driver.InternalError) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise JournalError(
            f"the journal at {url} cannot be used: {words}. Is the server up, its disk full, or another replica stuck?"
            " What was not acknowledged may be repeated once that is mended."
        ) from error

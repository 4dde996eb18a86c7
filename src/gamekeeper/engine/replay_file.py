"""The file of a replay that is at work: how far it has come, what it remembers of clients, and the alarms so far.

One SQLite file. Everything up to a part of the log is committed in one transaction, so a replay that is killed goes on
behind the last part that was committed and comes to the same result. It holds inputs of clients, and is deleted when the
replay has ended.
"""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from gamekeeper.errors import BadConfig
from gamekeeper.replay_files import alarm, to_line
from gamekeeper.replay_rows import AlarmRow

NAME = "replay.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS alarm (number INTEGER PRIMARY KEY, line BLOB NOT NULL);
"""


class ReplayFile:
    """The open file, in a transaction. `purpose`: a digest of all that the result depends on."""

    def __init__(self, path: Path, purpose: str) -> None:
        try:
            self._open(path, purpose)
        except sqlite3.DatabaseError as error:
            raise BadConfig(
                f"{path} cannot be used: {error}. Is the disk full, or the file damaged? Delete it to begin anew."
            ) from None

    def _open(self, path: Path, purpose: str) -> None:
        self.path = path
        self._connect()
        if self.get("purpose") != purpose.encode():
            self.db.close()
            self._remove()
            self._connect()
        self.db.execute("BEGIN")
        self.put("purpose", purpose.encode())

    def _connect(self) -> None:
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.executescript(SCHEMA)

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def get(self, name: str) -> bytes | None:
        row = self.db.execute("SELECT value FROM state WHERE name = ?", [name]).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, name: str, value: bytes) -> None:
        self.db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", [name, value])

    def add(self, alarms: Sequence[AlarmRow]) -> None:
        self.db.executemany("INSERT INTO alarm (line) VALUES (?)", [[to_line(each)] for each in alarms])

    def alarms(self) -> list[AlarmRow]:
        """In the order they were raised."""
        rows = self.db.execute("SELECT line FROM alarm ORDER BY number").fetchall()
        return [alarm(orjson.loads(line)) for (line,) in rows]

    def commit(self) -> None:
        """Everything so far is on disk."""
        self.db.execute("COMMIT")
        self.db.execute("BEGIN")

    def close(self) -> None:
        """Whatever was not committed is gone."""
        self.db.close()

    def delete(self) -> None:
        self.close()
        self._remove()


@contextmanager
def replay_file(path: Path, purpose: str) -> Generator[ReplayFile, None, None]:
    """What was not committed is gone when the block ends."""
    file = ReplayFile(path, purpose)
    try:
        yield file
    finally:
        file.close()

"""The file of a ledger: what is on disk of every answer that was paid for.

One SQLite file (write-ahead log, synchronous=FULL). An answer is keyed by its scope (target, defense, client), the
hash of the input's bytes, and how often the client sent that input before, since a repeated query is a new one.

    scope   id, key (unique text)
    batch   what was sent: scope, inputs, when; when it was answered or refused, and the error that came instead
    answer  (scope, input, nth) -> batch, posterior, attribution map, each with its CRC-32; an empty posterior is an input
            that brought no answer, asked alone as well: it is not sent again

A batch is written down before it is sent and its answers in one transaction after. A process killed in between, a
connection that broke or an answer that cannot be read leave a batch without an answer, which `Ledger.unanswered`
reports: a live API may have charged for it, and nobody can know without asking its owner. A batch that was refused with
a status of HTTP is not among them. Inputs themselves are not stored.

Raises LedgerError where the file is damaged, foreign, locked or cannot be written.
"""

import hashlib
import sqlite3
import time
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from gamekeeper.errors import GamekeeperError, LedgerError, Lost, Malformed
from gamekeeper.types import Reply

FEW = 9
"""With fewer answers than this, what an API answers is not yet known: one shows its shape, eight more its range."""
NO_ANSWER = Reply(torch.empty(1, 0))
"""To one input; `joined` and `RecordedModel` give it the width of the others."""
NOTHING = zlib.crc32(b"").to_bytes(4, "little")
"""An empty posterior with its CRC-32."""
APPLICATION, FORMAT = 0x676B6C64, 1  # "gkld"
SCHEMA = """
CREATE TABLE scope (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE batch (id INTEGER PRIMARY KEY, scope INTEGER NOT NULL, inputs INTEGER NOT NULL, sent REAL NOT NULL,
                    answered REAL, answers INTEGER NOT NULL DEFAULT 0, dtype TEXT, error TEXT);
CREATE TABLE answer (scope INTEGER NOT NULL, input BLOB NOT NULL, nth INTEGER NOT NULL, batch INTEGER NOT NULL,
                     y BLOB NOT NULL, why BLOB, PRIMARY KEY (scope, input, nth)) WITHOUT ROWID;
"""
Key = tuple[bytes, int]
"""Hash of an input, and how often it was sent before."""
POLL = 0.005
"""Seconds between attempts at a lock that another process holds: about the time to commit a batch."""


class Ledger:
    """A connection to a ledger file. Cheap to open; each process opens its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.guarded():
            self.db = sqlite3.connect(path, timeout=120, isolation_level=None)
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=FULL")
            with self.exclusive("schema"):
                self._prepare()

    def _prepare(self) -> None:
        application = self.db.execute("PRAGMA application_id").fetchone()[0]
        tables = self.db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application == 0 and tables == 0:
            self.db.executescript(
                f"BEGIN; {SCHEMA} PRAGMA application_id={APPLICATION}; PRAGMA user_version={FORMAT}; COMMIT;"
            )
        elif application != APPLICATION:
            raise LedgerError(f"{self.path} is an SQLite file of another program. Choose another --out folder.")
        elif (version := self.db.execute("PRAGMA user_version").fetchone()[0]) != FORMAT:
            raise LedgerError(f"{self.path} has ledger format {version}; this version of gamekeeper reads {FORMAT}.")

    def check(self) -> None:
        """Reads the whole file; raises LedgerError if SQLite finds damage."""
        with self.guarded():
            verdict = self.db.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok":
            raise self.damaged(verdict)

    def damaged(self, what: object) -> LedgerError:
        return LedgerError(
            f"the ledger {self.path} is damaged: {what}. It has not been changed. Restore it from a copy, or move it"
            " aside (with its -wal file) and run again: its answers will then be queried, and paid for, again."
        )

    @contextmanager
    def guarded(self) -> Generator[None]:
        """Turns errors of SQLite into LedgerError, with what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "malformed" in str(error):
                raise self.damaged(error) from error
            raise LedgerError(
                f"the ledger {self.path} cannot be used: {error}. Is the disk full, or the folder read-only or locked?"
                " No unrecorded answer was passed on; run the same command again once that is fixed."
            ) from error
        except sqlite3.DatabaseError as error:
            raise self.damaged(error) from error

    @contextmanager
    def exclusive(self, name: str) -> Generator[None]:
        """A lock between processes, released by the system if the holder is killed."""
        hashed = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
        folder = self.path.with_suffix(".locks")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = FileLock(folder / hashed).acquire(poll_interval=POLL)
        except OSError as error:
            raise LedgerError(f"cannot lock the ledger {self.path}: {error}.") from error
        with held:
            yield

    @contextmanager
    def transaction(self) -> Generator[None]:
        with self.guarded():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")

    def scope(self, key: str) -> int:
        """The id of a scope, made if new."""
        with self.transaction():
            self.db.execute("INSERT OR IGNORE INTO scope (key) VALUES (?)", (key,))
            return int(self.db.execute("SELECT id FROM scope WHERE key = ?", (key,)).fetchone()[0])

    def send(self, scope: int, inputs: int) -> int:
        """Writes down that a batch is about to be sent; returns its id."""
        with self.transaction():
            cursor = self.db.execute(
                "INSERT INTO batch (scope, inputs, sent) VALUES (?, ?, ?)", (scope, inputs, time.time())
            )
            return int(cursor.lastrowid or 0)

    def fail(self, batch: int, error: GamekeeperError) -> None:
        """Writes down that a batch brought an error instead of answers; it stays unanswered if it may have been charged."""
        refused = None if isinstance(error, Lost | Malformed) else time.time()
        with self.transaction():
            self.db.execute(
                "UPDATE batch SET answered = ?, error = ? WHERE id = ?",
                (refused, f"{type(error).__name__}: {error}", batch),
            )

    def store(self, scope: int, batch: int, keys: Sequence[Key], reply: Reply) -> None:
        """Commits the answers of a batch, all or none."""
        rows = [
            (scope, hashed, nth, batch, y, maps) for (hashed, nth), y, maps in zip(keys, *packed(reply), strict=True)
        ]
        kind = dtype(reply.y)
        if reply.maps is not None:
            kind += f" {'x'.join(map(str, reply.maps.shape[1:]))} {dtype(reply.maps)}"
        with self.transaction():
            self.db.executemany("INSERT INTO answer VALUES (?, ?, ?, ?, ?, ?)", rows)
            self.db.execute(
                "UPDATE batch SET answered = ?, answers = ?, dtype = ? WHERE id = ?",
                (time.time(), len(rows), kind, batch),
            )

    def give_up(self, scope: int, key: Key) -> None:
        """Writes down that an input brings no answer, so that it is not sent again. It belongs to no batch."""
        with self.transaction():
            self.db.execute("INSERT INTO answer VALUES (?, ?, ?, 0, ?, NULL)", (scope, *key, NOTHING))

    def find(self, scope: int, keys: Sequence[Key]) -> dict[Key, Reply]:
        """The recorded answers among `keys`, one row each; a row of no classes for an input that brings none."""
        query = (
            "SELECT y, why, dtype FROM answer LEFT JOIN batch ON batch.id = answer.batch"
            " WHERE answer.scope = ? AND input = ? AND nth = ?"
        )
        recorded: dict[Key, Reply] = {}
        with self.guarded():
            for key in keys:
                row = self.db.execute(query, (scope, *key)).fetchone()
                if row is not None:
                    recorded[key] = self._unpacked(*row)
        return recorded

    def _unpacked(self, y: bytes, maps: bytes | None, kind: str | None) -> Reply:
        if y == NOTHING:
            return NO_ANSWER
        parts = (kind or "").split(" ")
        posterior = self._checked(y, parts[0])[None]
        if maps is None:
            return Reply(posterior)
        height, width = map(int, parts[1].split("x"))
        # the first ledgers had maps of float32 only and did not record the dtype
        return Reply(
            posterior, self._checked(maps, parts[2] if len(parts) > 2 else "float32").reshape(1, height, width)
        )

    def _checked(self, blob: bytes, dtype: str) -> Tensor:
        if zlib.crc32(blob[:-4]) != int.from_bytes(blob[-4:], "little"):
            raise self.damaged("an answer does not match its checksum")
        return torch.from_numpy(np.frombuffer(blob[:-4], dtype).copy())

    def answers(self, scope: str | None = None) -> int:
        """How many answers are recorded, in one scope or in all."""
        return self._total("SELECT count(*) FROM answer WHERE (?1 IS NULL OR scope = ?1) AND length(y) > 4", scope)

    def few(self, scope: str) -> int:
        """How many answers are recorded in a scope, up to FEW."""
        place = self.scope(scope)
        with self.guarded():
            query = "SELECT 1 FROM answer WHERE scope = ? AND length(y) > 4 LIMIT ?"
            return len(self.db.execute(query, (place, FEW)).fetchall())

    def given_up(self, scope: str) -> int:
        """How many inputs of a scope bring no answer."""
        return self._total("SELECT count(*) FROM answer WHERE scope = ?1 AND length(y) <= 4", scope)

    def unanswered(self, scope: str | None = None) -> int:
        """Inputs that were sent, have no answer and were not refused either, so that they may have been charged.

        Defenses in front of somebody else's API have scopes of their own; only the API's own counts what it may charge.
        """
        lost = "SELECT coalesce(sum(inputs), 0) FROM batch WHERE answered IS NULL AND (?1 IS NULL OR scope = ?1)"
        short = (
            "SELECT coalesce(sum(inputs - answers), 0) FROM batch"
            " WHERE answered IS NOT NULL AND error IS NULL AND answers < inputs AND (?1 IS NULL OR scope = ?1)"
        )
        return self._total(lost, scope) + self._total(short, scope)

    def _total(self, query: str, scope: str | None) -> int:
        place = None if scope is None else self.scope(scope)
        with self.guarded():
            return int(self.db.execute(query, (place,)).fetchone()[0])

    def close(self) -> None:
        self.db.close()


def packed(reply: Reply) -> tuple[list[bytes], list[bytes | None]]:
    """Every row as bytes, followed by their CRC-32."""
    y = [sealed(row) for row in reply.y.contiguous().numpy()]
    if reply.maps is None:
        return y, [None] * len(y)
    return y, [sealed(row) for row in reply.maps.contiguous().numpy()]


def dtype(values: Tensor) -> str:
    """The name of its dtype in numpy."""
    return f"{values.dtype}".removeprefix("torch.")


def sealed(row: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> bytes:
    data = row.tobytes()
    return data + zlib.crc32(data).to_bytes(4, "little")

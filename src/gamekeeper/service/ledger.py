"""The ledger: every paid answer is on disk before anybody sees it, and no answer is paid twice.

One SQLite file (write-ahead log, synchronous=FULL). An answer is keyed by its scope (target, defense, client), the
hash of the input's bytes, and how often the client had asked that input before: the second time is another answer.

    scope   id, key (unique text)
    batch   what was sent: scope, inputs, when; when it was answered, or the error that came instead
    answer  (scope, input, nth) -> batch, posterior, attribution map, each with its CRC-32

A batch is written down before it is sent and its answers in one transaction after. A process killed in between
leaves a batch without an answer, which `Ledger.unanswered` reports: a live API may have charged for it, and nobody
can know without asking its owner. Inputs themselves are not stored.

Workers of one grid share a ledger: a scope is locked from the look-up to the commit, so that two workers that want
the same answer buy it once. Raises LedgerError where the file is damaged, foreign, locked or cannot be written.
"""

import hashlib
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from gamekeeper.errors import GamekeeperError, LedgerError, Malformed
from gamekeeper.types import Batch, Oracle, Reply, Task

APPLICATION, FORMAT = 0x676B6C64, 1  # "gkld"
SCHEMA = """
CREATE TABLE scope (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE batch (id INTEGER PRIMARY KEY, scope INTEGER NOT NULL, inputs INTEGER NOT NULL, sent REAL NOT NULL,
                    answered REAL, answers INTEGER NOT NULL DEFAULT 0, dtype TEXT, error TEXT);
CREATE TABLE answer (scope INTEGER NOT NULL, input BLOB NOT NULL, nth INTEGER NOT NULL, batch INTEGER NOT NULL,
                     y BLOB NOT NULL, why BLOB, PRIMARY KEY (scope, input, nth)) WITHOUT ROWID;
"""
Key = tuple[bytes, int]
"""Hash of an input and how often it had been asked before."""
POLL = 0.005
"""Seconds between two attempts at a lock that another process holds: about what committing a batch takes."""


@runtime_checkable
class Named(Protocol):
    """An oracle that can be told which question each input is: one sent again bears the name it had before."""

    def named(self, x: Batch, names: Sequence[bytes], /) -> Reply: ...


class Ledger:
    """One ledger file. Cheap to open; every process opens its own."""

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
            raise LedgerError(f"{self.path} is an SQLite file of another program. Name another --out folder.")
        elif (version := self.db.execute("PRAGMA user_version").fetchone()[0]) != FORMAT:
            raise LedgerError(f"{self.path} has ledger format {version}, this gamekeeper reads {FORMAT}.")

    def check(self) -> None:
        """Reads the whole file; raises LedgerError if SQLite finds damage."""
        with self.guarded():
            verdict = self.db.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok":
            raise self.damaged(verdict)

    def damaged(self, what: object) -> LedgerError:
        return LedgerError(
            f"the ledger {self.path} is damaged: {what}. It was left as it is. Restore it from a copy, or move it aside"
            " (with its -wal file) and run again: what it recorded will then be asked, and paid, once more."
        )

    @contextmanager
    def guarded(self) -> Generator[None]:
        """SQLite's errors as ours, with what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "malformed" in str(error):
                raise self.damaged(error) from error
            raise LedgerError(
                f"the ledger {self.path} cannot be used: {error}. Is the disk full, or the folder read-only or locked?"
                " Nothing unrecorded was handed on; run the same command again when that is mended."
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

    def fail(self, batch: int, error: str) -> None:
        """Writes down that a batch brought an error instead of answers."""
        with self.transaction():
            self.db.execute("UPDATE batch SET answered = ?, error = ? WHERE id = ?", (time.time(), error, batch))

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

    def find(self, scope: int, keys: Sequence[Key]) -> dict[Key, Reply]:
        """The recorded answers among `keys`, one row each."""
        query = (
            "SELECT y, why, dtype FROM answer JOIN batch ON batch.id = answer.batch"
            " WHERE answer.scope = ? AND input = ? AND nth = ?"
        )
        recorded: dict[Key, Reply] = {}
        with self.guarded():
            for key in keys:
                row = self.db.execute(query, (scope, *key)).fetchone()
                if row is not None:
                    recorded[key] = self._unpacked(*row)
        return recorded

    def _unpacked(self, y: bytes, maps: bytes | None, kind: str) -> Reply:
        parts = kind.split(" ")
        posterior = self._checked(y, parts[0])[None]
        if maps is None:
            return Reply(posterior)
        height, width = map(int, parts[1].split("x"))
        # the first ledgers knew maps of float32 only and did not say so
        return Reply(
            posterior, self._checked(maps, parts[2] if len(parts) > 2 else "float32").reshape(1, height, width)
        )

    def _checked(self, blob: bytes, dtype: str) -> Tensor:
        if zlib.crc32(blob[:-4]) != int.from_bytes(blob[-4:], "little"):
            raise self.damaged("an answer does not match its checksum")
        return torch.from_numpy(np.frombuffer(blob[:-4], dtype).copy())

    def answers(self, scope: str | None = None) -> int:
        """How many answers are recorded, in one scope or in all."""
        return self._total("SELECT count(*) FROM answer WHERE (?1 IS NULL OR scope = ?1)", scope)

    def empty(self, scope: int) -> bool:
        """Whether no answer of this scope is recorded."""
        with self.guarded():
            return self.db.execute("SELECT 1 FROM answer WHERE scope = ? LIMIT 1", (scope,)).fetchone() is None

    def unanswered(self, scope: str | None = None) -> int:
        """Inputs that were sent but have neither an answer nor an error: a process died while they were under way.

        Defenses before somebody else's API have scopes of their own: of those only the API's counts what it may charge.
        """
        query = "SELECT coalesce(sum(inputs), 0) FROM batch WHERE answered IS NULL AND (?1 IS NULL OR scope = ?1)"
        return self._total(query, scope)

    def _total(self, query: str, scope: str | None) -> int:
        place = None if scope is None else self.scope(scope)
        with self.guarded():
            return int(self.db.execute(query, (place,)).fetchone()[0])

    def close(self) -> None:
        self.db.close()


def packed(reply: Reply) -> tuple[list[bytes], list[bytes | None]]:
    """Every row as bytes with a CRC-32 behind."""
    y = [sealed(row) for row in reply.y.contiguous().numpy()]
    if reply.maps is None:
        return y, [None] * len(y)
    return y, [sealed(row) for row in reply.maps.contiguous().numpy()]


def dtype(values: Tensor) -> str:
    """As numpy spells it."""
    return f"{values.dtype}".removeprefix("torch.")


def sealed(row: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> bytes:
    data = row.tobytes()
    return data + zlib.crc32(data).to_bytes(4, "little")


def fingerprints(x: Batch) -> list[bytes]:
    """A 16-byte hash of every input's canonical bytes (float32, or float64 where it is that; -0 is 0)."""
    rows = (x + 0.0).contiguous().numpy()
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]


@dataclass
class Recorded:
    """An oracle whose every answer goes through the ledger.

    charged counts the inputs that were newly sent; the others were answered from the ledger.
    batch is how many inputs are sent, and committed, at a time.
    costly: the oracle is somebody else's API. The very first input of its scope goes alone: an answer that is not what
    was declared then costs one query and not a batch.
    """

    oracle: Oracle
    ledger: Ledger
    key: str
    batch: int = 256
    costly: bool = False
    charged: int = field(default=0, init=False)
    times: Counter[bytes] = field(default_factory=Counter[bytes], init=False, repr=False)

    def __call__(self, x: Batch, /) -> Reply:
        keys = self._keys(x)
        scope = self.ledger.scope(self.key)
        with self.ledger.exclusive(self.key):
            rows = self.ledger.find(scope, keys)
            missing = [place for place, key in enumerate(keys) if key not in rows]
            for places in self._batches(scope, missing):
                reply = self._buy(scope, [keys[place] for place in places], x[places])
                rows |= {keys[place]: Reply(*part) for place, part in zip(places, singles(reply), strict=True)}
        self.times.update(hashed for hashed, _ in keys)
        return joined([rows[key] for key in keys])

    def _batches(self, scope: int, missing: list[int]) -> list[list[int]]:
        """What is sent together."""
        alone = 1 if self.costly and missing and self.ledger.empty(scope) else 0
        rest = [missing[start : start + self.batch] for start in range(alone, len(missing), self.batch)]
        return [missing[:alone], *rest] if alone else rest

    def _keys(self, x: Batch) -> list[Key]:
        """Counts from what was asked before; an input given twice in one batch is asked twice."""
        here: Counter[bytes] = Counter()
        keys: list[Key] = []
        for hashed in fingerprints(x):
            keys.append((hashed, self.times[hashed] + here[hashed]))
            here[hashed] += 1
        return keys

    def _buy(self, scope: int, keys: list[Key], x: Batch) -> Reply:
        """Sends one batch and commits its answers. Rows that are not numbers are reported after the others are kept."""
        batch = self.ledger.send(scope, len(x))
        try:
            reply = self._ask(keys, x)
            if len(reply) != len(x):
                raise Malformed(f"the target gave {len(reply)} answers to {len(x)} inputs.")
        except GamekeeperError as error:
            self.ledger.fail(batch, f"{type(error).__name__}: {error}")
            raise
        good = torch.isfinite(reply.y).all(1)
        recorded = [key for key, fine in zip(keys, good.tolist(), strict=True) if fine]
        self.ledger.store(scope, batch, recorded, reply.take(good))
        self.charged += len(recorded)
        if len(recorded) < len(keys):
            raise Malformed(
                f"{len(keys) - len(recorded)} of {len(keys)} answers hold NaN or infinite values. The {len(recorded)} good ones are"
                " recorded and will not be paid again. Find out why the target answers so."
            )
        return reply

    def _ask(self, keys: list[Key], x: Batch) -> Reply:
        """An API that honours names answers a repeated request as before, and a question asked again afresh."""
        if not isinstance(self.oracle, Named):
            return self.oracle(x)
        scope = self.key.encode()
        return self.oracle.named(
            x, [hashlib.blake2b(scope + hashed + nth.to_bytes(8), digest_size=16).digest() for hashed, nth in keys]
        )


@dataclass(frozen=True, eq=False)
class RecordedModel:
    """A model whose answers cost money, asked through the ledger only.

    Make one for every client: each counts from his own first question, so that all share what was paid for it.
    """

    recorded: Recorded
    task: Task

    def __call__(self, x: Batch, /) -> Reply:
        return self.recorded(x)


def singles(reply: Reply) -> list[tuple[Tensor, Tensor | None]]:
    maps = [None] * len(reply) if reply.maps is None else list(reply.maps.split(1))
    return list(zip(reply.y.split(1), maps, strict=True))


def joined(replies: Sequence[Reply]) -> Reply:
    maps = [reply.maps for reply in replies if reply.maps is not None]
    return Reply(torch.cat([reply.y for reply in replies]), torch.cat(maps) if maps else None)

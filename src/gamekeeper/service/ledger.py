"""The ledger: every paid answer is on disk before anybody sees it, and no answer is paid for twice.

One SQLite file (write-ahead log, synchronous=FULL). An answer is keyed by its scope (target, defense, client), the
hash of the input's bytes, and how often the client sent that input before, since a repeated query is a new one.

    scope   id, key (unique text)
    batch   what was sent: scope, number of inputs, time; and the time of the answer, or the error instead
    answer  (scope, input, nth) -> batch, posterior, attribution map, each with its CRC-32

A batch is recorded before it is sent, and its answers in one transaction afterwards. A process killed in between
leaves a batch without answers, which `Ledger.unanswered` reports: a live API may have charged for it, and only its
operator can tell. The inputs themselves are not stored.

Workers of one grid share a ledger. A scope is locked from the look-up to the commit, so that two workers that need the
same answer buy it once. Raises LedgerError if the file is damaged, of another program, locked or cannot be written.
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
"""Hash of an input, and how often it was sent before."""
POLL = 0.005
"""Seconds between attempts at a lock that another process holds: about the time to commit a batch."""


@runtime_checkable
class Named(Protocol):
    """An oracle that takes a name for each query: a query that is sent again keeps its name."""

    def named(self, x: Batch, names: Sequence[bytes], /) -> Reply: ...


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

    def fail(self, batch: int, error: str) -> None:
        """Records that a batch brought an error instead of answers."""
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
        return self._total("SELECT count(*) FROM answer WHERE (?1 IS NULL OR scope = ?1)", scope)

    def empty(self, scope: int) -> bool:
        """Whether no answer of this scope is recorded."""
        with self.guarded():
            return self.db.execute("SELECT 1 FROM answer WHERE scope = ? LIMIT 1", (scope,)).fetchone() is None

    def unanswered(self, scope: str | None = None) -> int:
        """How many inputs were sent but have neither an answer nor an error: a process died while waiting for them.

        Defenses in front of somebody else's API have scopes of their own; only the API's own counts what it may charge.
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


def fingerprints(x: Batch) -> list[bytes]:
    """A 16-byte hash of each input's bytes, in the dtype of x and with -0 written as 0."""
    rows = (x + 0.0).contiguous().numpy()
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]


@dataclass
class Recorded:
    """An oracle all of whose answers go through the ledger.

    batch    how many inputs are sent, and committed, at a time
    costly   whether the oracle is somebody else's API. The first input of its scope is then sent alone, so that an
             answer that is not what was declared costs one query and not a whole batch
    charged  how many inputs were newly sent; the others were answered from the ledger
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
        """The places of the missing inputs, divided into batches."""
        alone = 1 if self.costly and missing and self.ledger.empty(scope) else 0
        rest = [missing[start : start + self.batch] for start in range(alone, len(missing), self.batch)]
        return [missing[:alone], *rest] if alone else rest

    def _keys(self, x: Batch) -> list[Key]:
        """Keys that count earlier queries of the same input; an input given twice in one batch is sent twice."""
        here: Counter[bytes] = Counter()
        keys: list[Key] = []
        for hashed in fingerprints(x):
            keys.append((hashed, self.times[hashed] + here[hashed]))
            here[hashed] += 1
        return keys

    def _buy(self, scope: int, keys: list[Key], x: Batch) -> Reply:
        """Sends one batch and commits its answers. Raises for rows that are not finite, after recording the others."""
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
                f"{len(keys) - len(recorded)} of {len(keys)} answers hold NaN or infinite values. The {len(recorded)}"
                " good ones are recorded and will not be paid for again. Find out why the target gives such values."
            )
        return reply

    def _ask(self, keys: list[Key], x: Batch) -> Reply:
        """Sends names where the API takes them: a retry then gets the same answer, a repeated query a new one."""
        if not isinstance(self.oracle, Named):
            return self.oracle(x)
        scope = self.key.encode()
        return self.oracle.named(
            x, [hashlib.blake2b(scope + hashed + nth.to_bytes(8), digest_size=16).digest() for hashed, nth in keys]
        )


@dataclass(frozen=True, eq=False)
class RecordedModel:
    """A model whose answers cost money, queried only through the ledger.

    Create one for each client: each counts its queries from zero, so that all share the answers already paid for.
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

"""Memories of any number of clients in bounded memory: the latest clients in this process, the others in an SQLite file.

What is in the file is exactly what was remembered (`stored.py`), so where a client's memories lie changes no result.

    client  whose clients these are, name (UTF-8), two numbers by which clients are sorted, and memories

Nothing is committed here: memories, and whatever else the file holds, are on disk together when its owner commits.
"""

import sqlite3
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from torch import Tensor

from gamekeeper.errors import Malformed
from gamekeeper.service.memory import Memories
from gamekeeper.service.stored import packed, unpacked

SMALL = 8_192
"""Bytes of a memory up to which it is compressed: then most of it is the names of its fields."""
PLAIN, COMPRESSED, NOTHING = 0, 1, 2
HEAD = struct.Struct("<HBQ")
"""Before each memory: bytes of its name, how it is stored, and how many bytes it has."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS client (among TEXT NOT NULL, name BLOB NOT NULL, first REAL NOT NULL, second REAL NOT NULL,
                                   memories BLOB NOT NULL, PRIMARY KEY (among, name))
"""
Rank = Callable[[Memories], tuple[float, float]]
Kinds = Mapping[str, type]


class SpilledClients:
    """The memories of all clients: at most `most` clients and about `room` bytes of them in this process.

    db     an open SQLite file, in a transaction; `among`: whose clients these are, since one file may hold several kinds
    kinds  the class of each memory by its name; NoneType for a memory that is None
    rank   by what clients are sorted, smallest first

    Threads may share it, one at a time: whoever holds a client has all of them.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        kinds: Kinds,
        rank: Rank,
        among: str = "",
        most: int = 5_000,
        room: int = 2**30,
    ) -> None:
        self.db, self.kinds, self.rank, self.among, self.most, self.room = db, kinds, rank, among, most, room
        db.execute(SCHEMA)
        self._live: OrderedDict[str, Memories] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._changed: set[str] = set()
        self._lock = threading.RLock()

    @contextmanager
    def hold(self, client: str) -> Generator[Memories, None, None]:
        with self._lock:
            known = self._live.get(client)
            memories = self.read(client) if known is None else dict(known)
            yield memories
            self._live[client] = memories
            self._live.move_to_end(client)
            self._changed.add(client)
            self._measure(client, memories)
            while len(self._live) > self.most or (self._bytes > self.room and len(self._live) > 1):
                self._evict()

    def read(self, client: str) -> Memories:
        """The memories of a client, not to be changed; empty for an unknown one."""
        if client in self._live:
            return self._live[client]
        row = self.db.execute(
            "SELECT memories FROM client WHERE among = ? AND name = ?", [self.among, client.encode()]
        ).fetchone()
        return {} if row is None else unframed(row[0], self.kinds)

    def store(self) -> None:
        """Writes what has changed since the last time; the owner of the file commits."""
        for client in sorted(self._changed):
            self._write(client)

    def sorted(self, most: int) -> Iterator[str]:
        """The first clients, by their two numbers and then by name."""
        self.store()
        rows = self.db.execute(
            "SELECT name FROM client WHERE among = ? ORDER BY first, second, name LIMIT ?", [self.among, most]
        )
        yield from (bytes(name).decode() for (name,) in rows.fetchall())

    def __iter__(self) -> Iterator[str]:
        """Every client's name, in order."""
        self.store()
        for (name,) in self.db.execute("SELECT name FROM client WHERE among = ? ORDER BY name", [self.among]):
            yield bytes(name).decode()

    def __len__(self) -> int:
        self.store()
        return int(self.db.execute("SELECT count(*) FROM client WHERE among = ?", [self.among]).fetchone()[0])

    def _measure(self, client: str, memories: Memories) -> None:
        size = sum(bytes_of(memory) for memory in memories.values())
        self._bytes += size - self._sizes.get(client, 0)
        self._sizes[client] = size

    def _evict(self) -> None:
        client = next(iter(self._live))
        if client in self._changed:
            self._write(client)
        del self._live[client]
        self._bytes -= self._sizes.pop(client)

    def _write(self, client: str) -> None:
        memories = self._live[client]
        first, second = self.rank(memories)
        self.db.execute(
            "INSERT OR REPLACE INTO client VALUES (?, ?, ?, ?, ?)",
            [self.among, client.encode(), first, second, framed(memories)],
        )
        self._changed.discard(client)


def bytes_of(memory: Any) -> int:
    """About how much memory one takes."""
    if memory is None:
        return 0
    values = (getattr(memory, f.name) for f in fields(memory))
    return 1_000 + sum(value.nbytes for value in values if isinstance(value, Tensor))


def framed(memories: Memories) -> bytes:
    """All memories of a client, one behind the other."""
    parts: list[bytes] = []
    for name, memory in memories.items():
        data, how = (b"", NOTHING) if memory is None else (packed(memory), PLAIN)
        if how == PLAIN and len(data) <= SMALL:
            data, how = zlib.compress(data, 1), COMPRESSED
        title = name.encode()
        parts += [HEAD.pack(len(title), how, len(data)), title, data]
    return b"".join(parts)


def unframed(whole: bytes, kinds: Kinds) -> Memories:
    """Raises Malformed for bytes that are damaged, or a memory of unknown name."""
    memories: Memories = {}
    place = 0
    while place < len(whole):
        length, how, size = HEAD.unpack_from(whole, place)
        name = whole[place + HEAD.size : place + HEAD.size + length].decode()
        start = place + HEAD.size + length
        data, place = whole[start : start + size], start + size
        if name not in kinds or len(data) != size:
            raise Malformed(
                f"a client's memory {name!r} is damaged, or of another detector. Delete the file and run again."
            )
        if how == COMPRESSED:
            data = zlib.decompress(data)
        memories[name] = None if how == NOTHING else unpacked(kinds[name], data)
    return memories

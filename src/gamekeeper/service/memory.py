"""What a service remembers of its clients: accessed through `hold`, so it can be in this process or in a database."""

import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

Memories = dict[str, Any]
"""The memories of one client, made by `fresh`, under the name of the part that uses them (`defense 0`)."""


@runtime_checkable
class Clients(Protocol):
    """The memories of all clients. Nothing else in a service assumes a single process."""

    def hold(self, client: str) -> AbstractContextManager[Memories]:
        """The client's memories, empty for a new client, for the duration of a block; others who need them wait.

        Memories may be changed in place, added and replaced. When the block ends they are stored, all together. If it
        ends with an error, nothing is stored: a request that was not answered does not count against the client.
        """
        ...


@dataclass
class _Client:
    lock: threading.Lock = field(default_factory=threading.Lock)
    memories: Memories = field(default_factory=dict[str, Any])


class InProcess:
    """Memories in this process, lost when it ends; a lock per client, so that clients do not wait for each other.

    Nothing is copied, since a memory may grow with every query. After an error, a memory that was changed in place
    stays changed, while added and replaced ones are dropped.
    """

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        self._table = threading.Lock()

    @contextmanager
    def hold(self, client: str) -> Generator[Memories, None, None]:
        with self._table:
            known = self._clients.setdefault(client, _Client())
        with known.lock:
            memories = dict(known.memories)
            yield memories
            known.memories = memories

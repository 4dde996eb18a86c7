"""What a service remembers of its clients: behind `hold`, so that it can lie in this process or in a database."""

import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

Memories = dict[str, Any]
"""Of one client: by the name of the place that remembers (`defense 0`), what its `fresh` made and it has updated since."""


@runtime_checkable
class Clients(Protocol):
    """The memories of all clients. Nothing else in a service assumes one process."""

    def hold(self, client: str) -> AbstractContextManager[Memories]:
        """The client's memories, empty for a new one, for the length of a block; anybody else who wants them waits.

        Memories may be changed where they are, added and replaced. When the block ends they are kept, all together;
        when it ends with an error nothing is written back: what the client was not answered is not held against them.
        """
        ...


@dataclass
class _Client:
    lock: threading.Lock = field(default_factory=threading.Lock)
    memories: Memories = field(default_factory=dict[str, Any])


class InProcess:
    """Memories of one process, lost with it; a lock for every client, so that nobody waits for another.

    Nothing is copied, since a memory may grow with every query: one that was changed in place before an error stays
    changed, while one that was added or replaced does not stay.
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

"""Room for bodies that are being received: bounded for all, and for each client, so that nobody can take all of it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from gamekeeper.errors import Busy, Denied


class Receiving:
    """Bytes of bodies under way, by what their clients announce: at most `most`, `most_of_one` of them one client's.

    A client's only body is received whatever its size, if there is room. The event loop alone keeps the books.
    """

    def __init__(self, most: int, most_of_one: int, now: Callable[[], float]) -> None:
        self.most, self.most_of_one, self._now = most, most_of_one, now
        self._of: dict[str, int] = {}

    @property
    def size(self) -> int:
        return sum(self._of.values())

    @contextmanager
    def room(self, owner: str, size: int) -> Generator[None, None, None]:
        """Room for a body, for the duration of a block. Raises Busy, or Denied for a client who has too much of it."""
        of_one = self._of.get(owner, 0)
        if self.size + size > self.most:
            raise Busy("the server is receiving as much as it can hold. Try again later.")
        if of_one and of_one + size > self.most_of_one:
            raise Denied(
                "your requests under way are as much as one client may send at once. Wait for their answers.",
                until=self._now() + 1.0,
            )
        self._of[owner] = of_one + size
        try:
            yield
        finally:
            self._of[owner] -= size
            if not self._of[owner]:
                del self._of[owner]

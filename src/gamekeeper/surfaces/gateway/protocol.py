"""uvicorn's HTTP protocol with limits on what comes before a body, and a note when a client leaves before its answer.

uvicorn limits neither the time nor the size of headers, and waits for ever on a connection that never sends any, that sends
an empty line after an answer, or that does not read its answers.
"""

import asyncio
from enum import Enum
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gamekeeper.surfaces.gateway.app import GONE, SLOW
from gamekeeper.surfaces.gateway.settings import ServerSettings

REFUSALS = {
    408: b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
}


class Awaited(Enum):
    """What a client has not sent to its end."""

    HEAD = "head"
    BODY = "body"


class JoinedWrites:
    """A transport that sends the headers of an answer together with its body: one system call instead of two.

    What was written first waits for the second write, or for the end of the loop's turn.
    """

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop, self._held = transport, loop, b""

    def write(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
            self._transport.write(data)
        elif data:
            self._held = data
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        if self._held:
            self._transport.write(self._held)
            self._held = b""

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class GuardedProtocol(HttpToolsProtocol):
    """One connection; `guarded` makes the class for settings."""

    settings: ServerSettings

    def __init__(self, config: Config, *rest: Any, **named: Any) -> None:
        super().__init__(config, *rest, **named)
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        """Runs while the client leaves answers unread."""
        self._head = 0
        """Bytes of headers that are not complete yet."""
        self._awaited: Awaited | None = Awaited.HEAD

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.settings.connections:
            self._refuse(503)
        else:
            self._arm(self.settings.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._read_again()
        for cycle in (self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if cycle and not cycle.response_complete:
                cycle.scope[GONE] = True  # type: ignore[typeddict-unknown-key]
                cycle.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Timers run while something is incomplete: a request that comes in one piece needs none."""
        before = self._awaited
        super().data_received(data)
        if self._awaited is None and self.timeout_keep_alive_task is None and self.cycle.response_complete:
            self._awaited, self._head = Awaited.HEAD, 0  # an empty line, at which the time of an idle connection ended
        if self._awaited is None or (before is not self._awaited and self._timer is not None):
            self._disarm()
        if self._awaited is Awaited.HEAD:
            self._head += len(data)
            if self._head > self.settings.header_bytes:
                self._refuse(431)
        if self._awaited is not None and self._timer is None and not self.transport.is_closing():
            head = self._awaited is Awaited.HEAD
            self._arm(self.settings.header_timeout if head else self.settings.body_timeout)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.settings.body_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read_again()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._awaited, self._head = Awaited.HEAD, 0

    def on_headers_complete(self) -> None:
        self._awaited = Awaited.BODY
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.transport = JoinedWrites(self.transport, self.loop)  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        self._awaited = None
        super().on_message_complete()

    def _arm(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _read_again(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _late(self) -> None:
        self._timer = None
        if self._awaited is Awaited.BODY and not self.cycle.response_complete:
            self.cycle.scope[SLOW] = True  # type: ignore[typeddict-unknown-key]
            self.cycle.message_event.set()  # the application hears of it
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        self._disarm()
        if self.transport.is_closing():
            return
        if not self.cycle or self.cycle.response_complete:  # else bytes would mix with an answer under way
            self.transport.write(REFUSALS[status])
        self.transport.close()


def guarded(settings: ServerSettings) -> type[GuardedProtocol]:
    """The protocol with the limits of the settings."""
    return type("Guarded", (GuardedProtocol,), {"settings": settings})

"""uvicorn's HTTP protocol with limits on what comes before a body, and a note when a client leaves before its answer.

uvicorn limits neither the time nor the size of headers, and waits for ever on a connection that never sends any.
"""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gamekeeper.surfaces.gateway.app import GONE
from gamekeeper.surfaces.gateway.settings import ServerSettings

REFUSALS = {
    408: b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
}


class GuardedProtocol(HttpToolsProtocol):
    """One connection; `guarded` makes the class for settings."""

    seconds = 10.0
    most = 65_536
    connected = 1_000

    def __init__(self, config: Config, *rest: Any, **named: Any) -> None:
        super().__init__(config, *rest, **named)
        self._timer: asyncio.TimerHandle | None = None
        self._head = 0
        """Bytes of headers that are not complete yet."""
        self._in_head = True

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.connected:
            self._refuse(503)
        else:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        for cycle in (self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if cycle and not cycle.response_complete:
                cycle.scope[GONE] = True  # type: ignore[typeddict-unknown-key]
                cycle.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and self._timer is not None:
            self._head += len(data)
            if self._head > self.most:
                self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._timer is None:
            self._begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._disarm()
        self._in_head = False
        super().on_headers_complete()

    def _begin(self) -> None:
        self._head = 0
        self._timer = self.loop.call_later(self.seconds, self._refuse, 408)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int) -> None:
        self._disarm()
        if self.transport.is_closing():
            return
        if not self.cycle or self.cycle.response_complete:  # else bytes would mix with an answer under way
            self.transport.write(REFUSALS[status])
        self.transport.close()


def guarded(settings: ServerSettings) -> type[GuardedProtocol]:
    """The protocol with the limits of the settings."""

    class Guarded(GuardedProtocol):
        seconds = settings.header_timeout
        most = settings.header_bytes
        connected = settings.connections

    return Guarded

"""Connections that heed a deadline: whatever a server does, a thread that waits for it comes back in time.

httpx bounds each step of an exchange. A server that sends one byte of a header every few seconds stays below every such bound;
here each step ends when the whole time is over, or when nobody waits for the answer any more. The connection is then closed.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from gamekeeper.targets.http_config import HttpConfig
from gamekeeper.targets.http_environment import certificates, route

POLL = 0.1
"""Seconds after which a thread that reads looks whether somebody still waits."""
KEPT = 2.0
"""Seconds for which an idle connection is kept: less than servers do, so that none is closed as a request goes out."""
Left = Callable[[], float]
"""Seconds that the calling thread may still wait; 0 or less: none."""


class BoundedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, left: Left) -> None:
        self._stream, self._left = stream, left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (most := min(self._left(), end - time.monotonic())) > 0:
            try:
                return self._stream.read(max_bytes, min(most, POLL))
            except httpcore.ReadTimeout:
                continue  # nothing came, and nothing was lost
        raise httpcore.ReadTimeout("no time is left")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = self._left()
        if left <= 0:
            raise httpcore.WriteTimeout("no time is left")
        self._stream.write(buffer, left if timeout is None else min(timeout, left))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> Any:
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class BoundedBackend(httpcore.NetworkBackend):
    def __init__(self, backend: httpcore.NetworkBackend, left: Left) -> None:
        self._backend, self._left = backend, left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        return BoundedStream(stream, self._left)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return BoundedStream(self._backend.connect_unix_socket(path, timeout, socket_options), self._left)


def bounded_transport(config: HttpConfig, left: Left) -> httpx.HTTPTransport:
    """One connection, by the way that the environment names, as in an audit."""
    way = route(config.url)
    transport = httpx.HTTPTransport(
        verify=certificates(config.url, config.verify_tls, way),
        proxy=way.proxy,
        trust_env=False,
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEPT),
    )
    pool = transport._pool  # httpx has no other door to httpcore's network backends
    pool._network_backend = BoundedBackend(pool._network_backend, left)
    return transport

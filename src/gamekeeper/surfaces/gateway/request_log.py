"""One JSON line for each request: what an operator needs, and nothing that a client would not want there.

No input, key, address or name of a client is written: a client is the first digits of their pseudonym. Of an error nobody
expected, its kind and where it came from are written, not its message, which may quote what a client sent.

Lines are written by a thread a few times a second, so that a slow disk or a full pipe holds up nobody; when more wait than
fit, the newest are dropped and their number is written.
"""

import logging
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import orjson

from gamekeeper.protocols.served import Wire
from gamekeeper.service.principals import Principal

LOG = logging.getLogger("gamekeeper.gateway")
"""For the server's own events: starting, stopping, a policy that was read again."""
PREFIX = 8
"""Digits of a client's pseudonym."""
EVERY, MOST = 0.25, 20_000
"""Seconds between writes, and lines that wait for one at most."""


@runtime_checkable
class Stream(Protocol):
    """Where lines go: an open text file, for one."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


@dataclass(slots=True)
class Visit:
    """What is known of a request by the time it has been answered.

    start  when its headers were there, by `time.perf_counter`; `at`: when its body was, in seconds since 1970
    """

    start: float
    at: float = 0.0
    status: int = 0
    rows: int = 0
    wire: Wire | None = None
    who: Principal | None = None
    trace: str = ""
    traceparent: bytes = b""
    body_read: bool = False


class RequestLog:
    """Writes lines to a stream; None: standard error."""

    def __init__(self, stream: Stream | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._lines: list[str] = []
        self._dropped = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="gateway log", daemon=True)
        self._thread.start()

    def visited(self, protocol: str, outcome: str, visit: Visit, taken: float) -> None:
        """Notes a request that was answered in `taken` seconds."""
        client = "" if visit.who is None else visit.who.client[:PREFIX]
        # by hand, which takes a third of the time: words of our own, numbers and hexadecimal digits need no escaping
        self._append(
            f'{{"at":{visit.at or time.time():.3f},"status":{visit.status},"outcome":"{outcome}","protocol":"{protocol}",'
            f'"rows":{visit.rows},"ms":{1000 * taken:.2f},"client":"{client}","trace":"{visit.trace}"}}'
        )

    def failed(self, error: Exception, visit: Visit) -> None:
        """Notes an error nobody expected: its kind, and the places it passed, innermost last."""
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
        self._append(line(error=type(error).__name__, places=places, trace=visit.trace))

    def event(self, level: str, message: str) -> None:
        """Notes an event of the server's own."""
        self._append(line(level=level, message=message))

    def close(self) -> None:
        """Writes what is left, and ends."""
        self._stopped.set()
        self._thread.join(timeout=2.0)

    def _append(self, text: str) -> None:
        with self._lock:
            if len(self._lines) < MOST:
                self._lines.append(text)
            else:
                self._dropped += 1

    def _write_on(self) -> None:
        while not self._stopped.wait(EVERY):
            self._write()
        self._write()

    def _write(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
            dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(line(dropped=dropped))
        if lines:
            try:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # a reader that left must not stop the gateway; metrics go on counting
                return


def line(**about: object) -> str:
    """A line of the log, now."""
    return orjson.dumps({"at": round(time.time(), 3), **about}).decode()


class Events(logging.Handler):
    """Turns the records of Python's loggers into lines of the log, without tracebacks."""

    def __init__(self, log: RequestLog) -> None:
        super().__init__()
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        self.log.event(record.levelname.lower(), record.getMessage().strip())

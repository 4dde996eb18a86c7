"""Runs the application: one process, one event loop, until a signal ends it.

SIGTERM, SIGINT   first the server says that it is not ready, and answers for `notice` seconds more, so that a balancer
                  turns away; then questions are refused, and those under way have `drain` seconds to end. The second
                  signal stops at once
SIGHUP            reads the policy again; a bad one is logged and changes nothing
"""

import logging
import signal
import ssl
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from gamekeeper.errors import BadConfig, GamekeeperError
from gamekeeper.surfaces.gateway.app import App, Phase
from gamekeeper.surfaces.gateway.protocol import guarded
from gamekeeper.surfaces.gateway.request_log import LOG, Events, RequestLog
from gamekeeper.surfaces.gateway.settings import ServerSettings

LAST = 2
"""Seconds in which the last bytes of answers leave, once nothing is under way."""
EXPOSED = (
    "%s is reached from other machines and does not use TLS: keys and inputs cross the network as they are."
    " Give a certificate, or listen on 127.0.0.1 behind a proxy that has one."
)


class Server(uvicorn.Server):
    """uvicorn's server, with an end in steps."""

    def __init__(self, config: uvicorn.Config, app: App, settings: ServerSettings) -> None:
        super().__init__(config)
        self.app, self.settings = app, settings
        self.closing = self.closed = 0.0
        """By `time.monotonic`: when questions are refused, and when nothing is waited for any more; 0: not yet known."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.closing:
            LOG.warning("a second signal: stopping at once")
            self.should_exit = self.force_exit = True
            return
        LOG.info("stopping: not ready; questions are refused in %g s", self.settings.notice)
        self.app.phase = Phase.NOTICE
        self.closing = time.monotonic() + self.settings.notice
        self.closed = self.closing + self.settings.drain

    async def on_tick(self, counter: int) -> bool:
        stop = await super().on_tick(counter)
        now = time.monotonic()
        if not self.closing or now < self.closing:
            return stop
        self.app.phase = Phase.CLOSED
        return stop or not self.app.pool.under_way or now > self.closed


def server(app: App, settings: ServerSettings) -> Server:
    """A server that was not started yet. Raises BadConfig for a certificate that cannot be read."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        uds=None if settings.unix is None else str(settings.unix),
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
        loop="uvloop",
        http=guarded(settings),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        # X-Forwarded-For is read by the application, which believes nobody by default; uvicorn believes all local peers
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive,  # type: ignore[arg-type]
        timeout_graceful_shutdown=LAST,
        backlog=min(2048, settings.connections),
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise BadConfig(f"the certificate {settings.certificate} or its key cannot be used: {error}.") from None
    return Server(config, app, settings)


def run(
    app: App,
    settings: ServerSettings,
    reload: Callable[[], None] | None = None,
    drained: Callable[[], None] | None = None,
) -> bool:
    """Serves until a signal ends it, in the main thread. Returns whether every request under way was answered.

    reload   called at SIGHUP, in a thread; what it raises is logged
    drained  called once, after the last answer: to give back leases and close the journal

    Where it returns False, threads may still be busy: leave the process by `os._exit`, since a model cannot be stopped.
    """
    started = server(app, settings)
    metrics = app.metrics.serve(*settings.metrics) if settings.metrics else None
    previous = signal.signal(signal.SIGHUP, Reread(reload))
    try:
        with logged(app.log):
            if settings.exposed:
                LOG.warning(EXPOSED, f"{settings.host}:{settings.port}")
            started.run()
    finally:
        signal.signal(signal.SIGHUP, previous)
        if metrics is not None:
            metrics.shutdown()
            metrics.server_close()
        whole = not app.pool.under_way
        if drained is not None and not started.force_exit:
            drained()
        app.close()
    return whole


@contextmanager
def logged(log: RequestLog) -> Generator[None, None, None]:
    """Within the block, events of the server and of uvicorn are lines of the log."""
    handler = Events(log)
    loggers = (LOG, logging.getLogger("uvicorn.error"))
    before = [(each.level, each.propagate) for each in loggers]
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.INFO if each is LOG else logging.WARNING)
        each.propagate = False
    try:
        yield
    finally:
        for each, (level, propagate) in zip(loggers, before, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)
            each.propagate = propagate


class Reread:
    """Reads the policy again, one at a time; a failure is logged and changes nothing."""

    def __init__(self, reload: Callable[[], None] | None) -> None:
        self.reload = reload
        self._lock = threading.Lock()

    def __call__(self, *_: object) -> None:
        """As a signal's handler: what takes time is done in a thread."""
        threading.Thread(target=self.now, name="reload", daemon=True).start()

    def now(self) -> None:
        if self.reload is None:
            LOG.warning("SIGHUP: there is nothing to read again")
            return
        try:
            with self._lock:
                self.reload()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, the server goes on as it was
            LOG.error(
                "nothing has changed: %s", str(error) if isinstance(error, GamekeeperError) else type(error).__name__
            )
        else:
            LOG.info("the policy was read again")

"""A model whose answers come from a server behind the gateway, of the protocols of an audit's HTTP targets.

Source      RFC 9110 (Retry-After); W3C Trace Context (traceparent); M. Nygard, "Release It!" (circuit breaker)
As audit    addresses, protocols, names, units, what an answer means: everything in `[http]` of a target file
Unlike      nothing is written down and nobody waits for long: a request is sent once, and again only if it never went
            out; it ends at its deadline or when its client hangs up, whatever the server does (`bounded.py`)
Failures    down, slow, a connection that breaks         Unreachable, or Lost if it may have been charged
            an answer that breaks off, HTML, another shape, NaN    Malformed
            429; 503 with a Retry-After; every connection in use; past the deadline    Busy
            several failures in a row                    Busy, until one request in a while gets through (`breaker.py`)
Held against the server are failures to answer, not answers: a client could provoke what is wrong in those.
"""

import logging
import math
import secrets
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from queue import Empty, LifoQueue

from gamekeeper.engine.gateway.bounded import bounded_transport
from gamekeeper.engine.gateway.breaker import Breaker, Trial
from gamekeeper.engine.gateway.request import UNDER_WAY, Request, seconds_left
from gamekeeper.errors import BadConfig, Busy, Lost, Malformed, Unreachable
from gamekeeper.models.opaque import RemoteModel
from gamekeeper.models.translation import TranslatedWire
from gamekeeper.targets.http import HttpOracle
from gamekeeper.targets.http_config import HttpConfig
from gamekeeper.targets.http_sender import Answer, Sender, Trouble, shown
from gamekeeper.types import Batch, Model, Reply, Task, answered

FAILED, INTERNAL, UNAVAILABLE = 300, 500, 503
log = logging.getLogger("gamekeeper.gateway.upstream")
"""Its lines are among those of the gateway's server."""


@dataclass(frozen=True)
class Patience:
    """How much a gateway puts up with from the server behind it.

    at_once   requests under way at a time; others wait for one of them to end, until their deadline
    tries     how often a request is sent that does not reach the server
    failures  in a row, after which the server is left alone
    rest      seconds for which it is left alone
    fair      seconds that a request must have waited before a missing answer is held against the server
    """

    at_once: int = 32
    tries: int = 2
    failures: int = 5
    rest: float = 5.0
    fair: float = 1.0

    def __post_init__(self) -> None:
        if min(self.at_once, self.tries, self.failures) < 1 or not (0 < self.rest < math.inf and self.fair >= 0):
            raise BadConfig(
                f"at_once, tries and failures must be 1 or more, rest positive, fair 0 or more. Got {self}."
            )


class InTime:
    """An exchange with the server that ends at the deadline of the request under way. Threads may share it.

    Each request under way has a connection of its own. A pool that threads share, as httpx's, may close an idle connection in
    one thread as another one begins to use it.

    sender  knows the configuration; nothing is sent by it
    """

    def __init__(self, config: HttpConfig, patience: Patience) -> None:
        self.config, self.patience = config, patience
        self.sender = self._connection()
        self._idle: LifoQueue[Sender | None] = LifoQueue()
        for _ in range(patience.at_once):
            self._idle.put(None)  # not yet made; those that were are taken first
        self.breaker = Breaker(patience.failures, patience.rest)
        self._next, self._lock = -math.inf, threading.Lock()

    def __call__(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Any answer. Raises Unreachable, Lost, Malformed or Busy."""
        traceable = {**headers, **traced(UNDER_WAY.get())}
        for tries_left in reversed(range(self.patience.tries)):
            self._pace()
            result = self._once(method, url, content, traceable)
            if isinstance(result, Answer):
                return result
            went_out = result.status is not None or result.error is not Unreachable
            if went_out or not tries_left:  # sent again, it might be charged twice
                raise self._error(result, url)
        raise AssertionError  # the loop above ends by itself

    def _once(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]) -> Answer | Trouble:
        with self.breaker.trial() as trial:
            most = seconds_left()
            if most <= 0:
                raise past_deadline()
            try:
                with self._slot() as sender:
                    result = sender.attempt(method, url, content, headers, seconds_left())
            except Unreachable:
                trial.worked = False
                raise
            self._judge(trial, result, most)
            self._note(result, url)
            return result

    def _connection(self) -> Sender:
        return Sender(self.config, bounded_transport(self.config, seconds_left))

    @contextmanager
    def _slot(self) -> Generator[Sender]:
        """A connection for one request. Raises Busy if none is free before the deadline."""
        left = min(seconds_left(), threading.TIMEOUT_MAX)
        try:
            sender = self._idle.get(timeout=max(0.0, left))
        except Empty:
            raise Busy("every connection to the model behind this service is in use. Try again later.") from None
        try:
            sender = sender or self._connection()
            yield sender
        finally:
            self._idle.put(sender)

    def close(self) -> None:
        """Closes connections that are not in use."""
        self.sender.close()
        for _ in range(self._idle.qsize()):
            idle = self._idle.get()
            if idle is not None:
                idle.close()
            self._idle.put(None)

    def _note(self, result: Answer | Trouble, url: str) -> None:
        """Logs what went wrong, and nothing that a server may have repeated of an input."""
        if isinstance(result, Trouble) and result.status is None:
            log.warning("%s: %s", shown(url), result.what)
        elif result.status is not None and result.status >= FAILED:
            log.warning("%s: status %d", shown(url), result.status)

    def _judge(self, trial: Trial, result: Answer | Trouble, given: float) -> None:
        if isinstance(result, Answer) or result.status in self.config.rate_limit_codes:
            trial.worked = True
        elif result.status == INTERNAL or gone():
            trial.worked = None  # something in the request may be to blame, or the client
        elif result.status is None and result.error is Lost and seconds_left() <= 0:
            trial.worked = None if given < self.patience.fair else False
        else:
            trial.worked = False

    def _error(self, result: Trouble, url: str) -> Exception:
        limited = result.status in self.config.rate_limit_codes
        if limited or (result.status == UNAVAILABLE and result.wait > 0):
            wait = min(result.wait, self.config.retry_after_max) or 1.0
            return Busy("the model behind this service has too much to do. Try again later.", wait)
        if result.status is None and seconds_left() <= 0:
            return past_deadline()
        return result.error(f"{shown(url)}: {result.what}. Check that the server is up and fast enough (`timeout`).")

    def _pace(self) -> None:
        """Waits for this request's turn at `requests_per_second`, unless that is too late."""
        if self.config.requests_per_second is None:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            if turn - now >= seconds_left():
                raise Busy("the model behind this service has too much to do. Try again later.", turn - now)
            self._next = turn + 1 / self.config.requests_per_second
        time.sleep(turn - now)


@dataclass(frozen=True, eq=False)
class Upstream:
    """A server as a Model. Threads may share it; requests are sent as they come, never merged.

    An answer ends at the deadline of the request under way (`under_way`) and is sent under its trace.
    """

    model: RemoteModel
    exchange: InTime

    @property
    def task(self) -> Task:
        return self.model.task

    @property
    def resting(self) -> bool:
        """Whether the server counts as down."""
        return self.exchange.breaker.resting

    def __call__(self, x: Batch, /) -> Reply:
        """An answer to every input. Raises Busy, Unreachable, Malformed."""
        try:
            return whole(self.model(x))
        except BadConfig as error:  # of the server's metadata: it takes other inputs than it was declared to
            log.error("%s", error)
            raise Malformed(str(error)) from error
        except Malformed:
            log.warning("%s: an answer that is not what the target file declares", shown(self.exchange.config.url))
            raise

    def close(self) -> None:
        self.exchange.close()


def upstream(victim: Model, patience: Patience | None = None) -> Upstream:
    """The server of a target file of kind http (`Target.victim`), as a gateway uses it. Raises BadConfig for another kind."""
    wire = victim.oracle if isinstance(victim, RemoteModel) else None
    oracle = wire.wire if isinstance(wire, TranslatedWire) else wire
    if not isinstance(victim, RemoteModel) or not isinstance(oracle, HttpOracle):
        raise BadConfig(
            f'an upstream needs a target of kind = "http", with `url` in [http]; got {type(victim).__name__}.'
        )
    exchange = InTime(oracle.config, patience or Patience())
    own = HttpOracle(oracle.config, oracle.box, oracle.classes, exchange=exchange)
    return Upstream(
        replace(victim, oracle=replace(wire, wire=own) if isinstance(wire, TranslatedWire) else own), exchange
    )


def whole(reply: Reply) -> Reply:
    """The reply, if every input has an answer. Raises Malformed."""
    usable = answered(reply)
    if not bool(usable.all()):
        raise Malformed(
            f"the server gave no answer, or NaN or infinity, to {int((~usable).sum())} of {len(reply)} inputs."
        )
    return reply


def gone() -> bool:
    """Whether nobody waits for the answer that this thread is working on."""
    request = UNDER_WAY.get()
    return request is not None and request.gone()


def traced(request: Request | None) -> dict[str, str]:
    """The header that goes on with a request's trace; this service is the parent of what the server does."""
    if request is None or not request.trace:
        return {}
    return {"traceparent": f"00-{request.trace}-{secrets.token_hex(8)}-01"}


def past_deadline() -> Busy:
    return Busy("there was no answer before the deadline of this request. Try again later.")

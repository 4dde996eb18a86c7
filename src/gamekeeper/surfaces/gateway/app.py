"""The gateway as an ASGI application: who asks, then the body, then the answer in a thread, all within limits.

    path (404, 405) -> key (401) -> body (408, 413, 503) -> question (400, 415) -> a place among those under way (429, 503)
    -> the answer, by its deadline (403, 429, 502, 503, 504) -> bytes

A bare ASGI application, since a framework's routing costs more than everything here. It keeps no state but counts and the
keys of the last second; what must not be lost is in the journal by the time an answer is here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from gamekeeper.engine.gateway.request import Answering, Request, under_way
from gamekeeper.errors import BadRequest, Busy, Denied
from gamekeeper.protocols.addresses import Addresses
from gamekeeper.protocols.bodies import Header, Response, document, too_long
from gamekeeper.protocols.served import Question, Wire
from gamekeeper.service.principals import MOST, Principal, Principals, network
from gamekeeper.surfaces.gateway.headers import Head, address, read_head
from gamekeeper.surfaces.gateway.metrics import Metrics
from gamekeeper.surfaces.gateway.pool import GRACE, Pool
from gamekeeper.surfaces.gateway.receiving import Receiving
from gamekeeper.surfaces.gateway.refusals import CLOSED, Refusal, refusal
from gamekeeper.surfaces.gateway.request_log import RequestLog, Visit
from gamekeeper.surfaces.gateway.settings import ServerSettings

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

GONE = "gamekeeper.gone"
"""Key of a request's scope under which the protocol notes that its client has left."""
SLOW = "gamekeeper.slow"
"""Key of a request's scope under which the protocol notes that its body took too long."""
LARGE = 131_072
"""Bytes from which a body is read in a thread, as any compressed one is: everybody else would wait while the loop reads it."""
SMALL = 65_536
"""Bytes of a body that nobody wants which are received all the same, so that the connection stays of use."""
LINGER = 1.0
"""Seconds for which the rest of such a body is thrown away, so that its sender reads why."""
DOORS, DOOR_QUEUE, DOOR_SECONDS = 2, 64, 5.0
"""Threads that look keys up, how many look-ups may wait for them, and for how long. Half of both is one network's at most."""
CLOSE = (b"connection", b"close")


class Phase(Enum):
    """Whether questions are answered, and whether others are outgoing to come."""

    OPEN = "open"
    NOTICE = "notice"
    CLOSED = "closed"


@dataclass(eq=False, slots=True)
class Outgoing:
    """An answer, why it is one, and whether the connection ends with it."""

    response: Response
    outcome: str
    headers: tuple[Header, ...] = ()
    close: bool = False


class App:
    """The ASGI application. Its methods run on one event loop, `answer` in threads."""

    def __init__(
        self,
        answer: Answering,
        addresses: Addresses,
        principals: Principals,
        settings: ServerSettings,
        metrics: Metrics,
        log: RequestLog,
    ) -> None:
        self.answer, self.addresses, self.principals, self.settings = answer, addresses, principals, settings
        self.metrics, self.log = metrics, log
        self.phase = Phase.OPEN
        self.pool = Pool(settings.threads, settings.queue, settings.most_of_one, time.time)
        self._door = Pool(DOORS, DOOR_QUEUE, DOOR_QUEUE // 2, time.time)
        self._known: dict[tuple[str, str], tuple[Principal, float]] = {}
        self._open = open_paths(addresses)
        self._receiving = Receiving(settings.receiving, int(settings.share * settings.receiving), time.time)
        metrics.watch(lambda: self.pool.under_way)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await lifespan(scope, receive, send)
            return
        visit = Visit(time.perf_counter())
        try:
            outgoing = await self._exchanged(scope, receive, visit)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            outgoing = self._refused(error, visit)
        if scope.get(GONE):
            outgoing = Outgoing(outgoing.response, "gone")
        await self._sent(outgoing, scope, receive, send, visit)
        self._noted(outgoing, visit)

    def close(self) -> None:
        """Ends the threads once they are idle, and writes what is left of the log."""
        self.pool.close()
        self._door.close()
        self.log.close()

    async def _exchanged(self, scope: Scope, receive: Receive, visit: Visit) -> Outgoing:
        path = scope["path"]
        at = self.addresses.at(scope["method"], path, self.phase is Phase.OPEN)
        head = read_head(scope["headers"])
        visit.trace, visit.traceparent = head.trace, head.traceparent
        if isinstance(at, Response):
            visit.body_read = not head.length
            if path not in self._open:
                visit.who = await self._who(head, scope)
            return Outgoing(at, "answered")
        visit.wire = at
        if self.phase is Phase.CLOSED:
            raise Stopping(CLOSED)
        visit.who = who = await self._who(head, scope)
        body = await self._body(scope, receive, head, at, who, visit)
        visit.at, start = time.time(), time.monotonic()
        deadline = start + self.settings.message_timeout
        headers = tuple(scope["headers"])
        question = None if len(body) > LARGE or head.compressed else at.read(headers, body)
        call = partial(self._response, scope, at, question, headers, body, who, deadline, visit)
        response = await self.pool.run(who.client, call, self.settings.message_timeout + GRACE)
        if step := self.settings.answer_step:
            await asyncio.sleep((start - time.monotonic()) % step)
        return Outgoing(response, "answered")

    def _response(
        self,
        scope: Scope,
        wire: Wire,
        question: Question | None,
        headers: tuple[Header, ...],
        body: bytes,
        who: Principal,
        deadline: float,
        visit: Visit,
    ) -> Response:
        """In a thread: the answer to a question, which was read already unless its body is large."""
        if question is None:
            question = wire.read(headers, body)
        visit.rows = question.x.shape[0]
        if scope.get(GONE) or time.monotonic() > deadline:
            raise TimeoutError
        gone = partial(scope.get, GONE, False)
        request = Request(who, question.x, visit.at, visit.trace, deadline, gone)
        with under_way(request):
            reply = self.answer(request)
        return wire.write(question, reply)

    async def _who(self, head: Head, scope: Scope) -> Principal:
        """Who sends the request's key. Raises BadRequest (401). A key that was let in is let in for another second."""
        place = (head.key, address(scope.get("client"), head, self.settings))
        who, until = self._known.get(place, (None, 0.0))
        if who is not None and time.monotonic() < until:
            return who
        fresh = time.monotonic() + self.principals.fresh
        call = partial(self.principals.principal, *place, time.time())
        try:
            who = await self._door.run(network(place[1]), call, DOOR_SECONDS)
        except Denied as error:
            if error.until is not None:  # not of the key: too many look-ups of this network wait
                raise
            raise BadRequest(str(error), 401) from None
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[place] = who, fresh
        return who

    async def _body(
        self, scope: Scope, receive: Receive, head: Head, wire: Wire, who: Principal, visit: Visit
    ) -> bytes:
        """The body, within the limits of size and time. Raises BadRequest (408, 413), Busy, Denied."""
        most = wire.most
        if head.length is not None and head.length > most:
            raise too_long(most)
        with self._receiving.room(who.client, most if head.length is None else head.length):
            body = await received(receive, most, scope)
        visit.body_read = True
        return body

    def _refused(self, error: Exception, visit: Visit) -> Outgoing:
        """An error as the protocol of the request says it."""
        answer = refusal(error)
        if isinstance(error, Stopping):
            answer = Refusal(503, "stopping", CLOSED, answer.retry)
        if answer.status == 500:
            self.log.failed(error, visit)
        write = visit.wire.refuse if visit.wire is not None else plain
        headers: list[Header] = []
        if answer.retry is not None:
            headers.append((b"retry-after", str(answer.retry).encode()))
        if answer.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if answer.status == 405:
            headers.append((b"allow", b"POST" if "by POST" in answer.message else b"GET, HEAD"))
        return Outgoing(write(answer.status, answer.message), answer.outcome, tuple(headers), answer.status == 408)

    async def _sent(self, outgoing: Outgoing, scope: Scope, receive: Receive, send: Send, visit: Visit) -> None:
        """Sends an answer; what is left of a body that nobody wants is received for a while and thrown away."""
        response = outgoing.response
        headers = [(name.lower().encode(), value.encode()) for name, value in response.headers]
        headers.append((b"content-length", str(len(response.body)).encode()))
        headers += outgoing.headers
        if visit.traceparent:
            headers.append((b"traceparent", visit.traceparent))
        left = 0 if visit.body_read else rest(scope["headers"])
        unread = left > SMALL
        if outgoing.close or unread or left < 0 or self.phase is not Phase.OPEN:
            headers.append(CLOSE)
        visit.status = response.status
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else response.body
        if unread and not outgoing.close and body:
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await thrown_away(receive)
            body = b""
        await send({"type": "http.response.body", "body": body})

    def _noted(self, outgoing: Outgoing, visit: Visit) -> None:
        taken = time.perf_counter() - visit.start
        protocol = "none" if visit.wire is None else type(visit.wire).__name__.lower()
        self.metrics.visited(protocol, outgoing.outcome, visit.rows, taken)
        self.log.visited(protocol, outgoing.outcome, visit, taken)


class Stopping(Busy):
    """The server takes no more questions."""


def application(
    answer: Answering,
    addresses: Addresses,
    principals: Principals,
    settings: ServerSettings,
    metrics: Metrics | None = None,
    log: RequestLog | None = None,
) -> App:
    """The gateway as an ASGI application.

    answer      answers a request, as `engine/gateway/request.py` says; called by many threads
    addresses   what is at which path
    principals  who sends a key
    metrics     where requests are counted; by default, metrics that nobody reads
    log         where one line per request goes; by default, standard error
    """
    return App(answer, addresses, principals, settings, metrics or Metrics(), log or RequestLog())


def open_paths(addresses: Addresses) -> frozenset[str]:
    """Documents that need no key: whether the server and its model are there. All others describe the model."""
    always = {"/", "/v2/health/live", "/v2/health/ready", "/ping", "/health"}
    return frozenset(always | {path for path in addresses.documents if path.endswith("/ready")})


def plain(status: int, message: str) -> Response:
    """An error at an address of no protocol."""
    return document({"error": message}, status)


async def received(receive: Receive, most: int, scope: Scope) -> bytes:
    """The body of at most `most` bytes. Raises BadRequest: 413, 408, or 400 if the client leaves before its end."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body") and len(message["body"]) <= most:
        return message["body"]
    parts: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > most:
            raise too_long(most)
        if not message.get("more_body"):
            return b"".join(parts)
        if scope.get(SLOW):
            raise BadRequest("the body took too long to arrive. Send it in one go.", 408)
        message = await receive()
    raise BadRequest("the connection ended before the body did.")


def rest(headers: list[Header]) -> float | int:
    """Bytes of a body that may still come, as its headers say; -1: perhaps none, since its sender waits for a word."""
    if any(name == b"expect" for name, _ in headers):
        return -1
    for name, value in headers:
        if name == b"content-length":
            return int(value) if value.isdigit() else float("inf")
        if name == b"transfer-encoding":
            return float("inf")
    return 0


async def thrown_away(receive: Receive) -> None:
    """Receives the rest of a body for a while."""
    try:
        async with asyncio.timeout(LINGER):
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass
    except TimeoutError:
        return


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing is prepared or put away here; some servers ask all the same. WebSockets are refused."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    while (message := await receive())["type"] != "lifespan.shutdown":
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})

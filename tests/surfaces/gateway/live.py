"""A gateway's server on loopback, before a toy model, and a client that sends exactly the bytes it is given."""

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from gamekeeper.engine.gateway.request import Answering, Request
from gamekeeper.protocols.addresses import Addresses
from gamekeeper.protocols.served import Limits, Served
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.principals import Principals, Pseudonyms
from gamekeeper.surfaces.gateway.app import App, application
from gamekeeper.surfaces.gateway.metrics import Metrics
from gamekeeper.surfaces.gateway.request_log import RequestLog
from gamekeeper.surfaces.gateway.running import Server, server
from gamekeeper.surfaces.gateway.settings import ServerSettings
from gamekeeper.types import Box, Reply

SERVED = Served("m", Box((1, 2, 3)), 3)
LIMITS = Limits(rows=4)
INFER = "/v2/models/m/infer"


def weights() -> torch.Tensor:
    return torch.randn((6, 3), generator=torch.Generator().manual_seed(7))


def linear(request: Request) -> Reply:
    return model(request.x)


def model(x: torch.Tensor) -> Reply:
    """A model of one layer, so that an answer depends on every bit of its input."""
    return Reply(torch.softmax(x.flatten(1) @ weights(), 1))


@dataclass
class Live:
    """A server that runs in a thread."""

    app: App
    principals: Principals
    key: str
    settings: ServerSettings
    log: io.StringIO
    server: Server | None = None
    seen: list[Request] = field(default_factory=list)
    connections: "list[Connection]" = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.server.servers[0].sockets[0].getsockname()[1]

    def metric(self, name: str, **labels: str) -> float:
        return self.app.metrics.registry.get_sample_value(name, labels) or 0.0

    def lines(self) -> list[dict]:
        """The log so far."""
        self.app.log._write()
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def built(answer: Answering = linear, served: Served = SERVED, limits: Limits = LIMITS, **settings: object) -> Live:
    """An application that does not listen yet."""
    principals = Principals(InProcessJournal(), Pseudonyms(bytes(32)))
    chosen = ServerSettings(port=0, **{"notice": 0.2, "drain": 3.0, **settings})
    log, seen = io.StringIO(), []

    def noting(request: Request) -> Reply:
        seen.append(request)
        return answer(request)

    app = application(noting, Addresses(served, limits), principals, chosen, Metrics(), RequestLog(log))
    return Live(app, principals, principals.issue("acme", "alice", time.time()), chosen, log, None, seen)


@contextmanager
def serving(answer: Answering = linear, **given: object) -> Generator[Live, None, None]:
    """A server on a free port of loopback, stopped at the end of the block."""
    live = built(answer, **given)
    live.server = server(live.app, live.settings)
    thread = threading.Thread(target=live.server.run, daemon=True)
    thread.start()
    until(lambda: live.server.started)
    try:
        yield live
    finally:
        for connection in live.connections:
            connection.close()
        live.server.should_exit = live.server.force_exit = True
        thread.join(timeout=10)
        live.app.close()
    assert not thread.is_alive()


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)


class Connection:
    """A connection to the server, on which raw bytes go out and answers come back."""

    def __init__(self, live: Live, timeout: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", live.port), timeout=timeout)
        self.file = self.socket.makefile("rb")
        live.connections.append(self)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, head: bool = False) -> Answer | None:
        """The next answer; None: the server closed the connection. `head`: an answer without its body."""
        line = self.file.readline()
        if not line:
            return None
        headers: dict[str, str] = {}
        while (row := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = row.decode().partition(":")
            headers[name.lower()] = value.strip()
        length = 0 if head else int(headers.get("content-length", "0"))
        return Answer(int(line.split()[1]), headers, self.file.read(length))

    def closed(self) -> bool:
        """Whether the server has closed the connection, waiting for it as long as the time-out."""
        try:
            return self.file.read(1) == b""
        except ConnectionError:
            return True

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def raw(path: str = INFER, method: str = "POST", body: bytes = b"", key: str = "", **headers: object) -> bytes:
    """A request's bytes; a header of None is left out."""
    lines: dict[str, object] = {"Host": "m"}
    if body or method == "POST":
        lines["Content-Length"] = len(body)
    if key:
        lines["Authorization"] = f"Bearer {key}"
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode() + body


def tensor(x: torch.Tensor) -> dict[str, object]:
    """A V2 request for inputs, in JSON."""
    data = [float(value) for value in x.flatten()]
    return {"inputs": [{"name": "input-0", "shape": list(x.shape), "datatype": "FP32", "data": data}]}


def body_of(x: torch.Tensor) -> bytes:
    return json.dumps(tensor(x)).encode()


def images(n: int = 1, seed: int = 0) -> torch.Tensor:
    return SERVED.domain.uniform(n, seed)


def answered(live: Live, request: bytes, head: bool = False) -> Answer:
    """The answer to one request on a connection of its own."""
    with Connection(live) as connection:
        connection.send(request)
        answer = connection.receive(head)
        assert answer is not None
        return answer


def question(live: Live, n: int = 1, seed: int = 0, **headers: object) -> bytes:
    return raw(body=body_of(images(n, seed)), key=live.key, **headers)

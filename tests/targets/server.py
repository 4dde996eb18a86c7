"""Real servers on 127.0.0.1: one that speaks v2 (JSON and binary), v1 and plain JSON, and one that misbehaves.

`Api` is written against the protocols' texts, not against gamekeeper's client, and refuses what they do not allow.
"""

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

Answer = Callable[[np.ndarray], np.ndarray]


class Api(ThreadingHTTPServer):
    """Publishes `answer`, a function from inputs (n, ...) to posteriors (n, k), by every protocol.

    extensions, metadata  what the server says about itself; metadata None answers 404
    zipped                compresses what it answers
    map                   a function from inputs to maps (n, h, w), sold beside the answers; None: none are
    seen                  (path, headers) of every request; connections counts accepted ones
    """

    daemon_threads = True

    def __init__(self, answer: Answer, shape: tuple[int, ...]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.shape = answer, shape
        self.extensions = ["binary_tensor_data"]
        self.metadata: dict | None = {
            "name": "m",
            "inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, *shape]}],
        }
        self.zipped = False
        self.map: Answer | None = None
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.connections = 0

    def get_request(self):
        self.connections += 1
        return super().get_request()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Api

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        self.server.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        if self.path == "/v2":
            self.reply({"name": "test", "version": "1", "extensions": self.server.extensions})
        elif self.path == "/v2/models/m" and self.server.metadata is not None:
            self.reply(self.server.metadata)
        else:
            self.reply({"error": "no such thing"}, 404)

    def do_POST(self) -> None:
        self.server.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v2/models/m/infer":
            self.infer(body)
        elif self.path == "/v1/models/m:predict":
            x = np.array(json.loads(body)["instances"])
            rows = self.server.answer(x).tolist()
            self.reply({"predictions": rows if self.server.map is None else self.explained(x, rows)})
        elif self.path == "/score":
            x = np.array(json.loads(body)["question"]["rows"])
            self.reply({"results": self.explained(x, self.server.answer(x).tolist())})
        else:
            self.reply({"error": f"unknown path {self.path}"}, 404)

    def explained(self, x: np.ndarray, rows: list) -> list[dict]:
        if self.server.map is None:
            return [{"scores": row} for row in rows]
        return [{"scores": row, "map": one} for row, one in zip(rows, self.server.map(x).tolist(), strict=True)]

    def infer(self, body: bytes) -> None:
        length = self.headers.get("Inference-Header-Content-Length")
        head, tail = (body, b"") if length is None else (body[: int(length)], body[int(length) :])
        request = json.loads(head)
        (given,) = request["inputs"]
        if given["name"] != "pixels" or given["datatype"] != "FP32" or given["shape"][1:] != list(self.server.shape):
            self.reply({"error": f"unexpected input {given['name']} {given['datatype']} {given['shape']}"}, 400)
            return
        if "binary_data_size" in given.get("parameters", {}):
            assert given["parameters"]["binary_data_size"] == len(tail)
            assert self.headers["Content-Type"] == "application/octet-stream"
            x = np.frombuffer(tail, "<f4")
        else:
            assert not tail
            x = np.array(given["data"], dtype=np.float32)
        x = x.reshape(given["shape"])
        made = {"posterior": self.server.answer(x)} | ({} if self.server.map is None else {"map": self.server.map(x)})
        wanted = request.get("outputs", [{"name": name} for name in made])
        whole = request.get("parameters", {}).get("binary_data_output", False)
        document, tail = {"model_name": "m", "id": request.get("id", ""), "outputs": []}, b""
        for asked in (one if one["name"] in made else {**one, "name": "posterior"} for one in wanted):
            y = made[asked["name"]].astype("<f4")
            output = {"name": asked["name"], "datatype": "FP32", "shape": list(y.shape)}
            if asked.get("parameters", {}).get("binary_data", whole):
                output["parameters"] = {"binary_data_size": y.nbytes}
                tail += y.tobytes()
            else:
                output["data"] = y.ravel().tolist()
            document["outputs"].append(output)
        self.reply(document, tail=tail)

    def reply(self, document: object, status: int = 200, tail: bytes = b"") -> None:
        head = json.dumps(document).encode()
        body = head + tail
        self.send_response(status)
        if tail:
            self.send_header("Inference-Header-Content-Length", str(len(head)))
        if self.server.zipped:
            assert "gzip" in self.headers["Accept-Encoding"]
            self.send_header("Content-Encoding", "gzip")
            body = gzip.compress(body)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(answer: Answer, shape: tuple[int, ...]) -> Iterator[Api]:
    with Api(answer, shape) as api:
        thread = threading.Thread(target=api.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield api
        finally:
            api.shutdown()
            thread.join()


Act = Callable[[socket.socket], None]


@contextmanager
def misbehaving(*acts: Act) -> Iterator[str]:
    """A server that reads a request on each connection, then does the next of `acts` (the last one for ever)."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def run() -> None:
        count = 0
        while not done.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    if read_request(connection):
                        acts[min(count, len(acts) - 1)](connection)
                        count += 1
                except OSError:
                    pass  # the client hung up, as it should

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + body


def says(body: bytes, length: int | None = None, headers: str = "") -> Act:
    """Answers 200 with this body under a Content-Length that may be a lie, and hangs up."""
    size = len(body) if length is None else length
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n{headers}\r\n".encode()
    return lambda connection: connection.sendall(head + body)


def resets(connection: socket.socket) -> None:
    """Closes with a TCP reset instead of an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

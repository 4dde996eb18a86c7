"""Servers that `server.py` and `whole.py` compare, each in a process of its own: `python -m benchmarks.served WHICH SHAPE`.

`bare` is Starlette with the same parser: it reads the body, parses it with orjson, makes the array, and answers ten classes.
`ours` is the gateway's server with everything it does, before an answer that costs nothing. `model` is `bare`, but that it answers with the
built-in mnist model. They listen on a free port, which they print, together with a key.
"""

import os
import socket
import sys
import time
from collections.abc import Callable

import numpy as np
import orjson
import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import Response
from starlette.routing import Route
from torch import Tensor

from gamekeeper.engine.gateway.request import Request
from gamekeeper.protocols.addresses import Addresses
from gamekeeper.protocols.served import Served
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.principals import Principals, Pseudonyms
from gamekeeper.surfaces.gateway.app import application
from gamekeeper.surfaces.gateway.request_log import RequestLog
from gamekeeper.surfaces.gateway.running import server
from gamekeeper.surfaces.gateway.settings import ServerSettings
from gamekeeper.targets.load import load_target
from gamekeeper.types import Box, Reply

CLASSES = 10
PATH = "/v2/models/m/infer"
EVEN = Reply(torch.full((1, CLASSES), 1 / CLASSES))


def bare(port: int, answer: Callable[[Tensor], Reply]) -> uvicorn.Server:
    async def infer(request: Asked) -> Response:
        body = await request.body()
        length = request.headers.get("inference-header-content-length")
        if length is None:
            value = orjson.loads(body)
            data = np.array(value["inputs"][0]["data"], np.float32).reshape(value["inputs"][0]["shape"])
            y = answer(torch.from_numpy(data)).y.numpy()
            document = {"outputs": [{"name": "probabilities", "shape": y.shape, "datatype": "FP32", "data": y.ravel()}]}
            return Response(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
        value = orjson.loads(body[: int(length)])
        data = np.frombuffer(bytearray(body[int(length) :]), "<f4").reshape(value["inputs"][0]["shape"])
        y = answer(torch.from_numpy(data)).y.numpy()
        head = orjson.dumps({"outputs": [{"name": "probabilities", "shape": y.shape}]})
        about = {"Inference-Header-Content-Length": str(len(head))}
        return Response(head + y.tobytes(), media_type="application/octet-stream", headers=about)

    app = Starlette(routes=[Route(PATH, infer, methods=["POST"])])
    config = uvicorn.Config(
        app, port=port, loop="uvloop", http="httptools", log_config=None, access_log=False, lifespan="off"
    )
    return uvicorn.Server(config)


def constant(x: Tensor) -> Reply:
    """An answer that costs nothing."""
    return EVEN


def ours(port: int, shape: tuple[int, ...], principals: Principals) -> uvicorn.Server:

    def answer(request: Request) -> Reply:
        return EVEN

    settings = ServerSettings(port=port, queue=1024)
    addresses = Addresses(Served("m", Box(shape), CLASSES))
    log = RequestLog(open(os.devnull, "w"))  # noqa: SIM115, PTH123 - open as long as the process
    return server(application(answer, addresses, principals, settings, log=log), settings)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    torch.set_num_threads(1)
    which, shape = sys.argv[1], tuple(int(size) for size in sys.argv[2].split("x"))
    principals = Principals(InProcessJournal(), Pseudonyms(bytes(32)))
    key, port = principals.issue("acme", "alice", time.time()), free_port()
    print(port, key, flush=True)
    if which == "ours":
        ours(port, shape, principals).run()
    else:
        bare(port, load_target("mnist").victim if which == "model" else constant).run()


if __name__ == "__main__":
    main()

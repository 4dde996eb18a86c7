"""What the server's halves of the protocols cost beside the bare libraries: one request read, and its answer written.

`bare` is what no server can do without, and what it would do without a check: orjson parses the JSON, numpy makes the array
(bytes are not copied), and the answer to ten classes is written by orjson, or joined to its bytes. The server half besides
checks headers, structure, names, shape and domain, copies the input into the model's memory, and checks the answer. One
thread, CPU time, medians of rounds in which each takes its turn; compressed bodies have a bare line of their own.
"""

import gzip
import json
from collections.abc import Callable

import numpy as np
import orjson
import torch

from benchmarks.timing import medians
from gamekeeper.protocols.bodies import Header
from gamekeeper.protocols.mlflow import Mlflow, encode_invocations
from gamekeeper.protocols.served import Served, Wire
from gamekeeper.protocols.v1 import V1, encode_v1
from gamekeeper.protocols.v2 import V2, Slot, encode_v2
from gamekeeper.types import Box, Reply

SHAPES = ((1, 28, 28), (3, 224, 224))
CLASSES, CALLS, SECONDS = 10, 20, 4.0
BINARY = "v2, binary"


def bare_json(body: bytes, key: str) -> Callable[[], object]:
    """Parses, makes the array, and writes an answer."""
    y = torch.full((1, CLASSES), 1 / CLASSES).numpy()

    def call() -> object:
        value = orjson.loads(body)
        data = value["inputs"][0]["data"] if key == "data" else value[key]
        array = np.array(data, np.float32)
        return array, orjson.dumps({"predictions": y}, option=orjson.OPT_SERIALIZE_NUMPY)

    return call


def bare_binary(body: bytes, length: int) -> Callable[[], object]:
    y = torch.full((1, CLASSES), 1 / CLASSES).numpy()

    def call() -> object:
        value = orjson.loads(body[:length])
        array = np.frombuffer(body, "<f4", offset=length).reshape(value["inputs"][0]["shape"])
        return array, orjson.dumps({"outputs": [{"name": "probabilities", "shape": y.shape}]}) + y.tobytes()

    return call


def whole(wire: Wire, headers: tuple[Header, ...], body: bytes) -> Callable[[], object]:
    reply = Reply(torch.full((1, CLASSES), 1 / CLASSES))
    return lambda: wire.write(wire.read(headers, body), reply)


def calls(shape: tuple[int, ...]) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """By road: the server half, and the bare round trip."""
    served = Served("m", Box(shape), CLASSES)
    x = served.domain.uniform(1, 0)
    plain = ((b"content-type", b"application/json"), (b"host", b"s"), (b"accept-encoding", b"identity"))
    v1, mlflow = encode_v1(x), encode_invocations(x)
    v2, binary = (encode_v2(x, Slot("input-0", "FP32", in_bytes), ()) for in_bytes in (False, True))
    length = (b"inference-header-content-length", str(len(binary.head)).encode())
    body = binary.head + binary.tail
    packed = gzip.compress(v2.head, 6)
    loose = bare_json(v2.head, "data")
    return {
        "v2, JSON": (whole(V2(served), plain, v2.head), loose),
        "v2, JSON, gzip": (
            whole(V2(served), (*plain, (b"content-encoding", b"gzip")), packed),
            lambda: (gzip.decompress(packed), loose()),
        ),
        BINARY: (whole(V2(served), (*plain, length), body), bare_binary(body, len(binary.head))),
        "v1": (whole(V1(served), plain, v1), bare_json(v1, "instances")),
        "mlflow": (whole(Mlflow(served), plain, mlflow), bare_json(mlflow, "inputs")),
    }


def repeated(call: Callable[[], object], times: int) -> Callable[[], object]:
    return lambda: [call() for _ in range(times)]


def measure() -> dict[str, object]:
    rows: list[dict[str, object]] = []
    for shape in SHAPES:
        pairs = calls(shape)
        times = {road: CALLS if shape == SHAPES[0] or road == BINARY else 1 for road in pairs}
        taken = medians(
            {f"{r} {side}": repeated(pair[i], times[r]) for r, pair in pairs.items() for i, side in enumerate("sb")},
            SECONDS,
        )
        for road in pairs:
            ours, bare = (taken[f"{road} {side}"] / times[road] for side in "sb")
            us = {"us": round(1e6 * ours, 1), "bare_us": round(1e6 * bare, 1)}
            rows.append({"shape": shape, "road": road, **us, "ratio": round(ours / bare, 2)})
    return {"classes": CLASSES, "rows": json.loads(json.dumps(rows))}


def show(result: dict[str, object]) -> None:
    for row in result["rows"]:  # pyright: ignore
        shape = "x".join(map(str, row["shape"]))
        print(
            f"{shape} {row['road']}: {row['us']:,} µs, {row['ratio']} times bare orjson and numpy ({row['bare_us']:,} µs)"
        )

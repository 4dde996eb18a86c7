"""How long clients wait at the whole gateway, everything included: the built-in mnist model, all default detectors, a journal on disk.

Beside it a bare Starlette server that runs the same model and does nothing else. Each connection is a client with a key of their own, who sends
digits of the model's test set, one a request and none twice in a row, so that detectors look at them.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from examples.demo_gateway import MODEL, Door, begun, serving

from benchmarks.served import PATH
from benchmarks.server import Running, exchange, percentiles, running
from gamekeeper.protocols.v2 import Slot, encode_v2
from gamekeeper.targets.load import load_target

CONNECTIONS = (1, 16, 64)
DIGITS, SECONDS = 200, 8.0
"""Digits of a client, and seconds that each load lasts."""


def requests(path: str, key: str, client: int) -> list[bytes]:
    """What one client sends, over and over."""
    x = load_target("mnist").test.x
    rows = (client * DIGITS + torch.arange(DIGITS)) % len(x)
    bodies = [encode_v2(x[row : row + 1], Slot("input-0", "FP32", False), ()).head for row in rows.tolist()]
    head = f"POST {path} HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\nContent-Length: "
    return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]


async def busy(port: int, mine: Sequence[bytes], until: float, waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while time.perf_counter() < until:
        waits.append(await exchange(reader, writer, mine[number % len(mine)]))
        number += 1
    writer.close()


async def load(port: int, clients: Sequence[Sequence[bytes]]) -> list[float]:
    waits: list[float] = []
    until = time.perf_counter() + SECONDS
    await asyncio.gather(*(busy(port, mine, until, waits) for mine in clients))
    return waits


def measure() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as place, running("model", (1, 28, 28)) as bare:
        folder = Path(place) / "gateway"
        door = begun(folder, [f"client-{number}" for number in range(max(CONNECTIONS))])
        with serving(folder, door):
            return {"rows": rows(bare, door)}


def rows(bare: Running, door: Door) -> list[dict[str, object]]:
    keys = list(door.keys.values())
    port = int(door.url.rpartition(":")[2])
    seen: list[dict[str, object]] = []
    for connections in CONNECTIONS:
        for name, at, path in (("bare", bare.port, PATH), ("gateway", port, f"/v2/models/{MODEL}/infer")):
            clients = [requests(path, keys[number], number) for number in range(connections)]
            waits = asyncio.run(load(at, clients))
            p50, p99 = percentiles(waits)
            seen.append(
                {
                    "connections": connections,
                    "server": name,
                    "p50_ms": p50,
                    "p99_ms": p99,
                    "per_second": round(len(waits) / SECONDS),
                }
            )
    return seen


def show(result: dict[str, object]) -> None:
    for line in result["rows"]:  # pyright: ignore
        print(
            f"{line['connections']} connections, {line['server']}: p50 {line['p50_ms']} ms, p99 {line['p99_ms']} ms,"
            f" {line['per_second']} requests a second"
        )

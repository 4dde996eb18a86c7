"""What the gateway's server costs beside a bare one, model, detectors and journal excluded; and how long clients wait.

Both run in processes of their own, on uvicorn with uvloop and httptools; `benchmarks/served.py` says what each does. A client
in this process keeps some connections busy with one request after another. CPU is that of all threads of the server's
process, as the kernel counts it; the servers take turns, and medians of the rounds are compared.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.served import PATH
from gamekeeper.protocols.v2 import Slot, encode_v2
from gamekeeper.types import Box

CONNECTIONS = (1, 16, 64)
ROADS = {"1x28x28 JSON": ((1, 28, 28), False), "3x224x224 binary": ((3, 224, 224), True)}
AIMS = {"1x28x28 JSON": 1.6, "3x224x224 binary": 1.3}
ROUNDS, SECONDS, CPU_CONNECTIONS = 7, 0.7, 16


@dataclass(frozen=True)
class Running:
    """A server in another process."""

    pid: int
    port: int
    key: str

    def cpu(self) -> float:
        """CPU seconds of all its threads so far."""
        parts = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(part.read_text().split()[0]) for part in parts) / 1e9

    def request(self, shape: tuple[int, ...], binary: bool) -> bytes:
        body = encode_v2(Box(shape).uniform(1, 0), Slot("input-0", "FP32", binary), ())
        size = f"Inference-Header-Content-Length: {len(body.head)}\r\n" if binary else ""
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nAuthorization: Bearer {self.key}\r\n"
            f"{size}Content-Length: {len(body.head) + len(body.tail)}\r\n\r\n"
        )
        return head.encode() + body.head + body.tail


@contextmanager
def running(which: str, shape: tuple[int, ...]) -> Generator[Running, None, None]:
    command = [sys.executable, "-m", "benchmarks.served", which, "x".join(map(str, shape))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port, key = process.stdout.readline().split()
        yield Running(process.pid, int(port), key)
    finally:
        process.kill()
        process.wait()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> float:
    """One request and its answer: the seconds between them."""
    start = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
    return time.perf_counter() - start


async def busy(server: Running, request: bytes, until: float, waits: list[float]) -> None:
    """Keeps one connection busy, and notes how long each answer took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    while time.perf_counter() < until:
        waits.append(await exchange(reader, writer, request))
    writer.close()


async def load(server: Running, request: bytes, connections: int, seconds: float) -> list[float]:
    waits: list[float] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(busy(server, request, until, waits) for _ in range(connections)))
    return waits


def cpu_of_a_request(server: Running, request: bytes) -> float:
    """Microseconds of CPU per request."""
    before = server.cpu()
    waits = asyncio.run(load(server, request, CPU_CONNECTIONS, SECONDS))
    return 1e6 * (server.cpu() - before) / len(waits)


def wait_until_up(server: Running, request: bytes) -> None:
    for _ in range(600):
        try:
            asyncio.run(load(server, request, 1, 0.2))
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the server did not start within a minute")


def percentiles(waits: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in ms."""
    cuts = statistics.quantiles(waits, n=100)
    return round(1e3 * statistics.median(waits), 2), round(1e3 * cuts[98], 2)


def compared(road: str) -> dict[str, object]:
    shape, binary = ROADS[road]
    with running("bare", shape) as bare, running("ours", shape) as ours:
        servers = {"bare": (bare, bare.request(shape, binary)), "ours": (ours, ours.request(shape, binary))}
        for server, request in servers.values():
            wait_until_up(server, request)
        cpu: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name, pair in servers.items():
                cpu[name].append(cpu_of_a_request(*pair))
        latency = [
            {"connections": n, "server": name, "p50_ms": p50, "p99_ms": p99}
            for n in CONNECTIONS
            for name, (server, request) in servers.items()
            for p50, p99 in [percentiles(asyncio.run(load(server, request, n, 2.0)))]
        ]
    us = {name: round(statistics.median(values), 1) for name, values in cpu.items()}
    ratio = statistics.median(o / b for o, b in zip(cpu["ours"], cpu["bare"], strict=True))
    return {"road": road, "us": us["ours"], "bare_us": us["bare"], "ratio": round(ratio, 2), "latency": latency}


def measure() -> dict[str, object]:
    return {"rows": json.loads(json.dumps([compared(road) for road in ROADS]))}


def show(result: dict[str, object]) -> None:
    for row in result["rows"]:  # pyright: ignore
        print(
            f"{row['road']}: {row['us']} µs of CPU, {row['ratio']} times a bare server's ({row['bare_us']} µs);"
            f" the aim is {AIMS[row['road']]}"
        )
        for line in row["latency"]:
            print(
                f"  {line['connections']} connections, {line['server']}: p50 {line['p50_ms']} ms, p99 {line['p99_ms']} ms"
            )

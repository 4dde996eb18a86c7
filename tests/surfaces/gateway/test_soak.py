"""The server under more load than it takes: refusals in order, memory flat, and as fast afterwards (slow)."""

import asyncio
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.surfaces.gateway.live import Live, answered, linear, question, serving

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("GATEWAY_SOAK", "20"))


def resident() -> float:
    """Megabytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def slowly(request):
    time.sleep(0.005)
    return linear(request)


async def client(live: Live, data: bytes, until: float, statuses: Counter) -> None:
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        for _ in range(50):
            writer.write(data)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            status = int(head.split()[1])
            statuses[status] += 1
            assert (b"retry-after" in head) == (status in (429, 503))
        if statuses.total() % 3:  # some leave without a word, in the middle of a request
            writer.write(data[: len(data) // 2])
        writer.close()


async def storm(live: Live, seconds: float) -> Counter:
    statuses: Counter = Counter()
    keys = [live.key, *(live.principals.issue("acme", f"client {n}", time.time()) for n in range(3))]
    requests = [question(live).replace(live.key.encode(), key.encode()) for key in keys]
    until = time.monotonic() + seconds
    await asyncio.gather(*(client(live, requests[n % 4], until, statuses) for n in range(32)))
    return statuses


def test_memory_stays_flat_while_more_is_asked_than_can_be_answered():
    with serving(slowly, queue=8, threads=4) as live:
        asyncio.run(storm(live, SECONDS / 4))
        live.seen.clear()
        live.log.truncate(0)
        before = resident()
        statuses = asyncio.run(storm(live, SECONDS))
        live.seen.clear()
        live.log.truncate(0)
        print(dict(statuses), f"{before:.0f} MB before, {resident():.0f} MB after")
        assert set(statuses) <= {200, 429, 503}
        assert statuses[200] > 10 * SECONDS
        assert statuses[429] + statuses[503] > 0
        assert resident() - before < 40
        assert answered(live, question(live)).status == 200
        assert live.app.pool.under_way == 0
        assert not live.app.pool._running
        assert not live.app.pool._waiting

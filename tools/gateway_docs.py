"""Tables of results/gateway-peers.json and results/gateway-timing.json, which `tools/gateway_peers.py` and `gateway_timing.py` write."""

import json
from typing import Any

from committed import RESULTS, table

PEERS, TIMING = RESULTS / "gateway-peers.json", RESULTS / "gateway-timing.json"
Records = list[dict[str, Any]]


def groups(records: Records) -> dict[tuple[str, str], Records]:
    """Records by the server or client that they are of, in the order of measuring."""
    some: dict[tuple[str, str], Records] = {}
    for one in records:
        part = "the model behind it" if "upstream" in one else "its client"
        some.setdefault((f"{one.get('upstream') or one['client']} {one['version']}", part), []).append(one)
    return some


def peers() -> str:
    measured = json.loads(PEERS.read_text())
    body = [
        [name, part, listed(own), sizes(own), f"{sum(one['same'] for one in own)} of {len(own)}"]
        for (name, part), own in groups(measured["records"]).items()
    ]
    head = ["software", "to the gateway", "roads", "inputs per request", "the same"]
    return table(head, body, f"Every number bit for bit, and of clients also their calls for health and metadata. `results/gateway-peers.json`, gamekeeper {measured['version']}, {measured['date']}. `python tools/gateway_peers.py`")  # fmt: skip


def listed(own: Records) -> str:
    """The roads that were taken; many of them as a number."""
    roads = list(dict.fromkeys(one["road"] for one in own if "road" in one))
    return ", ".join(roads) if len(roads) < 10 else f"{len(roads)} combinations of JSON, binary and compression"


def sizes(own: Records) -> str:
    return ", ".join(map(str, dict.fromkeys(one["inputs"] for one in own if "inputs" in one)))


def timing() -> str:
    measured = json.loads(TIMING.read_text())
    body = [
        [one["case"], f"{one['pairs']:,}", f"{one['ms']:.1f} ms", f"{one['beside_ms']:.1f} ms", f"{one['ratio']:.3f}", f"{one['p']:.4f}", "yes" if one["same_size"] else "no"]
        for one in measured["records"]
    ]  # fmt: skip
    head = ["answers", "pairs", "median", "of those beside", "ratio", "p", "same size"]
    return table(head, body, f"One input a request, binary answers over HTTP on loopback, on a busy machine. Ratio: mean of the logarithm, paired; p: by {9_999:,} random signs. `results/gateway-timing.json`, gamekeeper {measured['version']}, {measured['date']}. `python tools/gateway_timing.py {measured['requests']}`")  # fmt: skip


TABLES = {"gateway-peers": peers, "gateway-timing": timing}

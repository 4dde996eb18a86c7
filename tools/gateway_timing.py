"""Whether a client can tell by the clock, or by the size of an answer, what the gateway makes of them: writes results/gateway-timing.json.

    python tools/gateway_timing.py           a few minutes

One input a request, over HTTP on loopback, before the built-in mnist model, everything written down as it always is. Two
answers make a pair: to the same input for two clients, in random order; or two answers to one client, one after the other.
A permutation test flips the signs of the differences of their logarithms: under the null hypothesis that the clock shows
nothing, every p-value is as likely as any other, however busy the machine is.
"""

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from peers.gateway import Open, opened

from gamekeeper.aside import replaced
from gamekeeper.engine.gateway.model_thread import ModelThread
from gamekeeper.engine.gateway.rules import Rules, arm_rules
from gamekeeper.policy import Level, Policy, Rule, Standing, packed
from gamekeeper.protocols.served import Served
from gamekeeper.service.journal.event import Event, Remembered
from gamekeeper.service.journal.tables import STANDING
from gamekeeper.targets.builtin import BUILTIN
from gamekeeper.version import __version__

FILE = Path(__file__).parent.parent / "results" / "gateway-timing.json"
SECRET, FLIPS = b"s" * 32, 9_999
MARKED, DEFENDED = "dawn:share=0.2", "reverse_sigmoid"
STEP = 0.05
"""Seconds: `answer_step`, where it is used."""
WARM = 20
"""Requests of each client before the clock counts."""
Record = dict[str, Any]


@dataclass
class Client:
    """One client on a connection of their own. seconds and sizes of their answers; answers: the numbers in them, (10,) each."""

    place: Open
    tenant: str
    level: Level = Level.LOG
    seconds: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    answers: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        name = f"{self.tenant} {self.level}"
        key = self.place.principals.issue(self.tenant, name, time.time())
        if self.level:
            client = self.place.principals.pseudonyms.client(self.tenant, name)
            held = Remembered(0, {STANDING: packed(Standing(level=self.level))})
            self.place.journal.append(Event(self.tenant, client, "level", time.time(), level=str(self.level)), held)
        self.http = httpx.Client(headers={"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}, timeout=60)

    def ask(self, x: np.ndarray) -> None:
        """Asks for one input by the binary extension."""
        told = {
            "name": "input-0",
            "datatype": "FP32",
            "shape": [1, *x.shape],
            "parameters": {"binary_data_size": x.nbytes},
        }
        head = json.dumps({"inputs": [told], "parameters": {"binary_data_output": True}}).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        start = time.perf_counter()
        answer = self.http.post(f"{self.place.url}/v2/models/m/infer", content=head + x.tobytes(), headers=headers)
        self.seconds.append(time.perf_counter() - start)
        answer.raise_for_status()
        self.sizes.append(len(answer.content))
        length = int(answer.headers["Inference-Header-Content-Length"])
        self.answers.append(np.frombuffer(answer.content[length:], "<f4"))


def p_value(one: list[float], other: list[float], flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided, of the mean difference of the logarithms of paired times, under random signs."""
    differences = np.log(one) - np.log(other)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (flips, len(differences)))
    extreme = np.abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-12)
    return float((1 + extreme.sum()) / (1 + flips))


@contextmanager
def gateway(step: float = 0.0) -> Iterator[tuple[Open, np.ndarray]]:
    """The gateway: tenant `acting` has a policy that acts, `watched` one in shadow; and inputs (n, 1, 28, 28) to ask about."""
    target = BUILTIN["mnist"]()
    policy = Policy((Rule("any", Level.DAWN),), False, None, {Level.DAWN: MARKED, Level.COARSER: DEFENDED})
    acting = arm_rules(policy, target, SECRET)
    shadow = Rules(Policy(policy.rules, True, None, policy.defenses), acting.defenses)
    served = Served("m", target.box, target.victim.task.classes)
    with ModelThread(target.victim) as model, opened(model, served, {"": acting, "watched": shadow}, step) as place:
        yield place, target.test.x.numpy()


def side_by_side(one: Client, other: Client, x: np.ndarray) -> None:
    """Both clients ask about every input, in random order."""
    order = random.Random(0)
    for each in x:
        for client in order.sample([one, other], 2):
            client.ask(each)


def compared(case: str, one: Client, other: Client, x: np.ndarray) -> Record:
    """Two clients who ask the same."""
    side_by_side(one, other, x)
    pairs = slice(WARM, None)
    return record(case, one.seconds[pairs], other.seconds[pairs], one.sizes[pairs], other.sizes[pairs])


def marked(case: str, client: Client, clean: Client, x: np.ndarray) -> Record:
    """Marked answers to one client beside the unmarked ones just before; `clean` says which those are."""
    side_by_side(client, clean, x)
    wrong = [not np.array_equal(a, b) for a, b in zip(client.answers, clean.answers, strict=True)]
    pairs = [(now, now - 1) for now in range(WARM, len(x)) if wrong[now] and not wrong[now - 1]]
    one, other = ([values[now] for now in places] for values in [client.seconds] for places in zip(*pairs, strict=True))
    sizes = [[client.sizes[now] for now in places] for places in zip(*pairs, strict=True)]
    return record(case, one, other, *sizes)


def record(case: str, one: list[float], other: list[float], sizes: list[int], others: list[int]) -> Record:
    middle, others_middle = statistics.median(one), statistics.median(other)
    return {
        "case": case,
        "pairs": len(one),
        "ms": round(1000 * middle, 3),
        "beside_ms": round(1000 * others_middle, 3),
        "ratio": round(float(np.exp(np.mean(np.log(one) - np.log(other)))), 4),
        "p": p_value(one, other),
        "same_size": set(sizes) == set(others) and len(set(sizes)) == 1,
    }


def flagged_beside_clean(n: int) -> Record:
    with gateway() as (place, x):
        return compared("flagged, only watched", Client(place, "watched", Level.DAWN), Client(place, "watched"), x[:n])


def marked_beside_unmarked(n: int) -> Record:
    with gateway() as (place, x):
        return marked(
            "marked by DAWN, beside unmarked", Client(place, "acting", Level.DAWN), Client(place, "acting"), x[:n]
        )


def marked_in_steps(n: int) -> Record:
    case = f"marked by DAWN, beside unmarked, answers at multiples of {1000 * STEP:g} ms"
    with gateway(STEP) as (place, x):
        return marked(case, Client(place, "acting", Level.DAWN), Client(place, "acting"), x[:n])


def at_dawn_beside_clean(n: int) -> Record:
    with gateway() as (place, x):
        return compared("at the level of DAWN", Client(place, "acting", Level.DAWN), Client(place, "acting"), x[:n])


def defended_beside_clean(n: int) -> Record:
    with gateway() as (place, x):
        return compared(
            "defended by reverse_sigmoid", Client(place, "acting", Level.COARSER), Client(place, "acting"), x[:n]
        )


CASES: dict[str, Callable[[int], Record]] = {
    "flagged": flagged_beside_clean,
    "marked": marked_beside_unmarked,
    "marked, in steps": marked_in_steps,
    "at dawn": at_dawn_beside_clean,
    "defended": defended_beside_clean,
}


def main(n: int = 2_000) -> None:
    torch.set_num_threads(1)
    records = []
    for measure in CASES.values():
        records.append(measure(n))
        print(records[-1], flush=True)
    head = {"version": __version__, "torch": torch.__version__, "date": datetime.now(UTC).date().isoformat()}
    rows = ",\n".join(json.dumps(each) for each in records)
    replaced(FILE, [f'{json.dumps({**head, "requests": n})[:-1]}, "records": [\n{rows}\n]}}\n'.encode()])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

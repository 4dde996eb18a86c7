"""What time and size of answers tell a client of what the gateway thinks of them: compared by permutation tests (slow)."""

import statistics
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from gamekeeper.defenses.dawn import DAWN, ArmedDAWN, Marks
from gamekeeper.engine.gateway.rules import Rules
from gamekeeper.policy import Level
from gamekeeper.protocols.served import Limits, Served
from gamekeeper.protocols.v2 import Slot, encode_v2
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.types import Box, Owner
from tests.engine.gateway.small import CLASSES, WIDTH, far, gateway, policy, victim
from tests.surfaces.gateway.live import Connection, Live, raw, serving

pytestmark = pytest.mark.slow

PAIRS, WARM, SHUFFLES = 300, 30, 2000
SMALL = Served("m", Box((WIDTH,)), CLASSES)


def request(live: Live, key: str, x: torch.Tensor) -> bytes:
    body = encode_v2(x, Slot("input-0", "FP32", True), ())
    return raw(body=body.head + body.tail, key=key, Inference_Header_Content_Length=len(body.head))


def timed(connection: Connection, data: bytes) -> tuple[float, int, tuple[str, ...]]:
    """Seconds until the answer, its size, and the names of its headers in order."""
    start = time.perf_counter()
    connection.send(data)
    answer = connection.receive()
    taken = time.perf_counter() - start
    assert answer.status == 200
    return taken, len(answer.body), tuple(answer.headers)


def p_value(one: list[float], other: list[float], seed: int = 0) -> float:
    """Of the difference of medians within pairs, over signs drawn at random; two-sided."""
    differences = np.array(one) - np.array(other)
    random = np.random.default_rng(seed)
    signs = random.choice((-1.0, 1.0), size=(SHUFFLES, len(differences)))
    drawn = np.abs(np.median(signs * differences, axis=1))
    return float((1 + (drawn >= abs(np.median(differences))).sum()) / (1 + SHUFFLES))


def compared(live: Live, one: tuple[str, list[torch.Tensor]], other: tuple[str, list[torch.Tensor]]) -> float:
    """Asks both in pairs, in random order. Sizes and headers must be equal; the p-value of the times is returned."""
    random = np.random.default_rng(1)
    times: list[list[float]] = [[], []]
    with Connection(live) as connection:
        for turn in range(PAIRS + WARM):
            shapes = set()
            for side in random.permutation(2):
                key, inputs = (one, other)[side]
                taken, *shape = timed(connection, request(live, key, inputs[turn]))
                shapes.add(tuple(shape))
                if turn >= WARM:
                    times[side].append(taken)
            assert len(shapes) == 1
    p = p_value(*times)
    medians = [1e6 * statistics.median(each) for each in times]
    print(f"medians {medians[0]:.0f} and {medians[1]:.0f} µs, p = {p:.4f}")
    return p


def drawn(n: int, seed: int) -> list[torch.Tensor]:
    x = 0.05 + 0.8 * torch.rand(n, WIDTH, generator=torch.Generator().manual_seed(seed))
    return list(x.split(1))


def served(rules: Rules):
    return serving(gateway(InProcessJournal(), rules).answer, served=SMALL, limits=Limits(rows=40))


def flagged(live: Live, key: str) -> None:
    """Sends what raises the alarm."""
    tall = torch.full((30, WIDTH), 0.95)
    with Connection(live) as connection:
        for _ in range(2):
            timed(connection, request(live, key, tall + 0.001 * torch.rand(tall.shape)))


def test_a_client_who_is_watched_in_shadow_sees_no_difference():
    with served(Rules(policy(Level.REFUSE, shadow=True))) as live:
        bad, good = live.key, live.principals.issue("acme", "bob", time.time())
        flagged(live, bad)
        assert compared(live, (bad, drawn(PAIRS + WARM, 0)), (good, drawn(PAIRS + WARM, 1))) > 0.001


def test_marked_and_unmarked_answers_are_of_equal_size():
    """The times of marked answers are measured and printed: see the docs for what they were."""
    model = victim()
    owner = Owner(
        torch.zeros(0, WIDTH), torch.zeros(0, dtype=torch.int64), SMALL.domain, lambda: model.net, secret=bytes(32)
    )
    armed = DAWN(0.5).arm(model, owner, 0)
    assert isinstance(armed, ArmedDAWN)
    rules = Rules(policy(Level.DAWN, dawn="dawn"), {"dawn": armed})
    with served(rules) as live:
        flagged(live, live.key)
        who = live.principals.principal(live.key, "127.0.0.1", time.time())
        x = torch.cat(drawn(4 * (PAIRS + WARM), 2))
        marks: Marks = armed.fresh_for(who.client)
        moves = armed.drawn(x, bytes(marks.key.tolist()), CLASSES)
        marked, plain = (list(x[rows].split(1)) for rows in (moves > 0, moves == 0))
        p = compared(live, (live.key, marked), (live.key, plain))
        assert 0 < p <= 1


def test_defended_answers_are_of_equal_size():
    with served(replace(far(Level.DEFENSE))) as live:
        bad, good = live.key, live.principals.issue("acme", "bob", time.time())
        flagged(live, bad)
        p = compared(live, (bad, drawn(PAIRS + WARM, 0)), (good, drawn(PAIRS + WARM, 1)))
        assert 0 < p <= 1


def test_a_thousand_pairs_notice_a_tenth_of_a_millisecond_in_one():
    random = np.random.default_rng(0)
    base = random.gamma(4.0, 2e-4, (2, 1000))
    assert p_value(base[0].tolist(), base[1].tolist()) > 0.001
    assert p_value((base[0] + 1e-4).tolist(), base[1].tolist()) < 0.01

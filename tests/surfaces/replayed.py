"""A replayed log of 40 clients, as `gamekeeper replay` would leave it: two thieves, one dismissed client, everybody else honest."""

import math
from dataclasses import replace
from typing import Any

from gamekeeper.replay_rows import AlarmRow, ClientRow, Moment, ReplayHeader, Review

START = 1_790_000_000.0
EVIL = "<script>alert(1)</script>\x1b[31m\u202eboss"
MMD, KNN = "mmd", "ood_share:score=knn"
BACKED = (
    "aims at 2.5 false alarms per 1,000 clients up to 500 queries (streams); of 4 clients who share no input 0 alarmed, which"
    " excludes more than 527 per 1,000 at 95 %."
)


def header(**changes: Any) -> ReplayHeader:
    given: dict[str, Any] = {
        "version": "0.2.0", "date": "2026-11-29", "log": "yesterday.jsonl.gz", "mapping": "kserve", "target": "mnist", "digest": "5fe1c0de",
        "clients": 40, "queries": 14_210, "alarmed": 3, "alpha": 0.01, "first": START, "last": START + 86_000,
        "ran": {"repeats": "evidence", MMD: BACKED, KNN: BACKED}, "left_out": {"hardness": "the victim is not a network"},
        "notes": ("12 lines hold no client (the first is line 17).",), "groups": (("mallory", "mallory-2"),),
        "command": "gamekeeper replay yesterday.jsonl.gz --mapping kserve --target mnist --out replay",
    }  # fmt: skip
    return ReplayHeader(**(given | changes))


def client(name: str, p: float, alarmed: dict[str, int], queries: int = 350, **changes: Any) -> ClientRow:
    moments = tuple(
        Moment(
            query,
            START + 40.0 * query,
            {"repeats": 0.0, MMD: math.log(query) * (3 if alarmed else 0.4), KNN: query / 9},
        )
        for query in range(10, queries + 1, queries // 12)
    )
    given: dict[str, Any] = {
        "client": name, "queries": queries, "new": queries - 7, "first": START, "last": START + 40.0 * queries, "per_hour": 90.0, "busiest": 121,
        "exact": 7 / queries, "near": 0.004, "p": {MMD: p, KNN: min(1.0, 2 * p)}, "alarmed": alarmed, "learnt": 0.61,
        "inputs": {"mean": 0.131, "sd": 0.308, "low": 0.0, "high": 1.0}, "history": moments,
    }  # fmt: skip
    return ClientRow(**(given | changes))


def alarm(key: str, name: str, detector: str, query: int, p: float) -> AlarmRow:
    return AlarmRow(
        key, name, detector, query, p, 9.25, 0.0025, BACKED, query + 3, START + 40.0 * (query + 3), 90.0, 0.02, 0.004, 0.4,
        {"mean": 0.131, "sd": 0.308},
    )  # fmt: skip


def clients() -> list[ClientRow]:
    suspects = [
        client("mallory", 0.00021, {MMD: 50, KNN: 100}, linked=("mallory-2",)),
        client(EVIL, 0.0012, {KNN: 20}, 90, learnt=None),
        client("load-test", 0.004, {MMD: 150}),
    ]
    return [*suspects, *(client(f"client-{i:02}", 0.03 + 0.025 * i, {}, 60 + 9 * i) for i in range(37))]


def alarms() -> list[AlarmRow]:
    return [
        alarm("a1f0", EVIL, KNN, 20, 0.0006),
        alarm("b2e1", "mallory", MMD, 50, 0.0001),
        alarm("c3d2", "mallory", KNN, 100, 0.0002),
        alarm("d4c3", "load-test", MMD, 150, 0.002),
    ]


def together() -> AlarmRow:
    """An alarm of linked accounts, judged as one client."""
    return replace(alarm("e5b4", "mallory", MMD, 20, 0.001), members=("mallory", "mallory-2"))


def dismissal(alarm: str = "d4c3", client: str = "load-test", decision: str = "dismissed") -> Review:
    return Review(alarm, client, decision, "ann <ops>", "our own load test", START + 90_000)

"""Clients that are spilled to a file remember exactly what they would in memory."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gamekeeper.errors import Malformed
from gamekeeper.service.clients_file import SpilledClients
from gamekeeper.service.memory import Clients, InProcess, Memories


@dataclass
class Sum:
    total: Tensor = field(default_factory=lambda: torch.zeros(3))
    queries: int = 0
    least: float = float("nan")


KINDS = {"sum": Sum, "rows": Sum, "blind": type(None)}


def rank(memories: Memories) -> tuple[float, float]:
    return float(memories["sum"].total[0]), -float(memories["sum"].queries)


def spilled(db: sqlite3.Connection, most: int = 3, room: int = 2**30) -> SpilledClients:
    return SpilledClients(db, KINDS, rank, most=most, room=room)


def ask(clients: Clients, steps: int, seed: int) -> None:
    """Clients who ask in any order, and whose memories grow."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        name = f"client {int(torch.randint(9, (1,), generator=generator))}"
        with clients.hold(name) as memories:
            each = memories.setdefault("sum", Sum())
            each.total = each.total + torch.rand(3, generator=generator)
            each.queries, each.least = each.queries + 1, 1 / (step + 1)
            memories.setdefault("blind", None)
            if step % 3 == 0:
                grown = memories.get("rows", Sum(torch.zeros(0)))
                memories["rows"] = Sum(torch.cat([grown.total, torch.rand(700, generator=generator)]))


def same(a: Memories, b: Memories) -> bool:
    if list(a) != list(b):
        return False
    pairs = [(getattr(a[n], f.name), getattr(b[n], f.name)) for n in a if a[n] is not None for f in fields(a[n])]
    return all(torch.equal(x, y) if isinstance(x, Tensor) else repr(x) == repr(y) for x, y in pairs)


@pytest.mark.parametrize(("most", "room"), [(3, 2**30), (1, 2**30), (100, 6_000)])
def test_spilled_clients_remember_what_those_in_memory_do(tmp_path: Path, most: int, room: int):
    plain = InProcess()
    ask(plain, 200, 0)
    with closing(sqlite3.connect(tmp_path / "a")) as db:
        clients = spilled(db, most, room)
        ask(clients, 200, 0)
        assert len(clients) == 9
        for name in clients:
            with plain.hold(name) as memories:
                assert same(memories, clients.read(name))


def test_memories_come_back_after_a_commit_and_not_without(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "a")) as db:
        clients = spilled(db)
        ask(clients, 50, 0)
        clients.store()
        db.commit()
        ask(clients, 50, 1)
        clients.store()
    plain = InProcess()
    ask(plain, 50, 0)
    with closing(sqlite3.connect(tmp_path / "a")) as db:
        again = spilled(db)
        for name in again:
            with plain.hold(name) as memories:
                assert same(memories, again.read(name))


def test_clients_are_sorted_by_rank_and_several_kinds_share_a_file(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "a")) as db:
        clients, others = spilled(db, 2), SpilledClients(db, KINDS, rank, "others", most=2)
        for place, (name, p, queries) in enumerate([("b", 1.0, 5), ("a", 1.0, 5), ("c", 0.5, 1), ("ü\n", 1.0, 9)]):
            with clients.hold(name) as memories:
                memories["sum"] = Sum(torch.tensor([p, place, 0.0]), queries)
        with others.hold("a") as memories:
            assert memories == {}
            memories["sum"] = Sum()
        assert list(clients.sorted(10)) == ["c", "ü\n", "a", "b"]
        assert list(clients.sorted(1)) == ["c"]
        assert list(others) == ["a"]


def test_an_error_stores_nothing(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "a")) as db:
        clients = spilled(db)

        def refused() -> None:
            with clients.hold("a") as memories:
                memories["sum"] = Sum()
                raise LookupError

        with pytest.raises(LookupError):
            refused()
        assert list(clients) == []


def test_a_memory_of_another_release_is_refused(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "a")) as db:
        ask(spilled(db, 1), 5, 0)
        other = SpilledClients(db, {"else": Sum}, rank)
        with pytest.raises(Malformed, match="another detector"):
            other.read("client 8")

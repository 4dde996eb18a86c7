"""Service: defenses in order, and memories that no number of threads confuses."""

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any

import pytest
import torch

from gamekeeper.service.memory import Clients, InProcess, Memories
from gamekeeper.service.service import Service
from gamekeeper.tasks import Classify
from gamekeeper.types import Armed, Batch, Reply

THREADS = 100
X, CLEAN = torch.zeros(1, 3), Reply(torch.tensor([[0.5, 0.5]]))
AT = 1e9


@dataclass
class Victim:
    """Says CLEAN, and how often it was asked."""

    task: Classify = Classify(2)
    asked: int = 0

    def __call__(self, x: Batch, /) -> Reply:
        self.asked += 1
        return CLEAN


@dataclass(frozen=True)
class Counting:
    """Answers how many requests came before; slow between reading the number and writing it, so that races show."""

    pause: float = 0.0

    def fresh(self) -> list[int]:
        return [0]

    def respond(self, x: Batch, reply: Reply, memory: list[int]) -> Reply:
        seen = memory[0]
        time.sleep(self.pause)
        memory[0] = seen + 1
        return Reply(torch.full((len(x), 1), float(seen)))


@dataclass(frozen=True)
class Adding:
    """Adds a number, or fails while `broken`."""

    number: float = 0.0
    factor: float = 1.0
    broken: list[bool] = field(default_factory=lambda: [False])

    def fresh(self) -> None:
        return None

    def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
        if self.broken[0]:
            raise RuntimeError("broken")
        return Reply(self.factor * reply.y + self.number)


@dataclass
class Written:
    """A store that writes back: memories leave it and return as plain values, one holder at a time."""

    rows: dict[str, dict[str, tuple[int, ...] | None]] = field(default_factory=dict)

    @contextmanager
    def hold(self, client: str) -> Generator[Memories, None, None]:
        memories: dict[str, Any] = {
            name: None if row is None else list(row) for name, row in self.rows.get(client, {}).items()
        }
        yield memories
        self.rows[client] = {name: None if made is None else tuple(made) for name, made in memories.items()}


def seen(service: Service, client: str) -> int:
    """How many requests the client has made, asked by one more."""
    return int(service.answer(client, X, CLEAN, AT).y[0, 0])


def test_its_parts_are_what_the_protocols_ask_for():
    assert isinstance(Counting(), Armed)
    assert isinstance(InProcess(), Clients)
    assert isinstance(Written(), Clients)


def test_reply_asks_the_victim_once_and_answers_as_answer_does():
    victim = Victim()
    service = Service(victim, [Adding(1.0), Adding(factor=2.0)])
    assert service.reply("alice", X).y.tolist() == [[3.0, 3.0]]  # in the order given: (0.5 + 1) * 2
    assert victim.asked == 1
    assert service.answer("alice", X, CLEAN, AT).y.tolist() == [[3.0, 3.0]]
    assert service.open("alice")(X).y.tolist() == [[3.0, 3.0]]
    assert victim.asked == 2


def test_without_defenses_the_clean_answer_is_given():
    assert Service(Victim()).answer("alice", X, CLEAN, AT) is CLEAN


@pytest.mark.parametrize("clients", [InProcess, Written])
def test_every_client_and_every_place_has_a_memory_of_its_own(clients: type):
    service = Service(Victim(), [Counting(), Adding(factor=10.0), Counting()], clients())
    told = [seen(service, client) for client in ("alice", "alice", "bob", "alice")]
    assert told == [0, 1, 0, 2]


def test_a_hundred_threads_of_one_client_lose_no_update():
    service = Service(Victim(), [Counting(pause=0.001)])
    with ThreadPoolExecutor(THREADS) as pool:
        told = list(pool.map(lambda _: int(service.reply("alice", X).y[0, 0]), range(THREADS)))
    assert sorted(told) == list(range(THREADS))
    assert seen(service, "alice") == THREADS


def test_a_hundred_threads_of_many_clients_lose_no_update():
    service, names = Service(Victim(), [Counting(pause=0.001)]), [f"client {i % 10}" for i in range(5 * THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        told = list(pool.map(lambda name: (name, int(service.reply(name, X).y[0, 0])), names))
    assert sorted(told) == sorted((f"client {i}", n) for i in range(10) for n in range(THREADS // 2))


def test_two_clients_are_answered_side_by_side():
    """Each answer waits, inside the defense, for the other's: one lock for all would end in a broken barrier."""
    both = Barrier(2, timeout=30)

    @dataclass(frozen=True)
    class Meeting:
        def fresh(self) -> None:
            return None

        def respond(self, x: Batch, reply: Reply, memory: None) -> Reply:
            both.wait()
            return reply

    service = Service(Victim(), [Meeting()])
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda name: service.reply(name, X).y[0, 0].item(), ["alice", "bob"])) == [0.5, 0.5]


@pytest.mark.parametrize("clients", [InProcess, Written])
def test_an_error_frees_the_client_and_leaves_no_memory_of_a_new_one(clients: type):
    last = Adding(broken=[True])
    service = Service(Victim(), [Counting(), last], clients())
    with pytest.raises(RuntimeError, match="broken"):
        service.reply("alice", X)
    last.broken[0] = False
    with ThreadPoolExecutor(1) as pool:  # another thread: a lock still held would hold it up
        assert pool.submit(seen, service, "alice").result(timeout=30) == 0
        assert pool.submit(seen, service, "alice").result(timeout=30) == 1


def test_an_error_keeps_what_was_remembered_before():
    first = Adding(broken=[False])
    service = Service(Victim(), [first, Counting()])
    assert [seen(service, "alice") for _ in range(3)] == [0, 1, 2]
    first.broken[0] = True
    with pytest.raises(RuntimeError, match="broken"):
        service.reply("alice", X)
    first.broken[0] = False
    assert seen(service, "alice") == 3


def test_a_store_outlives_the_service():
    rows = Written()
    assert [seen(Service(Victim(), [Counting()], rows), "alice") for _ in range(3)] == [0, 1, 2]
    assert rows.rows == {"alice": {"defense 0": (3,)}}

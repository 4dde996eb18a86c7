"""Killed at any moment, a gateway loses nothing it has answered, charges nothing twice, and remembers as if nothing had been."""

import random
import signal
import time
from collections import Counter

import pytest

from gamekeeper.engine.backends import workers
from gamekeeper.errors import Denied
from gamekeeper.service.journal.accounts import Account, Quota
from gamekeeper.service.journal.event import Event
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.quotas import Quotas
from tests.engine.gateway import killed
from tests.engine.gateway.killed import ACCOUNT, CLIENTS, RECORD, answer_until_killed, digest, sent
from tests.engine.gateway.small import AT, Undisturbed, bits, far, gateway, someone, together, written
from tests.service.journal.conftest import opened

pytestmark = pytest.mark.thorough
PROCESSES = workers(killed.__name__)
Acknowledged = dict[tuple[int, int], bytes]
"""Client and request -> the answer they were given."""


def one_life(place: str, first: list[int], enough: int, seconds: float) -> Acknowledged:
    """Starts a gateway and kills it some time after so many answers; all that were given."""
    receiver, report = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=answer_until_killed, args=(place, first, report))  # pyright: ignore[reportAttributeAccessIssue]
    process.start()
    report.close()
    given: Acknowledged = {}
    try:
        while True:
            client, nth, answer = RECORD.unpack(receiver.recv_bytes())
            given[client, nth] = answer
            if len(given) == enough:
                time.sleep(seconds)
                process.kill()
    except (EOFError, OSError):
        process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended by itself"
    return given


def answers(journal: Journal, client: int) -> list[Event]:
    mine = someone(client).client
    return [event for _, event in journal.read("acme") if event.kind == "answer" and event.client == mine]


def lives(place: str, kills: int) -> None:
    chance, first, given = random.Random(kills), [0] * CLIENTS, Acknowledged()
    for _ in range(kills):
        life = one_life(place, first, chance.randint(1, 12), chance.uniform(0, 0.03))
        with opened(place) as journal:
            for client in range(CLIENTS):
                count = len(answers(journal, client))
                acknowledged = sum(who == client for who, _ in life)
                assert first[client] + acknowledged <= count <= first[client] + acknowledged + 1
                first[client] = count
        assert not life.keys() & given.keys()
        given |= life
    with opened(place) as journal:
        check(journal, first, given, kills)


def check(journal: Journal, counts: list[int], given: Acknowledged, kills: int) -> None:
    """The history: as if every request had been answered once, in order, by a gateway that was never killed."""
    charged = 0
    for client, count in enumerate(counts):
        times = Counter(event.at for event in answers(journal, client))
        assert times == Counter({AT + nth: 1 for nth in range(count)})
        twin = Undisturbed(rules=far())
        for nth, each in enumerate(sent(client)[:count]):
            wanted = digest(twin.answer(each).y)
            assert given.get((client, nth), wanted) == wanted
        assert written(journal, someone(client)) == bits(twin.memories)
        charged += sum(len(each.x) for each in sent(client)[:count])
    lost = kills * CLIENTS * 2 * 3  # under way and given back, of at most 3 inputs each
    assert charged <= journal.used(ACCOUNT) <= charged + lost


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_killed_gateway_loses_nothing(kind: str, request: pytest.FixtureRequest, tmp_path):
    if kind == "sqlite":
        lives(str(tmp_path / "journal.sqlite"), kills=20)
    else:
        lives(request.getfixturevalue("empty_postgres"), kills=5)


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing(place: str):
    lives(place, kills=200)


def test_two_replicas_never_grant_more_than_the_quota(place: str):
    quota = 60
    quotas = Quotas(tenant=Quota(quota, 1e12), key=Quota(40, 1e12))
    granted: list[int] = []
    with opened(place) as one, opened(place) as other:
        replicas = [gateway(one, quotas=quotas), gateway(other, quotas=quotas)]

        def spend(number: int) -> None:
            for each in sent(number)[:40]:
                try:
                    replicas[number % 2].answer(each)
                except Denied:
                    continue
                granted.append(len(each.x))

        together(*(lambda number=number: spend(number) for number in range(4)))
        for each in replicas:
            each.close()
        answered = sum(event.n for _, event in one.read("acme") if event.kind == "answer")
        used = one.used(Account("acme", "tenant", 0, 1e12, quota))
    assert sum(granted) == answered == used <= quota
    assert used > quota - 6, "the rest was too little for anybody"

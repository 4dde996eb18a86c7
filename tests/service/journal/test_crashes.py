"""Killed at any moment, a writer loses nothing that was acknowledged, writes nothing twice and forgets nobody."""

import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from gamekeeper.engine.backends import workers
from gamekeeper.service.journal.accounts import Account
from gamekeeper.service.journal.database_journal import DatabaseJournal
from gamekeeper.service.journal.event import Event, Remembered, Stale
from tests.service.journal import writers
from tests.service.journal.conftest import opened
from tests.service.journal.writers import ACCOUNT, CLIENTS, RECORD, after, answer_until_killed, request, spend

pytestmark = pytest.mark.thorough
PROCESSES = workers(writers.__name__)
KILLS = 20
Acknowledged = dict[tuple[int, int], int]
"""Client and request -> number of the event, as the writer was told."""


def one_life(place: str, first: list[int], enough: int, seconds: float) -> Acknowledged:
    """Starts a writer and kills it some time after so many acknowledgements; all that it had reported by then."""
    receiver, report = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=answer_until_killed, args=(place, first, report))
    process.start()
    report.close()
    known: Acknowledged = {}
    try:
        while True:
            client, nth, seq = RECORD.unpack(receiver.recv_bytes())
            known[client, nth] = seq
            if len(known) == enough:
                time.sleep(seconds)
                process.kill()
    except (EOFError, OSError):
        process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended by itself"
    return known


def numbers(journal: DatabaseJournal) -> dict[bytes, list[int]]:
    written: dict[bytes, list[int]] = {}
    for seq, event in journal.read("acme"):
        written.setdefault(event.id, []).append(seq)
    return written


def undisturbed(count: int, client: int) -> bytes:
    """The memory of a client after so many requests, had nothing happened."""
    memory = b""
    for nth in range(count):
        memory = after(memory, request(client, nth))
    return memory


def test_a_writer_that_is_killed_loses_nothing_acknowledged_and_writes_nothing_twice(place: str):
    chance, first = random.Random(0), [0] * CLIENTS
    for _ in range(KILLS):
        acknowledged = one_life(place, first, chance.randint(1, 30), chance.uniform(0, 0.01))
        for client, nth in acknowledged:
            first[client] = max(first[client], nth + 1)
        with opened(place) as journal:
            written = numbers(journal)
            assert all(written.get(request(*who)) == [seq] for who, seq in acknowledged.items())
    with opened(place) as journal:
        events = [event for _, event in journal.read("acme")]
        counts = Counter(event.client for event in events)
        assert len({event.id for event in events}) == len(events)
        for client in range(CLIENTS):
            count = counts[f"c{client}"]
            assert {event.id for event in events if event.client == f"c{client}"} == {
                request(client, nth) for nth in range(count)
            }
            assert journal.remembered("acme", f"c{client}").parts["chain"] == undisturbed(count, client)
            assert first[client] <= count <= first[client] + 1
        assert len(events) <= journal.used(ACCOUNT) <= len(events) + KILLS * CLIENTS


@pytest.mark.parametrize(("share", "fail"), [(1, False), (64, False), (64, True)])
def test_two_processes_never_grant_more_than_the_quota(place: str, share: int, fail: bool):
    quota, threads = 1_200, 4
    with opened(place):
        pass
    lines, together = [], PROCESSES.Barrier(2)
    for _ in range(2):
        receiver, report = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=spend, args=(place, quota, share, threads, fail, report, together))
        process.start()
        report.close()
        lines.append((process, receiver))
    granted = [receiver.recv() for _, receiver in lines]
    for process, _ in lines:
        process.join()
        assert process.exitcode == 0
    with opened(place) as journal:
        used = journal.used(Account("acme", "tenant", 0, 1e12, quota))
    assert sum(granted) == used <= quota, "what was not spent was given back"
    assert used > quota - 2 * 64 - 3 * threads


def test_a_journal_is_read_by_one_process_while_another_writes(tmp_path: Path):
    place = str(tmp_path / "journal.sqlite")
    with opened(place) as one, opened(place) as other:
        for nth in range(20):
            seq = (one, other)[nth % 2].append(Event("acme", "c1", "answer", float(nth)))
            assert [number for number, _ in other.read("acme")][-1] == seq == [n for n, _ in one.read("acme")][-1]


def test_two_replicas_lose_no_memory_of_a_client_who_comes_to_both(place: str):
    """Each reads, computes and appends, and begins again if the other was faster."""
    stale = []

    def serve(journal: DatabaseJournal) -> None:
        for _ in range(15):
            while True:
                known = journal.remembered("acme", "c1")
                count = int(known.parts.get("count", b"0")) + 1
                try:
                    journal.append(
                        Event("acme", "c1", "answer", 1.0), Remembered(known.version, {"count": b"%d" % count})
                    )
                    break
                except Stale:
                    stale.append(count)

    with opened(place) as one, opened(place) as other:
        threads = [threading.Thread(target=serve, args=(journal,)) for journal in (one, other, one, other)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert one.remembered("acme", "c1").parts == {"count": b"60"}
        assert len(list(other.read("acme"))) == 60
    assert stale, "they never met, so nothing was tested"

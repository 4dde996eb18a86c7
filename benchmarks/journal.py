"""Rows that a journal makes durable in a second while 16 threads wait, each for its own row, with memories of 200 bytes.

The baseline is the same database with one transaction for each row, whose waiters take turns: the same tables, the same
statements, the same disk. Wall time, since the cost is waiting for the disk; runs take turns, and the medians are compared.
Beside it, rows in a second of this process's CPU time, which other jobs on the machine disturb less.
SQLite with synchronous=FULL; PostgreSQL, where its server is installed, with fsync on.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.service.journal.servers import obstacle, server

from gamekeeper.service.journal import tables, writer
from gamekeeper.service.journal.database_journal import DatabaseJournal, open_journal
from gamekeeper.service.journal.event import Event, Remembered

WAITERS, SECONDS, ROUNDS, AIM = 16, 1.0, 5, 5_000


def rate(journal: DatabaseJournal, most: int) -> tuple[float, float]:
    """Rows that the threads got acknowledged, in a second and in one of CPU time; at most so many in one transaction."""
    writer.MOST = most
    cpu, end, done = time.process_time(), time.perf_counter() + SECONDS, [0] * WAITERS

    def wait(number: int) -> None:
        client, version = f"client {number}", journal.remembered("t", f"client {number}").version
        while time.perf_counter() < end:
            event = Event("t", client, "answer", time.time(), n=1, inputs=(b"\0" * 16,), scores={"prada": 0.97})
            version = journal.append(event, Remembered(version, {"prada": bytes(200)}))
            done[number] += 1

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(WAITERS)]
    start = time.perf_counter()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sum(done) / (time.perf_counter() - start), sum(done) / (time.process_time() - cpu)


def compared(journal: DatabaseJournal) -> dict[str, float]:
    together, alone = writer.MOST, 1
    rates: dict[int, list[tuple[float, float]]] = {together: [], alone: []}
    for _ in range(ROUNDS):
        for most, measured in rates.items():
            measured.append(rate(journal, most))
    writer.MOST = together
    count = len(journal._read(lambda session: session.rows("SELECT seq FROM event")))
    assert count == journal._read(tables.last), "an event is missing"
    (whole, cpu), (single, _) = (
        [statistics.median(each) for each in zip(*rates[m], strict=True)] for m in (together, alone)
    )
    return {
        "rows_per_second": round(whole),
        "rows_per_second_one_a_commit": round(single),
        "ratio": round(whole / single, 1),
        "best_round": round(max(rates[together])[0]),
        "rows_per_cpu_second": round(cpu),
    }


def measure() -> dict[str, object]:
    results: dict[str, object] = {"waiters": WAITERS, "aim": AIM}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        places: dict[str, Callable[[], str]] = {"sqlite": lambda: str(Path(folder) / "journal.sqlite")}
        if obstacle() is None:
            places["postgresql"] = lambda: stack.enter_context(server(durable=True))
        for name, place in places.items():
            journal = open_journal(place())
            results[name] = compared(journal)
            journal.close()
    return results


def show(result: dict[str, object]) -> None:
    print("journal: durable rows a second under {waiters} waiting threads (aim {aim:,})".format(**result))
    for name in ("sqlite", "postgresql"):
        if name in result:
            print(
                "  {name}: {rows_per_second:,}, one row a commit {rows_per_second_one_a_commit:,} (ratio {ratio});"
                " best round {best_round:,}; {rows_per_cpu_second:,} in a second of CPU time".format(
                    name=name, **result[name]
                )  # pyright: ignore
            )

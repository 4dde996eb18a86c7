"""The writer: who waits together is committed together, and nobody waits for a timer alone."""

import threading
import time
from collections.abc import Sequence
from typing import Any

from gamekeeper.errors import JournalError
from gamekeeper.service.journal import writer
from gamekeeper.service.journal.database import Row
from gamekeeper.service.journal.writer import Writer


class Slow:
    """A session whose commit takes a while, and that knows how many statements each transaction had."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.sizes: list[int] = []
        self.closed = 0

    def begin(self) -> None:
        self.sizes.append(0)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        self.sizes[-1] += 1
        return []

    def commit(self) -> None:
        time.sleep(self.seconds)

    def rollback(self) -> None: ...

    def scrub(self) -> None: ...

    def damaged(self, what: object) -> JournalError:
        return JournalError(str(what))

    def close(self) -> None:
        self.closed += 1


class Nowhere:
    schema: Sequence[str] = ()

    def connect(self) -> Slow:
        raise JournalError("nowhere")


def work(session: Any) -> None:
    session.rows("")


def test_sixteen_who_wait_share_commits():
    session = Slow(0.02)
    shared = Writer(Nowhere(), session)

    def serve() -> None:
        for _ in range(10):
            shared.submit(work).result()

    threads = [threading.Thread(target=serve) for _ in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    shared.close()
    assert sum(session.sizes) == 160
    assert len(session.sizes) <= 40, "about ten, and four times as many on the busiest machine"


def test_one_who_is_alone_waits_for_nobody():
    session = Slow(0.0)
    alone = Writer(Nowhere(), session)
    for _ in range(20):
        alone.submit(work).result()
    alone.close()
    assert session.sizes == [1] * 20


def test_a_transaction_is_no_longer_than_most(monkeypatch):
    monkeypatch.setattr(writer, "MOST", 3)
    session = Slow(0.01)
    several = Writer(Nowhere(), session)
    futures = [several.submit(work) for _ in range(10)]
    several.close()
    assert all(each.done() for each in futures)
    assert sum(session.sizes) == 10
    assert max(session.sizes) <= 3


def test_closing_finishes_what_was_submitted_and_closes_the_session_once():
    session = Slow(0.02)
    finishing = Writer(Nowhere(), session)
    futures = [finishing.submit(work) for _ in range(50)]
    finishing.close()
    finishing.close()
    assert all(each.result() is None for each in futures)
    assert session.closed == 1


def test_who_goes_away_in_time_is_not_written_and_holds_up_nobody():
    session = Slow(0.05)
    going_on = Writer(Nowhere(), session)
    first = going_on.submit(work)
    while not first.running() and not first.done():
        time.sleep(0.001)
    late, others = going_on.submit(work), [going_on.submit(work) for _ in range(3)]
    assert late.cancel()
    assert not first.cancel()
    assert all(each.result() is None for each in (first, *others))
    last = going_on.submit(work)
    assert last.cancel() or last.result() is None
    going_on.close()
    assert sum(session.sizes) in (4, 5)

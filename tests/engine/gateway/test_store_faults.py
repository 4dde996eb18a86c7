"""What goes wrong with the journal's file under a gateway at work: nobody is told what is not written down, and it recovers."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
import torch
from peers.gateway import opened

from gamekeeper.engine.gateway.gateway import Gateway
from gamekeeper.engine.gateway.request import Request
from gamekeeper.errors import JournalError
from gamekeeper.protocols.served import Served
from gamekeeper.service.journal.accounts import Account, Quota
from gamekeeper.service.journal.database_journal import DatabaseJournal, open_journal
from gamekeeper.service.journal.sqlite import SqliteFile, SqliteSession
from gamekeeper.service.quotas import Quotas
from gamekeeper.types import Box, Reply
from tests.engine.gateway.small import (
    CLASSES,
    WIDTH,
    Undisturbed,
    bits,
    equal,
    gateway,
    requests,
    victim,
    written,
)

SENT = requests(60, seed=3)
ACCOUNT = Account("acme", "tenant", 0, 1e12, 10_000)
QUOTAS = Quotas(tenant=Quota(10_000, 1e12))


@dataclass
class Books:
    """A gateway beside its undisturbed twin, who is told only what was acknowledged."""

    real: Gateway
    twin: Undisturbed = field(default_factory=Undisturbed)
    rows: list[int] = field(default_factory=list)

    def send(self, request: Request) -> bool:
        """Whether it was answered; then the answer is the twin's, bit for bit."""
        try:
            reply: Reply = self.real.answer(request)
        except JournalError:
            return False
        assert equal([reply], [self.twin.answer(request)])
        self.rows.append(len(request.x))
        return True

    def balance(self, journal: DatabaseJournal) -> None:
        """What is written down is what was answered, charged and remembered: no more, no less."""
        self.real.close()
        answers = [event.n for _, event in journal.read("acme") if event.kind == "answer"]
        assert answers == self.rows
        assert journal.used(ACCOUNT) == sum(self.rows)
        assert written(journal) == bits(self.twin.memories)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 600 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    if not sys.platform.startswith("linux") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root on Linux only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_refuses_everybody_and_space_is_all_it_takes(small_disk: Path):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    with closing(open_journal(str(small_disk / "journal.db"))) as journal:
        books = Books(gateway(journal, quotas=QUOTAS))
        ends = [books.send(each) for each in SENT]
        assert ends[0]
        assert not ends[-1], "the disk is not full"
        ballast.unlink()
        assert all(books.send(each) for each in SENT[-5:])
        books.balance(journal)
    with sqlite3.connect(small_disk / "journal.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the database for writing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_locked_file_costs_the_requests_of_that_time_and_no_others(path: Path):
    with closing(DatabaseJournal(SqliteFile(path, patience=0.02))) as journal:
        books = Books(gateway(journal, quotas=QUOTAS))
        assert all(books.send(each) for each in SENT[:5])
        with locked(path):
            assert not any(books.send(each) for each in SENT[5:8])
        assert all(books.send(each) for each in SENT[8:12])
        books.balance(journal)


def only_read(journal: DatabaseJournal, on: bool) -> None:
    """Whether the writer's file can only be read from now on."""
    session = journal._writer._session
    assert isinstance(session, SqliteSession)
    session.db.execute(f"PRAGMA query_only={int(on)}")


def test_a_file_that_can_only_be_read_answers_nobody(path: Path):
    with closing(open_journal(str(path))) as journal:
        books = Books(gateway(journal, quotas=QUOTAS))
        assert books.send(SENT[0])
        only_read(journal, True)
        with pytest.raises(JournalError, match="read-only"):
            books.real.answer(SENT[1])
        only_read(journal, False)
        assert books.send(SENT[2])
        books.balance(journal)


def damage(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    for page in range(1, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 2000] = b"\xff" * 2000
    with path.open("r+b") as file:
        file.write(raw)


def test_a_corrupt_file_answers_nobody_and_a_copy_goes_on_from_where_it_was_made(path: Path, tmp_path: Path):
    with closing(open_journal(str(path))) as journal:
        books = Books(gateway(journal, quotas=QUOTAS))
        assert all(books.send(each) for each in SENT[:10])
        books.real.close()
        journal._read(lambda session: session.scrub())
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    damage(path)
    try:
        with closing(open_journal(str(path))) as journal:
            broken = Books(gateway(journal, quotas=QUOTAS))
            assert not any(broken.send(each) for each in SENT[10:15])
    except JournalError as error:
        assert "damaged" in str(error)  # noqa: PT017 - it may be noticed as the file is opened, or later
    with closing(open_journal(str(copy))) as journal:
        books.real = gateway(journal, quotas=QUOTAS)
        assert all(books.send(each) for each in SENT[10:15])
        books.balance(journal)


@pytest.mark.parametrize("gone", ["journal.db-wal", "journal.db"])
def test_a_file_that_was_removed_or_replaced_under_way_is_noticed_before_the_next_answer(path: Path, gone: str):
    """SQLite itself goes on writing into a file that nobody can open any more: at a crash, all of it would be lost."""
    with closing(open_journal(str(path))) as journal:
        books = Books(gateway(journal, quotas=QUOTAS))
        assert all(books.send(each) for each in SENT[:3])
        moved = path.with_name("moved")
        (path.parent / gone).rename(moved)
        for _ in range(2):
            with pytest.raises(JournalError, match=r"removed or replaced"):
                books.real.answer(SENT[3])
        moved.rename(path.parent / gone)
        assert all(books.send(each) for each in SENT[4:8])
        books.balance(journal)


def test_a_clock_that_goes_back_loses_nothing_and_grants_nothing(path: Path):
    with closing(open_journal(str(path))) as journal:
        books = Books(gateway(journal, quotas=QUOTAS))
        day = 86_400.0
        moved = [replace(each, at=each.at - day * (number % 3)) for number, each in enumerate(SENT[:12])]
        assert all(books.send(each) for each in moved)
        assert [event.at for _, event in journal.read("acme") if event.kind == "answer"] == [each.at for each in moved]
        books.balance(journal)


def test_http_says_503_until_the_journal_is_mended():
    with opened(victim(), Served("m", Box((WIDTH,)), CLASSES)) as place:
        journal = place.journal
        assert isinstance(journal, DatabaseJournal)
        body = {"instances": torch.full((1, WIDTH), 0.5).tolist()}

        def status() -> tuple[int, str | None]:
            answer = httpx.post(
                f"{place.url}/v1/models/m:predict", json=body, headers={"authorization": f"Bearer {place.key}"}
            )
            assert (answer.status_code == 200) == ("predictions" in answer.json())
            return answer.status_code, answer.headers.get("retry-after")

        assert status() == (200, None)
        only_read(journal, True)
        assert [status() for _ in range(3)] == [(503, "1")] * 3
        only_read(journal, False)
        assert status() == (200, None)
        assert sum(event.n for _, event in journal.read("acme") if event.kind == "answer") == 2

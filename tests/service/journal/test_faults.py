"""What goes wrong with a disk, a file or a server: a sentence, nothing half-written, and on with it once it is mended."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gamekeeper.errors import BadConfig, JournalError
from gamekeeper.service.journal.accounts import Account, Charge
from gamekeeper.service.journal.database import Row
from gamekeeper.service.journal.database_journal import DatabaseJournal, open_journal
from gamekeeper.service.journal.event import Event, Remembered
from gamekeeper.service.journal.postgres import PostgresServer
from gamekeeper.service.journal.sqlite import SqliteFile, SqliteSession
from gamekeeper.service.journal.writer import Writer
from tests.service.journal.conftest import opened

CLIENT = "5e884898da28047151d0e56f8dc62927"
ACCOUNT = Account("acme", "tenant", 0, 1e12, 100)


def event(client: str = CLIENT, inputs: int = 0) -> Event:
    return Event("acme", client, "answer", 1.7e9, inputs=(b"\xab" * 64,) * inputs)


def state(journal: DatabaseJournal) -> tuple[int, Remembered]:
    return len(list(journal.read("acme"))), journal.remembered("acme", CLIENT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_a_full_disk_acknowledges_nothing_and_space_is_all_it_takes(path: Path):
    with opened(str(path)) as journal:
        journal.append(event(), Remembered(0, {"prada": b"before"}))
        journal._read(lambda session: session.scrub())
        before = state(journal)
        limit = journal._writer.submit(lambda session: session.rows("PRAGMA max_page_count")).result()[0][0]
        journal._writer.submit(lambda session: session.rows("PRAGMA max_page_count=1")).result()
        with pytest.raises(JournalError, match=r"full. Is the disk full.*What was not acknowledged is not in it"):
            journal.append(event(inputs=500), Remembered(before[1].version, {"prada": b"x" * 100_000}))
        assert state(journal) == before
        journal._writer.submit(lambda session: session.rows(f"PRAGMA max_page_count={limit}")).result()
        journal.append(event(inputs=500), Remembered(before[1].version, {"prada": b"x" * 100_000}))
        assert state(journal)[0] == 2


FULL = """
import resource, signal, sys
from gamekeeper.errors import JournalError
from gamekeeper.service.journal.database_journal import open_journal
from gamekeeper.service.journal.event import Event, Remembered
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = open_journal(sys.argv[1])
journal.append(Event("acme", "c1", "answer", 1.0), Remembered(0, {"prada": b"before"}))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
written = failed = 0
for nth in range(40):
    known = journal.remembered("acme", "c1")
    try:
        journal.append(Event("acme", "c1", "answer", 2.0), Remembered(known.version, {"prada": bytes([nth]) * 20_000}))
        written += 1
    except JournalError:
        failed += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
known = journal.remembered("acme", "c1")
journal.append(Event("acme", "c1", "answer", 3.0), Remembered(known.version, {"prada": b"after"}))
assert failed and len(list(journal.read("acme"))) == written + 2, (failed, written)
assert journal.remembered("acme", "c1").parts == {"prada": b"after"}
print("fine")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX's")
def test_a_file_that_the_system_lets_grow_no_further_is_a_full_disk(path: Path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.stdout == "fine\n", done.stderr
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_locked_file_is_waited_for_and_then_said_to_be_locked(path: Path):
    journal = DatabaseJournal(SqliteFile(path, patience=0.05))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="locked"):
        journal.append(event(), Remembered(0, {"prada": b"x"}))
    with pytest.raises(JournalError, match="locked"):
        journal.take([Charge(ACCOUNT, 1, 1)])
    other.execute("ROLLBACK")
    assert state(journal) == (0, Remembered(0, {}))
    journal.append(event())
    assert state(journal)[0] == 1
    journal.close()


def test_what_is_no_journal_is_refused_and_left_alone(path: Path, tmp_path: Path):
    path.write_bytes(b"this is no database, but long enough to be taken for one " * 200)
    before = path.read_bytes()
    with pytest.raises(JournalError, match="is damaged: file is not a database"):
        open_journal(str(path))
    assert path.read_bytes() == before
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE event (seq)")
    with pytest.raises(JournalError, match="SQLite file of another program"):
        open_journal(str(foreign))
    for nowhere in (tmp_path, tmp_path / "none" / "journal"):
        with pytest.raises(JournalError, match="cannot be opened"):
            open_journal(str(nowhere))


def test_a_journal_of_another_format_is_refused(place: str):
    with opened(place) as journal:
        journal._writer.submit(lambda session: session.rows("UPDATE about SET value = '2'")).result()
    with pytest.raises(JournalError, match="it has format 2; this release reads 1"):
        open_journal(place)


def test_a_flipped_bit_in_an_event_is_noticed_and_the_others_can_be_read_up_to_it(place: str):
    with opened(place) as journal:
        numbers = [journal.append(event(inputs=2)) for _ in range(3)]
        for column, value in (("n", 7), ("client", "somebody else"), ("at", 1.5)):
            old = journal._read(
                lambda s, column=column: s.rows(f"SELECT {column} FROM event WHERE seq = ?", [numbers[1]])
            )
            change = f"UPDATE event SET {column} = ? WHERE seq = ?"
            journal._writer.submit(lambda s, v=value, c=change: s.rows(c, [v, numbers[1]])).result()
            with pytest.raises(JournalError, match=rf"is damaged: event {numbers[1]} does not match its checksum"):
                list(journal.read("acme"))
            journal._writer.submit(lambda s, v=old[0][0], c=change: s.rows(c, [v, numbers[1]])).result()
        assert len(list(journal.read("acme"))) == 3


def test_a_damaged_page_is_a_sentence_and_not_a_traceback(path: Path):
    with opened(str(path)) as journal:
        for _ in range(40):
            journal.append(event(inputs=20))
    raw = bytearray(path.read_bytes())
    for page in range(4, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 1000] = b"\xff" * 1000
    path.write_bytes(raw)
    with pytest.raises(JournalError, match="damaged"), opened(str(path)) as journal:
        list(journal.read("acme"))


class Failing:
    """A session whose nth statement fails, as SQLite's do; the rest reaches the file."""

    def __init__(self, real: SqliteSession, at: int) -> None:
        self.real, self.left = real, at

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        self.left -= 1
        if self.left == 0:
            raise JournalError("disk I/O error")
        return self.real.rows(sql, values)

    def begin(self) -> None:
        self.rows("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self.rows("COMMIT")

    def rollback(self) -> None:
        if self.real.db.in_transaction:
            self.rows("ROLLBACK")

    def scrub(self) -> None: ...

    def damaged(self, what: object) -> JournalError:
        return self.real.damaged(what)

    def close(self) -> None:
        self.real.close()


def test_whichever_statement_fails_an_event_is_there_with_its_memories_or_not_at_all(path: Path):
    """Every statement of an append in turn, until one append has none left to fail."""
    database, count, version = SqliteFile(path), 0, 0
    with opened(str(path)) as journal:
        for at in range(1, 30):
            flaky = Writer(database, Failing(database.connect(), at))
            journal._writer, whole = flaky, journal._writer
            parts = {"prada": b"%d" % at, "mmd": b"%d" % at}
            try:
                version = journal.append(event(), Remembered(version, parts))
                assert at > 6
                break
            except JournalError:
                assert state(journal)[0] == count
                assert state(journal)[1].version == version
            finally:
                flaky.close()
                journal._writer = whole
        assert state(journal) == (1, Remembered(version, parts))


def test_an_operation_with_an_error_of_its_own_does_not_take_its_neighbours_along(place: str):
    with opened(place) as journal:
        journal._writer.submit(lambda session: __import__("time").sleep(0.1))  # those below share a transaction
        good = [journal.submit(event()) for _ in range(3)]
        bad = journal._writer.submit(lambda session: session.rows("SELECT seq FROM event WHERE n = ?", [object()]))
        worse = journal._writer.submit(lambda session: 1 // 0)
        more = [journal.submit(event()) for _ in range(3)]
        assert len({each.result() for each in (*good, *more)}) == 6
        with pytest.raises(ZeroDivisionError):
            worse.result()
        assert bad.exception() is not None
        assert len(list(journal.read("acme"))) == 6


def test_who_is_forgotten_is_not_left_in_the_file(path: Path):
    with opened(str(path)) as journal:
        version = journal.append(event(inputs=3), Remembered(0, {"prada": b"\xcd" * 600}))
        journal.append(event(inputs=3), Remembered(version, {"prada": b"\xcd" * 700}))
        journal.append(event("somebody else"))
        assert ("ab" * 64).encode() in everything(path)
        journal.forget("acme", CLIENT, 1.7e9)
        left = everything(path)
    assert ("ab" * 64).encode() not in left
    assert b"\xcd" * 20 not in left
    assert left.count(CLIENT.encode()) <= 2, "the event that says so, and its place in the index"


def everything(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in path.parent.iterdir() if each.name.startswith(path.name))


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_journal_is_its_owners_alone(path: Path):
    with opened(str(path)) as journal:
        journal.append(event())
        assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}


def test_another_process_that_looks_into_the_journal_takes_nothing_from_it(path: Path):
    """A process loses its locks on a file when it closes any descriptor of it; the other then deletes the log of writes."""
    look = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); print(db.execute('SELECT count(*) FROM event').fetchone()[0])"

    def seen_by_another() -> int:
        done = subprocess.run([sys.executable, "-c", look, str(path)], capture_output=True, check=True)
        return int(done.stdout)

    with opened(str(path)) as journal:
        for nth in range(1, 4):
            journal.append(event())
            assert len(list(journal.read("acme"))) == nth  # by a second connection
            assert seen_by_another() == nth
    assert seen_by_another() == 3


def test_a_password_in_a_url_is_refused_without_being_shown():
    for url in ("postgresql://me:swordfish@host/db", "postgresql://host/db?user=me&password=swordfish"):
        with pytest.raises(BadConfig, match="PGPASSWORD") as refused:
            open_journal(url)
        assert "swordfish" not in str(refused.value)
    for wrong in ("mysql://host/db", ""):
        with pytest.raises(BadConfig, match="a file or a postgresql:// URL"):
            open_journal(wrong)


def test_without_its_driver_a_url_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadConfig, match=r"pip install 'gamekeeper\[postgres\]'"):
        open_journal("postgresql://host/db")


def test_a_server_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(JournalError, match=rf"postgresql://me@/db\?host={tmp_path} cannot be used: .*Is the server up"):
        PostgresServer(f"postgresql://me@/db?host={tmp_path}").connect()


def test_a_server_that_hangs_up_costs_one_answer_and_not_the_journal(empty_postgres: str):
    import psycopg

    with opened(empty_postgres) as journal:
        journal.append(event())
        with psycopg.connect(empty_postgres, autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'gamekeeper' AND pid <> pg_backend_pid()"
            )
        with pytest.raises(JournalError, match="cannot be used"):
            journal.append(event())
        journal.append(event())
        assert state(journal)[0] == 2


def test_a_journal_that_everybody_may_read_is_refused(tmp_path: Path):
    path = tmp_path / "journal.db"
    open_journal(str(path)).close()
    path.chmod(0o644)  # as a copy or a backup usually is
    with pytest.raises(JournalError, match=r"open to everybody \(mode 0644\)\. Run: chmod 600"):
        open_journal(str(path))
    path.chmod(0o640)
    open_journal(str(path)).close()

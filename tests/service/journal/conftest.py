"""Journals to test: every kind that can be had here, empty."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gamekeeper.service.journal.database_journal import DatabaseJournal, open_journal
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.journal.journal import Journal
from tests.service.journal.servers import obstacle, server


@pytest.fixture(scope="session")
def postgres() -> Generator[str]:
    """The URL of a PostgreSQL server."""
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    with server() as url:
        yield url


@pytest.fixture
def empty_postgres(postgres: str) -> str:
    import psycopg

    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("SET client_min_messages TO warning")
        db.execute("DROP SCHEMA IF EXISTS gamekeeper CASCADE")
    return postgres


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a journal that outlives this process can be."""
    return (
        request.getfixturevalue("empty_postgres") if request.param == "postgres" else str(tmp_path / "journal.sqlite")
    )


@pytest.fixture(params=["in process", "sqlite", "postgres"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Journal]:
    if request.param == "in process":
        yield InProcessJournal()
        return
    place = (
        request.getfixturevalue("empty_postgres") if request.param == "postgres" else str(tmp_path / "journal.sqlite")
    )
    with opened(place) as journal:
        yield journal


@contextmanager
def opened(place: str) -> Generator[DatabaseJournal]:
    journal = open_journal(place)
    try:
        yield journal
    finally:
        journal.close()

"""Journals, as the journal's own tests have them, and how often snapshots are written."""

import pytest

from gamekeeper.engine.gateway import client_memory
from tests.service.journal.conftest import empty_postgres, journal, place, postgres

__all__ = ["empty_postgres", "journal", "place", "postgres"]


@pytest.fixture(params=[(2**15, 128), (400, 128), (0, 128), (2**15, 3)], ids=["few", "some", "each", "every third"])
def snapshots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How often snapshots are written: after so many bytes or steps."""
    monkeypatch.setattr(client_memory, "LEAST", request.param[0])
    monkeypatch.setattr(client_memory, "STEPS", request.param[1])

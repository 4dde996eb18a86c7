"""Journals, as the journal's own tests have them."""

from tests.service.journal.conftest import empty_postgres, journal, place, postgres

__all__ = ["empty_postgres", "journal", "place", "postgres"]

"""Clients: who shares answers with whom, and what a run is said to cost."""

from functools import cache

from gamekeeper.engine.grid import Audit, evaluation_queries, expand, queries
from gamekeeper.targets.choice import Choice
from gamekeeper.targets.target import Target

DIGITS = Choice("digits")


@cache
def target() -> Target:
    return DIGITS.load()


def planned(attacks: list[str], budgets: list[int], seeds: int = 1) -> tuple[int, int]:
    """(clients, queries but the judge's)"""
    cells = expand(Audit(DIGITS, attacks, ["none"], budgets, list(range(seeds)), uniform=0), target())
    return len({cell.client for cell in cells}), queries(cells, target()) - evaluation_queries(cells, target())


def test_budgets_of_a_way_of_asking_whose_questions_are_prefixes_share_a_client():
    assert planned(["knockoff", "knockoff+labels"], [60, 240]) == (1, 240)
    assert planned(["active_thief:strategy=random"], [60, 240]) == (1, 240)


def test_budgets_that_change_what_is_asked_are_clients_of_their_own_and_learners_still_share():
    assert planned(["active_thief", "active_thief+labels"], [60, 240]) == (2, 300)
    assert planned(["swift_thief"], [60, 240]) == (2, 300)


def test_every_seed_is_a_client():
    assert planned(["knockoff"], [60, 240], seeds=3) == (3, 720)

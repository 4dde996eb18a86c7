"""Clients: who shares answers with whom, and what a run is said to cost."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from gamekeeper.attacks.theft import Theft
from gamekeeper.engine.grid import Audit, Cell, evaluation_queries, expand, queries
from gamekeeper.engine.run import run_cell
from gamekeeper.methods import LEARNERS
from gamekeeper.targets.choice import Choice
from gamekeeper.targets.target import Target
from gamekeeper.training.fit import FAST
from gamekeeper.types import Learner

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


def behind(attack: str, defense: str, source: Target | None = None) -> Cell:
    audit = Audit(DIGITS, [attack], [defense], [60], [0], uniform=0)
    (cell,) = expand(audit, source or target())
    return cell


def trained_by(cell: Cell) -> Learner:
    assert isinstance(cell.thief, Theft)
    return cell.thief.learner


@pytest.mark.parametrize("learner", ["soft", "sharpened", "confident", "agreeing"])
def test_where_answers_are_labels_a_learner_of_whole_answers_trains_as_one_of_labels(learner: str):
    whole, bare = (behind(f"knockoff+{learner}", defense) for defense in ("none", "reverse_sigmoid+label"))
    published = behind(f"knockoff+{learner}", "none", replace(target(), answers="labels"))
    usual = LEARNERS[learner]()
    assert [trained_by(cell) for cell in (whole, bare, published)] == [usual, *[replace(usual, fit=FAST)] * 2]
    assert published.id != whole.id
    assert published.client == whole.client


@pytest.mark.parametrize(
    "attack",
    ["knockoff+labels", "knockoff+partial_bayes", "knockoff+soft+affine", "knockoff+soft:rate=0.2", "jbda+gce"],
)
def test_others_train_as_ever_behind_labels(attack: str):
    assert behind(attack, "label").thief == behind(attack, "none").thief


def test_learners_of_whole_answers_train_as_ever_where_there_are_some():
    assert behind("knockoff", "label+random_noise").thief == behind("knockoff", "none").thief


def test_behind_labels_the_soft_thief_and_the_label_thief_are_one(tmp_path: Path):
    soft, labels = (run_cell(behind(attack, "label"), tmp_path) for attack in ("knockoff", "knockoff+labels"))
    assert soft.clone is not None
    assert soft.clone == labels.clone

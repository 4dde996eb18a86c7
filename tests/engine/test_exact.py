"""Exact attacks as a user reaches them: by name, through ledger, meter and judge, on every kind of built-in target."""

from pathlib import Path

import pytest

from gamekeeper.engine.grid import Audit, expand
from gamekeeper.engine.run import run_cell, stage
from gamekeeper.results import Row
from gamekeeper.targets.choice import Choice

ATTACKS = (
    "equation_solving",
    "equation_fitting:restarts=1,iterations=100",
    "lowd_meek",
    "tree_paths",
    "tree_top_down",
    "relu_reconstruction",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("exact")


def audited(target: str, attack: str, budget: int, folder: Path) -> Row:
    choice = Choice(target)
    target_here = stage(choice, folder, 500).target  # loaded once, for the cells as well
    (cell,) = expand(Audit(choice, [attack], ["none"], [budget], [0], uniform=500), target_here)
    row = run_cell(cell, folder)
    assert row.queries <= budget
    return row


@pytest.mark.parametrize(("target", "attack", "says"), [
    ("wine", "equation_solving", "tree_paths"),
    ("digits", "equation_solving", "another link"),
    ("wine", "lowd_meek", "two classes"),
    ("digits", "lowd_meek", "two classes"),
    ("breast-cancer", "tree_paths", "not a decision tree"),
    ("digits", "tree_paths", "not a decision tree"),
    ("breast-cancer", "tree_top_down", "not a decision tree"),
    ("digits", "tree_top_down", "not a decision tree"),
    ("breast-cancer", "relu_reconstruction", "input gradients"),
    ("wine", "relu_reconstruction", "two classes"),
    ("digits", "relu_reconstruction", "two classes"),
])  # fmt: skip
def test_a_target_that_does_not_fit_is_refused_with_what_is_needed(target: str, attack: str, says: str, folder: Path):
    row = audited(target, attack, 700, folder)
    assert row.error is not None
    assert row.error.startswith("Unsuited: ")
    assert says in row.error


def test_a_logistic_regression_is_copied_exactly_and_a_query_less_is_said_to_be_too_few(folder: Path):
    row, short = (audited("breast-cancer", "equation_solving", budget, folder) for budget in (31, 30))
    assert row.clone is not None
    assert row.clone.tv_uniform is not None
    assert (row.clone.fidelity.value, row.queries, row.flags.count("cut-short")) == (1.0, 31, 0)
    assert row.clone.tv_uniform.value < 1e-9
    assert "cut-short" in short.flags


def test_leaves_that_answer_alike_are_flagged_in_the_row(folder: Path):
    """The wine tree has five leaves and three answers."""
    row, short = (audited("wine", "tree_paths", budget, folder) for budget in (700, 50))
    assert row.clone is not None
    assert row.clone.fidelity.value == 1.0
    assert "id-collisions" in row.flags
    assert "cut-short" not in row.flags
    assert "cut-short" in short.flags


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("target", ["breast-cancer", "wine", "digits"])
def test_no_target_and_budget_break_an_exact_attack(attack: str, target: str, folder: Path):
    for budget in (1, 40):
        row = audited(target, attack, budget, folder)
        assert row.error is None or row.error.startswith("Unsuited: ")

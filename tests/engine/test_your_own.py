"""A thief or a defense of the user's own, named by its dotted path, is treated exactly like a built-in one."""

from pathlib import Path

import pytest

from gamekeeper.analysis.checks import raised
from gamekeeper.analysis.summary import summarise
from gamekeeper.attacks.theft import Theft
from gamekeeper.engine.grid import Audit
from gamekeeper.engine.plan import settle
from gamekeeper.engine.run import run_cell
from gamekeeper.methods import InputSpec, parse_attack
from gamekeeper.targets.choice import Choice

MINE = "tests.engine.mine"
CLASSES, UNDOES = f"knockoff+{MINE}.Classes", f"knockoff+{MINE}.Undoes"


def run(attacks: list[str], defenses: list[str], folder: Path):
    asked = settle(Audit(Choice("digits"), attacks, defenses, [60], [0], uniform=0), folder, lambda text: None)
    rows = [run_cell(cell, folder) for cell in asked.cells]
    assert [row.error for row in rows] == [None] * len(rows)
    return asked, rows


def flags(rows, defense: str) -> set[str]:
    found = raised(rows)
    return {flag for row in rows if row.defense == defense for flag in found[row.cell]}


def test_their_thief_who_reads_labels_clears_the_flag_behind_a_defense_that_keeps_them(tmp_path: Path):
    _, rows = run(["knockoff", CLASSES], [f"{MINE}.Squared"], tmp_path)
    assert {row.attack: row.reads for row in rows} == {"knockoff": "posterior", CLASSES: "label"}
    assert "no-adaptive-thief" not in flags(rows, f"{MINE}.Squared")
    assert "no-adaptive-thief" in flags([row for row in rows if row.attack == "knockoff"], f"{MINE}.Squared")


def test_their_thief_who_undoes_the_defense_clears_the_flag_behind_one_that_changes_labels(tmp_path: Path):
    _, rows = run(["knockoff", CLASSES, UNDOES], [f"{MINE}.Turned"], tmp_path)
    assert rows[0].utility.top1_kept_thief < 1
    assert "no-adaptive-thief" not in flags(rows, f"{MINE}.Turned")
    assert "no-adaptive-thief" in flags([row for row in rows if row.attack != UNDOES], f"{MINE}.Turned")


def test_their_label_thief_counts_for_the_label_floor_and_is_told_of_no_defense(tmp_path: Path):
    asked, rows = run(["knockoff", CLASSES], ["none"], tmp_path)
    assert summarise(asked.header(["audit"]), rows).floor.attack == CLASSES
    assert any("No thief in this run knew" in text for text in asked.header([]).assumptions)


def test_their_thief_is_left_out_before_anything_is_asked_where_the_defense_cannot_be_armed(tmp_path: Path):
    asked = settle(
        Audit(Choice("digits"), ["knockoff", UNDOES], ["none", "ood_gate:score=knn", f"{MINE}.Turned"], [60], [0]),
        tmp_path,
        lambda text: None,
    )
    met = {(cell.defense, cell.attack) for cell in asked.cells}
    assert ("ood_gate:score=knn", UNDOES) not in met
    assert {("ood_gate:score=knn", "knockoff"), ("none", UNDOES), (f"{MINE}.Turned", UNDOES)} <= met
    assert any(UNDOES in note and "ood_gate:score=knn" in note for note in asked.left_out)
    assert not (tmp_path / "ledger.sqlite").exists()


def test_their_defense_can_be_swept_and_their_learners_training_set(tmp_path: Path):
    asked = settle(
        Audit(Choice("digits"), ["knockoff"], [f"{MINE}.Turned:share=0.1/0.5"], [60], [0]), tmp_path, lambda text: None
    )
    assert [cell.defenses[0].share for cell in asked.cells] == [0.1, 0.5]
    thief = parse_attack(f"{CLASSES}:epochs=7", InputSpec((1, 8, 8), 10))
    assert isinstance(thief, Theft)
    assert thief.learner.fit.epochs == 7


@pytest.mark.parametrize("text", ["mad@lenet", "none@mlp"])
def test_a_defense_trains_no_network_of_a_thiefs(text: str):
    from gamekeeper.errors import BadConfig
    from gamekeeper.methods import parse_defense

    with pytest.raises(BadConfig, match="stand behind @"):
        parse_defense(text, InputSpec((1, 8, 8), 10))

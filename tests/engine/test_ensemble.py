"""The worst-case thief: who takes part, what they may know, and what their number means."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gamekeeper.attacks.theft import Theft
from gamekeeper.engine.ensemble import CONTROL, ENSEMBLES, UNSAID, another, thieves
from gamekeeper.engine.grid import Audit, Cell, evaluation_queries, expand, queries
from gamekeeper.engine.run import CLONES, run_cell
from gamekeeper.errors import BadConfig
from gamekeeper.methods import InputSpec, parse_defense, parse_thief
from gamekeeper.service.service import Service
from gamekeeper.simplex import label
from gamekeeper.surfaces.cli import guarded
from gamekeeper.targets.choice import Choice
from gamekeeper.targets.load import load_target
from gamekeeper.targets.target import Target


@pytest.fixture(scope="module")
def digits() -> Target:
    return load_target("digits")


def cells(target: Target, *attacks: str, defenses: tuple[str, ...] = ("none", "label")) -> list[Cell]:
    return expand(Audit(Choice("digits"), attacks, defenses, [60], [0], 0), target)


def test_members_stand_beside_the_users_own_thieves_each_once(digits: Target):
    found = thieves(["knockoff+labels", "worst", "knockoff+smoothed"], digits)
    assert found.attacks[0] == "knockoff+labels"
    assert set(found.attacks) == {m.attack for m in ENSEMBLES["worst"] if m.needs not in UNSAID} | {"knockoff+smoothed"}
    assert len(set(found.attacks)) == len(found.attacks)
    assert found.left_out == ()


def test_the_full_ensemble_trains_every_thief_on_two_networks(digits: Target):
    attacks = thieves(["worst:full"], digits).attacks
    other = another(digits.student)
    assert len(attacks) == 2 * len([m for m in ENSEMBLES["worst:full"] if m.needs not in UNSAID])
    assert all(f"{attack}@{other}" in attacks for attack in attacks if "@" not in attack)


def test_every_member_has_a_recipe(digits: Target):
    spec = InputSpec(digits.box.shape, digits.victim.task.classes)
    for attack in thieves(["worst:full"], digits).attacks:
        thief, student = parse_thief(attack, spec)
        assert isinstance(thief, Theft)
        assert (student is None) == ("@" not in attack)


def test_a_member_the_target_has_no_use_for_is_named():
    found = thieves(["worst"], load_target("breast-cancer"))
    assert "smoothing" not in found.attacks
    assert ["images" in sentence for sentence in found.left_out] == [True, True, True]


def test_of_a_table_trees_and_logistic_regression_take_part():
    found = thieves(["worst"], load_target("wine"))
    students = {attack.split("@")[1] for attack in found.attacks if "@" in attack}
    assert students == {"linear", "forest", "boosted"}
    full = thieves(["worst:full"], load_target("wine")).attacks
    assert all(attack.count("@") <= 1 for attack in full)
    spec = InputSpec((13,), 3)
    assert all(isinstance(parse_thief(attack, spec)[0], Theft) for attack in full)


def test_a_thief_who_can_draw_does_so_in_the_ensemble_and_who_cannot_is_not_named():
    mnist, clothes = (thieves(["worst:full"], load_target(name)).attacks for name in ("mnist", "fashion"))
    assert {"drawn", "drawn+agreeing+affine", "restyled", "warped"} <= set(mnist)
    assert {"drawn", "drawn+agreeing+affine", "warped"} <= set(clothes)
    assert "restyled" not in clothes


def test_an_unknown_ensemble_is_refused(digits: Target):
    with pytest.raises(BadConfig, match="worst or worst:full"):
        thieves(["worst:fast"], digits)


def test_learners_share_what_was_paid_for(digits: Target):
    quick = [cell for cell in cells(digits, "worst") if cell.defense == "none"]
    assert len({cell.client for cell in quick}) == 3  # knockoff's questions, smoothing's and warped's
    assert queries(quick, digits) == 3 * 60 + evaluation_queries(quick, digits)


def test_the_control_meets_no_defense(digits: Target):
    controls = [cell for cell in cells(digits, "worst") if cell.attack == CONTROL]
    assert [cell.defense for cell in controls] == ["none"]
    assert not [cell for cell in cells(digits, "knockoff") if cell.attack == CONTROL]


def test_the_control_learns_nothing(digits: Target, tmp_path: Path):
    (cell,) = (c for c in cells(digits, "worst") if c.attack == CONTROL)
    row = run_cell(replace(cell, budget=600), tmp_path)
    assert row.clone is not None
    assert row.clone.accuracy.value < 0.25


MINE = """
from dataclasses import dataclass
from gamekeeper.learners.distil import Soft
from gamekeeper.types import Knowledge, Meter, Model, Transfer

@dataclass(frozen=True)
class Learn:
    depth: int = 1
    def __call__(self, transfer: Transfer, knows: Knowledge, seed: int) -> Model:
        return Soft()(transfer, knows, seed)

@dataclass(frozen=True)
class Whole:
    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model:
        return None
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the folder they work in."""
    (tmp_path / "my_thieves.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_thieves"


def test_a_thief_of_the_users_own_takes_part(digits: Target, mine: str):
    (cell,) = cells(digits, f"knockoff+{mine}.Learn:depth=3@mlp:hidden=8", defenses=("none",))
    assert isinstance(cell.thief, Theft)
    assert vars(cell.thief.learner) == {"depth": 3}
    assert cell.student != digits.student
    assert type(cells(digits, f"{mine}.Whole", defenses=("none",))[0].thief).__name__ == "Whole"


def test_what_cannot_be_imported_is_named():
    spec = InputSpec((1, 8, 8), 10)
    with pytest.raises(BadConfig, match=r"'no\.such\.Thing' could not be imported"):
        parse_thief("no.such.Thing", spec)
    with pytest.raises(BadConfig, match="must be a dataclass"):
        parse_defense("os.path.join", spec)


def test_a_target_file_cannot_name_code(tmp_path: Path, mine: str, capsys: pytest.CaptureFixture[str]):
    assert guarded(["init", "audit", "--out", str(tmp_path / "audit.toml")]) == 0
    text = (tmp_path / "audit.toml").read_text()
    config = tmp_path / "evil.toml"
    config.write_text(text.partition("[audit]")[0] + f'[audit]\nattack = ["knockoff+{mine}.Learn"]\n')
    assert guarded(["audit", str(config), "--dry-run"]) == 4
    assert "runs code" in capsys.readouterr().err


LABEL_KEEPING = ("label", "round", "topk", "reverse_sigmoid", "flatten", "least_likely:keep_top1=true")


@pytest.mark.parametrize("defense", LABEL_KEEPING)
def test_whoever_keeps_the_top_class_ends_at_the_label_floor(digits: Target, defense: str):
    """The label-learning thief's two transfer sets, with the defense and without, are bitwise equal."""
    spec = InputSpec(digits.box.shape, digits.victim.task.classes)
    chain = parse_defense(defense, spec)
    assert all(recipe.keeps_top1 for recipe in chain)
    x = digits.pool.x[:500]
    service = Service(digits.victim, [recipe.arm(digits.victim, digits.owner, 0) for recipe in chain])
    clean, defended = digits.victim(x).y, service.open("thief")(x).y
    assert torch.equal(label(defended).float(), label(clean).float())
    assert defense == "label" or not torch.equal(defended, clean)


def test_the_floor_is_one_clone_for_all_of_them(digits: Target, tmp_path: Path):
    wanted = ("none", "reverse_sigmoid", "flatten")
    rows = [run_cell(cell, tmp_path) for cell in cells(digits, "knockoff+labels", defenses=wanted)]
    assert len({row.clone for row in rows}) == 1
    assert len(list((tmp_path / CLONES).glob("*.safetensors"))) == 1

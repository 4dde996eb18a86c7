"""A scikit-learn model of raw columns, whose widths differ ten thousandfold, from its target file to its clones."""

from pathlib import Path

import numpy as np
import pytest
import skops.io
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from gamekeeper.engine.grid import Audit, expand
from gamekeeper.engine.run import run_cell
from gamekeeper.errors import BadConfig
from gamekeeper.results import Row
from gamekeeper.surfaces.cli import ATTACKS, TABLE_ATTACKS, app
from gamekeeper.targets.builtin import BUILTIN, TABLES
from gamekeeper.targets.choice import Choice, assumptions, header_entry, is_table
from gamekeeper.targets.load import load_target
from gamekeeper.types import Ranges
from tests.targets.server import serving

TARGET = """
kind = "sklearn"
answers = "probabilities"
classes = 2
[model]
file = "model.skops"
[input]
shape = [30]
[data]
test = "test.npz"
pool = "pool.npz"
train = "train.npz"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    where = tmp_path_factory.mktemp("raw")
    x, y = load_breast_cancer(return_X_y=True)
    rest, test, rest_y, test_y = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    train, pool, train_y, _ = train_test_split(rest, rest_y, test_size=0.5, random_state=1)
    skops.io.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(train, train_y), where / "model.skops")
    np.savez(where / "test.npz", x=test, y=test_y)
    np.savez(where / "pool.npz", x=pool)
    np.savez(where / "train.npz", x=train, y=train_y)
    (where / "pool.toml").write_text(TARGET)
    (where / "one.toml").write_text(TARGET.replace("shape = [30]", "shape = [30]\nlow = 0\nhigh = 4254"))
    low, high = x.min(0) - 0.001, x.max(0) * 1.001
    ends = f"shape = [30]\nlow = {low.tolist()}\nhigh = {high.tolist()}"
    (where / "each.toml").write_text(TARGET.replace("shape = [30]", ends))
    return where


def stolen(folder: Path, tmp_path: Path, target: str, attack: str, defense: str = "none", **asked) -> Row:
    choice = Choice(str(folder / f"{target}.toml"))
    budget = asked.pop("budget", 20)
    (cell,) = expand(Audit(choice, [attack], [defense], [budget], [0], 100, **asked), choice.load())
    row = run_cell(cell, tmp_path)
    assert row.error is None
    return row


@pytest.mark.parametrize("target", ["pool", "one", "each"])
@pytest.mark.parametrize("attack", ["knockoff", "knockoff+labels", "knockoff@linear", "knockoff+labels@forest"])
def test_twenty_queries_steal_it_as_they_do_for_anybody(folder: Path, tmp_path: Path, target: str, attack: str):
    row = stolen(folder, tmp_path, target, attack)
    assert row.clone is not None
    assert row.clone.accuracy.value > 0.87  # a constant gets 0.63


@pytest.mark.parametrize("attack", ["line_search", "adaptive", "knockoff+fixmatch", "lowd_meek"])
@pytest.mark.parametrize("target", ["pool", "each"])
def test_methods_made_for_a_box_take_columns_in_their_own_ranges(
    folder: Path, tmp_path: Path, target: str, attack: str
):
    assert 50 < stolen(folder, tmp_path, target, attack, budget=60).queries <= 60


def test_equation_solving_recovers_it(folder: Path, tmp_path: Path):
    row = stolen(folder, tmp_path, "each", "equation_solving", budget=200)
    assert row.clone is not None
    assert row.clone.fidelity.value == 1
    assert row.clone.fidelity_uniform is not None
    assert row.clone.fidelity_uniform.value == 1


def test_evasion_moves_each_column_by_a_share_of_its_range(folder: Path, tmp_path: Path):
    row = stolen(folder, tmp_path, "pool", "knockoff", budget=100, follow_on=True)
    assert row.follow_on is not None
    assert row.follow_on.evasion is not None
    assert row.follow_on.evasion.fgsm.value > row.follow_on.evasion.noise.value + 0.2
    trees = stolen(folder, tmp_path, "pool", "knockoff@boosted", budget=100, follow_on=True).follow_on
    assert trees is not None
    assert trees.evasion is None


@pytest.mark.parametrize("defense", ["mad:eps=0.5", "reverse_sigmoid"])
def test_a_defense_s_surrogate_learns_raw_columns_too(folder: Path, tmp_path: Path, defense: str):
    row = stolen(folder, tmp_path, "pool", "knockoff@linear", defense)
    assert row.utility is not None
    assert 0 < row.utility.l1 < 2


def test_the_report_says_what_may_be_asked(folder: Path):
    target = Choice(str(folder / "pool.toml")).load()
    assert isinstance(target.box, Ranges)
    assert header_entry(target)["domain"] == str(target.box)
    assert "27 more columns, as in the pool" in assumptions(target, target.student)[0]


def test_what_is_a_table_is_known_without_loading_it(folder: Path):
    assert [name for name in BUILTIN if is_table(name)] == list(TABLES)
    assert all(len(load_target(name).box.shape) == 1 for name in TABLES)
    assert is_table(str(folder / "pool.toml"))


def test_without_options_a_table_meets_what_anybody_would_try_first(folder: Path):
    asked = CliRunner().invoke(
        app, ["audit", str(folder / "pool.toml"), "--dry-run", "--budget", "20", "--defense", "none"]
    )
    assert asked.exit_code == 0
    assert f"{len(ATTACKS) + len(TABLE_ATTACKS)} thieves" in " ".join(asked.output.split())


def test_the_soft_thief_of_breast_cancer_learns_from_answers_of_one_class(tmp_path: Path):
    """Uniform inputs are all of one class; how sure the model is of each still says where the other begins."""
    choice = Choice("breast-cancer")
    (cell,) = expand(Audit(choice, ["knockoff"], ["none"], [1000], [0], 0), choice.load())
    row = run_cell(cell, tmp_path)
    assert row.clone is not None
    assert row.clone.fidelity.value > 0.98


@pytest.mark.parametrize("value", [1e12, -1e30])
def test_one_absurd_number_in_the_pool_is_refused_before_it_hides_its_column(
    folder: Path, tmp_path: Path, value: float
):
    x = np.load(folder / "pool.npz")["x"]
    x[7, 2] = value
    for name in ("test.npz", "train.npz", "model.skops", "pool.toml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    np.savez(tmp_path / "pool.npz", x=x)
    with pytest.raises(
        BadConfig, match=r"example 7 \(counted from 0\) holds -?1e\+\d\d in column 3, which runs from 4"
    ):
        load_target(str(tmp_path / "pool.toml"))


def test_an_api_on_a_table_without_ranges_is_asked_in_the_units_of_the_data(folder: Path, tmp_path: Path):
    model = load_target(str(folder / "pool.toml")).victim
    asked: list[np.ndarray] = []

    def answer(x: np.ndarray) -> np.ndarray:
        asked.append(x)
        return model(torch.from_numpy(x.astype(np.float32))).y.numpy()

    for name in ("test.npz", "pool.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with serving(answer, (30,)) as api:
        text = TARGET.replace('"sklearn"', '"http"').replace(
            '[model]\nfile = "model.skops"', f'[http]\nurl = "{api.url}"'
        )
        text = text.replace("[input]", 'protocol = "v1"\nmodel = "m"\n[input]').replace('train = "train.npz"\n', "")
        (tmp_path / "api.toml").write_text(text)
        row = stolen(tmp_path, tmp_path, "api", "knockoff@linear")
    assert row.clone is not None
    assert row.clone.accuracy.value > 0.87
    assert max(float(x.max()) for x in asked) > 2_000

"""Codes and categories that the files alone do not show: numbers that an encoder takes for names, categories that no row has."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import torch
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from gamekeeper.data.dataset import Dataset
from gamekeeper.errors import BadConfig
from gamekeeper.targets.builtin import BUILTIN
from gamekeeper.targets.choice import assumptions, untested
from gamekeeper.targets.data_files import whole_numbers
from gamekeeper.targets.load import load_target
from gamekeeper.targets.target import Target

TARGET = """
kind = "sklearn"
answers = "probabilities"
classes = 2
[model]
file = "model.skops"
[input]
shape = [2]
[data]
test = "test.csv"
pool = "pool.csv"
columns = ["age", "job"]
"""


def workers(codes: list[Any], n: int = 200) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Age and a job's code; the second of the codes earns much."""
    rng = np.random.default_rng(0)
    age, job = rng.integers(20, 70, n).astype(float), rng.integers(0, len(codes), n)
    rows = np.array([[a, codes[j]] for a, j in zip(age, job, strict=True)], object)
    return rows, ((job == 1) | (age > 60)).astype(int)


def fitted(rows: np.ndarray[Any, Any], y: np.ndarray[Any, Any], encoder: Any) -> Pipeline:
    return make_pipeline(
        ColumnTransformer([("n", StandardScaler(), [0]), ("c", encoder, [1])]), LogisticRegression()
    ).fit(rows, y)


def write(folder: Path, model: Pipeline, rows: np.ndarray[Any, Any], y: np.ndarray[Any, Any], more: str = "") -> Path:
    """Files for a target of this model; a job of None, or NaN, is an empty cell."""
    skops.io.dump(model, folder / "model.skops")
    cells = [[f"{a:g}", "" if job is None or job != job else str(job)] for a, job in rows]
    lines = [f"{','.join(row)},{label}" for row, label in zip(cells, y, strict=True)]
    (folder / "test.csv").write_text("\n".join(["age,job,y", *lines]) + "\n")
    (folder / "pool.csv").write_text("\n".join(["age,job", *map(",".join, cells)]) + "\n")
    (folder / "a.toml").write_text(TARGET + more)
    return folder / "a.toml"


def asked_at_random(target: Target) -> np.ndarray[Any, Any]:
    """The jobs that the model is given for inputs which a thief makes up."""
    rows = target.victim.rows  # pyright: ignore[reportAttributeAccessIssue]
    return rows(target.box.uniform(300, 0))[:, 1]


@pytest.mark.parametrize("encoder", [OneHotEncoder(), OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder()])
def test_numbers_that_the_models_encoder_knows_are_codes_and_nothing_between_them_is_asked(
    tmp_path: Path, encoder: Any
):
    rows, y = workers([10, 20, 35])
    model = fitted(rows, y, encoder)
    target = load_target(str(write(tmp_path, model, rows, y)))
    assert target.box.shape == (4,), "age and an entry for each code"
    assert set(asked_at_random(target)) == {10, 20, 35}
    np.testing.assert_allclose(target.victim(target.test.x).y.numpy(), model.predict_proba(rows), rtol=0, atol=1e-12)


def test_a_code_may_be_spelt_with_decimals_as_where_a_column_has_gaps(tmp_path: Path):
    rows, y = workers([10, 20, 35])
    model = fitted(rows, y, OneHotEncoder())
    spelt = rows.copy()
    spelt[::2, 1] = [f"{code}.0" for code in rows[::2, 1]]
    target = load_target(str(write(tmp_path, model, spelt, y)))
    np.testing.assert_allclose(target.victim(target.test.x).y.numpy(), model.predict_proba(rows), rtol=0, atol=1e-12)


def test_a_code_that_the_model_does_not_know_is_named(tmp_path: Path):
    rows, y = workers([10, 20, 35])
    model = fitted(rows, y, OneHotEncoder(handle_unknown="ignore"))
    file = write(tmp_path, model, rows, y)
    pool = (tmp_path / "pool.csv").read_text().splitlines()
    (tmp_path / "pool.csv").write_text("\n".join([*pool, "33,11"]) + "\n")
    with pytest.raises(BadConfig, match=r"'11' in column 'job', which the model does not know: .* passes over it"):
        load_target(str(file))


def test_codes_in_ranges_of_ones_own_are_left_and_said_to_be_codes(tmp_path: Path):
    rows, y = workers([10, 20, 35])
    rows = rows.astype(float)
    file = write(tmp_path, fitted(rows, y, OneHotEncoder(handle_unknown="ignore")), rows, y)
    file.write_text(TARGET.replace("shape = [2]", "shape = [2]\nlow = 0\nhigh = 100"))
    target = load_target(str(file))
    assert target.box.shape == (2,)
    assert any("takes the numbers in column job for codes" in line for line in assumptions(target, target.student))


@pytest.mark.parametrize(
    ("of", "encoder"),  # fitted on objects, any encoder stumbles over floats; on floats, one that is strict
    [(object, OneHotEncoder(handle_unknown="ignore")), (object, OrdinalEncoder()), (float, OneHotEncoder())],
)
@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_a_model_that_fails_between_its_codes_says_to_leave_the_ranges_out(
    tmp_path: Path, of: type, encoder: Any, suffix: str
):
    rows, y = workers([10, 20, 35])
    rows = rows.astype(of)
    file = write(tmp_path, fitted(rows, y, encoder), rows, y)
    ranged = TARGET.replace("shape = [2]", "shape = [2]\nlow = 0\nhigh = 100")
    if suffix == "npz":
        np.savez(tmp_path / "test.npz", x=rows.astype(float), y=y)
        np.savez(tmp_path / "pool.npz", x=rows.astype(float))
        ranged = ranged.replace(".csv", ".npz").replace('columns = ["age", "job"]', "")
    file.write_text(ranged)
    with pytest.raises(BadConfig) as caught:
        load_target(str(file))
    column, remedy = ("job", "Leave") if suffix == "csv" else ("2", "Give the data as CSV files, and leave")
    assert f"takes the numbers in column {column} for codes" in str(caught.value)
    assert f"{remedy} `low` and `high` out of [input]" in str(caught.value)
    assert "isnan" not in str(caught.value)


@pytest.mark.parametrize("gap", [None, float("nan")])
def test_a_category_without_a_value_and_one_that_no_file_has_may_be_listed(tmp_path: Path, gap: float | None):
    rows, y = workers(["clerk", "miner", "pilot", gap])
    model = fitted(rows, y, OneHotEncoder())
    none_flies = np.array([row[1] != "pilot" for row in rows])
    listed = 'categories = { job = ["pilot", "clerk", "miner", ""] }'
    target = load_target(str(write(tmp_path, model, rows[none_flies], y[none_flies], listed)))
    assert target.box.shape == (5,)
    right = model.predict_proba(rows[none_flies])
    np.testing.assert_allclose(target.victim(target.test.x).y.numpy(), right, rtol=0, atol=1e-12)
    assert "pilot" in set(asked_at_random(target)), "the thief knows that there are pilots"
    pilot = torch.tensor([[30.0, 1, 0, 0, 0]])
    right = model.predict_proba(np.array([[30.0, "pilot"]], object))
    np.testing.assert_allclose(target.victim(pilot).y.numpy(), right, rtol=0, atol=1e-12)


def test_columns_of_a_few_whole_numbers_are_told_from_measurements():
    column = torch.arange(60.0)
    assert whole_numbers(column % 4) == [0, 1, 2, 3]
    for other in (column % 2, column, column % 4 / 2, column % 11):
        assert whole_numbers(other) == []


@pytest.mark.parametrize(
    ("shown", "named"), [([0, 1], "class fox"), ([1], "2 of 3 classes (cat, fox)"), ([0, 1, 2], "")]
)
def test_classes_that_the_test_set_lacks_are_named(tmp_path: Path, shown: list[int], named: str):
    target = BUILTIN["wine"]()
    target = replace(
        target,
        test=Dataset(target.test.x[:6], torch.tensor(shown * 6)[:6]),
        schema=replace(target.schema, names=("cat", "dog", "fox")),
    )
    assert [named in line for line in untested(target)] == [True] * bool(named)

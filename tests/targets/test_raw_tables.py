"""A scikit-learn pipeline that prepares a table itself, from CSV files in other orders to its copies."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from gamekeeper.engine.grid import Audit, expand
from gamekeeper.engine.run import run_cell
from gamekeeper.errors import BadConfig
from gamekeeper.results import Row
from gamekeeper.targets.choice import Choice, assumptions
from gamekeeper.targets.files.encoders import encoded
from gamekeeper.targets.load import load_target

NAMES = ["age", "hours", "job", "sex"]
TARGET = """
kind = "sklearn"
answers = "probabilities"
classes = 2
[model]
file = "model.skops"
[input]
shape = [4]
[data]
test = "test.csv"
pool = "pool.csv"
train = "train.csv"
label = "income"
"""


def people(n: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows of mixed columns, some of them with gaps, and whether they earn much."""
    rng = np.random.default_rng(seed)
    age, hours = rng.integers(20, 70, n).astype(float), rng.integers(10, 60, n).astype(float)
    job, sex = rng.choice(["clerk", "cook", "miner"], n), rng.choice(["f", "m"], n)
    rich = age / 50 + hours / 35 + (job == "clerk") - (job == "cook") > 2
    hours[rng.random(n) < 0.1] = np.nan
    rows = np.array([age, hours, job, sex], object).T
    rows[rng.random(n) < 0.05, 2] = np.nan
    return rows, np.where(rich, ">50K", "<=50K")


def fitted(rows: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], unknown: str = "ignore") -> Pipeline:
    parts = [
        ("n", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), [0, 1]),
        ("c", OneHotEncoder(handle_unknown=unknown), [2, 3]),
    ]
    return make_pipeline(ColumnTransformer(parts), LogisticRegression()).fit(rows, labels)


def by_name(model: Pipeline) -> Pipeline:
    """As if it had been fitted on a data frame, which names its columns."""
    first = model.steps[0][1]
    first.feature_names_in_ = np.array(NAMES, object)
    first.transformers_ = [(name, part, [NAMES[k] for k in places]) for name, part, places in first.transformers_]
    return model


def csv(path: Path, rows: np.ndarray[Any, Any], labels: np.ndarray[Any, Any] | None, order: list[str]) -> None:
    columns: dict[str, Any] = dict(zip(NAMES, rows.T, strict=True)) | ({} if labels is None else {"income": labels})
    cells = [["" if each != each else str(each) for each in columns[name]] for name in order]
    path.write_text("\n".join([",".join(order), *map(",".join, zip(*cells, strict=True))]) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    csv(tmp_path / "train.csv", *people(300, 0), [*NAMES, "income"])
    csv(tmp_path / "test.csv", *people(200, 1), ["income", "sex", "age", "job", "hours"])
    csv(tmp_path / "pool.csv", people(200, 2)[0], None, ["job", "hours", "sex", "age"])
    (tmp_path / "a.toml").write_text(TARGET)
    return tmp_path


@pytest.mark.parametrize("named", [True, False])
def test_the_model_is_given_its_rows_and_answers_as_by_itself(folder: Path, named: bool):
    model = fitted(*people(300, 0))
    right = [model.predict_proba(people(200, seed)[0]) for seed in (1, 2)]
    skops.io.dump(by_name(model) if named else model, folder / "model.skops")
    if not named:
        (folder / "a.toml").write_text(TARGET.replace("[data]", f"[data]\ncolumns = {NAMES}"))
    target = load_target(str(folder / "a.toml"))
    for data, expected in zip((target.test, target.pool), right, strict=True):
        np.testing.assert_allclose(target.victim(data.x).y.numpy(), expected, rtol=0, atol=1e-12)
    assert torch.equal(target.test.y == 1, torch.from_numpy(people(200, 1)[1] == ">50K"))
    assert target.box.shape == target.student.shape == (9,), "age, hours and its gap, four jobs with the gap, two sexes"
    assert any("text and cells without a value as they stand" in line for line in assumptions(target, target.student))


def test_it_is_stolen_and_measured_on_the_same_rows(folder: Path, tmp_path: Path):
    model = fitted(*people(300, 0))
    skops.io.dump(by_name(model), folder / "model.skops")
    choice = Choice(str(folder / "a.toml"))
    (cell,) = expand(Audit(choice, ["knockoff@linear"], ["none"], [150], [0], 50), choice.load())
    row = run_cell(cell, tmp_path)
    assert isinstance(row, Row)
    assert row.error is None
    x, y = people(200, 1)
    assert row.victim is not None
    assert row.clone is not None
    model = fitted(*people(300, 0))  # as before it lost its numbers of columns
    assert row.victim.accuracy.value == pytest.approx(model.score(x, y))
    assert row.clone.accuracy.value > model.score(x, y) - 0.05


def test_files_in_different_orders_are_refused_for_a_model_that_names_no_columns(folder: Path):
    skops.io.dump(fitted(*people(300, 0)), folder / "model.skops")
    with pytest.raises(BadConfig, match=r"pool\.csv has its columns in another order .* `columns = \[\.\.\.\]`"):
        load_target(str(folder / "a.toml"))


def test_a_wrong_order_of_columns_is_refused_with_what_to_declare(folder: Path):
    skops.io.dump(fitted(*people(300, 0)), folder / "model.skops")
    (folder / "a.toml").write_text(TARGET.replace("[data]", f"[data]\ncolumns = {NAMES[::-1]}"))
    with pytest.raises(
        BadConfig, match=r"column hours holds numbers .* fitted on text: clerk, cook.* order .* `columns = \[\.\.\.\]`"
    ):
        load_target(str(folder / "a.toml"))


@pytest.mark.parametrize(
    ("unknown", "does"), [("error", "fails on it"), ("ignore", "passes over it, as if the cell held none of these")]
)
def test_a_category_that_the_model_does_not_know_is_found_before_anything_is_asked(
    folder: Path, unknown: str, does: str
):
    skops.io.dump(by_name(fitted(*people(300, 0), unknown)), folder / "model.skops")
    pool = folder / "pool.csv"
    lines = pool.read_text().splitlines()
    lines[5] = "miner ,40,m,30" if unknown == "error" else "Miner,40,m,30"
    pool.write_text("\n".join(lines) + "\n")
    if unknown == "error":  # spaces around a category do not count
        load_target(str(folder / "a.toml"))
        pool.write_text("\n".join([*lines[:5], "Miner,40,m,30", *lines[6:]]) + "\n")
    with pytest.raises(BadConfig) as error:
        load_target(str(folder / "a.toml"))
    assert str(error.value).startswith(
        f"line 6 of {pool} has 'Miner' in column 'job', which the model does not know: its OneHotEncoder was fitted on"
        f" clerk, cook, miner, nan and {does}. Correct the spelling, or remove such rows."
    )


def test_a_category_that_the_model_passes_over_may_be_declared(folder: Path):
    rows, labels = people(300, 0)
    women = rows[:, 3] == "f"
    skops.io.dump(by_name(fitted(rows[women], labels[women])), folder / "model.skops")
    with pytest.raises(BadConfig, match="has 'm' in column 'sex', which the model does not know"):
        load_target(str(folder / "a.toml"))
    (folder / "a.toml").write_text(TARGET.replace("[data]", '[data]\ncategories = { sex = ["f", "m"] }'))
    assert load_target(str(folder / "a.toml")).box.shape == (9,)


def test_encoders_are_found_behind_an_imputer_and_not_behind_anything_else():
    rows = np.array([["a", "x"], ["b", "y"], [np.nan, "x"]], object)
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()).fit(rows)
    bare = OneHotEncoder(handle_unknown="ignore").fit(rows)
    behind = make_pipeline(ColumnTransformer([("c", OneHotEncoder(), [1])]), StandardScaler(with_mean=False)).fit(rows)
    assert [(one.place, [*one.values], one.gaps, one.strict) for one in encoded(filled, [4, 7])] == [
        (4, ["a", "b"], True, True),
        (7, ["x", "y"], True, True),
    ]
    assert [one.gaps for one in encoded(bare, [0, 1])] == [True, False], "nan is a category of the first"
    assert [(one.place, [*one.values]) for one in encoded(behind, [3, 5])] == [(5, ["x", "y"])]
    assert not list(encoded(make_pipeline(StandardScaler(), OneHotEncoder()), [0]))


def test_ranges_of_raw_columns_are_not_declared(folder: Path):
    skops.io.dump(by_name(fitted(*people(300, 0))), folder / "model.skops")
    (folder / "a.toml").write_text(TARGET.replace("shape = [4]", "shape = [4]\nlow = 0"))
    with pytest.raises(BadConfig, match="Leave `low` and `high` out"):
        load_target(str(folder / "a.toml"))


@pytest.mark.parametrize("text", [False, True])
def test_categories_that_are_numbers_are_given_to_the_model_as_it_was_fitted_on_them(folder: Path, text: bool):
    rows, labels = people(300, 0)
    codes = {"clerk": 1, "cook": 2, "miner": 7}
    kept = [row[2] == row[2] for row in rows]
    rows, labels = rows[kept], labels[kept]
    rows[:, 2] = [str(codes[job]) if text else codes[job] for job in rows[:, 2]]
    model = fitted(rows, labels)
    right = model.predict_proba(rows)
    skops.io.dump(by_name(model), folder / "model.skops")
    for name in ("test.csv", "pool.csv", "train.csv"):
        csv(
            folder / name,
            rows,
            labels if name != "pool.csv" else None,
            [*NAMES, *(["income"] if name != "pool.csv" else [])],
        )
    if text:
        with pytest.raises(
            BadConfig, match=r"column job holds numbers in the files, .* fitted on text: 1, 2, 7\. List"
        ):
            load_target(str(folder / "a.toml"))
    for listed in ([] if text else [""]) + ['categories = { job = ["7", "1", "2"] }']:
        (folder / "a.toml").write_text(TARGET.replace("[data]", f"[data]\n{listed}"))
        target = load_target(str(folder / "a.toml"))
        np.testing.assert_allclose(target.victim(target.test.x).y.numpy(), right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lacking", ["test.csv", "pool.csv"])
def test_a_number_that_is_missing_is_named_where_the_model_fails_on_it(folder: Path, lacking: str):
    x = np.random.default_rng(0).random((40, 4)).round(3).astype(object)
    skops.io.dump(LogisticRegression().fit(x.astype(float), np.arange(40) % 2), folder / "model.skops")
    for name in ("test.csv", "pool.csv", "train.csv"):
        csv(folder / name, x, np.arange(40) % 2, [*NAMES, "income"])
    (folder / lacking).write_text((folder / lacking).read_text().replace(f"\n{x[1, 0]},", "\nNone,", 1))
    with pytest.raises(BadConfig) as error:
        load_target(str(folder / "a.toml"))
    assert str(error.value) == (
        f"line 3 of {folder / lacking} has no value in column {NAMES[0]!r} (got 'None'), and the model fails where one is"
        " missing. Remove such lines or fill the values in."
    )

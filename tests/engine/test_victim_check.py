"""A victim that guesses stops the run: before an API is paid for more than a sample, and with what is probably wrong."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import skops.io
import torch
from sklearn.linear_model import LogisticRegression

from gamekeeper.engine.run import Stage, one_answer, skill_on
from gamekeeper.engine.victim_check import seen_otherwise
from gamekeeper.results import Results
from gamekeeper.surfaces.cli import guarded
from gamekeeper.targets.load import load_target
from tests.targets.server import serving

W = np.array([[3, -1, 0], [0, 2, -1], [-2, 0, 3], [1, 1, -1]], np.float32)
X = np.random.default_rng(0).random((2400, 4), dtype=np.float32)


def probabilities(x: np.ndarray) -> np.ndarray:
    z = np.exp(2 * np.asarray(x, np.float64) @ W)
    return z / z.sum(1, keepdims=True)


Y = probabilities(X).argmax(1)
TOML = """
kind = "{kind}"
answers = "{answers}"
classes = 3
price = 0.01
currency = "USD"
[input]
shape = [4]
high = {high}
[data]
test = "test.npz"
pool = "pool.npz"
[thief]
student = "mlp:hidden=8"
{table}
"""
TABLE = """
kind = "sklearn"
answers = "probabilities"
classes = 3
[model]
file = "m.skops"
[input]
shape = [4]
[data]
test = "test.csv"
pool = "pool.csv"
"""
RUN = ["--attack", "knockoff", "--defense", "none", "--budget", "40", "--uniform", "0", "--jobs", "1", "--yes"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.savez(tmp_path / "test.npz", x=X[:2000], y=Y[:2000])
    np.savez(tmp_path / "pool.npz", x=X[2000:])
    return tmp_path


def audited(folder: Path, kind: str, table: str, *more: str, answers: str = "probabilities", high: float = 1.0) -> int:
    path = folder / "target.toml"
    path.write_text(TOML.format(kind=kind, table=table, answers=answers, high=high))
    return guarded(["audit", str(path), *RUN, "--out", str(folder / "run"), *more])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    whole = capsys.readouterr()
    return " ".join((whole.out + whole.err).split())


def uneven(x: np.ndarray) -> np.ndarray:
    return np.tile([0.5, 0.3, 0.2], (len(x), 1))


def rotated(x: np.ndarray) -> np.ndarray:
    return probabilities(x)[:, [2, 0, 1]]


def swapped(x: np.ndarray) -> np.ndarray:
    """Two of three classes have changed places: a third of the answers is right."""
    return probabilities(x)[:, [1, 0, 2]]


def noise(x: np.ndarray) -> np.ndarray:
    return np.random.default_rng(len(x)).dirichlet([1, 1, 1], len(x))


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (uneven, "It gives class 0 to every one of them: check the scale and units"),
        (rotated, "With its classes in another order (0 for 2, 1 for 0, 2 for 1)"),
        (swapped, "With its classes in another order (0 for 1, 1 for 0)"),
        (noise, "Check the order of the classes"),
    ],
)
def test_an_api_that_guesses_is_paid_for_a_sample_and_no_more(answer, cause, folder, capsys):
    sent = []

    def counted(x: np.ndarray) -> np.ndarray:
        sent.append(len(x))
        return answer(x)

    with serving(counted, (4,)) as api:
        table = f'[http]\nurl = "{api.url}"\nmodel = "m"\nbatch = 50'
        assert audited(folder, "http", table) == 4
        message = said(capsys)
        assert cause in message
        assert "--accept-weak-victim" in message
        assert (
            "at most 2,104 queries (2,064 of them for evaluation, 64 of these a second time to see whether answers repeat), 21.04 USD at 0.01 USD per query"
            in message
        )
        assert sum(sent) == 200, "a sample of the test set"
        assert not (folder / "run/run.json").exists()
        assert audited(folder, "http", table, "--accept-weak-victim", "--quiet") == 0
        assert sum(sent) <= 2104, "what was paid for is not paid for again"
        assert said(capsys).startswith("Nothing follows from this run (weak-victim")
    assert audited(folder, "http", table, "--json", "--accept-weak-victim", "--fail-if", "worst.accuracy>0.99") == 3
    data = orjson.loads(capsys.readouterr().out)
    assert "weak-victim" in data["void"]
    assert data["unjudged"] == ["worst.accuracy>0.99"]
    assert data["headline"].startswith("Nothing follows")


def test_a_pool_that_brings_one_class_stops_the_run_too(folder, capsys):
    np.savez(
        folder / "pool.npz", x=np.repeat(X[2000:2001], 400, 0) + np.linspace(0, 1e-3, 400, dtype=np.float32)[:, None]
    )
    sent = []

    def counted(x: np.ndarray) -> np.ndarray:
        sent.append(len(x))
        return probabilities(x)

    with serving(counted, (4,)) as api:
        table = f'[http]\nurl = "{api.url}"\nmodel = "m"\nbatch = 50'
        assert audited(folder, "http", table, high=1.1) == 4
        message = said(capsys)
        assert "to each of the first 40 inputs that a thief takes from the pool" in message
        assert "At most 240 inputs were sent" in message
        assert sum(sent) == 240
        assert audited(folder, "http", table, "--accept-weak-victim", "--quiet", high=1.1) == 0
        assert "Nothing follows from this run (one-class-answers" in said(capsys)


def test_a_sound_api_pays_nothing_for_the_check(folder, capsys):
    sent = []

    def counted(x: np.ndarray) -> np.ndarray:
        sent.append(len(x))
        return probabilities(x)

    with serving(counted, (4,)) as api:
        assert audited(folder, "http", f'[http]\nurl = "{api.url}"\nmodel = "m"\nbatch = 50', "--quiet") == 0
    assert sum(sent) == 2104
    assert "2,104 inputs, 21.04 USD; 40 of them by thieves" in said(capsys)


def test_a_model_that_sees_the_wrong_scale_is_stopped(folder, capsys):
    """It was fitted on 0 to 255, where small weights and a large constant make sense."""
    fitted = LogisticRegression(max_iter=2000).fit(X.astype(float), Y)
    fitted.coef_, fitted.intercept_ = fitted.coef_ / 255, np.array([1.0, 0.0, 0.0])
    skops.io.dump(fitted, folder / "m.skops")
    assert audited(folder, "sklearn", '[model]\nfile = "m.skops"') == 4
    assert "gives class 0 to every one of them: check the scale" in said(capsys)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda x: x.transpose(-1, -2), "rows and columns exchanged"),
        (lambda x: 1 - x, "dark and light exchanged"),
        (lambda x: x.flip(-2), "top and bottom exchanged"),
        (lambda x: x, None),
    ],
)
def test_images_that_files_hold_another_way_round_are_recognised(change, name: str | None):
    whole = load_target("digits")
    x, truth = change(whole.test.x).contiguous(), whole.test.y
    assert truth is not None
    sentence = seen_otherwise(skill_on(whole.victim(x).y, truth), whole, x, truth)
    assert (sentence is None) == (name is None)
    assert sentence is None or (name in sentence and re.search(r"in every image on 9\d %", sentence))
    remote = replace(whole, remote=True)
    assert seen_otherwise(skill_on(whole.victim(x).y, truth), remote, x, truth) is None, "every one would be charged"


def test_probabilities_that_contradict_predict_are_explained(folder, capsys, monkeypatch):
    skops.io.dump(LogisticRegression(C=100, max_iter=2000).fit(X.astype(float), Y), folder / "m.skops")
    whole = LogisticRegression.predict_proba
    monkeypatch.setattr(LogisticRegression, "predict_proba", lambda self, x: whole(self, x)[:, [1, 2, 0]])
    assert audited(folder, "sklearn", '[model]\nfile = "m.skops"') == 4
    message = said(capsys)
    assert "in another order" in message or 'declare answers = "labels"' in message
    mixed = lambda self, x: np.where(np.arange(len(x))[:, None] % 10 == 0, 1 / 3, whole(self, x))  # noqa: E731
    monkeypatch.setattr("gamekeeper.targets.load.rehearse", lambda *given: None)
    monkeypatch.setattr(LogisticRegression, "predict_proba", mixed)
    assert audited(folder, "sklearn", '[model]\nfile = "m.skops"', "--quiet") == 0
    (row,) = (row for row in Results(folder / "run").read() if row.budget)
    assert "predict-differs" in row.flags


@pytest.mark.parametrize(
    ("names", "columns", "remedy"),
    [
        (["owl", "dog", "fox"], "abcd", 'classes = ["owl", "dog", "fox"]'),  # sorted, owl would be the last
        (
            ["cat", "dog", "fox"],
            "dcba",
            "the order of columns (`columns` in [data]), and which column holds the labels",
        ),
    ],
)
def test_a_table_read_in_another_order_names_the_key_to_set(
    tmp_path: Path, names: list[str], columns: str, remedy: str, capsys: pytest.CaptureFixture[str]
):
    skops.io.dump(LogisticRegression(C=100, max_iter=2000).fit(X[:1000].astype(float), Y[:1000]), tmp_path / "m.skops")
    places = ["abcd".index(name) for name in columns]
    for file, rows in (("test.csv", range(1000, 1400)), ("pool.csv", range(1400, 1800))):
        lines = [",".join([*(f"{X[i, j]:.4f}" for j in places), names[Y[i]]]) for i in rows]
        (tmp_path / file).write_text("\n".join([",".join([*columns, "kind"]), *lines]) + "\n")
    (tmp_path / "a.toml").write_text(TABLE)
    assert guarded(["audit", str(tmp_path / "a.toml"), *RUN, "--out", str(tmp_path / "run")]) == 4
    assert remedy in said(capsys)


@pytest.mark.parametrize(
    ("y", "alike"),
    [
        ([[0.9, 0.1], [0.9, 0.1]], True),
        ([[0.9, 0.1], [0.895, 0.105]], True),  # a hundredth is noise
        ([[0.9, 0.1], [0.6, 0.4]], False),  # one class, and yet how sure it is says where the other begins
        ([[0.9, 0.1], [0.4, 0.6]], False),
        ([[1.0, 0.0], [1.0, 0.0]], True),
    ],
)
def test_answers_that_differ_in_nothing_teach_nothing(y: list[list[float]], alike: bool):
    assert one_answer(torch.tensor(y)) == alike


@pytest.mark.parametrize(("rows", "flags"), [(0, set()), (3, {"leaked-test"}), (60, {"leaked-test", "test-in-pool"})])
def test_a_few_shared_rows_are_a_flag_and_many_void_the_run(rows: int, flags: set[str], tmp_path: Path):
    whole = load_target("digits")
    pool = replace(whole.pool, x=torch.cat([whole.test.x[:rows], whole.pool.x[rows:]]))
    stage = Stage(replace(whole, pool=pool), tmp_path, 0)
    assert {name for name in stage.flags if name in ("leaked-test", "test-in-pool")} == flags


@pytest.mark.parametrize("absent", [(), (2,), (0, 1)])
def test_classes_of_which_the_test_set_has_no_example_are_a_flag(absent: tuple[int, ...], tmp_path: Path):
    whole = load_target("wine")
    assert whole.test.y is not None
    rows = ~torch.isin(whole.test.y, torch.tensor(absent))
    stage = Stage(replace(whole, test=replace(whole.test, x=whole.test.x[rows], y=whole.test.y[rows])), tmp_path, 0)
    assert ("untested-classes" in stage.flags) == bool(absent)

"""The same audit runs unchanged against scikit-learn, an ONNX file and a live HTTP server."""

from contextlib import closing

import numpy as np
import orjson
import pytest
import skops.io
import torch
from sklearn.linear_model import LogisticRegression

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.engine.grid import Audit, expand, queries
from gamekeeper.engine.run import LEDGER, run_cell, upstream
from gamekeeper.errors import Malformed
from gamekeeper.results import Row
from gamekeeper.service.ledger import Ledger
from gamekeeper.surfaces.cli import guarded
from gamekeeper.targets.choice import Choice
from gamekeeper.types import Box
from tests.targets.server import serving

pytestmark = pytest.mark.thorough

SHAPE, CLASSES = (6,), 3
X = Box(SHAPE).uniform(900, 0)
WEIGHTS = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
Y = (X @ WEIGHTS).argmax(1)

TOML = """
kind = "{kind}"
answers = "{answers}"
classes = 3
price = 0.01
{model}
[input]
shape = [6]
[data]
test = "test.npz"
pool = "pool.npz"
[thief]
student = "mlp:hidden=16"
[audit]
budget = [100]
{more}
"""


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "test.npz", x=X[:300].numpy(), y=Y[:300].numpy())
    np.savez(tmp_path / "pool.npz", x=X[600:].numpy())
    return tmp_path


def written(folder, kind: str, answers: str, model: str, more: str = "") -> Choice:
    path = folder / f"{kind}.toml"
    path.write_text(TOML.format(kind=kind, answers=answers, model=model, more=more))
    return Choice(str(path))


def sklearn_target(folder) -> Choice:
    estimator = LogisticRegression(C=100, max_iter=2000).fit(X[300:600].double().numpy(), Y[300:600].numpy())
    skops.io.dump(estimator, folder / "model.skops")
    return written(folder, "sklearn", "probabilities", '[model]\nfile = "model.skops"')


def onnx_target(folder) -> Choice:
    net = fresh(Mlp(SHAPE, CLASSES, ()), 0)
    with torch.no_grad():
        net.head.weight.copy_(10 * WEIGHTS.T)
        net.head.bias.zero_()
    torch.onnx.export(
        net.eval(), (X[:2],), folder / "model.onnx", dynamo=True, verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    return written(folder, "onnx", "logits", '[model]\nfile = "model.onnx"')


def audit(choice: Choice, folder, defenses=("none", "label", "reverse_sigmoid", "mad")) -> list[Row]:
    question = Audit(choice, ["knockoff", "knockoff+labels"], list(defenses), [100], [0], uniform=50)
    target = choice.load()
    rows = [run_cell(cell, folder / "run") for cell in expand(question, target)]
    assert [row.error for row in rows] == [None] * len(rows)
    return rows


def check(rows: list[Row]) -> None:
    by = {(row.defense, row.attack): row for row in rows}
    soft, poisoned = by["none", "knockoff"], by["mad", "knockoff"]
    assert soft.victim is not None
    assert soft.clone is not None
    assert poisoned.clone is not None
    assert soft.victim.accuracy.value > 0.9
    assert soft.clone.accuracy.value > 0.8
    assert poisoned.clone.accuracy.value < soft.clone.accuracy.value
    assert all(row.queries == 100 and row.price == pytest.approx(1.0) for row in rows)


@pytest.fixture(autouse=True)
def run_folder(folder):
    (folder / "run").mkdir()


def test_scikit_learn(folder):
    check(audit(sklearn_target(folder), folder))


@pytest.mark.filterwarnings("ignore")  # torch's exporter warns about itself
def test_onnx(folder):
    check(audit(onnx_target(folder), folder))


def test_a_wrong_declaration_of_a_live_server_costs_one_query(folder):
    asked = []

    def answer(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        return 10 * x.astype(np.float32) @ WEIGHTS.numpy()

    with serving(answer, SHAPE) as api:
        more = f'[http]\nurl = "{api.url}"\nmodel = "m"\nbatch = 50'
        choice = written(folder, "http", "probabilities", "", more)
        question = Audit(choice, ["knockoff"], ["none"], [100], [0])
        (cell,) = expand(question, choice.load())
        with pytest.raises(Malformed, match='declare answers = "logits"'):
            run_cell(cell, folder / "run")
    assert asked == [1]


def test_a_live_server_is_asked_once_for_all_defenses_and_learners_and_judges(folder):
    asked = []

    def answer(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        return torch.softmax(10 * torch.from_numpy(x.astype(np.float32)) @ WEIGHTS, 1).numpy()

    with serving(answer, SHAPE) as api:
        choice = written(folder, "http", "probabilities", "", f'[http]\nurl = "{api.url}"\nmodel = "m"\nbatch = 50')
        target = choice.load()
        question = Audit(
            choice, ["knockoff", "knockoff+labels"], ["none", "label", "reverse_sigmoid", "mad"], [100], [0]
        )
        planned = queries(expand(question, target), target)
        rows = audit(choice, folder)
        check(rows)
        first = sum(asked)
        audit(choice, folder)
    assert max(asked) == 50
    assert sum(row.paid for row in rows) == 100
    assert first == planned
    assert sum(asked) == first, "a rerun must not ask again"
    with closing(Ledger(folder / "run" / LEDGER)) as ledger:
        assert ledger.unanswered() == 0


def test_a_run_on_a_live_server_says_what_it_bought_for_whom_and_what_may_be_lost(folder, capsys):
    def answer(x: np.ndarray) -> np.ndarray:
        return torch.softmax(10 * torch.from_numpy(x.astype(np.float32)) @ WEIGHTS, 1).numpy()

    with serving(answer, SHAPE) as api:
        more = f'[http]\nurl = "{api.url}"\nmodel = "m"\nbatch = 50'
        choice = written(folder, "http", "probabilities", "", more)
        command = ["audit", choice.name, "--attack", "knockoff", "--defense", "none", "--defense", "label"]
        command += ["--jobs", "1", "--yes", "--out", str(folder / "run")]
        with closing(Ledger(folder / "run" / LEDGER)) as ledger:
            for scope in (upstream(choice.load()), "the thief behind it"):  # a run that was killed in a batch
                ledger.send(ledger.scope(scope), 50)
        assert guarded(command) == 0
        said = capsys.readouterr().out
        assert "at most 464 queries (364 of them for evaluation, 64 of these a second time to see" in said
        assert "50 inputs that earlier runs sent got no answer and may have been charged" in said
        spent = "in this run: 464 inputs, 4.64 in money; 100 of them by thieves, 364 for evaluation"
        assert f"{spent}; 50 more, in earlier runs, got no answer" in said
        assert guarded([*command, "--json"]) == 0
    bill = orjson.loads(capsys.readouterr().out)["bill"]
    assert bill == {"inputs": 0, "thieves": 0, "unanswered": 50, "earlier": 50, "price": 0.01, "currency": ""}


@pytest.mark.parametrize("protocol", ["v2", "v1"])
def test_inputs_that_a_live_server_never_answers_cost_themselves(folder, capsys, protocol: str):
    asked = []

    def answer(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        y = torch.softmax(10 * torch.from_numpy(x.astype(np.float32)) @ WEIGHTS, 1).numpy()
        bad = x[:, 0] > 0.97
        if protocol == "v1":  # an item that is null
            return np.array([None if each else row for each, row in zip(bad, y.tolist(), strict=True)], object)
        y[bad] = np.nan
        return y

    with serving(answer, SHAPE) as api:
        more = f'[http]\nurl = "{api.url}"\nmodel = "m"\nbatch = 50\nprotocol = "{protocol}"'
        choice = written(folder, "http", "probabilities", "", more)
        command = [
            "audit",
            choice.name,
            "--attack",
            "knockoff",
            "--attack",
            "knockoff+labels",
            "--attack",
            "active_thief",
        ]
        command += ["--attack", "knockoff+averaged:n=2", "--defense", "none", "--defense", "mad:eps=0.5"]
        command += ["--jobs", "1", "--yes", "--json", "--out", str(folder / "run")]
        assert guarded(command) == 0
        first = orjson.loads(capsys.readouterr().out)
        sent = len(asked)
        assert guarded(command) == 0
        again = capsys.readouterr().out
        assert guarded([*command[:-3], *command[-2:], "--quiet"]) == 0
    quiet = capsys.readouterr().out
    again = orjson.loads(again)
    assert len(asked) == sent, "an input without an answer is not sent again"
    assert again["bill"]["inputs"] == 0
    bad = int((X[:300, 0] > 0.97).sum())
    assert bad > 0
    assert first["test"] == {"inputs": 300, "unanswered": bad}
    for text in (first["headline"], again["headline"], quiet):
        assert f"Every accuracy is over the {300 - bad} of 300 test inputs that got an answer" in text
    for row in first["rows"]:
        assert row["error"] is None
        assert row["unanswered"] == bad
        assert row["queries"] == row["budget"]  # 100, or 0 of the zero-query clone
        assert row["victim"]["accuracy"]["n"] == 300 - bad
        assert row["victim"]["accuracy"]["value"] == 1.0
        assert row["clone"]["accuracy"]["n"] == 300 - bad
    assert first["bill"]["unanswered"] > 0

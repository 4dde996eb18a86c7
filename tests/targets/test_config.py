"""Target files: every kind loads with the answers of its model, and every wrong key is named with what is allowed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnx
import pytest
import skops.io
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

from gamekeeper.architectures import LeNet, Mlp, ResNet, fresh
from gamekeeper.errors import BadConfig, BadQuery, GamekeeperError, Malformed, UnsafeFile
from gamekeeper.models.network import TorchModel
from gamekeeper.models.opaque import RemoteModel, SklearnModel
from gamekeeper.targets import config as targets_config
from gamekeeper.targets.choice import Choice, header_entry
from gamekeeper.targets.config import TargetConfig, read_config
from gamekeeper.targets.domains import ranges_of
from gamekeeper.targets.load import load_target
from gamekeeper.types import Box, Model, Ranges, Style
from tests.targets.files.models import export

RNG = np.random.default_rng(0)
WEIGHT = RNG.integers(-8, 8, (4, 3)).astype(np.float32) / 8
ARCHITECTURE = Mlp((4,), 3, hidden=())

TORCH = """
kind = "torch"
answers = "logits"
classes = 3
price = 0.01
[model]
file = "w.safetensors"
architecture = "mlp:hidden="
[input]
shape = [4]
[data]
test = "test.npz"
pool = "pool.npz"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data and a softmax regression, as a user would have them; the same for every test, whichever ran before."""
    generator = np.random.default_rng(2)
    x = generator.random((20, 4)).astype(np.float32)
    y = (x @ WEIGHT).argmax(1)
    assert set(y) == {0, 2}, "messages below name the whole range of labels"
    np.savez(tmp_path / "test.npz", x=x, y=y)
    np.savez(tmp_path / "pool.npz", x=generator.random((50, 4)).astype(np.float32))
    np.savez(tmp_path / "train.npz", x=x[:7] / 2, y=np.arange(7) % 3)
    save_file(
        {"head.weight": torch.from_numpy(WEIGHT.T.copy()), "head.bias": torch.zeros(3)}, tmp_path / "w.safetensors"
    )
    return tmp_path


def write(folder: Path, text: str) -> str:
    (folder / "t.toml").write_text(text)
    return str(folder / "t.toml")


def expected(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x @ torch.from_numpy(WEIGHT), 1)


def test_a_torch_target_has_everything_its_file_says(folder: Path):
    target = load_target(write(folder, TORCH))
    assert isinstance(target.victim, TorchModel)
    assert (target.name, target.kind, target.answers, target.price, target.remote) == (
        "t",
        "torch",
        "logits",
        0.01,
        False,
    )
    assert target.box == ranges_of(target.pool.x)
    assert target.student == target.owner.architecture == ARCHITECTURE
    assert (len(target.test), len(target.pool), len(target.owner.x)) == (20, 50, 0)
    assert target.test.y is not None
    assert target.pool.y is None
    assert torch.equal(target.victim(target.test.x).y.argmax(1), target.test.y)


def test_the_same_model_in_every_format_gives_the_same_answers(folder: Path):
    net = fresh(ARCHITECTURE, 0)
    net.load_state_dict({"head.weight": torch.from_numpy(WEIGHT.T.copy()), "head.bias": torch.zeros(3)})
    export(net.eval(), torch.rand(2, 4), folder / "m.pt2")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["y"])],
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(WEIGHT, "W")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "m.onnx")
    estimator = LogisticRegression().fit(RNG.random((30, 4)), np.arange(30) % 3)
    estimator.coef_, estimator.intercept_ = WEIGHT.T.astype(np.float64), np.zeros(3)
    skops.io.dump(estimator, folder / "m.skops")
    x = torch.rand(6, 4)
    head = 'file = "w.safetensors"\narchitecture = "mlp:hidden="'
    for kind, file, answers in (
        ("export", "m.pt2", "logits"),
        ("onnx", "m.onnx", "logits"),
        ("sklearn", "m.skops", "probabilities"),
    ):
        text = (
            TORCH.replace(head, f'file = "{file}"').replace('"torch"', f'"{kind}"').replace('"logits"', f'"{answers}"')
        )
        target = load_target(write(folder, text))
        assert target.kind == kind
        assert torch.allclose(target.victim(x).y.float(), expected(x), rtol=0, atol=1e-6)
        assert isinstance(target.student, Mlp), "a table's default student"


class Predict(BaseHTTPRequestHandler):
    """TensorFlow Serving's rows: the softmax regression as a live API."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        y = expected(torch.tensor(body["instances"]))
        answer = json.dumps({"predictions": y.tolist()}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        return


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def url() -> Iterator[str]:
    with served(Predict) as address:
        yield address


def remote(url: str) -> str:
    model = '[model]\nfile = "w.safetensors"\narchitecture = "mlp:hidden="\n'
    text = TORCH.replace(model, "").replace('"torch"', '"http"').replace('"logits"', '"probabilities"')
    return text + f'[http]\nurl = "{url}"\nprotocol = "v1"\nmodel = "m"\nbatch = 4\n'


def test_a_live_api_is_a_target_like_the_others(folder: Path, url: str):
    target = load_target(write(folder, remote(url)))
    assert isinstance(target.victim, RemoteModel)
    assert isinstance(target.victim, Model)
    assert (target.remote, target.batch) == (True, 4)
    x = torch.rand(6, 4)
    assert torch.allclose(target.victim(x).y.float(), expected(x), rtol=0, atol=1e-6)


def test_a_live_api_that_answers_otherwise_is_malformed(folder: Path, url: str):
    target = load_target(write(folder, remote(url).replace('"probabilities"', '"logits"')))
    with pytest.raises(Malformed, match='declare answers = "probabilities"'):
        target.victim(torch.rand(3, 4))


def test_a_secret_is_neither_shown_nor_part_of_the_digest(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch):
    digests: set[str] = set()
    for secret in ("first", "second"):
        monkeypatch.setenv("THE_KEY", secret)
        target = load_target(write(folder, remote(url) + '[http.headers]\nAuthorization = "Bearer ${THE_KEY}"\n'))
        assert secret not in repr(target)
        digests.add(target.digest)
    assert len(digests) == 1


def test_a_student_is_made_for_the_targets_shape(folder: Path):
    target = load_target(write(folder, TORCH + '[thief]\nstudent = "mlp:hidden=7x5"\n'))
    assert target.student == Mlp((4,), 3, hidden=(7, 5))
    assert target.owner.architecture == ARCHITECTURE


def test_images_get_a_lenet_for_a_student(folder: Path):
    net = fresh(ResNet((1, 16, 16), 3, width=4), 0)
    save_file(net.state_dict(), folder / "w.safetensors")
    for name in ("test", "pool"):
        np.savez(folder / f"{name}.npz", x=RNG.random((6, 16, 16)).astype(np.float32), y=np.arange(6) % 3)
    export(net.eval(), torch.rand(2, 1, 16, 16), folder / "m.pt2")
    text = TORCH.replace('file = "w.safetensors"\narchitecture = "mlp:hidden="', 'file = "m.pt2"')
    text = text.replace('"torch"', '"export"').replace("[4]", "[1, 16, 16]")
    target = load_target(write(folder, text))
    assert target.student == LeNet((1, 16, 16), 3)


def test_a_shipped_data_set_can_be_named(folder: Path):
    net = fresh(LeNet((1, 28, 28), 10), 0)
    save_file(net.state_dict(), folder / "w.safetensors")
    text = (
        TORCH.replace('"mlp:hidden="', '"lenet"').replace("classes = 3", "classes = 10").replace("[4]", "[1, 28, 28]")
    )
    target = load_target(write(folder, text.replace("test.npz", "mnist-test").replace("pool.npz", "letters")))
    assert len(target.test) == 2000
    assert len(target.pool) == 12_000


def test_the_owners_data_are_read(folder: Path):
    target = load_target(write(folder, TORCH + 'train = "train.npz"\n'))
    stored = np.load(folder / "train.npz")
    given = sorted(zip(stored["x"].astype(np.float32).reshape(7, -1).tolist(), stored["y"].tolist(), strict=True))
    held = sorted(zip(target.owner.x.reshape(7, -1).tolist(), target.owner.truth.tolist(), strict=True))
    assert held == given
    assert target.owner.truth.tolist() != stored["y"].tolist(), "in random order"


def test_csv_tables_are_read_with_their_label_and_the_pool_without(folder: Path):
    x = RNG.random((9, 4))
    rows = ["a,b,income,c,d"] + [f"{r[0]},{r[1]},{i % 3},{r[2]},{r[3]}" for i, r in enumerate(x)]
    (folder / "test.csv").write_text("\n".join(rows))
    (folder / "pool.csv").write_text("\n".join(["a,b,c,d"] + [",".join(map(str, r)) for r in x / 2]))
    text = TORCH.replace("test.npz", "test.csv").replace("pool.npz", "pool.csv") + 'label = "income"\n'
    target = load_target(write(folder, text))
    assert target.test.y is not None
    assert target.test.y.tolist() == [i % 3 for i in range(9)]
    assert torch.allclose(target.pool.x, torch.tensor(x / 2, dtype=torch.float32))
    (folder / "pool.csv").write_text("\n".join(rows))
    assert torch.equal(load_target(write(folder, text)).pool.x, target.test.x)


def test_the_names_of_the_classes_are_declared_in_order_and_stand_in_the_header(folder: Path):
    table = ["a,b,c,d,kind", "0,0,0,1,fox", "0,0,1,0,cat"]
    (folder / "test.csv").write_text("\n".join(table))
    text = TORCH.replace("test.npz", "test.csv").replace("classes = 3", 'classes = ["fox", "dog", "cat"]')
    target = load_target(write(folder, text))
    assert target.test.y is not None
    assert target.test.y.tolist() == [0, 2]
    assert target.victim.task.classes == 3
    assert header_entry(target)["names"] == ["fox", "dog", "cat"]
    assert (header_entry(target)["columns"], header_entry(target)["label"]) == (["a", "b", "c", "d"], "kind")


def test_an_apis_labels_are_the_names_of_its_classes(folder: Path, url: str):
    (folder / "test.csv").write_text("a,b,c,d,kind\n0,0,0,1,fox\n0,0,1,0,cat\n")
    text = remote(url).replace("test.npz", "test.csv") + 'labels = ["fox", "dog", "cat"]\n'
    target = load_target(write(folder, text))
    assert target.test.y is not None
    assert target.test.y.tolist() == [0, 2]


def test_a_pool_of_the_command_line_is_read_as_the_targets_own_files(folder: Path):
    (folder / "test.csv").write_text("c,b,d,y\nred,1,0,0\nblue,0,1,2\n")
    (folder / "pool.csv").write_text("d,b,c\n0.5,1,red\n")
    text = TORCH.replace("test.npz", "test.csv").replace("pool.npz", "pool.csv")
    (folder / "other.csv").write_text("y,d,b,c\n7,0.25,1,red\n")
    assert Choice(write(folder, text), pool=str(folder / "other.csv")).load().pool.x.tolist() == [[0, 1, 1, 0.25]]
    (folder / "other.csv").write_text("d,b,c\n0.25,1,zinc\n")
    with pytest.raises(BadConfig, match="has 'zinc' in column 'c', which is not one of its categories: blue, red"):
        Choice(write(folder, text), pool=str(folder / "other.csv")).load()


def test_a_table_model_that_knows_names_gets_its_columns_in_its_order(folder: Path):
    x = RNG.random((30, 4))
    estimator = LogisticRegression().fit(x, np.arange(30) % 3)
    estimator.feature_names_in_ = np.array(["d", "c", "b", "a"], dtype=object)
    skops.io.dump(estimator, folder / "m.skops")
    (folder / "test.csv").write_text("a,b,c,d,y\n1,0.75,0.5,0.25,0\n")
    text = TORCH.replace('file = "w.safetensors"\narchitecture = "mlp:hidden="', 'file = "m.skops"')
    text = text.replace('"torch"', '"sklearn"').replace('"logits"', '"probabilities"').replace("pool.npz", "test.csv")
    assert load_target(write(folder, text.replace("test.npz", "test.csv"))).test.x.tolist() == [[0.25, 0.5, 0.75, 1]]


def test_a_table_model_that_knows_the_names_of_its_classes_gives_them(folder: Path):
    x = RNG.random((30, 4))
    skops.io.dump(LogisticRegression().fit(x, np.array(["cat", "dog", "fox"])[np.arange(30) % 3]), folder / "m.skops")
    (folder / "test.csv").write_text("a,b,c,d,kind\n0,0,0,1,fox\n0,0,1,0,dog\n")
    text = TORCH.replace('file = "w.safetensors"\narchitecture = "mlp:hidden="', 'file = "m.skops"')
    text = text.replace('"torch"', '"sklearn"').replace('"logits"', '"probabilities"').replace("test.npz", "test.csv")
    for declared, order in (("classes = 3", [0, 1, 2]), ('classes = ["fox", "cat", "dog"]', [2, 0, 1])):
        target = load_target(write(folder, text.replace("classes = 3", declared)))
        assert target.test.y is not None
        assert target.test.y.tolist() == {(0, 1, 2): [2, 1], (2, 0, 1): [0, 2]}[tuple(order)]
        assert isinstance(target.victim, SklearnModel)
        raw = torch.from_numpy(target.victim.estimator.predict_proba(target.test.x.double().numpy()))
        assert torch.equal(target.victim(target.test.x).y, raw[:, order])


def images(folder: Path, kind: str, shape: str, ends: tuple[float, float]) -> str:
    """A target of 5x4 colour images stored as bytes with channels last; the pool as floats in the model's range."""
    low, high = ends
    x = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    np.savez(folder / "test.npz", x=x, y=np.arange(6) % 3)
    np.savez(folder / "pool.npz", x=(x / 255 * (high - low) + low).astype(np.float32))
    file = {"torch": "w.safetensors", "onnx": "m.onnx", "sklearn": "m.skops"}[kind]
    text = TORCH.replace('"torch"', f'"{kind}"').replace("w.safetensors", file).replace("[4]", f"{shape}")
    text = text if kind == "torch" else text.replace('architecture = "mlp:hidden="', "")
    answers = "logits" if kind == "torch" else "probabilities"
    return text.replace('"logits"', f'"{answers}"').replace("[data]", f"low = {low}\nhigh = {high}\n[data]")


@pytest.mark.parametrize("ends", [(0.0, 255.0), (-1.0, 1.0)])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("kind", ["torch", "sklearn", "onnx"])
def test_a_model_gets_images_in_its_own_range_and_layout(
    folder: Path, kind: str, last: bool, ends: tuple[float, float]
):
    shape = (5, 4, 3) if last else (3, 5, 4)
    text = images(folder, kind, str(list(shape)), ends)
    weight = (np.random.default_rng(1).normal(size=(60, 3)) / 1000).astype(np.float32)
    if kind == "torch":
        save_file(
            {"head.weight": torch.from_numpy(weight.T.copy()), "head.bias": torch.zeros(3)}, folder / "w.safetensors"
        )
    elif kind == "sklearn":
        estimator = LogisticRegression().fit(RNG.random((9, 60)), np.arange(9) % 3)
        estimator.coef_, estimator.intercept_ = weight.T.astype(np.float64), np.zeros(3)
        skops.io.dump(estimator, folder / "m.skops")
    else:
        nodes = [("Flatten", "x", "f"), ("MatMul", "f W", "z"), ("Softmax", "z", "p")]
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            [helper.make_node(name, given.split(), [made]) for name, given, made in nodes],
            "m",
            [value("x", TensorProto.FLOAT, ["n", *shape])],
            [value("p", TensorProto.FLOAT, ["n", 3])],
            [numpy_helper.from_array(weight, "W")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, folder / "m.onnx")
    target = load_target(write(folder, text))
    assert (target.box.shape, target.box.low, target.box.high) == ((3, 5, 4), 0.0, 1.0)
    stored = np.load(folder / "pool.npz")["x"]
    # networks here have their channels first, whatever the files have
    taken = stored if last and kind != "torch" else stored.transpose(0, 3, 1, 2)
    right = torch.softmax(torch.from_numpy(taken.reshape(6, -1).astype(np.float64) @ weight), 1)
    for data in (target.test, target.pool):
        torch.testing.assert_close(target.victim(data.x).y.double(), right, rtol=0, atol=1e-5)
    assert header_entry(target)["model_range"] == list(ends)


def test_a_model_of_grey_images_without_a_channel_is_seen_as_one_of_images(folder: Path):
    weight = (np.random.default_rng(1).normal(size=(320, 3)) / 1000).astype(np.float32)
    flat = helper.make_node("Reshape", ["x", "s"], ["f"])
    graph = helper.make_graph(
        [flat, helper.make_node("MatMul", ["f", "W"], ["z"])],
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 20, 16])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weight, "W"), numpy_helper.from_array(np.array([-1, 320]), "s")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "m.onnx")
    x = np.random.default_rng(0).integers(0, 256, (6, 20, 16), dtype=np.uint8)
    np.savez(folder / "test.npz", x=x, y=np.arange(6) % 3)
    np.savez(folder / "pool.npz", x=x[:, None])
    text = TORCH.replace('"torch"', '"onnx"').replace("w.safetensors", "m.onnx").replace("[4]", "[20, 16]")
    text = text.replace('architecture = "mlp:hidden="', "").replace("[data]", "high = 255\n[data]")
    target = load_target(write(folder, text))
    right = torch.softmax(torch.from_numpy(x.reshape(6, -1).astype(np.float32) @ weight), 1)
    for data in (target.test, target.pool):
        torch.testing.assert_close(target.victim(data.x).y, right, rtol=0, atol=1e-5)
    assert target.box.shape == (1, 20, 16)
    assert isinstance(target.student, LeNet), "as for every image"


class Named(BaseHTTPRequestHandler):
    """The best two classes as names, sorted by score."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        names = ["red fox", "cat", "dog"]
        best = [
            [(names[k], float(row[k])) for k in row.argsort(descending=True)[:2]]
            for row in expected(torch.tensor(body["x"]))
        ]
        answer = json.dumps(
            {"predictions": [[{"label": name, "score": p} for name, p in row] for row in best]}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None: ...


def test_the_names_of_classes_are_the_apis_own_where_labels_are_left_out(folder: Path):
    with served(Named) as url:
        text = (
            remote(url).replace("classes = 3", 'classes = ["red fox", "cat", "dog"]').replace("probabilities", "top-k")
        )
        text = text.replace('protocol = "v1"\nmodel = "m"', 'protocol = "json"\nresponse = "predictions"')
        target = load_target(write(folder, text.replace("[http]", '[http]\nrequest = { x = "$INPUTS" }')))
        assert torch.equal(target.victim(target.test.x).y.argmax(1), expected(target.test.x).argmax(1))


def test_an_api_gets_images_in_its_own_range_and_layout(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch):
    sent: list[torch.Tensor] = []

    def answered(x: torch.Tensor) -> torch.Tensor:
        sent.append(x)
        return torch.full((len(x), 3), 1 / 3)

    monkeypatch.setitem(globals(), "expected", answered)
    text = remote(url).replace("[4]", "[5, 4, 3]").replace("[data]", "high = 255.0\n[data]")
    images(folder, "torch", "", (0.0, 255.0))
    target = load_target(write(folder, text))
    target.victim(target.test.x)
    assert torch.equal(torch.cat(sent), torch.from_numpy(np.load(folder / "test.npz")["x"]).float())


def test_the_digest_says_in_which_layout_inputs_are_sent(folder: Path, url: str):
    images(folder, "torch", "", (0.0, 1.0))
    digests = {
        load_target(write(folder, remote(url).replace("[4]", shape))).digest
        for shape in ("[5, 4, 3]", "[3, 5, 4]", '[5, 4, 3]\nlayout = "channels-last"')
    }
    assert len(digests) == 2


# digests


def changed(folder: Path, text: str = TORCH) -> str:
    return load_target(write(folder, text)).digest


def test_the_digest_does_not_depend_on_price_student_or_place(folder: Path, tmp_path: Path):
    first = changed(folder)
    assert changed(folder, TORCH.replace("0.01", "2.0") + '[thief]\nstudent = "mlp"\n') == first
    (folder / "w.safetensors").rename(folder / "v.safetensors")
    assert changed(folder, TORCH.replace("w.safetensors", "v.safetensors")) == first


def test_the_digest_depends_on_whatever_changes_an_answer(folder: Path):
    digests = [changed(folder)]
    digests.append(changed(folder, TORCH.replace("shape = [4]", "shape = [4]\nhigh = 1.5")))
    digests.append(changed(folder, TORCH + 'train = "train.npz"\n'))
    np.savez(folder / "pool.npz", x=np.zeros((3, 4), np.float32))
    digests.append(changed(folder))
    np.savez(folder / "test.npz", x=np.zeros((3, 4), np.float32), y=np.zeros(3, np.int64))
    digests.append(changed(folder))
    save_file({"head.weight": torch.ones(3, 4), "head.bias": torch.zeros(3)}, folder / "w.safetensors")
    digests.append(changed(folder))
    assert len(set(digests)) == 6


# what is refused

WRONG: list[tuple[str, str, str]] = [
    (
        'kind = "torch"',
        'kind = "tensorflow"',
        r"kind: .*'torch', 'export', 'onnx', 'sklearn' or 'http'.* Got 'tensorflow'",
    ),
    (
        'answers = "logits"',
        'answers = "logit"',
        r"answers: .*'probabilities', 'logits', 'labels' or 'top-k'.* Got 'logit'",
    ),
    ("classes = 3", "classes = 1", "classes: .*greater than or equal to 2.* Got 1"),
    ("classes = 3", 'classes = "3"', "classes: .*valid integer.* Got '3'"),
    ("classes = 3", "", "classes is missing"),
    ("price = 0.01", "price = -1.0", "price: .*greater than or equal to 0"),
    ("price = 0.01", "prize = 0.01", r"there is no key prize\. Did you mean price\? Known: kind, answers"),
    ('file = "w', 'fiel = "w', r"there is no key model\.fiel\. Did you mean file\? Known: file, architecture"),
    ('file = "w', 'fiel = "w', r"model\.file is missing"),
    ("shape = [4]", "shape = []", r"input\.shape: .*at least 1 item"),
    ("shape = [4]", "shape = [0]", r"input\.shape\[0\]: .*greater than or equal to 1"),
    ("shape = [4]", "shape = [4]\nlow = 2.0", r"input: low must be below high; got 2 and 1"),
    ("shape = [4]", "shape = [4]\nlow = [0, 0, 3, 0]", r"input: low must be below high in column 3; got 3 and 1"),
    ("shape = [4]", "shape = [4]\nhigh = [1, 1]", r"input: high has 2 numbers; shape \[4\] needs one for each column"),
    ("shape = [4]", "shape = [2, 2]\nhigh = [1, 1]", r"input: low and high may be lists for tables only"),
    (
        "shape = [4]",
        "shape = [4]\nlow = 0.0\nhigh = [1, 1, 0.1, 1]",
        r"data\.test: column 3 must lie in \[0, 0\.1\]; got",
    ),
    ("shape = [4]", "shape = [4]\nhigh = nan", r"input\.high: .*finite"),
    ("[input]", "[inputs]", r"there is no key inputs\. Did you mean input\?"),
    ('architecture = "mlp:hidden="', "", "needs model.architecture"),
    ('kind = "torch"', 'kind = "onnx"', 'model.architecture is for kind = "torch"'),
    ('kind = "torch"', 'kind = "http"', r"needs a table \[http\] and has no \[model\]"),
    ("[data]", '[http]\nurl = "https://x"\nmodel = "m"\n[data]', r"has no \[http\]"),
    ("mlp:hidden=", "mpl", r"model\.architecture: there is no architecture 'mpl'. Did you mean 'mlp'"),
    ("mlp:hidden=", "lenet", "LeNet needs inputs of shape"),
    ("mlp:hidden=", "mlp:depth=3", "mlp has no parameter 'depth'. It takes: hidden"),
    ("mlp:hidden=", "mlp", "do not fit"),
    ("[data]", '[thief]\nstudent = "vgg16"\n[data]', r"thief\.student: Vgg16 needs inputs of shape"),
    ("w.safetensors", "nothing.safetensors", "does not exist"),
    ("test.npz", "nothing.npz", r"data\.test: .*nothing\.npz does not exist.*mnist-test"),
    ('"test.npz"', r'"data\test.npz"', r"data\.test: .* holds a tab.* write 'data\\test\.csv' in single quotes"),
    ("pool.npz", "letters", r"data\.pool: its inputs have shape \[1, 28, 28\], \[input\] declares \[4\]"),
    ("test.npz", "pool.npz", r"data\.test: it needs labels and has none"),
    ("classes = 3", "classes = 2", "its labels run from 0 to 2; `classes` allows 0 to 1"),
    ("shape = [4]", "shape = [4]\nhigh = 0.5", r"data\.test: inputs must lie in \[0, 0\.5\]"),
    ("shape = [4]", "shape = [2, 2]", r"data\.test: its inputs have shape \[4\], \[input\] declares \[2, 2\]"),
    ('pool = "pool.npz"', 'pool = "pool.npz"\nlabel = "y"', r"data\.label .* CSV"),
    ('pool = "pool.npz"', 'pool = "pool.npz"\ncolumns = ["y"]', r"data\.columns .* CSV"),
    ('pool = "pool.npz"', 'pool = "pool.npz"\ncolumns = ["y", "y"]', "every name of columns must be there once"),
    ("classes = 3", 'classes = ["a", "a", "b"]', "the name of each, as text, every one different"),
    ("classes = 3", "classes = [1, 2, 3]", "the name of each, as text"),
    ("classes = 3", 'classes = 3\nclass_names = ["a"]', "names of classes are written in `classes`"),
    ("shape = [4]", "shape = [4]\nstored = [1, 1]", r"stored = \[lowest, highest\] must go up"),
    ("shape = [4]", 'shape = [4]\nlayout = "channels-last"', "layout is for images"),
    ('kind = "torch"', 'kind = "torch', "not valid TOML"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG)
def test_what_is_wrong_in_a_target_file_is_named(folder: Path, old: str, new: str, message: str):
    assert old in TORCH
    with pytest.raises(BadConfig, match=f"(?s){message}"):
        load_target(write(folder, TORCH.replace(old, new)))


def test_every_wrong_key_is_named_at_once(folder: Path):
    text = TORCH.replace("classes = 3", "classes = 0").replace("shape = [4]", "shape = [-4]").replace("price", "prise")
    with pytest.raises(BadConfig) as caught:
        load_target(write(folder, text))
    assert [part in str(caught.value) for part in ("classes", "input.shape[0]", "prise")] == [True] * 3


def test_a_literal_secret_in_a_wrong_http_table_is_not_shown(folder: Path):
    text = remote("https://example.org") + '[http.headers]\nAuthorization = "s3cret"\n"bad header" = "s3cret"\n'
    with pytest.raises(BadConfig) as caught:
        load_target(write(folder, text))
    assert "headers" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_labels_outside_the_classes_in_the_owners_data_are_named(folder: Path):
    np.savez(folder / "train.npz", x=np.zeros((2, 4), np.float32), y=np.array([0, 3]))
    with pytest.raises(BadConfig, match=r"data\.train: its labels run from 0 to 3"):
        load_target(write(folder, TORCH + 'train = "train.npz"\n'))


def test_a_model_file_that_can_run_code_is_refused(folder: Path):
    (folder / "w.pt").write_bytes(b"anything")
    with pytest.raises(UnsafeFile, match="Instead, save the weights with safetensors"):
        load_target(write(folder, TORCH.replace("w.safetensors", "w.pt")))


def test_a_wrong_declaration_is_found_when_the_target_is_loaded(folder: Path):
    with pytest.raises(Malformed, match='declare answers = "logits"') as caught:
        load_target(write(folder, TORCH.replace('"logits"', '"probabilities"')))
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (2**20 + 1), b"[a" * 1000])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "t.toml").write_bytes(content)
    with pytest.raises(BadConfig, match=r"t\.toml"):
        read_config(tmp_path / "t.toml")


def test_a_missing_target_file_is_named():
    with pytest.raises(BadConfig, match=r"none\.toml cannot be read"):
        load_target("none.toml")


def test_an_unknown_name_lists_the_built_in_targets_closest_first():
    with pytest.raises(BadConfig, match=r"no target 'fasion'\. Built in: fashion, ") as caught:
        load_target("fasion")
    assert all(name in str(caught.value) for name in ("mnist", "digits", "breast-cancer", "wine"))
    assert caught.value.exit_code == GamekeeperError.exit_code


def test_the_documented_example_is_a_valid_file(tmp_path: Path):
    lines = [line.strip() for line in (targets_config.__doc__ or "").splitlines()[2:]]
    text = "\n".join(lines).replace('label = "income"', "").split("[http]")[0]
    (tmp_path / "t.toml").write_text(text)
    config = read_config(tmp_path / "t.toml")
    assert isinstance(config, TargetConfig)
    assert (config.kind, config.input.shape, config.thief.student) == ("torch", [1, 28, 28], "resnet:depth=14")


def test_sklearn_models_are_asked_in_float64(folder: Path):
    estimator = LogisticRegression().fit(RNG.random((30, 4)), np.arange(30) % 3)
    skops.io.dump(estimator, folder / "m.skops")
    text = TORCH.replace('file = "w.safetensors"\narchitecture = "mlp:hidden="', 'file = "m.skops"')
    target = load_target(write(folder, text.replace('"torch"', '"sklearn"').replace('"logits"', '"probabilities"')))
    assert isinstance(target.victim, SklearnModel)
    assert target.victim(torch.rand(2, 4)).y.dtype == torch.float64


def test_a_table_has_a_range_for_each_column(folder: Path):
    """Declared in lists, or read off the pool, outside of which anything finite may be asked."""
    (folder / "t.toml").write_text(
        TORCH.replace("shape = [4]", "shape = [4]\nlow = [-1, 0, 0, 0]\nhigh = [1, 1, 2, 1]")
    )
    assert load_target(str(folder / "t.toml")).box == Ranges((-1.0, 0.0, 0.0, 0.0), (1.0, 1.0, 2.0, 1.0))
    (folder / "t.toml").write_text(TORCH)
    domain = load_target(str(folder / "t.toml")).box
    domain.check(torch.full((1, 4), 1e6))
    with pytest.raises(BadQuery, match="column 2 must be finite"):
        domain.check(torch.tensor([[0.0, torch.nan, 0.0, 0.0]]))
    (folder / "t.toml").write_text(TORCH.replace("shape = [4]", "shape = [4]\nlow = 0.0"))
    assert load_target(str(folder / "t.toml")).box == Box((4,))


def test_a_pool_of_no_range_is_refused(folder: Path):
    np.savez(folder / "pool.npz", x=np.zeros((0, 4), np.float32))
    (folder / "t.toml").write_text(TORCH)
    with pytest.raises(BadConfig, match=r"pool"):
        load_target(str(folder / "t.toml"))


def test_trees_hold_no_network_s_weights(folder: Path):
    (folder / "t.toml").write_text(TORCH.replace('"mlp:hidden="', '"forest"'))
    with pytest.raises(BadConfig, match=r"model\.architecture: Forest.* is no network"):
        load_target(str(folder / "t.toml"))


def test_a_public_prior_is_a_share_of_each_class(folder: Path):
    names = load_target(write(folder, TORCH)).victim.task.classes
    shares = [round(1 / names, 4)] * names
    prior = load_target(write(folder, f"{TORCH}[thief]\nprior = {shares}\n")).prior
    assert prior == tuple(shares)
    for wrong in (shares[1:], [2 * share for share in shares]):
        with pytest.raises(BadConfig, match=r"thief.prior is the share of each of \d+ classes"):
            read_config(Path(write(folder, f"{TORCH}[thief]\nprior = {wrong}\n")))


def test_a_style_of_strokes_is_part_of_the_target_and_of_its_digest(folder: Path):
    style = "style = { pen = [1, 2.5], slant = [0.1, 0.2], size = 6 }"
    plain = load_target(write(folder, TORCH))
    told = load_target(write(folder, f"{TORCH}[thief]\n{style}\n"))
    assert plain.style is None
    assert told.style == Style(pen=(1.0, 2.5), slant=(0.1, 0.2), size=6.0)
    assert told.digest != plain.digest
    with pytest.raises(BadConfig, match=r"thief.style: .*least width first"):
        read_config(Path(write(folder, f"{TORCH}[thief]\n{style.replace('[1, 2.5]', '[3, 2.5]')}\n")))

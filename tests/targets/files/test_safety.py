"""Files that could run code are refused by suffix and by content; what is read, is read without running any."""

import gzip
import io
import json
import pickle
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
import skops.io
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save, save_file
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from gamekeeper.errors import BadConfig, UnsafeFile
from gamekeeper.targets.files.pt2 import read as read_pt2
from gamekeeper.targets.files.safety import Format, read_onnx, read_safetensors, read_skops, refuse_code
from tests.targets.files.models import Touch, export, touching, touching_torch

pytestmark = pytest.mark.thorough

X = np.random.default_rng(0).normal(size=(60, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


def scripted(path: Path) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)), buffer)
        return buffer.getvalue()


def old_torch(path: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Touch(path), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def packed_joblib(path: Path) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(Touch(path), buffer, compress=3)
    return buffer.getvalue()


def plain_joblib(path: Path) -> bytes:
    buffer = io.BytesIO()
    joblib.dump([np.zeros(3), Touch(path)], buffer)
    return buffer.getvalue()


def objects(path: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Touch(path)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def zipped_code(_: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/run.so", b"\x7fELF")
    return buffer.getvalue()


def text_pickle(path: Path) -> bytes:
    return pickle.dumps(Touch(path), protocol=0)


CONTENTS: list[tuple[Callable[[Path], bytes], str]] = [
    (touching, "a pickle"),
    (text_pickle, "a pickle"),
    (touching_torch, "torch.save file"),
    (old_torch, "a pickle"),
    (scripted, "TorchScript"),
    (plain_joblib, "a pickle"),
    (packed_joblib, "compressed"),
    (lambda path: gzip.compress(touching(path)), "compressed"),
    (objects, "Python objects"),
    (zipped_code, "code in it"),
    (lambda _: b"\x7fELF" + bytes(100), "compiled library"),
    (lambda _: b"PK\x03\x04" + bytes(100), "damaged zip"),
]


@pytest.mark.parametrize(("make", "what"), CONTENTS)
@pytest.mark.parametrize(
    ("kind", "suffix"), [("torch", ".safetensors"), ("export", ".pt2"), ("onnx", ".onnx"), ("sklearn", ".skops")]
)
def test_code_is_refused_by_content_whatever_the_name(
    tmp_path: Path, make: Callable[[Path], bytes], what: str, kind: Format, suffix: str
):
    canary = tmp_path / "canary"
    path = tmp_path / f"model{suffix}"
    path.write_bytes(make(canary))
    with pytest.raises(UnsafeFile, match=what):
        refuse_code(path, kind)
    assert not canary.exists()


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".ckpt", ".PT"])
def test_code_is_refused_by_suffix_whatever_the_content(tmp_path: Path, suffix: str):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(save({"w": torch.zeros(2)}))
    with pytest.raises(UnsafeFile, match=r"Instead, save the weights with safetensors.* ONNX, or skops"):
        refuse_code(path, "torch")


@pytest.mark.parametrize(
    ("kind", "advice"),
    [("torch", "save_file"), ("export", "torch.export.save"), ("onnx", "onnx.export"), ("sklearn", "skops")],
)
def test_the_refusal_says_what_to_use_for_the_declared_kind(tmp_path: Path, kind: Format, advice: str):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"x")
    with pytest.raises(UnsafeFile, match=f"Instead, .*{advice}"):
        refuse_code(path, kind)


def test_harmless_files_pass(tmp_path: Path):
    save_file({"w": torch.rand(300)}, tmp_path / "a.safetensors")
    skops.io.dump(LogisticRegression().fit(X, Y), tmp_path / "a.skops")
    onnx.save(linear_onnx(), tmp_path / "a.onnx")
    refuse_code(tmp_path / "a.safetensors", "torch")
    refuse_code(tmp_path / "a.skops", "sklearn")
    refuse_code(tmp_path / "a.onnx", "onnx")
    refuse_code(export(nn.Linear(4, 3), torch.rand(2, 4), tmp_path / "a.pt2"), "export")


@pytest.mark.parametrize("length", [93, 376, 640, 896, 1152, 1408, 24184, 35615, 40056])
def test_a_header_whose_length_looks_like_another_format_passes(tmp_path: Path, length: int):
    """The first bytes of a safetensors file are a length: 640 is 80 02, as a pickle begins; 376 is 78 01, as zlib does."""
    empty = len(json.dumps({"__metadata__": {"a": ""}, "w": F32}))
    content = header({"__metadata__": {"a": "x" * (length - empty)}, "w": F32}, bytes(8)) if length > empty else None
    content = content or header({"w": F32}, bytes(8)).replace(b"}}", b"}" + b" " * (length - 57) + b"}")
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    assert int.from_bytes(content[:8], "little") == length
    refuse_code(path, "torch")
    assert read_safetensors(path)["w"].tolist() == [0.0, 0.0]


def test_a_missing_file_is_a_wrong_configuration(tmp_path: Path):
    with pytest.raises(BadConfig, match="does not exist"):
        refuse_code(tmp_path / "none.safetensors", "torch")


# safetensors


def test_safetensors_come_back_bit_for_bit(tmp_path: Path):
    weights = {"a": torch.rand(3, 4), "b": torch.arange(5), "c": torch.rand(2).double()}
    save_file(weights, tmp_path / "w.safetensors")
    back = read_safetensors(tmp_path / "w.safetensors")
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], value) and back[name].dtype == value.dtype for name, value in weights.items())


def header(entries: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        header({}, length=2**62),
        header({}, length=100),
        header({"w": F32}, b"1234567"),
        header({"w": F32}, bytes(9)),
        header({"w": F32, "v": F32}, bytes(8)),
        header({"w": {**F32, "data_offsets": [8, 0]}}, bytes(8)),
        header({"w": {**F32, "shape": [2**40, 2**40]}}, bytes(8)),
        header({"w": {**F32, "shape": [-2]}}, bytes(8)),
        header({"w": {**F32, "dtype": "X9"}}, bytes(8)),
        header([1, 2]),
        struct.pack("<Q", 4) + b"{{{{",
        struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc",
    ],
)
def test_a_broken_safetensors_file_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(UnsafeFile, match=r"not a (whole )?safetensors file"):
        read_safetensors(path)


# skops


def saved(estimator: Any, path: Path) -> Path:
    skops.io.dump(estimator, path)
    return path


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        DecisionTreeClassifier(max_depth=4),
        RandomForestClassifier(5, random_state=0),
        GradientBoostingClassifier(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
        make_pipeline(FunctionTransformer(np.log1p), DecisionTreeClassifier(max_depth=2)),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_classifiers_come_back_with_equal_answers(tmp_path: Path, estimator: Any):
    x = np.abs(X)
    estimator.fit(x, Y)
    back = read_skops(saved(estimator, tmp_path / "m.skops"))
    assert np.array_equal(back.predict_proba(x), estimator.predict_proba(x))


def test_a_function_in_an_estimator_is_refused_by_name_and_not_called(tmp_path: Path):
    estimator = make_pipeline(FunctionTransformer(joblib.load), LogisticRegression())
    with pytest.raises(UnsafeFile, match=r"not trusted: joblib\.numpy_pickle\.load"):
        read_skops(saved(estimator, tmp_path / "m.skops"))


def test_an_index_that_is_not_checked_is_refused_with_what_to_do(tmp_path: Path):
    model = KNeighborsClassifier(algorithm="kd_tree").fit(X, Y)
    with pytest.raises(UnsafeFile, match=r"KDTree.*algorithm='brute'"):
        read_skops(saved(model, tmp_path / "m.skops"))


def test_brute_force_neighbours_are_read(tmp_path: Path):
    model = KNeighborsClassifier(algorithm="brute").fit(X, Y)
    back = read_skops(saved(model, tmp_path / "m.skops"))
    assert np.array_equal(back.predict_proba(X), model.predict_proba(X))


def test_another_version_of_scikit_learn_is_logged_and_no_crash(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    source = saved(LogisticRegression().fit(X, Y), tmp_path / "m.skops")
    path = rewritten(source, tmp_path / "old.skops", lambda schema: replace_version(schema, "0.9.0"))
    model = read_skops(path)
    assert model.predict(X).shape == (60,)
    assert "0.9.0" in caplog.text


def replace_version(part: Any, version: str) -> None:
    if isinstance(part, dict):
        stored = part.get("_sklearn_version")
        if isinstance(stored, dict):
            stored["content"] = json.dumps(version)
        for value in part.values():
            replace_version(value, version)


def rewritten(source: Path, target: Path, change: Callable[[Any], None], **files: bytes) -> Path:
    """A copy of a skops file with its schema, and the named arrays, changed."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            if name == "schema.json":
                schema = json.loads(data)
                change(schema)
                data = json.dumps(schema).encode()
            copy.writestr(name, files.get(name.removesuffix(".npy"), data))
    return target


def tree_of(schema: Any) -> Any:
    return schema["content"]["content"]["tree_"]


def unchanged(_: Any) -> None:
    return


NODES: list[tuple[str, int, int, str]] = [
    ("left_child", 0, 10**6, "outside the tree"),
    ("right_child", 0, 0, "outside the tree or before it"),
    ("left_child", 0, -7, "outside the tree"),
    ("feature", 0, 4, "beyond the 4 of its input"),
    ("feature", 0, -3, "beyond the 4 of its input"),
]


@pytest.mark.parametrize(("field", "node", "value", "what"), NODES)
def test_a_tree_that_leads_out_of_its_arrays_is_refused(tmp_path: Path, field: str, node: int, value: int, what: str):
    source = saved(DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, Y), tmp_path / "m.skops")
    with zipfile.ZipFile(source) as archive:
        name = tree_of(json.loads(archive.read("schema.json")))["content"]["content"]["nodes"]["file"]
        nodes = np.load(io.BytesIO(archive.read(name)))
    nodes[field][node] = value
    buffer = io.BytesIO()
    np.save(buffer, nodes)
    path = rewritten(source, tmp_path / "d.skops", unchanged, **{name.removesuffix(".npy"): buffer.getvalue()})
    with pytest.raises(UnsafeFile, match=what):
        read_skops(path)


def no_nodes(schema: Any) -> None:
    count = tree_of(schema)["content"]["content"]["node_count"]
    count.update(content="0", __id__=1)  # a new id: skops would take an equal number met earlier


def more_outputs(schema: Any) -> None:
    tree_of(schema)["__reduce__"]["args"]["content"][2].update(content="1000000000", __id__=1)


def outputs_by_another_id(schema: Any) -> None:
    """The number of outputs is an object met earlier under the same id: skops would take that one's value."""
    arguments = tree_of(schema)["__reduce__"]["args"]["content"]
    earlier = schema["content"]["content"]["max_depth"]
    assert earlier["content"] == "3"
    arguments[2]["__id__"] = earlier["__id__"]


def another_loader(schema: Any) -> None:
    tree = tree_of(schema)
    tree["__loader__"] = "ConstructorFromReduceNode"
    tree["content"] = tree["__reduce__"]["args"]


def another_class(schema: Any) -> None:
    tree_of(schema)["__class__"] = "DecisionTreeClassifier"
    tree_of(schema)["__module__"] = "sklearn.tree._classes"


@pytest.mark.parametrize("change", [no_nodes, more_outputs, outputs_by_another_id, another_loader, another_class])
def test_a_tree_that_is_built_otherwise_is_refused(tmp_path: Path, change: Callable[[Any], None]):
    source = saved(DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, Y), tmp_path / "m.skops")
    with pytest.raises(UnsafeFile):
        read_skops(rewritten(source, tmp_path / "d.skops", change))


def test_a_boosted_tree_that_leads_out_of_its_arrays_is_refused(tmp_path: Path):
    model = HistGradientBoostingClassifier(max_iter=2).fit(X, Y)
    model._predictors[1][0].nodes["left"][0] = 10**6
    with pytest.raises(UnsafeFile, match="outside the tree"):
        read_skops(saved(model, tmp_path / "m.skops"))


def test_trees_of_a_forest_may_not_look_beyond_its_input(tmp_path: Path):
    model = RandomForestClassifier(3, random_state=0).fit(X, Y)
    model.n_features_in_ = 1
    with pytest.raises(UnsafeFile, match="beyond the 1 of its input"):
        read_skops(saved(model, tmp_path / "m.skops"))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_not_skops_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "m.skops"
    path.write_bytes(content)
    with pytest.raises(UnsafeFile, match="not a whole skops file"):
        read_skops(path)


@pytest.mark.parametrize(
    "schema", [{}, [], {"protocol": 2}, {"protocol": 10**6}, {"__class__": "a", "__module__": "b"}]
)
def test_a_schema_that_is_none_is_refused(tmp_path: Path, schema: Any):
    path = tmp_path / "m.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    with pytest.raises(UnsafeFile):
        read_skops(path)


# ONNX


def linear_onnx() -> onnx.ModelProto:
    """y = x W over (n, 2) -> (n, 3)."""
    weight = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3) / 8, "W")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def with_external(location: str, offset: str = "0", length: str = "24") -> onnx.ModelProto:
    model = linear_onnx()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        weight.external_data.add(key=key, value=value)
    return model


def written(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_beside_the_model_are_taken_in(tmp_path: Path):
    raw = linear_onnx().graph.initializer[0].raw_data
    (tmp_path / "w.data").write_bytes(b"1234" + raw)
    path = written(with_external("w.data", offset="4"), tmp_path / "m.onnx")
    assert onnx.load_model_from_string(read_onnx(path)).graph.initializer[0].raw_data == raw


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "sub/../../secret", "", "C:\\secret", "link", "m.onnx"]
)
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(24))
    (folder / "link").symlink_to(tmp_path / "secret")
    path = written(with_external(location), folder / "m.onnx")
    with pytest.raises(UnsafeFile, match="not a file in the model's own folder"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("offset", "length"), [("0", "25"), ("20", "8"), ("-4", "8"), ("0", "-1"), ("x", "8"), ("0", "9" * 30)]
)
def test_weights_beyond_their_file_are_refused(tmp_path: Path, offset: str, length: str):
    (tmp_path / "w.data").write_bytes(bytes(24))
    with pytest.raises(UnsafeFile):
        read_onnx(written(with_external("w.data", offset, length), tmp_path / "m.onnx"))


def test_weights_that_are_missing_are_a_wrong_configuration(tmp_path: Path):
    with pytest.raises(BadConfig, match="missing"):
        read_onnx(written(with_external("w.data"), tmp_path / "m.onnx"))


def test_weights_inside_a_branch_are_checked_too(tmp_path: Path):
    inner = with_external("../secret").graph
    branch = helper.make_graph(
        [helper.make_node("Identity", ["W"], ["z"])], "b", [], [inner.output[0]], inner.initializer
    )
    model = linear_onnx()
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    with pytest.raises(UnsafeFile, match="own folder"):
        read_onnx(written(model, tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    ("domain", "name"), [("ai.onnx.contrib", "PyOp"), ("evil", "Run"), ("com.microsoft", "EPContext")]
)
def test_operators_that_need_a_library_are_refused(tmp_path: Path, domain: str, name: str):
    model = linear_onnx()
    model.graph.node.append(helper.make_node(name, ["x"], ["z"], domain=domain))
    with pytest.raises(UnsafeFile, match=rf"{name}.*library of its own"):
        read_onnx(written(model, tmp_path / "m.onnx"))


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x08\x09"])
def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(UnsafeFile, match="not an ONNX file"):
        read_onnx(path)


def test_without_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BadConfig, match=r"pip install 'gamekeeper\[onnx\]'"):
        read_onnx(written(linear_onnx(), tmp_path / "m.onnx"))


# damage at random


def damaged(data: bytes, random: Random) -> bytes:
    """A copy with one to twenty bytes changed, sometimes cut short."""
    copy = bytearray(data)
    for _ in range(random.choice([1, 1, 3, 20])):
        copy[random.randrange(len(copy))] = random.randrange(256)
    return bytes(copy[: random.randrange(len(copy))] if random.random() < 0.2 else copy)


@pytest.mark.parametrize("suffix", [".safetensors", ".skops", ".onnx", ".pt2"])
def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path: Path, suffix: str):
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"damaged{suffix}"
    if suffix == ".safetensors":
        save_file({"w": torch.rand(3, 4)}, whole)
    elif suffix == ".skops":
        saved(RandomForestClassifier(2, max_depth=2, random_state=0).fit(X, Y), whole)
    elif suffix == ".onnx":
        written(linear_onnx(), whole)
    else:
        export(nn.Linear(4, 3), torch.rand(2, 4), whole)
    reader = {".safetensors": read_safetensors, ".skops": read_skops, ".onnx": read_onnx, ".pt2": read_pt2}[suffix]
    random, refused = Random(0), 0
    for _ in range(100):
        path.write_bytes(damaged(whole.read_bytes(), random))
        try:
            reader(path)
        except (UnsafeFile, BadConfig):
            refused += 1
    assert refused > 20


def test_a_dtype_stored_as_another_kind_of_object_is_refused(tmp_path: Path):
    rows = np.where(X > 0.9, np.nan, X)
    source = saved(
        make_pipeline(SimpleImputer(), DecisionTreeClassifier(max_depth=2)).fit(rows, Y), tmp_path / "m.skops"
    )
    assert read_skops(source).predict(rows).shape == Y.shape

    def as_an_object(part: Any) -> None:
        if isinstance(part, list):
            for each in part:
                as_an_object(each)
        elif isinstance(part, dict):
            if (part.get("__module__"), part.get("__class__")) == ("numpy", "dtype"):
                part["__loader__"] = "ObjectNode"
            for each in part.values():
                as_an_object(each)

    with pytest.raises(UnsafeFile, match="holds a dtype that is not stored as skops stores one"):
        read_skops(rewritten(source, tmp_path / "n.skops", as_an_object))

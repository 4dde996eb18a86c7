"""Model files as victims: answers equal the original's exactly, and what does not fit is said at the start."""

import io
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skops.io
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import LinearSVC
from torch import nn

from gamekeeper.architectures import LeNet, Mlp, ResNet, fresh
from gamekeeper.errors import BadConfig, Malformed, UnsafeFile
from gamekeeper.models.answers import Kind
from gamekeeper.models.network import CHUNK, TorchModel
from gamekeeper.models.opaque import OnnxModel, SklearnModel
from gamekeeper.targets.files.local import load_export, load_onnx, load_sklearn, load_torch
from gamekeeper.tasks import Classify
from gamekeeper.types import Architecture, Box, Model
from tests.targets.files.models import export, small

pytestmark = pytest.mark.thorough

BOX = Box((1, 6, 6))
THREE = Classify(3)
FLAT = Box((4,))
MLP = Mlp((4,), 3, hidden=(5,))


def trained(architecture: Architecture, shape: tuple[int, ...], seed: int = 0) -> nn.Module:
    """A network whose running statistics are not the identity, in the memory format that training leaves it in."""
    net = fresh(architecture, seed)
    if len(shape) == 3:
        net = net.to(memory_format=torch.channels_last)
    net(torch.rand(32, *shape, generator=torch.Generator().manual_seed(seed)))
    return net.eval()


def stored(net: nn.Module, path: Path) -> Path:
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)
    return path


# torch


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [(MLP, (4,)), (LeNet((1, 16, 16), 3), (1, 16, 16)), (ResNet((3, 8, 8), 3, width=4), (3, 8, 8))],
    ids=["mlp", "lenet", "resnet"],
)
def test_a_network_from_safetensors_answers_as_the_original(
    tmp_path: Path, architecture: Architecture, shape: tuple[int, ...]
):
    net = trained(architecture, shape)
    model = load_torch(stored(net, tmp_path / "w.safetensors"), architecture, THREE, Box(shape))
    x = torch.rand(9, *shape)
    assert torch.equal(model(x).y, TorchModel(net, THREE)(x).y)
    assert torch.equal(model.logits(x), TorchModel(net, THREE).logits(x))
    assert isinstance(model, Model)


def test_inputs_in_double_are_answered_in_the_networks_own_precision():
    x = torch.rand(5, 4)
    net = fresh(MLP, 0)
    assert torch.equal(TorchModel(net, THREE)(x.double()).y, TorchModel(net, THREE)(x).y)
    assert TorchModel(net.double(), THREE)(x).y.dtype == torch.float64


def test_half_precision_weights_are_read_as_float32(tmp_path: Path):
    net = trained(MLP, (4,))
    save_file({name: value.half() for name, value in net.state_dict().items()}, tmp_path / "w.safetensors")
    model = load_torch(tmp_path / "w.safetensors", MLP, THREE, FLAT)
    assert model(torch.rand(2, 4)).y.dtype == torch.float32
    assert torch.equal(model.net.state_dict()["head.bias"], net.state_dict()["head.bias"].half().float())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bit_weights_are_read_as_float32(tmp_path: Path, dtype: torch.dtype):
    recipe = Mlp((4,), 3)
    weights = {name: value.to(dtype) for name, value in fresh(recipe, 0).state_dict().items()}
    save_file(weights, tmp_path / "m.safetensors")
    model = load_torch(tmp_path / "m.safetensors", recipe, Classify(3), Box((4,)), "logits")
    assert all(
        torch.equal(value, weights[name].float())
        for name, value in model.net.state_dict().items()  # pyright: ignore
    )


def test_weights_of_another_architecture_are_listed(tmp_path: Path):
    path = stored(trained(Mlp((4,), 3, hidden=(6, 6)), (4,)), tmp_path / "w.safetensors")
    with pytest.raises(BadConfig) as caught:
        load_torch(path, MLP, THREE, FLAT)
    text = str(caught.value)
    assert "not in the architecture: body.3.bias, body.3.weight" in text
    assert "body.1.bias is float32 (6,) where float32 (5,) is needed" in text


def test_missing_weights_are_listed_up_to_five(tmp_path: Path):
    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(BadConfig, match=r"missing: body\.0\.bias, .* and \d+ more; not in the architecture: x"):
        load_torch(tmp_path / "w.safetensors", LeNet((1, 16, 16), 3), THREE, Box((1, 16, 16)))


def test_a_number_of_classes_unlike_the_weights_is_refused(tmp_path: Path):
    path = stored(trained(MLP, (4,)), tmp_path / "w.safetensors")
    with pytest.raises(BadConfig, match=r"head\.bias is float32 \(3,\) where float32 \(4,\) is needed"):
        load_torch(path, Mlp((4,), 4, hidden=(5,)), Classify(4), FLAT)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float):
    net = trained(MLP, (4,))
    with torch.no_grad():
        net.head.bias[0] = value
    with pytest.raises(BadConfig, match=r"head\.bias in .* holds NaN or infinite"):
        load_torch(stored(net, tmp_path / "w.safetensors"), MLP, THREE, FLAT)


def test_logits_declared_as_probabilities_are_refused_at_the_start(tmp_path: Path):
    path = stored(trained(MLP, (4,)), tmp_path / "w.safetensors")
    with pytest.raises(Malformed, match='declare answers = "logits"'):
        load_torch(path, MLP, THREE, FLAT, "probabilities")


def test_a_network_with_its_own_softmax_answers_without_a_second_one():
    net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
    x = torch.rand(5, 4)
    model = TorchModel(net, THREE, "probabilities")
    with torch.no_grad():
        assert torch.equal(model(x).y, net(x))
        assert torch.equal(model.logits(x), net(x))
    with pytest.raises(Malformed, match='declare answers = "probabilities"'):
        TorchModel(net, THREE)(x)


def test_large_batches_are_answered_in_order():
    net = trained(MLP, (4,))
    x = torch.rand(CHUNK * 2 + 3, 4)
    with torch.no_grad():
        assert torch.allclose(TorchModel(net, THREE)(x).y, net(x).softmax(1), rtol=0, atol=1e-6)


# torch.export


def test_an_exported_program_answers_as_the_original(tmp_path: Path):
    path = export(small(), torch.rand(4, 1, 6, 6), tmp_path / "m.pt2")
    model = load_export(path, THREE, BOX, "logits")
    for n in (1, 2, 33):
        x = torch.rand(n, 1, 6, 6)
        with torch.no_grad():
            assert torch.equal(model(x).y, small()(x).softmax(1))
    assert isinstance(model, Model)


def test_a_fixed_exported_batch_is_refused_with_how_to_export(tmp_path: Path):
    path = export(small(), torch.rand(4, 1, 6, 6), tmp_path / "m.pt2", dynamic=False)
    with pytest.raises(BadConfig, match=r"exactly 4 inputs at a time; .* dynamic_shapes"):
        load_export(path, THREE, BOX, "logits")


def test_an_exported_program_of_another_input_is_refused(tmp_path: Path):
    path = export(small(), torch.rand(4, 1, 6, 6), tmp_path / "m.pt2")
    with pytest.raises(BadConfig, match=r"shape \[1, 6, 6\]; \[input\] declares \[1, 8, 8\]"):
        load_export(path, THREE, Box((1, 8, 8)), "logits")


def test_a_program_exported_in_training_mode_is_refused(tmp_path: Path):
    net = small().train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = export(net, torch.rand(4, 1, 6, 6), tmp_path / "m.pt2")
    with pytest.raises(BadConfig, match="saved in training mode"):
        load_export(path, THREE, BOX, "logits")


def test_an_exported_program_over_other_classes_is_refused(tmp_path: Path):
    path = export(small(), torch.rand(4, 1, 6, 6), tmp_path / "m.pt2")
    with pytest.raises(Malformed, match="Declare classes = 3"):
        load_export(path, Classify(10), BOX, "logits")


def test_a_wrong_declaration_of_an_exported_program_is_refused(tmp_path: Path):
    path = export(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)).eval(), torch.rand(2, 4), tmp_path / "m.pt2")
    assert load_export(path, THREE, FLAT, "probabilities")
    with pytest.raises(Malformed, match='declare answers = "probabilities"'):
        load_export(path, THREE, FLAT, "logits")


# ONNX

WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5
"""Multiples of 1/8: sums are exact in any order."""


def linear(outputs: list[Any] | None = None, batch: Any = "n", kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """y = x W, k = argmax y, p = softmax y."""
    given = {
        "y": helper.make_tensor_value_info("y", kind, [batch, 3]),
        "k": helper.make_tensor_value_info("k", TensorProto.INT64, [batch]),
        "p": helper.make_tensor_value_info("p", kind, [batch, 3]),
    }
    weight = WEIGHT.astype(np.float64) if kind == TensorProto.DOUBLE else WEIGHT
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "W"], ["y"]),
            helper.make_node("ArgMax", ["y"], ["k"], axis=1, keepdims=0),
            helper.make_node("Softmax", ["y"], ["p"], axis=1),
        ],
        "linear",
        [helper.make_tensor_value_info("x", kind, [batch, 4])],
        [given[name] for name in outputs or ["y"]],
        [numpy_helper.from_array(weight, "W")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def onnx_file(model: onnx.ModelProto, tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("n", [1, 7, CHUNK + 1])
def test_an_onnx_model_answers_as_the_original(tmp_path: Path, n: int):
    model = load_onnx(onnx_file(linear(), tmp_path), THREE, FLAT, "logits")
    x = (torch.rand(n, 4) * 8).round() / 8
    expected = torch.softmax(x @ torch.from_numpy(WEIGHT), 1)
    assert torch.equal(model(x).y, expected)
    assert isinstance(model, Model)


def test_a_network_converted_by_torch_answers_as_the_original(tmp_path: Path):
    net = trained(MLP, (4,))
    path = tmp_path / "m.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.rand(2, 4),), path, dynamic_shapes=({0: "n"},), verbose=False)
    x = torch.rand(11, 4)
    model = load_onnx(path, THREE, FLAT, "logits")
    assert torch.allclose(model(x).y, TorchModel(net, THREE)(x).y, rtol=0, atol=1e-6)


def test_weights_in_a_file_beside_the_model_are_used(tmp_path: Path):
    onnx.save(linear(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert not onnx.load(tmp_path / "m.onnx", load_external_data=False).graph.initializer[0].raw_data
    x = torch.eye(4)
    model = load_onnx(tmp_path / "m.onnx", THREE, FLAT, "logits")
    assert torch.equal(model(x).y, torch.softmax(torch.from_numpy(WEIGHT), 1))


@pytest.mark.parametrize(("kind", "output"), [("labels", "k"), ("probabilities", "p")])
def test_of_labels_and_scores_the_declared_one_is_read(tmp_path: Path, kind: Kind, output: str):
    model = load_onnx(onnx_file(linear(["k", "p"]), tmp_path), THREE, FLAT, kind)
    assert isinstance(model, OnnxModel)
    assert model.output == output
    x = torch.eye(4)
    logits = torch.from_numpy(WEIGHT)
    assert torch.equal(model(x).y.argmax(1), logits.argmax(1))


def test_two_outputs_that_fit_are_refused_with_their_names(tmp_path: Path):
    with pytest.raises(BadConfig, match=r"y: tensor\(float\).*p: tensor\(float\)"):
        load_onnx(onnx_file(linear(["y", "p"]), tmp_path), THREE, FLAT, "logits")


def test_a_fixed_onnx_batch_is_refused_with_how_to_convert(tmp_path: Path):
    with pytest.raises(BadConfig, match=r"exactly 8 inputs at a time; .* torch\.onnx\.export"):
        load_onnx(onnx_file(linear(batch=8), tmp_path), THREE, FLAT, "logits")


def test_an_onnx_model_of_another_input_is_refused(tmp_path: Path):
    with pytest.raises(BadConfig, match=r"shape \[4\]; \[input\] declares \[5\]"):
        load_onnx(onnx_file(linear(), tmp_path), THREE, Box((5,)), "logits")


def test_an_onnx_model_of_float64_answers_as_the_original(tmp_path: Path):
    model = load_onnx(onnx_file(linear(kind=TensorProto.DOUBLE), tmp_path), THREE, FLAT, "logits")
    assert torch.equal(model(torch.eye(4)).y, torch.softmax(torch.from_numpy(WEIGHT).double(), 1))


def of_bytes(tmp_path: Path, kind: int = TensorProto.UINT8) -> Path:
    """y = float(x) W / 256."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), helper.make_node("MatMul", ["f", "W"], ["y"])],
        "bytes",
        [helper.make_tensor_value_info("x", kind, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(WEIGHT / 256, "W")],
    )
    return onnx_file(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path)


def test_an_onnx_model_of_bytes_is_given_the_nearest_bytes(tmp_path: Path):
    model = load_onnx(of_bytes(tmp_path), THREE, Box((4,), 0.0, 255.0), "logits")
    x = torch.tensor([[0.0, 255.0, 7.4, 7.6], [254.999, 254.4, 1e-5, 128.0]])
    taken = torch.tensor([[0.0, 255.0, 7.0, 8.0], [255.0, 254.0, 0.0, 128.0]])
    assert torch.equal(model(x).y, torch.softmax(taken @ torch.from_numpy(WEIGHT / 256), 1))


@pytest.mark.parametrize("ends", [(0.0, 1.0), (-1.0, 1.0), (0.0, 256.0), (0.5, 9.0)])
def test_bytes_of_a_range_without_shades_are_refused(tmp_path: Path, ends: tuple[float, float]):
    with pytest.raises(BadConfig, match=r"takes bytes .* Declare .* `low = 0` and `high = 255`"):
        load_onnx(of_bytes(tmp_path), THREE, Box((4,), *ends), "logits")


def test_an_onnx_model_of_whole_numbers_is_refused(tmp_path: Path):
    with pytest.raises(BadConfig, match=r"floating point or of bytes .*; it takes x: tensor\(int64\)"):
        load_onnx(of_bytes(tmp_path, TensorProto.INT64), THREE, FLAT, "logits")


@pytest.mark.parametrize(
    ("output", "declared", "right"), [("p", "logits", "probabilities"), ("y", "probabilities", "logits")]
)
def test_a_wrong_declaration_of_an_onnx_model_is_refused(tmp_path: Path, output: str, declared: Kind, right: str):
    with pytest.raises(Malformed, match=f'declare answers = "{right}"'):
        load_onnx(onnx_file(linear([output]), tmp_path), THREE, FLAT, declared)


def test_an_onnx_graph_that_cannot_run_is_refused(tmp_path: Path):
    model = linear()
    model.graph.node[0].input[1] = "nothing"
    with pytest.raises(BadConfig, match="onnxruntime cannot run"):
        load_onnx(onnx_file(model, tmp_path), THREE, FLAT, "logits")


def test_without_onnxruntime_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BadConfig, match=r"pip install 'gamekeeper\[onnx\]'"):
        load_onnx(onnx_file(linear(), tmp_path), THREE, FLAT, "logits")


# scikit-learn

X = np.random.default_rng(0).random((60, 4))
Y = (X[:, 0] > 0.5).astype(int) + (X[:, 1] > 0.5)


def saved(estimator: Any, tmp_path: Path) -> Path:
    skops.io.dump(estimator, tmp_path / "m.skops")
    return tmp_path / "m.skops"


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(7, random_state=0, n_jobs=2),
        make_pipeline(MinMaxScaler(), LogisticRegression()),
    ],
    ids=["linear", "forest", "pipeline"],
)
def test_a_classifier_answers_as_the_original_in_float64(tmp_path: Path, estimator: Any):
    estimator.fit(X, Y)
    model = load_sklearn(saved(estimator, tmp_path), THREE, FLAT, "probabilities")
    x = torch.rand(20, 4)
    y = model(x).y
    assert y.dtype == torch.float64
    expected = estimator.predict_proba(x.double().numpy())
    assert np.allclose(y.numpy(), expected, rtol=0, atol=1e-15)  # threads add up a forest in any order
    assert isinstance(model, Model)


def test_a_forest_is_asked_in_one_thread(tmp_path: Path):
    forest = RandomForestClassifier(3, random_state=0, n_jobs=2).fit(X, Y)
    assert load_sklearn(saved(forest, tmp_path), THREE, FLAT).estimator.n_jobs is None


def test_images_are_flattened():
    model = SklearnModel(LogisticRegression().fit(X, Y), THREE)
    x = torch.rand(5, 1, 2, 2)
    assert torch.equal(model(x).y, model(x.reshape(5, 4)).y)


def test_an_estimator_with_labels_only_answers_one_hot(tmp_path: Path):
    estimator = LinearSVC().fit(X, Y)
    model = load_sklearn(saved(estimator, tmp_path), THREE, FLAT, "labels")
    x = torch.rand(20, 4)
    expected = torch.eye(3)[torch.from_numpy(estimator.predict(x.double().numpy()))]
    assert torch.equal(model(x).y, expected)
    assert SklearnModel(estimator, THREE).kind == "labels"


def test_labels_may_be_declared_of_an_estimator_with_probabilities():
    estimator = LogisticRegression().fit(X, Y)
    y = SklearnModel(estimator, THREE, "labels")(torch.from_numpy(X)).y
    assert torch.equal(y.argmax(1), torch.from_numpy(estimator.predict(X)))
    assert set(y.unique().tolist()) == {0.0, 1.0}


def test_probabilities_declared_of_an_estimator_without_are_refused(tmp_path: Path):
    with pytest.raises(BadConfig, match=r'LinearSVC has no predict_proba\. Declare answers = "labels"'):
        load_sklearn(saved(LinearSVC().fit(X, Y), tmp_path), THREE, FLAT, "probabilities")


@pytest.mark.parametrize("kind", ["logits", "top-k"])
def test_other_declarations_of_scikit_learn_are_refused(kind: Kind):
    with pytest.raises(BadConfig, match="probabilities or labels"):
        SklearnModel(LogisticRegression().fit(X, Y), THREE, kind)


@pytest.mark.parametrize(
    ("labels", "met"),
    [
        (Y + 1, r'1, 2, 3: declare their names in this order, classes = \["1", "2", "3"\]'),
        (np.array(["a", "b", "c"])[Y], "a, b, c: declare"),
        (Y // 2, "0 to 1: declare classes = 2"),
    ],
)
def test_classes_other_than_declared_are_refused(labels: Any, met: str):
    with pytest.raises(BadConfig, match=f"classes 0 to 2, all of them. Its classes_ are {met}"):
        SklearnModel(LogisticRegression().fit(X, labels), THREE)


@pytest.mark.parametrize("labels", [np.array(["b", "a", "c"]), np.array([2.0, 1.0, 3.0]), np.array([2, 1, 3])])
@pytest.mark.parametrize("answers", ["probabilities", "labels"])
def test_an_estimator_of_names_answers_by_the_numbers_of_the_classes(labels: Any, answers: Kind):
    names = tuple(f"{each:g}" if labels.dtype.kind == "f" else str(each) for each in labels)
    plain = SklearnModel(LogisticRegression().fit(X, Y), THREE, answers)
    named = SklearnModel(LogisticRegression().fit(X, labels[Y]), THREE, answers, names)
    x = torch.from_numpy(X)
    torch.testing.assert_close(named(x).y, plain(x).y, rtol=0, atol=1e-4)
    with pytest.raises(BadConfig, match="must have been fitted on the classes u, v, w"):
        SklearnModel(LogisticRegression().fit(X, labels[Y]), THREE, answers, ("u", "v", "w"))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.net."])
def test_what_a_wrapper_puts_in_front_of_every_name_is_taken_away(tmp_path: Path, prefix: str):
    net = trained(MLP, (4,))
    save_file({prefix + name: value for name, value in net.state_dict().items()}, tmp_path / "m.safetensors")
    x = torch.rand(5, 4)
    bare = load_torch(stored(net, tmp_path / "n.safetensors"), MLP, THREE, FLAT)
    assert torch.equal(load_torch(tmp_path / "m.safetensors", MLP, THREE, FLAT)(x).y, bare(x).y)


def test_weights_of_eight_bits_are_read(tmp_path: Path):
    small_weights = {name: value.to(torch.float8_e4m3fn) for name, value in trained(MLP, (4,)).state_dict().items()}
    save_file(small_weights, tmp_path / "m.safetensors")
    loaded = load_torch(tmp_path / "m.safetensors", MLP, THREE, FLAT).net.state_dict()
    assert all(torch.equal(loaded[name], value.float()) for name, value in small_weights.items())
    broken = {
        name: torch.full_like(value.float(), float("nan")).to(value.dtype) for name, value in small_weights.items()
    }
    save_file(broken, tmp_path / "m.safetensors")
    with pytest.raises(BadConfig, match="holds NaN"):
        load_torch(tmp_path / "m.safetensors", MLP, THREE, FLAT)


def test_an_estimator_that_was_not_fitted_is_refused():
    with pytest.raises(BadConfig, match="not a fitted classifier"):
        SklearnModel(LogisticRegression(), THREE)


def test_another_number_of_features_is_refused(tmp_path: Path):
    path = saved(LogisticRegression().fit(X, Y), tmp_path)
    with pytest.raises(BadConfig, match=r"fitted on 4 features; \[input\] shape \[5\] has 5"):
        load_sklearn(path, THREE, Box((5,)))


def test_an_estimator_fitted_on_named_columns_is_asked_without_a_warning():
    estimator = LogisticRegression().fit(X, Y)
    estimator.feature_names_in_ = np.array(["a", "b", "c", "d"], dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SklearnModel(estimator, THREE)(torch.from_numpy(X))


# every kind


def test_a_model_that_answers_nan_to_its_declared_inputs_is_refused(tmp_path: Path):
    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(x)[:, :3] - 1

    path = export(Root(), torch.rand(2, 4), tmp_path / "m.pt2")
    assert load_export(path, THREE, FLAT, "logits")
    with pytest.raises(BadConfig, match="answers NaN to inputs between -1 and 1"):
        load_export(path, THREE, Box((4,), low=-1.0), "logits")


def test_a_model_whose_answers_depend_on_the_batch_is_refused(tmp_path: Path):
    class Centred(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x - x.mean(0))[:, :3] - 1

    path = export(Centred(), torch.rand(2, 4), tmp_path / "m.pt2")
    with pytest.raises(BadConfig, match="depend on the rest of the batch"):
        load_export(path, THREE, FLAT, "logits")


@pytest.mark.parametrize("suffix", [".pt", ".pkl", ".joblib"])
def test_files_that_can_run_code_are_refused_by_every_loader(tmp_path: Path, suffix: str):
    path = tmp_path / f"m{suffix}"
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(1)}, buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UnsafeFile, match="Instead"):
        load_torch(path, MLP, THREE, FLAT)
    with pytest.raises(UnsafeFile, match="Instead"):
        load_export(path, THREE, FLAT, "logits")
    with pytest.raises(UnsafeFile, match="Instead"):
        load_onnx(path, THREE, FLAT, "logits")
    with pytest.raises(UnsafeFile, match="Instead"):
        load_sklearn(path, THREE, FLAT)

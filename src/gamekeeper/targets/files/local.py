"""Model files as victims: read safely (`safety.py`), compared with what the target file declares, and rehearsed.

Every loader runs the model on a few uniform inputs before returning it, so that a wrong declaration, a network left in
training mode or an export with a fixed batch size shows at the start and not in the middle of an audit.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gamekeeper.architectures import fresh
from gamekeeper.data.csv_files import Table
from gamekeeper.data.raw_rows import RawRows, every_category
from gamekeeper.data.schema import Schema
from gamekeeper.errors import BadConfig, Malformed, Unsuited
from gamekeeper.explain import EXPLAINERS, ExplainerName
from gamekeeper.models.answers import Kind
from gamekeeper.models.network import TorchModel
from gamekeeper.models.opaque import ExportedModel, OnnxModel, SklearnModel, class_names
from gamekeeper.targets.files import pt2
from gamekeeper.targets.files.encoders import numbers_encoded, own_values
from gamekeeper.targets.files.safety import read_onnx, read_safetensors, read_skops, refuse_code
from gamekeeper.targets.files.trees import parts
from gamekeeper.types import Architecture, Batch, Box, Domain, Model, Task

ONNX_INPUTS = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
    "tensor(uint8)": torch.uint8,
}
SKLEARN_ERRORS = (ValueError, TypeError, AttributeError, LookupError)
REHEARSED = 8
"""Inputs that a model is run on when it is loaded."""
ALIKE = 1e-4
"""How far an answer may change with the rest of its batch: rounding in a different summation order."""
MAX_LISTED = 5


def load_torch(path: Path, architecture: Architecture, task: Task, box: Domain, answers: Kind = "logits") -> TorchModel:
    """A safetensors state dict, loaded into a fresh network of the named architecture.

    Raises UnsafeFile for a file that is not safetensors, BadConfig for weights that do not fit or are not finite.
    """
    refuse_code(path, "torch")
    net = fresh(architecture, seed=0)
    fill(net, read_safetensors(path), path, architecture)
    if len(box.shape) == 3:
        net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - the layout training uses
    model = TorchModel(net.eval(), task, answers)
    rehearse(model, box, path, (RuntimeError, ValueError, IndexError))
    return model


def explained(model: TorchModel, explain: ExplainerName, box: Domain) -> TorchModel:
    """The model with an attribution map for every answer, rehearsed. Raises BadConfig if it has no such maps."""
    sold = replace(model, explain=EXPLAINERS[explain])
    try:
        sold(box.uniform(1, seed=0))
    except Unsuited as error:
        raise BadConfig(f"explain = {explain}: {error}") from error
    return sold


def load_export(path: Path, task: Task, box: Domain, answers: Kind) -> ExportedModel:
    """A torch.export archive (.pt2), without gradients.

    Raises UnsafeFile for an archive that could run code, BadConfig for a fixed batch size or another input shape.
    """
    refuse_code(path, "export")
    program = pt2.read(path)
    check_shape(path, program.shape, box, "dynamic_shapes=({0: torch.export.Dim('batch')},)")
    model = ExportedModel(program, task, answers)
    rehearse(model, box, path, (RuntimeError, ValueError, LookupError, TypeError, AttributeError))
    return model


def load_onnx(path: Path, task: Task, box: Box, answers: Kind) -> OnnxModel:
    """An ONNX model with one input of floating point or bytes, run by onnxruntime on the CPU in one thread.

    Raises UnsafeFile for weights outside its folder and operators of other libraries, BadConfig for a fixed batch size,
    another input, bytes declared in another range, or if onnxruntime is not installed.
    """
    refuse_code(path, "onnx")
    data = read_onnx(path)
    try:
        import onnxruntime  # an extra: may not be installed
    except ImportError as error:
        raise BadConfig("ONNX models need onnxruntime: pip install 'gamekeeper[onnx]'.") from error
    state: Any = onnxruntime.capi.onnxruntime_pybind11_state  # pyright: ignore[reportAttributeAccessIssue]
    errors = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented)
    errors += (state.RuntimeException, RuntimeError, ValueError)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # problems are raised as exceptions
    try:
        session: Any = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        given, outputs = session.get_inputs(), session.get_outputs()
        types = {one.name: one.type for one in given}
        sizes = tuple(size if isinstance(size, int) else None for size in given[0].shape) if given else ()
        output = chosen_output(path, outputs, task, answers)
    except errors as error:
        raise BadConfig(f"onnxruntime cannot run {path}: {str(error)[:300]}. Convert the model again.") from error
    dtype = onnx_input(path, types, box)
    check_shape(path, sizes, box, "dynamic_shapes=({0: 'batch'},) in torch.onnx.export")
    model = OnnxModel(session, task, answers, next(iter(types)), output, dtype)
    rehearse(model, box, path, errors)
    return model


def onnx_input(path: Path, types: Mapping[str, str], box: Box) -> torch.dtype:
    """What the one input is made of, by the input's type. Raises BadConfig."""
    dtype = ONNX_INPUTS.get(next(iter(types.values()), "")) if len(types) == 1 else None
    if dtype is None:
        met = ", ".join(f"{name}: {kind}" for name, kind in types.items()) or "none"
        raise BadConfig(
            f"{path} must take one tensor of floating point or of bytes (uint8); it takes {met}. Convert a model with one"
            " such input."
        )
    whole = float(box.low).is_integer() and float(box.high).is_integer() and box.low >= 0 and 2 <= box.high <= 255
    if dtype == torch.uint8 and not whole:
        raise BadConfig(
            f"{path} takes bytes (uint8); `low` and `high` in [input] are {box.low:g} and {box.high:g}, of which bytes"
            " keep no shades. Declare what the model takes, for pixels `low = 0` and `high = 255`."
        )
    return dtype


def load_sklearn(
    path: Path, task: Task, box: Domain, answers: Kind | None = None, names: tuple[str, ...] = ()
) -> SklearnModel:
    """A scikit-learn classifier from a skops file; it works on flattened inputs, in float64 and in one thread.

    Raises UnsafeFile for untrusted types, BadConfig for other classes or another number of features.
    """
    model = read_sklearn(path, task, box, answers, names)
    rehearse(model, box, path, SKLEARN_ERRORS)
    return model


def read_sklearn(
    path: Path, task: Task, box: Domain, answers: Kind | None = None, names: tuple[str, ...] = ()
) -> SklearnModel:
    """The same, not rehearsed: it may take text, which only the data files know."""
    refuse_code(path, "sklearn")
    estimator = read_skops(path)
    model = SklearnModel(estimator, task, answers, names or own_names(estimator, task))
    expected, given = getattr(estimator, "n_features_in_", None), math.prod(box.shape)
    if expected is not None and expected != given:
        raise BadConfig(f"{path} was fitted on {expected} features; [input] shape {list(box.shape)} has {given}.")
    # threads would sum their parts in any order, so answers to the same query would differ in the last digit
    for part in parts(estimator):
        if "n_jobs" in getattr(part, "__dict__", {}):
            part.n_jobs = None
        if hasattr(part, "transformers_"):
            part.transformers_ = by_position(part)
    return model


def by_position(transformer: Any) -> list[tuple[str, Any, Any]]:
    """The parts of a fitted ColumnTransformer, each with the numbers of its columns: by name it takes data frames only."""
    places = getattr(transformer, "_transformer_to_input_indices", {})
    return [
        (
            name,
            part,
            (places[name][0] if isinstance(columns, str) else list(places[name])) if name in places else columns,
        )
        for name, part, columns in transformer.transformers_
    ]


def of_rows(model: SklearnModel, schema: Schema) -> SklearnModel:
    """The model behind the map from what is seen of raw columns to the rows that it takes."""
    return replace(model, rows=RawRows(schema.columns, own_values(model.estimator, schema.columns)))


def check_gaps(model: SklearnModel, schema: Schema, x: Batch, tables: Sequence[Table]) -> None:
    """Asks a model of raw columns about the first of these inputs with each number missing that is missing in a file.

    Raises BadConfig, naming a cell, if it fails on that and not on the input itself.
    """
    ends = np.cumsum([len(each.entries) for each in schema.columns])
    places = {each.name: end - 1 for each, end in zip(schema.columns, ends, strict=True) if each.fill is not None}
    whole = x[:1].clone()
    whole[:, list(places.values())] = 0
    if not places or not answers(model, whole):
        return
    for name, place in places.items():
        gap = whole.clone()
        gap[:, place] = 1
        if not answers(model, gap):
            cells = (table.first(name, table.empties(name).__contains__) for table in tables)
            cell = next(each for each in cells if each is not None)
            raise BadConfig(
                f"line {cell.line} of {cell.path} has no value in column {name!r} (got {cell.text!r}), and the model fails"
                " where one is missing. Remove such lines or fill the values in."
            )


def answers(model: SklearnModel, x: Batch) -> bool:
    try:
        model(x)
    except (*SKLEARN_ERRORS, Malformed):
        return False
    return True


def rehearse_rows(model: SklearnModel, schema: Schema, x: Batch, path: Path) -> None:
    """Asks a model of raw columns about these inputs, and about the first with every category that the files have.

    Raises BadConfig if it fails on one, Malformed if it answers other than declared.
    """
    try:
        model(torch.cat([x[:REHEARSED], every_category(schema.columns, x[:1])]))
    except SKLEARN_ERRORS as error:
        names = ", ".join(each.name for each in schema.columns[:20])
        raise BadConfig(
            f"{path} fails on rows of the columns {names}, in this order: {first_line(error)}. If it was fitted on another"
            " order, or on others, list them in [data]: `columns = [...]`. A category that it does not know, or a missing"
            " value, has to be left out of the files, unless the model is fitted to pass over it."
        ) from error


def rehearse_codes(model: SklearnModel, names: Sequence[str], box: Box, path: Path) -> None:
    """Asks a model of numbers about uniform inputs, if an encoder of its takes numbers in columns, of these names, for codes.

    Raises BadConfig if it fails on numbers between its codes.
    """
    taken = numbers_encoded(model.estimator, math.prod(box.shape))
    if not taken:
        return
    try:
        model(box.uniform(REHEARSED, seed=0))
    except SKLEARN_ERRORS as error:
        columns = ", ".join(names[one.place] if names else str(one.place + 1) for one in taken[:MAX_LISTED])
        remedy = "Leave" if names else "Give the data as CSV files, and leave"
        raise BadConfig(
            f"{path}: the model's {taken[0].encoder} takes the numbers in column {columns} for codes and fails on numbers"
            f" between them, which `low` and `high` allow. {remedy} `low` and `high` out of [input]: then only its own codes"
            " are asked about."
        ) from error


def first_line(error: Exception) -> str:
    """What went wrong, without the advice that scikit-learn adds for those who fit models."""
    return str(error).strip().split("\n", 1)[0][:300].rstrip(".")


def own_names(estimator: Any, task: Task) -> tuple[str, ...]:
    """The classes that an estimator was fitted on, where they are text."""
    classes = getattr(estimator, "classes_", None)
    if not isinstance(classes, np.ndarray) or len(classes) != task.classes:
        return ()
    return tuple(class_names(classes)) if all(isinstance(each, str) for each in classes.tolist()) else ()


def fill(net: nn.Module, weights: Mapping[str, Tensor], path: Path, architecture: Architecture) -> None:
    """Copies weights into the network. Raises BadConfig, listing the differences, unless all fit and are finite."""
    expected = net.state_dict()
    weights = unwrapped(weights, expected.keys())
    differ = [
        f"{name} is {spell(weights[name])} where {spell(expected[name])} is needed"
        for name in sorted(expected.keys() & weights.keys())
        if weights[name].shape != expected[name].shape
        or weights[name].is_floating_point() != expected[name].is_floating_point()
    ]
    trouble = {
        "missing": sorted(expected.keys() - weights.keys()),
        "not in the architecture": sorted(weights.keys() - expected.keys()),
        "of another shape": differ,
    }
    if any(trouble.values()):
        differences = "; ".join(f"{what}: {listed(names)}" for what, names in trouble.items() if names)
        raise BadConfig(
            f"the weights in {path} do not fit {architecture}: {differences}. Name the architecture they belong to."
        )
    for name, value in weights.items():
        if value.is_floating_point() and not value.float().isfinite().all():  # float8 has no isfinite of its own
            raise BadConfig(f"{name} in {path} holds NaN or infinite weights. Give a model whose training succeeded.")
    net.load_state_dict(weights)


def unwrapped(weights: Mapping[str, Tensor], names: Collection[str]) -> Mapping[str, Tensor]:
    """The weights under the network's own names, where a wrapper (DataParallel, torch.compile, a class around it) put
    something in front of every one."""
    inner = {name.replace("_orig_mod.", ""): value for name, value in weights.items()}
    for end in next(iter(inner), "").split(".")[:-1]:
        if inner.keys() == set(names):
            break
        if not all(name.startswith(f"{end}.") for name in inner):
            break
        inner = {name.removeprefix(f"{end}."): value for name, value in inner.items()}
    return inner if inner.keys() == set(names) and len(inner) == len(weights) else weights


def spell(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def check_shape(path: Path, sizes: tuple[int | None, ...], box: Domain, how: str) -> None:
    """Raises BadConfig unless an input of these sizes (None: any) accepts batches of any length from the domain."""
    if sizes and sizes[0] is not None:
        raise BadConfig(
            f"{path} takes exactly {sizes[0]} inputs at a time; the batch must be dynamic. Export it again with {how}."
        )
    inner = sizes[1:]
    if sizes and (
        len(inner) != len(box.shape) or any(size not in (None, own) for size, own in zip(inner, box.shape, strict=True))
    ):
        met = ", ".join("any" if size is None else str(size) for size in inner)
        raise BadConfig(f"{path} takes inputs of shape [{met}]; [input] declares {list(box.shape)}. Correct `shape`.")


def chosen_output(path: Path, outputs: Any, task: Task, answers: Kind) -> str:
    """The output that can hold the declared answers. Converted classifiers often give both labels and scores."""
    fitting = [one.name for one in outputs if fits(one, task, answers)]
    if len(fitting) == 1:
        return fitting[0]
    if len(outputs) == 1 and outputs[0].type.startswith("tensor("):
        return outputs[0].name  # its values are checked against the declaration
    met = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in outputs)
    hint = " (for scikit-learn convert with options={'zipmap': False})" if "map" in met else ""
    raise BadConfig(
        f"{path} must have one output for {answers} over {task.classes} classes; it gives {met}{hint}."
        " Convert a model with one such output."
    )


def fits(output: Any, task: Task, answers: Kind) -> bool:
    if answers == "labels":
        return output.type in ("tensor(int64)", "tensor(int32)")
    wide = len(output.shape) == 2 and (output.shape[1] == task.classes or not isinstance(output.shape[1], int))
    return output.type in ("tensor(float)", "tensor(double)") and wide


def rehearse(model: Model, box: Domain, path: Path, errors: tuple[type[Exception], ...]) -> None:
    """Runs the model on a few uniform inputs, twice as a batch and once one by one.

    Raises BadConfig if the model fails, answers NaN, or answers differently; Malformed if it answers other than
    declared.
    """
    x = box.uniform(REHEARSED, seed=0)
    try:
        first, again = model(x).y, model(x).y
        alone = torch.cat([model(part).y for part in x.split(1)])
    except errors as error:
        raise BadConfig(
            f"{path} fails on inputs of shape {list(box.shape)}: {str(error)[:300]}. Check [input]."
        ) from error
    if not first.isfinite().all():
        where = (
            f"between {box.low:g} and {box.high:g}. Check `low` and `high`."
            if isinstance(box, Box)
            else f"of its domain, {box}."
        )
        raise BadConfig(f"{path} answers NaN to inputs {where}")
    if not torch.equal(first, again):
        raise BadConfig(
            f"{path} answers the same inputs differently each time. Was it saved in training mode? Call .eval() first."
        )
    if not torch.allclose(first, alone, rtol=0, atol=ALIKE):
        raise BadConfig(
            f"{path} answers an input differently when it is sent alone: its answers depend on the rest of the batch."
            " Was it saved in training mode? Call .eval() first."
        )

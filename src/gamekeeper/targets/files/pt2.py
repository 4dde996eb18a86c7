"""torch.export archives (.pt2), read and run without torch.export.load.

Loading an archive with torch (as of torch 2.13: torch/export, torch/_export/serde, torch/fx/graph.py) runs code chosen
by the file in at least these places:

    weights, constants      `use_pickle: true`, and the older weights/model.pt: torch.load(weights_only=False)
    constants               custom_obj_*: unpickled TorchBind objects; opaque_obj_*: pickle.loads
    sample inputs           torch.load(weights_only=True), and on any error again with weights_only=False
    the format before 2.8   three pickles, tried whenever the newer reader fails
    expr_str                sympy.sympify, which is eval
    names                   of inputs and values are pasted into Python source, which torch.fx compiles with exec;
                            so are names of parameters, keyword arguments and forward_arg_names
    guards_code             Python expressions, compiled with exec
    target                  any attribute below `torch`, `math` or `operator`: torch.os.system is one
    in_spec, out_spec       pytree contexts import a module by name (enums, default factories)
    data/aotinductor        shared libraries

These openings differ between versions, so none of them is guarded: the file never reaches torch's loader. Its graph is
a list of calls to ATen operators; `read` parses it as plain JSON and raw tensor bytes, and `Program` makes the calls
one by one. Only the operators listed below are called, with tensors and numbers as arguments; pickles in the archive
(the sample inputs are always one) are never opened, expressions are never evaluated, names are never compiled. Archives
that show such tampering are refused all the same.

What remains open: the operators themselves are native code. A file can ask for more memory or time than there is, and
can reach a bug in torch's own kernels if one is known for the listed operators.
"""

import json
import math
import operator
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gamekeeper.errors import BadConfig, UnsafeFile

Json = Any
LIMIT = 4 * 2**30
"""Bytes of all members together."""
JSON_LIMIT = 64 * 2**20
"""Bytes of one JSON member."""

KNOWN = re.compile(
    r"models/model\.json|data/(weights/(model_weights_config\.json|weight_\d+)"
    r"|constants/(model_constants_config\.json|tensor_\d+)|sample_inputs/model\.pt)"
    r"|archive_format|archive_version|byteorder|\.data/\w+|\.format_version|\.storage_alignment|extra/[\w./-]+"
)
NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
PATH = re.compile(r"\w+(\.\w+)*", re.ASCII)
EXPRESSION = re.compile(
    r"(?:\s|\d{1,18}+(?!\w)|[-+*/(),<>=!]|'[su]\d{1,9}'|\b[su]\d{1,9}\b"
    r"|\b(?:Symbol|Integer|Add|Mul|Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|ModularIndexing|Identity"
    r"|Eq|Ne|And|Or|Not|Equality|Unequality|GreaterThan|LessThan|StrictGreaterThan|StrictLessThan"
    r"|positive|nonnegative|integer|True|False|true|false)\b)*+"
)
OPERATOR = re.compile(r"torch\.ops\.aten\.([a-z0-9_]+)\.([A-Za-z0-9_]+)")

OPERATORS = frozenset(
    """
    abs adaptive_avg_pool1d _adaptive_avg_pool2d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d add addbmm addcdiv addcmul addmm alias all
    alpha_dropout amax amin any arange argmax argmin _assert_scalar _assert_tensor_metadata atan atan2
    avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bitwise_and bitwise_not bitwise_or bmm bucketize cat
    cdist ceil celu chunk clamp clamp_max clamp_min clone concat constant_pad_nd contiguous conv1d conv2d conv3d
    conv_transpose1d conv_transpose2d conv_transpose3d convolution copy cos cosh cumprod cumsum detach diagonal
    div dot dropout einsum elu embedding eq erf exp expand expand_as expm1 eye feature_alpha_dropout
    feature_dropout fill flatten flip floor floor_divide fmod full full_like gather ge gelu glu group_norm gt
    hardshrink hardsigmoid hardswish hardtanh index index_select instance_norm isfinite isinf isnan layer_norm
    le leaky_relu lerp lift_fresh_copy linalg_vector_norm linear log log10 log1p log2 log_sigmoid log_softmax
    _log_softmax logaddexp logical_and logical_not logical_or logical_xor logsumexp lt masked_fill matmul max
    max_pool1d max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices maximum mean median min
    minimum mish mm movedim mul multiply narrow _native_batch_norm_legit _native_batch_norm_legit_no_training
    native_group_norm native_layer_norm ne neg new_full new_ones new_zeros norm numpy_T one_hot ones ones_like
    pad permute pixel_shuffle pixel_unshuffle pow prelu prod reciprocal reflection_pad1d reflection_pad2d
    reflection_pad3d relu relu6 remainder repeat repeat_interleave replication_pad1d replication_pad2d
    replication_pad3d reshape rms_norm roll round rsqrt rsub scalar_tensor scaled_dot_product_attention scatter
    select selu sigmoid sign silu sin sinh slice _softmax softmax softplus softshrink sort split
    split_with_sizes sqrt square squeeze stack std sub subtract sum swapaxes sym_numel sym_size t tan tanh
    tensor_split threshold tile to _to_copy topk transpose tril triu true_divide trunc type_as unbind unflatten
    unfold _unsafe_view unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
    upsample_nearest2d upsample_trilinear3d var var_mean view view_as where zeros zeros_like
    """.split()  # noqa: SIM905 - 244 names read better as text
)
"""ATen operators that compute tensors from tensors: no files, pointers, uninitialised memory or randomness."""

SIZES: Mapping[str, Callable[..., Any]] = {
    "_operator.add": operator.add,
    "_operator.sub": operator.sub,
    "_operator.mul": operator.mul,
    "_operator.floordiv": operator.floordiv,
    "_operator.mod": operator.mod,
    "_operator.neg": operator.neg,
    "_operator.eq": operator.eq,
    "_operator.ne": operator.ne,
    "_operator.ge": operator.ge,
    "_operator.gt": operator.gt,
    "_operator.le": operator.le,
    "_operator.lt": operator.lt,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "math.trunc": math.trunc,
}
"""Arithmetic on sizes, which are plain numbers when the program runs."""

DTYPES: Mapping[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
FORMATS: Mapping[int, torch.memory_format] = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
STRIDED = 7
AGAIN = "Export the model again, in evaluation mode and with a recent torch (torch.export.save), or give ONNX."


@dataclass(frozen=True)
class Value:
    """The value of an earlier step, a weight or the input, by name."""

    name: str


@dataclass(frozen=True)
class Step:
    """One call. `gives` names its results, None where one is dropped; `done` names the values not used afterwards."""

    call: Callable[..., Any]
    args: list[Any]
    named: dict[str, Any]
    gives: list[Any]
    done: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """A graph of ATen calls that takes one tensor, (n, …) float32, and returns one tensor.

    shape  of the input; None where a size is dynamic. shape[0] is the batch.
    """

    weights: Mapping[str, Tensor]
    steps: tuple[Step, ...]
    input: str
    output: str
    shape: tuple[int | None, ...]

    def __call__(self, x: Tensor) -> Tensor:
        # in-place operators are common in exported graphs: the caller's tensor must not change
        values: dict[str, Any] = {**self.weights, self.input: x.clone()}
        for step in self.steps:
            result = step.call(*filled(step.args, values), **filled(step.named, values))
            keep(step.gives, result, values)
            for name in step.done:
                values.pop(name, None)
        return values[self.output]


def filled(argument: Any, values: Mapping[str, Any]) -> Any:
    """The argument with values in place of their names."""
    if isinstance(argument, Value):
        return values[argument.name]
    if isinstance(argument, list):
        return [filled(part, values) for part in argument]
    if isinstance(argument, dict):
        return {key: filled(part, values) for key, part in argument.items()}
    return argument


def keep(gives: list[Any], result: Any, values: dict[str, Any]) -> None:
    """Stores the results of a call under their names; a list of names takes a list of tensors."""
    for name, part in zip(gives, [result] if len(gives) < 2 else result, strict=False):
        if isinstance(name, list):
            values.update(zip(name, part, strict=True))
        elif name is not None:
            if isinstance(part, int) and abs(part) > 2**62:
                raise UnsafeFile(f"the program computes sizes beyond 64 bits. {AGAIN}")
            values[name] = part


def read(path: Path) -> Program:
    """The program in a .pt2 file.

    Raises UnsafeFile for anything but a plain archive of listed operators, BadConfig if it cannot be a target.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return compiled(Archive(path, archive))
    # what zipfile, json and this module raise for files that are not what they claim to be
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        OSError,
        EOFError,
        RuntimeError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise UnsafeFile(
            f"{path} is not a whole torch.export archive ({type(error).__name__}: {str(error)[:200]}). {AGAIN}"
        ) from error


class Archive:
    """The members of a .pt2 file, all with known names, sizes and packing."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        names = [info.filename for info in infos]
        if any(name.startswith("serialized_") for name in names):
            raise UnsafeFile(f"{path} is in the format of torch before 2.8, which consists of pickles. {AGAIN}")
        self.path, self.archive = path, archive
        self.root = names[0].split("/")[0] + "/" if names else ""
        if len(set(names)) < len(names) or not all(name.startswith(self.root) for name in names):
            raise UnsafeFile(f"{path} holds members of the same name, or more than one folder. {AGAIN}")
        for info in infos:
            self.check(info)
        if sum(info.file_size for info in infos) > LIMIT:
            raise UnsafeFile(f"{path} unpacks to more than {LIMIT:,} bytes.")
        if self.read("archive_format") != b"pt2" or self.optional("byteorder") not in (None, b"little"):
            raise UnsafeFile(f"{path} is not a little-endian torch.export archive. {AGAIN}")

    def check(self, info: zipfile.ZipInfo) -> None:
        name = info.filename.removeprefix(self.root)
        if not KNOWN.fullmatch(name):
            raise UnsafeFile(
                f"{self.path} holds {name!r}, which a plain torch.export archive does not: pickled weights, custom"
                f" objects and compiled libraries can run code. {AGAIN}"
            )
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnsafeFile(f"{name} in {self.path} is encrypted or packed in an unusual way. {AGAIN}")
        if name.endswith(".json") and info.file_size > JSON_LIMIT:
            raise UnsafeFile(f"{name} in {self.path} has {info.file_size:,} bytes; at most {JSON_LIMIT:,} are read.")

    def read(self, name: str) -> bytes:
        return self.archive.read(self.root + name)

    def optional(self, name: str) -> bytes | None:
        return self.read(name) if self.root + name in self.archive.namelist() else None

    def json(self, name: str) -> Json:
        return json.loads(self.read(name))


# weights


def tensors(archive: Archive, kind: str) -> dict[str, Tensor]:
    """The tensors of data/weights or data/constants, by their path in the module."""
    config = archive.json(f"data/{kind}/model_{kind}_config.json")["config"]
    stored: dict[str, bytearray] = {}
    by_path: dict[str, Tensor] = {}
    for name, payload in config.items():
        file = payload["path_name"]
        if payload["use_pickle"] is not False or not re.fullmatch(r"(weight|tensor)_\d+", file):
            raise UnsafeFile(
                f"{name} in {archive.path} is stored as a pickle or a custom object ({file}), which can run code."
                f" {AGAIN}"
            )
        if file not in stored:
            stored[file] = bytearray(archive.read(f"data/{kind}/{file}"))
        by_path[checked(PATH, name)] = tensor(name, payload["tensor_meta"], stored[file])
    return by_path


def tensor(name: str, meta: Json, data: bytearray) -> Tensor:
    """One tensor over its bytes, after checking its shape against their number."""
    if meta["layout"] != STRIDED or meta["dtype"] not in DTYPES:
        raise BadConfig(
            f"{name} must be a dense tensor of plain numbers; got dtype {meta['dtype']}, layout {meta['layout']}."
        )
    dtype = DTYPES[meta["dtype"]]
    sizes, strides = ([whole(entry) for entry in meta[key]] for key in ("sizes", "strides"))
    offset = whole(meta["storage_offset"])
    if len(sizes) != len(strides):
        raise ValueError(f"{name} has {len(sizes)} sizes and {len(strides)} strides")
    if 0 in sizes:
        return torch.empty(sizes, dtype=dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if (last + 1) * dtype.itemsize > len(data):
        raise ValueError(f"{name} reaches beyond its {len(data)} bytes")
    values = torch.frombuffer(data, dtype=dtype).as_strided(sizes, strides, offset)
    if values.is_floating_point() and not values.isfinite().all():
        raise BadConfig(f"{name} holds NaN or infinite weights. Give a model whose training succeeded.")
    return values


def whole(entry: Json) -> int:
    """A size: a number that is neither negative nor an expression."""
    value = entry["as_int"]
    if not isinstance(value, int) or not 0 <= value < 2**48:
        raise ValueError(f"{value!r} is not a size")
    return value


# the graph


def compiled(archive: Archive) -> Program:
    """The calls of the archive's graph, every name, operator and argument checked."""
    document = archive.json("models/model.json")
    module = document["graph_module"]
    graph = module["graph"]
    if document["schema_version"]["major"] != 8:
        raise BadConfig(f"{archive.path} has schema version {document['schema_version']['major']}; 8 is read. {AGAIN}")
    if document.get("guards_code"):
        raise UnsafeFile(
            f"{archive.path} is valid only for inputs that meet its guards, which are Python code:"
            f" {'; '.join(map(str, document['guards_code']))[:200]}. Export a model that does not branch on sizes."
        )
    plain(document)
    for entry in module["module_call_graph"]:
        signature = entry.get("signature") or {}
        for name in signature.get("forward_arg_names") or []:
            checked(NAME, name)
        for key in ("in_spec", "out_spec"):
            if key in signature:
                known_tree(json.loads(signature[key])[1])
    weights, x = inputs(archive, module["signature"]["input_specs"])
    outputs = module["signature"]["output_specs"]
    if len(outputs) != 1 or "as_tensor" not in outputs[0].get("user_output", {}).get("arg", {}):
        raise BadConfig(
            f"{archive.path} must return one tensor and leave its own state unchanged; it returns {spelled(outputs)}."
        )
    output = checked(NAME, outputs[0]["user_output"]["arg"]["as_tensor"]["name"])
    steps = released([step(archive.path, node) for node in graph["nodes"]], {*weights, x, output})
    return Program(weights, steps, x, output, input_shape(archive.path, graph["tensor_values"][x]))


def inputs(archive: Archive, specs: Json) -> tuple[dict[str, Tensor], str]:
    """Weights by the name of their value, and the name of the single input."""
    stored = tensors(archive, "weights") | tensors(archive, "constants")
    fields = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
    weights: dict[str, Tensor] = {}
    given: list[str] = []
    for spec in specs:
        (kind, value), *_ = spec.items()
        if kind in fields:
            weights[checked(NAME, value["arg"]["name"])] = stored[value[fields[kind]]]
        elif kind == "user_input" and "as_tensor" in value["arg"]:
            given.append(checked(NAME, value["arg"]["as_tensor"]["name"]))
        else:
            raise UnsafeFile(
                f"{archive.path} takes {kind} besides tensors; only weights and one input tensor are read. {AGAIN}"
            )
    if len(given) != 1:
        raise BadConfig(f"{archive.path} must take one tensor; it takes {len(given)}. Export a model with one input.")
    return weights, given[0]


def input_shape(path: Path, meta: Json) -> tuple[int | None, ...]:
    if DTYPES.get(meta["dtype"]) != torch.float32:
        raise BadConfig(
            f"{path} must take float32; it takes {DTYPES.get(meta['dtype'])}. Export it with a float32 example."
        )
    return tuple(size.get("as_int") for size in meta["sizes"])


def step(path: Path, node: Json) -> Step:
    call = resolved(path, node["target"])
    args: list[Any] = []
    named: dict[str, Any] = {}
    for given in node["inputs"]:
        value = argument(given["arg"])
        if given.get("kind") == 1:
            args.append(value)
        else:
            named[checked(NAME, given["name"])] = value
    return Step(call, args, named, [result(out) for out in node["outputs"]], ())


def resolved(path: Path, target: str) -> Callable[..., Any]:
    """The operator of this name. Raises UnsafeFile unless it is listed."""
    if target in SIZES:
        return SIZES[target]
    match = OPERATOR.fullmatch(target)
    if match is None or match[1].removesuffix("_") not in OPERATORS or "out" in match[2]:
        hint = " ep.run_decompositions() removes it." if target.startswith("torch.ops.higher_order") else ""
        raise UnsafeFile(
            f"{path} calls {target[:100]!r}, which is not among the operators that gamekeeper runs.{hint}"
            " Give the model as safetensors with its architecture, or as ONNX."
        )
    overload = getattr(getattr(torch.ops.aten, match[1], None), match[2], None)
    if overload is None:
        raise BadConfig(f"{path} calls {target}, which torch {torch.__version__} does not have. Update torch.")
    return overload


def argument(arg: Json) -> Any:
    """An argument as a plain value, with `Value` where the running program fills it in."""
    ((kind, value),) = arg.items()
    if kind in ("as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
        return single(value)
    if kind in ("as_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"):
        return [single(part) for part in value]
    if kind == "as_none":
        return None
    if kind in ("as_int", "as_bool", "as_string", "as_float"):
        return scalar(value, kind)
    if kind in ("as_ints", "as_bools", "as_strings", "as_floats"):
        return [scalar(part, kind.removesuffix("s")) for part in value]
    if kind == "as_scalar_type":
        return DTYPES[value]
    if kind == "as_memory_format":
        return FORMATS[value]
    if kind == "as_layout" and value == STRIDED:
        return torch.strided
    if kind == "as_device":
        if value["type"] != "cpu":
            raise BadConfig(
                f"the program names the device {value['type']}. Move the model to the CPU before exporting it."
            )
        return torch.device("cpu")
    raise UnsafeFile(
        f"an operator gets an argument of kind {kind[:40]!r}; only tensors and numbers are passed. {AGAIN}"
    )


def single(value: Json) -> Any:
    """{"name": …}, {"as_name": …}, {"as_tensor": {"name": …}}, {"as_none": …} or {"as_int": 3}."""
    ((kind, content),) = value.items()
    if kind == "as_tensor":
        return single(content)
    if kind in ("name", "as_name"):
        return Value(checked(NAME, content))
    return None if kind == "as_none" else scalar(content, kind)


def scalar(value: Json, kind: str) -> int | float | bool | str:
    wanted = {"as_int": int, "as_bool": bool, "as_string": str, "as_float": float}[kind]
    if wanted is float and (isinstance(value, int) or value in ("Infinity", "-Infinity", "NaN")):
        return float(value)
    if type(value) is not wanted:
        raise ValueError(f"{value!r} is not {kind.removeprefix('as_')}")
    return value


def result(out: Json) -> Any:
    """The name a result is stored under: None for none, a list for a list of tensors."""
    ((kind, value),) = out.items()
    if kind == "as_none":
        return None
    if kind in ("as_tensors", "as_sym_ints"):
        return [single(part).name for part in value]
    return single(value).name


def released(steps: list[Step], permanent: set[str]) -> tuple[Step, ...]:
    """The steps, each with the values not needed after it, so that memory does not grow with the depth of a network."""
    later = set(permanent)
    ordered: list[Step] = []
    for one in reversed(steps):
        here = names([one.args, one.named]) | set(flat(one.gives))
        ordered.append(Step(one.call, one.args, one.named, one.gives, tuple(sorted(here - later))))
        later |= here
    return tuple(reversed(ordered))


def names(argument: Any) -> set[str]:
    if isinstance(argument, Value):
        return {argument.name}
    parts: list[Any] = (
        list(argument.values()) if isinstance(argument, dict) else argument if isinstance(argument, list) else []
    )
    return {name for part in parts for name in names(part)}


def flat(gives: list[Any]) -> list[str]:
    return [name for give in gives for name in (flat(give) if isinstance(give, list) else [give]) if name is not None]


# tampering that would affect torch's own loader


def plain(document: Json) -> None:
    """Raises UnsafeFile for expressions that are more than arithmetic on sizes, and for custom objects."""
    if isinstance(document, list):
        for part in document:
            plain(part)
    elif isinstance(document, dict):
        for key, part in document.items():
            if key == "expr_str" and not (len(part) < 2000 and EXPRESSION.fullmatch(part)):
                raise UnsafeFile(
                    f"the archive holds an expression that is more than arithmetic on sizes: {part[:100]!r}."
                )
            if key in ("tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values", "range_constraints"):
                for name in part:
                    checked(NAME, name)
            if key in ("custom_obj", "as_custom_obj", "as_operator") or (key == "custom_obj_values" and part):
                raise UnsafeFile(f"the archive holds a custom object or operator ({key}), which can run code. {AGAIN}")
            plain(part)


def known_tree(spec: Json) -> None:
    """Raises UnsafeFile for argument structures other than tuples, lists and dicts with plain keys."""
    if spec["type"] not in (None, "builtins.tuple", "builtins.list", "builtins.dict"):
        raise UnsafeFile(
            f"the archive's arguments are of type {str(spec['type'])[:60]!r}; tuples, lists and dicts are read."
        )
    context = json.loads(spec["context"]) if isinstance(spec["context"], str) else spec["context"]
    for key in context or []:
        checked(NAME, key)
    for child in spec["children_spec"]:
        known_tree(child)


def checked(pattern: re.Pattern[str], name: Json) -> str:
    """The name, if it matches the pattern. torch would paste it into Python source."""
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise UnsafeFile(f"the archive holds a name that is not one: {str(name)[:80]!r}. {AGAIN}")
    return name


def spelled(outputs: Json) -> str:
    return ", ".join(kind for out in outputs for kind in out)[:200] or "nothing"

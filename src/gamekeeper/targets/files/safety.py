"""Model files from strangers: formats that can run code are refused, the others are read so that they cannot.

    safetensors   numbers after a JSON header; the header's size is checked first
    .pt2          see `pt2.py`: parsed here, never given to torch.export.load
    skops         scikit-learn objects of trusted types, whose trees are checked (`trees.py`)
    ONNX          a protobuf; weights in other files only from the model's own folder; no operator library is loaded

All other formats of models (pickle, joblib, torch.save, TorchScript, arrays of objects) are refused by suffix and by
content, whatever kind the target file declares.
"""

import logging
import pickletools
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import orjson
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from gamekeeper.errors import BadConfig, UnsafeFile
from gamekeeper.targets.files.trees import check_built, check_stored

LOG = logging.getLogger(__name__)
Format = Literal["torch", "export", "onnx", "sklearn"]

LIMIT = 4 * 2**30
"""Bytes of a model file, and of an archive once unpacked."""
HEADER_LIMIT = 16 * 2**20
"""Bytes of a safetensors header; 16 MiB describe about 100,000 tensors."""
PROTOBUF_LIMIT = 2**31 - 1

BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)
"""What zipfile and its readers raise for damaged, encrypted or exotic archives."""

INSTEAD = {
    "torch": "save the weights with safetensors.torch.save_file(net.state_dict(), …) and name the architecture",
    "export": "save it with torch.export.save(torch.export.export(net.eval(), …), 'model.pt2')",
    "onnx": "write it with torch.onnx.export or another converter to ONNX",
    "sklearn": "save it with skops.io.dump(estimator, 'model.skops')",
}
EVERY = "Use safetensors with a named architecture, torch.export (.pt2), ONNX, or skops for scikit-learn"
SUFFIXES = {
    ".pkl": "a pickle",
    ".pickle": "a pickle",
    ".dill": "a pickle",
    ".joblib": "a joblib file, which is a pickle",
    ".pt": "a torch.save or TorchScript file",
    ".pth": "a torch.save file",
    ".bin": "a torch.save file",
    ".ckpt": "a torch.save file",
    ".npy": "an array file, not a model",
}
PACKED = (
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"]\0\0",
    b"\x78\x01",
    b"\x78\x5e",
    b"\x78\x9c",
    b"\x78\xda",
    b"\x04\x22\x4d\x18",
)
CALLS = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD", "PERSID", "BINPERSID"}


def refuse_code(path: Path, kind: Format) -> None:
    """Raises UnsafeFile for a file that could run code when loaded, judging by its suffix and its first bytes.

    kind  what the target file declares; the message says how to save such a model instead.

    Raises BadConfig if there is no such file. A file that passes is still read only by this package's own readers.
    """
    if not path.is_file():
        raise BadConfig(f"the model file {path} does not exist. Give its path relative to the TOML file.")
    if path.stat().st_size > LIMIT:
        raise UnsafeFile(f"{path} has {path.stat().st_size:,} bytes; at most {LIMIT:,} are read.")
    danger = SUFFIXES.get(path.suffix.lower()) or by_content(path)
    if danger is not None:
        raise UnsafeFile(f"{path} is {danger}; loading such a file can run code. Instead, {INSTEAD[kind]}. {EVERY}.")


def by_content(path: Path) -> str | None:
    """Which dangerous kind of file this is, whatever its name; None if it is no known one."""
    with path.open("rb") as file:
        head = file.read(2**16)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size - 8:
        return None  # a safetensors header, whose length may happen to start with another format's magic bytes
    if head.startswith(b"PK"):
        return zip_content(path)
    if head.startswith(b"\x93NUMPY"):
        return "an array file" + (" of Python objects, which are pickles" if b"|O" in head[:256] else ", not a model")
    if head.startswith(PACKED):
        return "a compressed file, as joblib writes pickles"
    if head.startswith((b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe")):
        return "a compiled library"
    if head[257:262] == b"ustar":
        return "a tar file, as old versions of torch.save wrote"
    return "a pickle" if is_pickle(head) else None


def zip_content(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except BROKEN as error:
        return f"a damaged zip archive ({error})"
    parts = [name.split("/") for name in names]
    if any("code" in part[:-1] or part[-1] == "constants.pkl" for part in parts):
        return "TorchScript, which is a program"
    if any(part[-1].endswith((".pkl", ".pickle")) for part in parts):
        return "a torch.save file, which is a pickle"
    if any(part[-1].endswith((".py", ".pyc", ".so", ".dll", ".dylib")) for part in parts):
        return "an archive with code in it"
    return None


def is_pickle(head: bytes) -> bool:
    """Whether the bytes are pickle opcodes: up to one that can call something or, after a protocol mark, any at all."""
    marked = len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5
    try:
        for place, (opcode, _, _) in enumerate(pickletools.genops(head)):
            if opcode.name in CALLS or (marked and place > 0):
                return True
    except (ValueError, IndexError, OverflowError, AttributeError):  # not an opcode, or cut short
        return False
    return False


# safetensors


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises UnsafeFile for a header that is too large, broken or false."""
    size = path.stat().st_size
    data = path.read_bytes()
    header = int.from_bytes(data[:8], "little") if size >= 8 else 0
    if not 2 <= header <= min(HEADER_LIMIT, size - 8):
        raise UnsafeFile(
            f"{path} is not a safetensors file: its first 8 bytes announce a header of {header:,} bytes in a file of"
            f" {size:,} (at most {HEADER_LIMIT:,} are read). Instead, {INSTEAD['torch']}."
        )
    try:
        entries = orjson.loads(data[8 : 8 + header])
        if not isinstance(entries, dict):
            raise ValueError("its header is not a table")
        return load(data)
    except (SafetensorError, orjson.JSONDecodeError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UnsafeFile(f"{path} is not a whole safetensors file ({error}). Instead, {INSTEAD['torch']}.") from error


# skops

TRUSTED = {
    # node arrays of trees, which scikit-learn follows without checks: `trees.py` checks them before any prediction
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # plain Python classes that hold numbers and other trusted estimators, and have no code of their own on loading
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    # what kind of numbers an array holds, of imputers; `trees.py` checks that it is stored as an empty array
    "numpy.dtype",
    # a dict that can be read by attribute (voting and stacking keep their parts in it)
    "sklearn.utils._bunch.Bunch",
    # scores of SelectKBest: functions of two arrays, called only in fit
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.chi2",
}
"""Types that classifiers consist of and that skops does not trust by default."""


def read_skops(path: Path) -> Any:
    """The estimator in a skops file. Raises UnsafeFile for untrusted types, listing them."""
    # scikit-learn takes seconds to import, and only these targets need it
    import skops.io
    from sklearn.exceptions import InconsistentVersionWarning

    data = path.read_bytes()
    try:
        document = skops_schema(path, data)
        untrusted = sorted(set(skops.io.get_untrusted_types(data=data)) - TRUSTED)
        if untrusted:
            raise UnsafeFile(
                f"{path} holds types that are not trusted: {', '.join(untrusted)}. Only scikit-learn's own classifiers"
                " and transformers are loaded. Of a search over parameters save its best_estimator_; for nearest neighbours"
                " refit with algorithm='brute'; give other models as ONNX or behind HTTP."
            )
        check_stored(path, data, document)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator = skops.io.loads(data, trusted=sorted(TRUSTED))
    # what skops and scikit-learn's __setstate__ also raise for files that are not what they claim to be
    except (*BROKEN, LookupError, TypeError, AttributeError, OSError, tokenize.TokenError) as error:
        raise UnsafeFile(
            f"{path} is not a whole skops file ({type(error).__name__}: {str(error)[:200]}). Instead,"
            f" {INSTEAD['sklearn']} with the same version of scikit-learn."
        ) from error
    for warning in caught:
        level = logging.WARNING if issubclass(warning.category, InconsistentVersionWarning) else logging.INFO
        LOG.log(level, "%s: %s", path, warning.message)
    check_built(path, estimator)
    return estimator


def skops_schema(path: Path, data: bytes) -> Any:
    """schema.json, read after the sizes of all members have been checked."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        infos = archive.infolist()
        names = [info.filename for info in infos]
        packing = {info.compress_type for info in infos}
        if len(set(names)) < len(names) or not packing <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise UnsafeFile(
                f"{path} holds members of the same name, or packed in an unusual way. Save it again with skops."
            )
        if sum(info.file_size for info in infos) > LIMIT:
            raise UnsafeFile(f"{path} unpacks to more than {LIMIT:,} bytes.")
        return orjson.loads(archive.read("schema.json"))


# ONNX

DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
"""Operator sets built into onnxruntime."""


def read_onnx(path: Path) -> bytes:
    """An ONNX model as one protobuf, with the weights in other files merged into it.

    Raises UnsafeFile for weights outside the model's folder and for operators that need a library of their own,
    BadConfig if onnx is not installed.
    """
    try:
        import onnx  # an extra: may not be installed
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise BadConfig(
            "ONNX models need the packages onnx and onnxruntime: pip install 'gamekeeper[onnx]'."
        ) from error

    if path.stat().st_size > PROTOBUF_LIMIT:
        raise BadConfig(f"{path} is larger than a protobuf can be (2 GiB). Save its weights as external data.")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, ValueError) as error:
        raise UnsafeFile(f"{path} is not an ONNX file ({str(error)[:200]}). Instead, {INSTEAD['onnx']}.") from error
    if not model.graph.node:
        raise UnsafeFile(f"{path} is not an ONNX file: it holds no graph. Instead, {INSTEAD['onnx']}.")
    local = {(function.domain, function.name) for function in model.functions}
    total = path.stat().st_size
    for message in messages(model):
        kind = message.DESCRIPTOR.name
        if kind == "NodeProto":
            check_operator(path, message, local)
        elif kind == "TensorProto" and (message.data_location == onnx.TensorProto.EXTERNAL or message.external_data):
            total += take_in(path, message)
            if total > PROTOBUF_LIMIT:
                raise BadConfig(f"{path} and its external data are larger than 2 GiB together, which is not supported.")
    return model.SerializeToString()


def messages(message: Any) -> Iterator[Any]:
    """The message and every message inside it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "DESCRIPTOR") else list(value):
                yield from messages(part)


def check_operator(path: Path, node: Any, local: set[tuple[str, str]]) -> None:
    builtin = node.domain in DOMAINS and node.op_type != "EPContext"  # EPContext names a compiled blob to load
    if not builtin and (node.domain, node.op_type) not in local:
        raise UnsafeFile(
            f"{path} uses the operator {node.op_type!r} of {node.domain!r}, which needs a library of its own; none is"
            f" ever loaded. Use the operators of {', '.join(sorted(DOMAINS - {''}))}."
        )


def take_in(path: Path, tensor: Any) -> int:
    """Replaces a reference to another file with the bytes it points to; returns their number."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    folder = path.parent.resolve()
    target = (folder / location).resolve()  # follows symbolic links as well
    if (
        not location
        or "\\" in location
        or ":" in location
        or not target.is_relative_to(folder)
        or target == path.resolve()
    ):
        raise UnsafeFile(
            f"{path} keeps the weights {tensor.name!r} in {location!r}, which is not a file in the model's own folder."
            " Put them next to the model, under a plain file name."
        )
    if not target.is_file():
        raise BadConfig(f"{path} keeps the weights {tensor.name!r} in {location!r}, which is missing. Put it there.")
    size = target.stat().st_size
    try:
        start = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size - start)))
    except ValueError as error:
        raise UnsafeFile(f"{path} names a place in {location!r} that is not a number ({error}).") from error
    if start < 0 or length < 0 or start + length > size or length > PROTOBUF_LIMIT:
        raise UnsafeFile(f"{path} asks for bytes {start:,} to {start + length:,} of {location!r}, which has {size:,}.")
    with target.open("rb") as file:
        file.seek(start)
        tensor.raw_data = file.read(length)
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    return length

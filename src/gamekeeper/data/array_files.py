"""Files of arrays: npz, IDX and CIFAR binary. None can run code, and no header can reserve memory."""

import io
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import UInt8

from gamekeeper.data.labels import Labels
from gamekeeper.data.limits import unpack, within_limit
from gamekeeper.errors import BadConfig, UnsafeFile

Array = np.ndarray[Any, np.dtype[Any]]
NPZ_NAMES = {"y": "x", "y_test": "x_test", "y_train": "x_train"}


# npz


def read_npz(path: Path, label: str | None) -> tuple[Array, Labels | None]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")}
            x_name, y_name = chosen(path, names, label)
            x = member(path, archive, x_name)
            if x.ndim < 2:
                raise BadConfig(f"{path} needs inputs of shape (n, d) or images; got {x.shape}. Save one row for each.")
            return x, as_classes(path, member(path, archive, y_name, text=True)) if y_name in names else None
    # what zipfile and numpy raise for damaged, encrypted or exotic archives
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError) as error:
        raise BadConfig(
            f"{path} is not a whole npz file ({error}). Save it again with numpy.savez(x=…, y=…)."
        ) from error


def chosen(path: Path, names: set[str], label: str | None) -> tuple[str, str]:
    """Names of the arrays of inputs and classes. The classes are optional unless `label` names them."""
    if label is not None:
        if label not in NPZ_NAMES or not {label, NPZ_NAMES[label]} <= names:
            raise BadConfig(
                f"`label` for an npz file is one of {', '.join(NPZ_NAMES)}, and needs the inputs with the same ending;"
                f" got {label!r} for {path}, which holds {', '.join(sorted(names)) or 'nothing'}."
            )
        return NPZ_NAMES[label], label
    pairs = [(x, y) for y, x in NPZ_NAMES.items() if x in names]
    if len(pairs) != 1:
        raise BadConfig(
            f"{path} needs exactly one of the arrays {', '.join(NPZ_NAMES.values())}; it holds"
            f" {', '.join(sorted(names)) or 'none'}. Rename an array, or choose with `label` (y_test takes x_test)."
        )
    return pairs[0]


def member(path: Path, archive: zipfile.ZipFile, name: str, text: bool = False) -> Array:
    """One array, of numbers or perhaps of text, read after its header has been checked against its size, so that no header can reserve memory."""
    info = archive.getinfo(f"{name}.npy")
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadConfig(f"array {name} in {path} is encrypted or packed in an unusual way. Save it with numpy.savez.")
    with archive.open(info) as file:
        shape, dtype = header(file)
        if dtype.hasobject:
            raise UnsafeFile(
                f"array {name} in {path} holds Python objects, which are pickles and can run code when loaded."
                " Save plain numbers (numpy.savez with an array of one dtype), and names of classes with dtype=str."
            )
        if dtype.kind not in ("buifU" if text else "buif"):
            raise BadConfig(f"array {name} in {path} needs real numbers; got dtype {dtype}. Save numbers.")
        entries = math.prod(shape)
        within_limit(path, max(info.file_size, 4 * entries))
        if file.tell() + entries * dtype.itemsize != info.file_size:
            raise BadConfig(
                f"array {name} in {path} is cut short or its header is wrong. Save it again with numpy.savez."
            )
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def header(file: IO[bytes] | io.BufferedIOBase) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype


def as_classes(path: Path, y: Array) -> Labels:
    """Labels as whole numbers from 0, also such as 2.0, or as names, (n,); (n, 1) is accepted."""
    flat = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if flat.ndim == 1 and flat.dtype.kind == "U":
        return [str(name).strip() for name in flat]
    if (
        flat.ndim == 1
        and flat.dtype.kind == "f"
        and (np.abs(flat.astype(np.float64)) < 2**31).all()
        and (flat == np.floor(flat)).all()
    ):
        flat = flat.astype(np.int64)
    if flat.ndim != 1 or flat.dtype.kind not in "bui" or (flat.size and (flat.min() < 0 or flat.max() > 2**31)):
        got = f"{y.dtype} of shape {y.shape}" + (
            f", {flat.min()} to {flat.max()}" if flat.size and flat.dtype.kind != "U" else ""
        )
        raise BadConfig(
            f"the labels in {path} must be whole numbers from 0 or names, shape (n,); got {got}. Save class numbers"
            f" or names as y{', of one-hot rows y.argmax(1)' * (y.ndim == 2)}."
        )
    return flat


# IDX


def read_idx(path: Path) -> tuple[Array, Array | None]:
    x = parse_idx(path)
    if x.ndim != 3:
        raise BadConfig(
            f"{path} holds {x.ndim} dimensions; images have 3 (count, height, width). Give the"
            " *-images-idx3-ubyte file: its labels are found next to it."
        )
    labels = labels_beside(path)
    if labels is None:
        return x[:, None], None
    y = parse_idx(labels)
    if y.ndim != 1 or len(y) != len(x):
        raise BadConfig(
            f"{labels} must hold one label for each of the {len(x)} images of {path}; it has shape {y.shape}."
            " Give files from the same download."
        )
    return x[:, None], y


def labels_beside(path: Path) -> Path | None:
    """The labels file that goes with an images file by its name, compressed or not; None if there is none."""
    if "images" not in path.name:
        return None
    name = path.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    packed = [name + ".gz", name] if path.suffix == ".gz" else [name, name + ".gz"]
    return next((path.with_name(n) for n in packed if path.with_name(n).is_file()), None)


def parse_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    data = unpack(path)
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 4:
        raise BadConfig(
            f"{path} is not an IDX file of unsigned bytes: it must start with 00 00 08 and the number of dimensions;"
            f" got {data[:4].hex(' ') or 'nothing'}."
        )
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise BadConfig(f"{path} is cut short inside its header. Fetch it again.")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise BadConfig(
            f"{path} announces {' x '.join(map(str, shape))} = {math.prod(shape):,} bytes; got {len(data) - start:,}."
            " It is cut short or damaged: fetch it again."
        )
    within_limit(path, 4 * math.prod(shape))
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


# CIFAR


def read_cifar(path: Path) -> tuple[Array, Array | None]:
    """Records of 1 (CIFAR-10) or 2 (CIFAR-100: coarse, fine) label bytes and 3 x 32 x 32 pixels."""
    size = path.stat().st_size
    within_limit(path, 4 * size)
    data = np.fromfile(path, np.uint8)
    fitting: list[tuple[Array, int]] = []
    for most in ((9,), (19, 99)):
        if size % (len(most) + 3072) == 0:
            records = data.reshape(-1, len(most) + 3072)
            if (records[:, : len(most)] <= np.array(most)).all():
                fitting.append((records, len(most)))
    if len(fitting) != 1:
        raise BadConfig(
            f"{path} is not a CIFAR binary file: it needs records of 3,073 bytes (CIFAR-10, label 0 to 9) or 3,074"
            f" (CIFAR-100, labels 0 to 19 and 0 to 99); got {size:,} bytes that are neither."
        )
    records, labels = fitting[0]
    return records[:, labels:].reshape(-1, 3, 32, 32), records[:, labels - 1]

"""Readers of data files: npz, IDX, CIFAR binary, image folders, CSV. No file can run code or unpack to more than 4 GiB.

| file | what is read |
| --- | --- |
| `.npz` | arrays `x` and `y`, or `x_test` and `y_test`, or `x_train` and `y_train`; the labels are optional |
| IDX, also `.gz` | `*-images-idx3-ubyte*`, with the labels from `*-labels-idx1-ubyte*` next to it, if present |
| `.bin` | CIFAR-10 or CIFAR-100, binary version (CIFAR-100: the 100 fine classes) |
| folder | one sub-folder per class, numbered in sorted order; or images only, without classes |
| `.csv`, also `.gz` | a header line; the classes are in the last column, or in the one that `label` names |

uint8 arrays are pixels and are returned as float32 in [0, 1]; other numbers are returned unchanged, as float32.
Grey images become (n, 1, h, w), colour images (n, 3, h, w).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from gamekeeper.data.array_files import read_cifar, read_idx, read_npz
from gamekeeper.data.csv_files import read_csv
from gamekeeper.data.dataset import Dataset
from gamekeeper.data.image_folders import read_folder
from gamekeeper.errors import BadConfig, UnsafeFile

Array = np.ndarray[Any, np.dtype[Any]]
PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
PICKLE_HEADS = (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")
FORMATS = "an .npz, IDX (also .gz), CIFAR .bin or .csv (also .gz) file, or a folder of images"


def read(path: Path, label: str | None = None) -> Dataset:
    """The data set in a file or folder.

    label  CSV: the column of the classes (default: the last; "" means there is none); npz: the array of the classes,
           for files that hold several (`y_test` goes with `x_test`). Refused for the other formats.

    Raises BadConfig for files that are missing or malformed or hold NaN or infinities, and UnsafeFile for pickles and
    for files that unpack to more than 4 GiB.
    """
    try:
        x, y = contents(path, label)
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error}. Give {FORMATS}.") from error
    if len(x) == 0:
        raise BadConfig(f"{path} holds no examples; at least one is needed.")
    if y is not None and len(y) != len(x):
        raise BadConfig(f"{path} needs one label for each input; got {len(x)} inputs and {len(y)} labels.")
    return Dataset(as_float(path, x), None if y is None else torch.as_tensor(y.astype(np.int64)))


def contents(path: Path, label: str | None) -> tuple[Array, Array | None]:
    """Inputs and classes, in the format that the suffix or else the first bytes indicate."""
    name = path.name.lower()
    if not path.exists():
        raise BadConfig(f"{path} does not exist. Give {FORMATS}.")
    head = b"" if path.is_dir() else first_bytes(path)
    if path.suffix.lower() in PICKLES or head in PICKLE_HEADS:
        raise UnsafeFile(
            f"{path} is a pickle, which can run code when it is loaded. Save the arrays with numpy.savez(x=…, y=…);"
            " for CIFAR take the binary version (data_batch_1.bin, train.bin) instead of the Python version."
        )
    if name.endswith((".csv", ".csv.gz")):
        return read_csv(path, label)
    if name.endswith(".npz"):
        return read_npz(path, label)
    if label is not None:
        raise BadConfig(
            f"`label` names a column of a CSV file or an array of an npz file; {path} is neither. Leave it out."
        )
    if path.is_dir():
        return read_folder(path)
    if name.endswith(".bin"):
        return read_cifar(path)
    if name.endswith(".gz") or "idx" in name or head == b"\0\0":
        return read_idx(path)
    raise BadConfig(f"the format of {path} is not known. Give {FORMATS}.")


def first_bytes(path: Path) -> bytes:
    """The first two bytes. Raises BadConfig for an empty file."""
    with path.open("rb") as file:
        head = file.read(2)
    if not head:
        raise BadConfig(f"{path} is empty. Give {FORMATS}.")
    return head


def as_float(path: Path, x: Array) -> torch.Tensor:
    """The values as float32, uint8 pixels divided by 255. Raises BadConfig for NaN and infinities."""
    if x.dtype == np.uint8:
        return torch.as_tensor(x.astype(np.float32)) / 255
    with np.errstate(over="ignore"):
        values = torch.as_tensor(np.ascontiguousarray(x, dtype=np.float32))
    bad = (~values.isfinite()).reshape(len(values), -1).any(1)
    if bad.any():
        raise BadConfig(
            f"{path} needs finite numbers that fit into float32; example {int(bad.long().argmax())} (counted from 0)"
            " holds NaN or an infinity. Remove or repair it."
        )
    return values

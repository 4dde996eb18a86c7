"""Readers of data files: npz, IDX, CIFAR binary, image folders, CSV. No file can run code or unpack to more than 4 GiB.

| file | what is read |
| --- | --- |
| `.npz` | arrays `x` and `y`, or `x_test` and `y_test`, or `x_train` and `y_train`; the labels are optional |
| IDX, also `.gz` | `*-images-idx3-ubyte*`, with the labels from `*-labels-idx1-ubyte*` next to it, if present |
| `.bin` | CIFAR-10 or CIFAR-100, binary version (CIFAR-100: the 100 fine classes) |
| folder | one sub-folder per class, whose name is its class's name or number; or images only, without classes |
| `.csv`, also `.gz` | a header line; the classes are in the column that `label` names, or in one called label, class, target … |

`contents` gives a file as it stands; what its columns, labels and units mean is settled for all files of a target together
(`schema.py`). `read` reads a file by itself: uint8 arrays are pixels and become float32 in [0, 1]; other numbers are
unchanged, as float32. Grey images become (n, 1, h, w), colour images (n, 3, h, w).
"""

from pathlib import Path

from gamekeeper.data.array_files import read_cifar, read_idx, read_npz
from gamekeeper.data.csv_files import table
from gamekeeper.data.dataset import Dataset
from gamekeeper.data.image_folders import read_folder
from gamekeeper.data.scale import Arrays
from gamekeeper.data.schema import Contents, Declared, schema_of
from gamekeeper.errors import BadConfig, UnsafeFile

PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
PICKLE_HEADS = (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")
FORMATS = "an .npz, IDX (also .gz), CIFAR .bin or .csv (also .gz) file, or a folder of images"


def read(path: Path, label: str | None = None) -> Dataset:
    """The data set in a file or folder, by itself.

    label  CSV: the column of the classes ("" means there is none); npz: the array of the classes, for files that hold
           several (`y_test` goes with `x_test`). Refused for the other formats.

    Raises BadConfig for files that are missing or malformed or hold NaN or infinities, and UnsafeFile for pickles and
    for files that unpack to more than 4 GiB.
    """
    file = contents(path, label)
    return schema_of([file], Declared(label)).read(file)


def contents(path: Path, array: str | None = None) -> Contents:
    """A file as it stands. array: the npz file's array of classes, where it holds several; a CSV file ignores it."""
    try:
        return opened(path, array)
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error}. Give {FORMATS}.") from error


def opened(path: Path, label: str | None) -> Contents:
    """The content, in the format that the suffix or else the first bytes indicate."""
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
        return table(path)
    if name.endswith(".npz"):
        return Arrays(path, *read_npz(path, label))
    if label is not None:
        raise BadConfig(
            f"`label` names a column of a CSV file or an array of an npz file; {path} is neither. Leave it out."
        )
    if path.is_dir():
        return Arrays(path, *read_folder(path), pictures=True)
    if name.endswith(".bin"):
        return Arrays(path, *read_cifar(path), pictures=True)
    if name.endswith(".gz") or "idx" in name or head == b"\0\0":
        return Arrays(path, *read_idx(path))
    raise BadConfig(f"the format of {path} is not known. Give {FORMATS}.")


def first_bytes(path: Path) -> bytes:
    """The first two bytes. Raises BadConfig for an empty file."""
    with path.open("rb") as file:
        head = file.read(2)
    if not head:
        raise BadConfig(f"{path} is empty. Give {FORMATS}.")
    return head

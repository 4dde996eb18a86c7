"""Data sets that are not shipped, read from a folder of the user's: the name of each file, and where to get it."""

from collections.abc import Mapping
from pathlib import Path

from gamekeeper.errors import BadConfig

VARIABLE = "GAMEKEEPER_DATA"
"""Environment variable that names the folder; the command line reads it."""
DEFAULT = Path("data")
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package puts its files."""

FILES: Mapping[str, str] = {
    "mnist.npz": "the complete MNIST as arrays x_train (60000, 28, 28), y_train, x_test, y_test: the file of that name"
    " that comes with Keras, or built with numpy.savez from the four IDX files",
    "fashion-mnist": "a folder with the four IDX .gz files of Fashion-MNIST: Debian's package dataset-fashion-mnist"
    f" installs them in {DEBIAN_FASHION}, where they are also looked for",
    "cifar10_subset.npz": "CIFAR-10, or a balanced part of it, as arrays x_train (n, 32, 32, 3), y_train, x_test,"
    " y_test: built with numpy.savez from the binary version of CIFAR-10",
    "tiny_imagenet32_pool.npz": "photographs of 32x32 pixels as arrays x (n, 32, 32, 3) and y: a part of"
    " Tiny-ImageNet, downscaled, or CIFAR-100",
    "adult_train.csv.gz": "UCI Adult (census income): its 30,162 training rows without missing values, with a header"
    " line and the column income last; the UCI repository offers it as adult.data",
}
"""File or folder name -> what it is and where it comes from."""


def find(folder: Path, name: str) -> Path:
    """The file or folder of that name. Raises BadConfig saying what is needed, where it was sought, how to get it."""
    sought = [folder / name, *([DEBIAN_FASHION] if name == "fashion-mnist" else [])]
    for path in sought:
        if path.exists():
            return path
    raise BadConfig(
        f"{name} is needed and is not in {' or '.join(str(path.parent) for path in sought)}. It is {FILES[name]}."
        f" Put it in a folder and name that folder with --data or {VARIABLE}."
    )

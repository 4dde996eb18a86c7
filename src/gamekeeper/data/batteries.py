"""Batteries: data and trained networks that ship with the package, so that nothing has to be downloaded.

`tools/build_batteries.py` builds every file; `assets/batteries.json` states what each is, its source and its licence,
and holds the SHA-256 that is checked before a file is used. `assets/NOTICES.md` has the licences.
"""

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from gamekeeper.data.dataset import Dataset
from gamekeeper.data.readers import read
from gamekeeper.errors import BadConfig, UnsafeFile

DataName = Literal[
    "mnist-test", "mnist-train", "mnist-natural", "fashion-test", "fashion-train", "fashion-natural", "letters",
    "letters-other", "digits-other",
]  # fmt: skip
ModelName = Literal["mnist-lenet", "fashion-lenet"]

FOLDER = Path(str(files("gamekeeper.data"))) / "assets"
FACTS = "batteries.json"


def load(name: str) -> Dataset:
    """A shipped data set: 28x28 grey images (n, 1, 28, 28) in [0, 1] and their classes.

    mnist-test, mnist-train      digits, 10 classes; the two do not overlap
    fashion-test, fashion-train  Fashion-MNIST, 10 classes
    mnist-natural, fashion-natural   others of each kind, on which no shipped network was trained; for the owner
    letters                      rendered letters, 26 classes, all distinct, in random order; the thief's pool
    letters-other                other letters of the same fonts, none of which is in the pool; for the owner
    digits-other                 digits by other writers, enlarged from 8x8 pixels

    Raises BadConfig for any other name and UnsafeFile if the file is not the one that was shipped.
    """
    if name not in get_args(DataName):
        raise BadConfig(f"no shipped data set is called {name!r}. Take one of {', '.join(get_args(DataName))}.")
    return read(verified(f"{name}.npz"))


def weights(name: str) -> Path:
    """The safetensors file of a shipped network; `index()["models"][name]` says which architecture it fits.

    Raises BadConfig for any other name and UnsafeFile if the file is not the one that was shipped.
    """
    if name not in get_args(ModelName):
        raise BadConfig(f"no shipped network is called {name!r}. Take one of {', '.join(get_args(ModelName))}.")
    return verified(f"{name}.safetensors")


def index() -> dict[str, Any]:
    """batteries.json: `files` by file name (sha256, bytes, source, licence) and `models` by name (recipe, accuracy)."""
    path = shipped(FACTS)
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UnsafeFile(f"{path} is not the file that was shipped ({error}). Install gamekeeper again.") from error


def verified(file: str) -> Path:
    """The path of a shipped file, once its SHA-256 has been checked."""
    path = shipped(file)
    needed, met = index()["files"][file]["sha256"], hashlib.sha256(path.read_bytes()).hexdigest()
    if met != needed:
        raise UnsafeFile(
            f"{path} is not the file that was shipped: its SHA-256 should be {needed}; it is {met}."
            " Install gamekeeper again (pip install --force-reinstall --no-deps gamekeeper)."
        )
    return path


def shipped(file: str) -> Path:
    path = FOLDER / file
    if not path.is_file():
        raise UnsafeFile(f"{path} is missing from the installed package. Install gamekeeper again, unpacked.")
    return path

"""From a name or a TOML file to a target."""

import csv
import hashlib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import torch

from gamekeeper.architectures import LeNet, Mlp
from gamekeeper.data import batteries
from gamekeeper.data.csv_files import csv_lines
from gamekeeper.data.dataset import Dataset
from gamekeeper.data.limits import unpack
from gamekeeper.data.readers import read
from gamekeeper.errors import BadConfig
from gamekeeper.methods import parse_architecture
from gamekeeper.models.opaque import RemoteModel
from gamekeeper.targets.builtin import BUILTIN
from gamekeeper.targets.config import TargetConfig, read_config
from gamekeeper.targets.files.local import explained, load_export, load_onnx, load_sklearn, load_torch
from gamekeeper.targets.files.safety import read_onnx
from gamekeeper.targets.http import HttpOracle
from gamekeeper.targets.target import Target, check_data, digest, file_hash, owner, supplied
from gamekeeper.tasks import Classify
from gamekeeper.types import Architecture, Box, Domain, Model

ANSWERING = {
    "url",
    "protocol",
    "model",
    "request",
    "response",
    "labels",
    "input_name",
    "output_name",
    "datatype",
    "maps",
}
"""Keys of [http] that change the answers; the others change how, when or by whom they are requested."""


def load_target(name_or_path: str) -> Target:
    """A built-in target by name, or the one described by a TOML file. Raises BadConfig, UnsafeFile or Malformed."""
    if name_or_path in BUILTIN:
        return BUILTIN[name_or_path]()
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.is_file():
        return from_config(read_config(path), path)
    near = get_close_matches(name_or_path, BUILTIN, len(BUILTIN), cutoff=0.0)
    raise BadConfig(
        f"there is no target '{name_or_path}'. Built in: {', '.join(near + [n for n in BUILTIN if n not in near])};"
        " or give the path of a TOML file (`gamekeeper init audit` writes one)."
    )


def from_config(config: TargetConfig, path: Path) -> Target:
    """The target that a validated TOML file describes; other files are looked up in the folder of `path`, that file."""
    folder = path.parent
    box = Box(tuple(config.input.shape), config.input.low, config.input.high)
    task = Classify(config.classes)
    test, pool, train = data(config, folder, box)
    architecture = default_architecture(box, config.classes)
    if config.model is not None and config.model.architecture is not None:
        architecture = named("model.architecture", config.model.architecture, box, config.classes)
    student = architecture
    if config.thief.student is not None:
        student = named("thief.student", config.thief.student, box, config.classes)
    victim, batch = load_victim(config, folder, box, architecture)
    seeds = None if config.thief.seeds is None else load_data("thief.seeds", config.thief.seeds, folder, None)
    if seeds is not None:
        check_data("thief.seeds", Dataset(seeds.x), box, None)
    target = Target(
        name=path.stem,
        kind=config.kind,
        victim=victim,
        box=box,
        test=test,
        pool=pool,
        student=student,
        owner=owner(train, box, architecture),
        answers=config.answers,
        price=config.price,
        remote=config.kind == "http",
        digest=digest(identity(config, folder), repr(task), (train, test, pool, seeds)),
        seeds=None if seeds is None else seeds.x,
        batch=batch,
        explain=sold_maps(config),
        currency=config.currency,
    )
    given = config.data
    if given.auxiliary is None:
        return target
    label = pool_label(folder / given.auxiliary, folder / given.test, given.label)
    return supplied(
        target, "data.auxiliary", given.auxiliary, load_data("data.auxiliary", given.auxiliary, folder, label)
    )


def sold_maps(config: TargetConfig) -> str | None:
    """What makes the maps it sells; for somebody else's API no more is known than that there are maps."""
    if config.model is not None:
        return config.model.explain
    return "attribution" if config.http is not None and config.http.maps is not None else None


def load_victim(config: TargetConfig, folder: Path, box: Domain, architecture: Architecture) -> tuple[Model, int]:
    """The victim, and how many inputs are sent to it at a time."""
    task, answers = Classify(config.classes), config.answers
    if config.http is not None:
        oracle = HttpOracle(config.http, box, config.classes)
        return RemoteModel(oracle, task, answers), oracle.batch
    assert config.model is not None, "read_config refuses a local kind without [model]"
    file = model_file(config.model.file, folder)
    if config.kind == "torch":
        victim = load_torch(file, architecture, task, box, answers)
        explain = config.model.explain
        return victim if explain is None else explained(victim, explain, box), Target.batch
    if config.kind == "export":
        return load_export(file, task, box, answers), Target.batch
    if config.kind == "onnx":
        return load_onnx(file, task, box, answers), Target.batch
    return load_sklearn(file, task, box, answers), Target.batch


def model_file(name: str, folder: Path) -> Path:
    """A shipped network by name, or the file of that path."""
    return batteries.weights(name) if name in get_args(batteries.ModelName) else folder / name


def named(key: str, text: str, box: Domain, classes: int) -> Architecture:
    """The architecture of that name. Raises BadConfig, naming the key, if there is none or it cannot take the input."""
    try:
        recipe = parse_architecture(text, box.shape, classes)
        with torch.device("meta"):  # allocates nothing; an input it cannot take is an error here, not in every cell
            recipe()
    except BadConfig as error:
        raise BadConfig(f"{key}: {error}") from error
    return recipe


def default_architecture(box: Domain, classes: int) -> Architecture:
    """LeNet for images at least 16 pixels high and wide, an MLP for the rest."""
    image = len(box.shape) == 3 and min(box.shape[1:]) >= 16
    return LeNet(box.shape, classes) if image else Mlp(box.shape, classes)


# data


def data(config: TargetConfig, folder: Path, box: Domain) -> tuple[Dataset, Dataset, Dataset | None]:
    """Test set, pool and the owner's training set. Raises BadConfig."""
    given = config.data
    files = [name for name in (given.test, given.pool, given.train, given.auxiliary) if name is not None]
    if given.label is not None and not any(is_csv(name) for name in files):
        raise BadConfig(
            "data.label names the column of classes in a CSV file; none of the data files is CSV. Leave it out."
        )
    test = load_data("data.test", given.test, folder, given.label)
    pool = load_data("data.pool", given.pool, folder, pool_label(folder / given.pool, folder / given.test, given.label))
    train = None if given.train is None else load_data("data.train", given.train, folder, given.label)
    check_data("data.test", test, box, config.classes)
    check_data("data.pool", Dataset(pool.x), box, None)
    if train is not None:
        check_data("data.train", train, box, config.classes)
    return test, pool, train


def load_data(key: str, name: str, folder: Path, label: str | None) -> Dataset:
    """A shipped data set by name, or the file or folder of that path."""
    if name in get_args(batteries.DataName):
        return batteries.load(name)
    if not (folder / name).exists():
        raise BadConfig(
            f"{key}: {folder / name} does not exist. Give a path relative to the TOML file, or one of the shipped data"
            f" sets: {', '.join(get_args(batteries.DataName))}."
        )
    return read(folder / name, label if is_csv(name) else None)


def is_csv(name: str) -> bool:
    return name.lower().endswith((".csv", ".csv.gz"))


def pool_label(pool: Path, test: Path, label: str | None) -> str | None:
    """The class column to leave out of a CSV pool: the test set's if the pool has it, else none ("")."""
    if not is_csv(pool.name):
        return None
    columns = header(test)
    classes = label or (columns[-1] if columns else "")
    return classes if classes in header(pool) else ""


def header(path: Path) -> list[str]:
    """The column names of a CSV file; empty if it is not one (the reader then says what is wrong)."""
    if not (is_csv(path.name) and path.is_file()):
        return []
    try:
        return next(csv_lines(unpack(path).decode("utf-8-sig")), (0, list[str]()))[1]
    except (UnicodeDecodeError, csv.Error):
        return []


# identity


def identity(config: TargetConfig, folder: Path) -> dict[str, Any]:
    """Everything in a target file that changes an answer, with the model's bytes as a hash. No header, no secret."""
    settings: dict[str, Any] = config.model_dump(mode="json", include={"kind", "answers", "classes", "input"})
    if config.http is not None:
        settings["http"] = config.http.model_dump(mode="json", include=ANSWERING)
    if config.model is not None:
        settings["architecture"] = config.model.architecture
        if config.model.explain is not None:
            settings["explain"] = config.model.explain
        file = model_file(config.model.file, folder)
        # the weights of an ONNX model may be in other files
        settings["model"] = hashlib.sha256(read_onnx(file)).hexdigest() if config.kind == "onnx" else file_hash(file)
    return settings

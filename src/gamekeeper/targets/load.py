"""From a name or a TOML file to a target."""

import hashlib
import math
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from gamekeeper.architectures import LeNet, Mlp
from gamekeeper.data import batteries
from gamekeeper.data.columns import label_column
from gamekeeper.data.csv_files import Table
from gamekeeper.data.dataset import Dataset
from gamekeeper.data.labels import numeric
from gamekeeper.data.scale import SMALLEST, Arrays, Scale, channels_last
from gamekeeper.data.schema import Contents, Declared, Schema, schema_of
from gamekeeper.errors import BadConfig
from gamekeeper.methods import parse_architecture
from gamekeeper.models.estimators import Fitting, for_table
from gamekeeper.models.opaque import RemoteModel, SklearnModel
from gamekeeper.models.translation import (
    Translation,
    translated_model,
    translated_network,
    translated_wire,
)
from gamekeeper.targets import domains
from gamekeeper.targets.builtin import BUILTIN
from gamekeeper.targets.config import TargetConfig, read_config
from gamekeeper.targets.data_files import (
    DRAWN,
    NATURAL,
    SHIFTED,
    box_of,
    data,
    data_file,
    domain_of,
    ranges_as_in_pool,
    scale_of,
)
from gamekeeper.targets.drawings import held
from gamekeeper.targets.files.local import (
    SKLEARN_ERRORS,
    explained,
    load_export,
    load_onnx,
    load_torch,
    of_rows,
    read_sklearn,
    rehearse,
    rehearse_codes,
    rehearse_rows,
)
from gamekeeper.targets.files.safety import read_onnx
from gamekeeper.targets.http import HttpOracle
from gamekeeper.targets.http_config import HttpConfig
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
    # a scikit-learn model may know the names of its inputs and classes, so it is read first
    known = load_known(config, folder) if config.kind == "sklearn" else None
    schema, sets = data(config, folder, scale_of(config), known)
    scale = schema.scale or scale_of(config)
    box = box_of(scale)
    architecture = architecture_of(config, box)
    student = architecture
    if config.thief.student is not None:
        student = named("thief.student", config.thief.student, box, config.classes)
    keys = ("data.test", "data.pool", "data.train", "thief.seeds", NATURAL, SHIFTED, DRAWN)
    test, pool, train, seeds, natural, shifted, drawn = (sets.get(key) for key in keys)
    also = {NATURAL: natural, SHIFTED: shifted, DRAWN: drawn}
    optional = {key: one.digest() for key, one in also.items() if one is not None}
    drawings = None if drawn is None else held(drawn)
    assert test is not None
    assert pool is not None
    domain = domain_of(config, schema, pool.x)
    if known is None:
        victim, batch = load_victim(config, folder, scale, architecture, domain)
    else:
        victim, batch = rehearsed(known, config, folder, schema, test.x), Target.batch
    # the file of kind torch brings a network for inputs as they come; a surrogate for another kind is made here
    surrogate = architecture if config.kind == "torch" or train is None else for_table(architecture, train.x)
    target = Target(
        name=path.stem,
        kind=config.kind,
        victim=victim,
        box=domain,
        test=test,
        pool=pool,
        student=student,
        owner=owner(train, domain, surrogate, natural),
        answers=config.answers,
        price=config.price,
        remote=config.kind == "http",
        digest=digest(
            {**identity(config, folder), **optional},  # without these, as in earlier runs
            repr(Classify(config.classes)),
            (train, test, pool, seeds),
        ),
        seeds=None if seeds is None else seeds.x,
        batch=batch,
        explain=sold_maps(config),
        schema=schema,
        currency=config.currency,
        drawings=drawings,
        drawn_by="" if drawings is None else repr(drawings),
        style=None if config.thief.style is None else config.thief.style.known(),
        prior=None if config.thief.prior is None else tuple(config.thief.prior),
        shifted={} if shifted is None else {SHIFTED: shifted},
    )
    if config.data.auxiliary is None:
        return target
    return supplied(target, "data.auxiliary", config.data.auxiliary, sets["data.auxiliary"])


def architecture_of(config: TargetConfig, box: Box) -> Architecture:
    """The victim's network as declared, or what suits the inputs. Raises BadConfig for what is no network."""
    if config.model is None or config.model.architecture is None:
        return default_architecture(box, config.classes)
    architecture = named("model.architecture", config.model.architecture, box, config.classes)
    if isinstance(architecture, Fitting):
        raise BadConfig(
            f"model.architecture: {architecture} is no network, and a file of kind torch holds one's weights."
        )
    return architecture


def sold_maps(config: TargetConfig) -> str | None:
    """What makes the maps it sells; for somebody else's API no more is known than that there are maps."""
    if config.model is not None:
        return config.model.explain
    return "attribution" if config.http is not None and config.http.maps is not None else None


def load_victim(
    config: TargetConfig, folder: Path, scale: Scale, architecture: Architecture, seen: Domain
) -> tuple[Model, int]:
    """The victim, of any kind but scikit-learn, and how many inputs are sent to it at a time."""
    task, answers = Classify(config.classes), config.answers
    taken, translation = taken_box(config), translation_to(scale)
    if config.http is not None:
        domain = seen if ranges_as_in_pool(config) else taken
        oracle = HttpOracle(with_labels(config.http, config.class_names), domain, config.classes)
        return RemoteModel(translated_wire(oracle, translation), task, answers), oracle.batch
    assert config.model is not None, "read_config refuses a local kind without [model]"
    file = model_file(config.model.file, folder)
    if config.kind == "torch":
        network = load_torch(file, architecture, task, Box(scale.shape, scale.low, scale.high), answers)
        network, explain = translated_network(network, translation), config.model.explain
        return network if explain is None else explained(network, explain, box_of(scale)), Target.batch
    if config.kind == "export":
        victim: Model = load_export(file, task, taken, answers)
    else:
        victim = load_onnx(file, task, taken, answers)
    return translated_model(victim, translation), Target.batch


def load_known(config: TargetConfig, folder: Path) -> SklearnModel:
    """A scikit-learn model, not yet rehearsed: which rows it takes is known once the data files are read."""
    assert config.model is not None, "read_config refuses a local kind without [model]"
    file = model_file(config.model.file, folder)
    return read_sklearn(file, Classify(config.classes), taken_box(config), config.answers, config.class_names)


def rehearsed(model: SklearnModel, config: TargetConfig, folder: Path, schema: Schema, x: Tensor) -> Model:
    """The model behind the map from what is seen here to what it takes, after it has answered some inputs."""
    assert config.model is not None
    file, scale = model_file(config.model.file, folder), schema.scale
    assert scale is not None
    if schema.raw:
        model = of_rows(model, schema)
        rehearse_rows(model, schema, x, file)
        return model
    rehearse_codes(model, [each.name for each in schema.columns], taken_box(config), file)
    rehearse(model, taken_box(config), file, SKLEARN_ERRORS)
    return translated_model(model, translation_to(scale))


def taken_box(config: TargetConfig) -> Box:
    """One input as the model takes it."""
    return Box(tuple(config.input.shape), *domains.outer(config.input.low, config.input.high))


def translation_to(scale: Scale) -> Translation:
    """From what is seen here to what the model takes."""
    return Translation(scale.low, scale.high, scale.last, scale.flat) if scale.seen == (0.0, 1.0) else Translation()


def with_labels(http: HttpConfig, names: tuple[str, ...]) -> HttpConfig:
    """The names in `classes` are also the API's, unless `labels` has others.

    Names that are all numbers are not: it cannot be told whether the API answers with them or with class numbers.
    """
    return http if http.labels or not names or numeric(names) else http.model_copy(update={"labels": names})


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
    image = len(box.shape) == 3 and min(box.shape[1:]) >= SMALLEST
    return LeNet(box.shape, classes) if image else Mlp(box.shape, classes)


def beside(key: str, name: str, folder: Path, target: Target) -> Dataset:
    """More inputs for a target, read as its own data files are, or by themselves beside a built-in target."""
    file = data_file(key, name, folder)
    schema = target.schema
    if isinstance(file, Table) and not schema.columns:
        width, label = math.prod(target.box.shape), label_column(file, None)
        if label is None and len(file.head) == width + 1:
            label = file.head[-1]  # no class is read from it: these inputs are for a thief, or the owner's others
        schema = schema_of([file], Declared(label if label and len(file.head) > width else ""), schema.scale)
    if schema.scale is None and isinstance(target.box, Box):
        schema = replace(schema, scale=Scale(target.box.shape, target.box.low, target.box.high))
    inputs = Dataset(schema.read(unlabelled(file)).x)
    check_data(key, inputs, target.box, None)
    return inputs


def unlabelled(file: Contents) -> Contents:
    return replace(file, labels=None) if isinstance(file, Arrays) else file


# identity


def identity(config: TargetConfig, folder: Path) -> dict[str, Any]:
    """Everything in a target file that changes an answer, with the model's bytes as a hash. No header, no secret."""
    settings: dict[str, Any] = config.model_dump(mode="json", include={"kind", "answers", "classes"})
    if config.class_names:
        settings["class_names"] = list(config.class_names)
    # what files hold is in the digests of the data; the layout changes what is sent
    settings["input"] = domains.identity(config.input.shape, config.input.low, config.input.high)
    if channels_last(config.input.shape, config.input.layout):
        settings["input"]["layout"] = "channels-last"
    if config.thief.style is not None:  # without it, the digest is that of every earlier run
        settings["style"] = repr(config.thief.style.known())
    if config.http is not None:
        settings["http"] = config.http.model_dump(mode="json", include=ANSWERING)
        if config.http.unit != 1:  # without it, the digest is that of every earlier run
            settings["http"]["unit"] = config.http.unit
    if config.model is not None:
        settings["architecture"] = config.model.architecture
        if config.model.explain is not None:
            settings["explain"] = config.model.explain
        file = model_file(config.model.file, folder)
        # the weights of an ONNX model may be in other files
        settings["model"] = hashlib.sha256(read_onnx(file)).hexdigest() if config.kind == "onnx" else file_hash(file)
    return settings

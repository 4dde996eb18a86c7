"""The target file: a TOML table of what is attacked, on which data, and what the thief holds.

kind = "torch"                   # torch | export | onnx | sklearn | http
answers = "logits"               # probabilities | logits | labels | top-k
classes = 10                     # or their names in the model's order: ["cat", "dog", "fox"]
price = 0.001                    # money per query; 0 by default
currency = "USD"                 # named with every price; optional

[model]                          # not for http
file = "model.safetensors"       # a path relative to the TOML file, or a shipped network's name
architecture = "lenet"           # torch only
explain = "grad_cam"             # torch only: every answer comes with an attribution map; optional

[input]
shape = [1, 28, 28]
low = 0.0                        # for a table one number, or a list with one a column in the units of the data; without
high = 1.0                       # either, its columns range as in the pool
stored = [0, 255]                # the range in which all files hold them, if that is another; optional
layout = "channels-first"        # or channels-last, where the shape does not show it; optional

[data]
test = "test.npz"                # labelled; used to evaluate, never seen by a thief
pool = "letters"                 # what the thief queries: a shipped data set or a path
train = "train.npz"              # the owner's own, for defenses that need it; optional
auxiliary = "letters-other"      # the owner's inputs of another kind, for defenses that train on such; optional
natural = "held-out.npz"         # inputs like a user's, never trained on, for gates and `--defense all`; optional
shifted = "new-users.npz"        # labelled inputs of users unlike the test set; optional
label = "income"                 # CSV only: the column of the classes
columns = ["age", "colour"]      # CSV only: those that the model takes, in its order; by default all of the test set's
categories = { colour = ["red", "blue"] }  # CSV only: of columns of text, in the model's order; by default sorted
                                 # "" is a cell without a value; those that no file has may be listed too

[thief]
seeds = "few.npz"                # a few inputs like the victim's own, for attacks that start from such; optional
drawings = "drawn"               # a folder with a sub-folder of images for each class, drawn or generated; optional
student = "resnet:depth=14"      # by default like the victim, or an MLP or LeNet depending on the input's shape
prior = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]  # how frequent each class is, as everybody knows; optional
style = { pen = [2, 3.5], slant = [0.15, 0.2], size = 20 }  # of strokes in the model's images, in pixels, as everybody knows

[audit]                          # optional: attack, defense, budget, seeds, uniform as on the command line

[http]                           # http only: see `targets/http_config.py`
"""

import math
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import ErrorDetails

from gamekeeper.errors import BadConfig
from gamekeeper.explain import ExplainerName
from gamekeeper.models.answers import Kind
from gamekeeper.targets.domains import Ends, ends, pairs
from gamekeeper.targets.http_config import HttpConfig
from gamekeeper.types import Style

TOML_LIMIT = 2**20
"""Bytes of a target file."""


class Table(BaseModel):
    """A table of the target file: immutable, without unknown keys; text is not converted to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class ModelTable(Table):
    """[model]"""

    file: str = Field(min_length=1)
    architecture: str | None = None
    explain: ExplainerName | None = None


Finite = Annotated[float, Field(allow_inf_nan=False)]


class InputTable(Table):
    """[input]: one input's shape and the range of its entries; of a table, one range or one for each column.

    Without a range the entries of an image lie in [0, 1], and the columns of a table range as in the pool.
    """

    shape: list[Annotated[int, Field(ge=1, le=2**20)]] = Field(min_length=1, max_length=4)
    low: Annotated[Ends, PlainValidator(ends)] = None
    high: Annotated[Ends, PlainValidator(ends)] = None
    stored: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None = None
    layout: Literal["channels-first", "channels-last"] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "InputTable":
        pairs(self.shape, self.low, self.high)
        if math.prod(self.shape) > 2**24:
            raise ValueError(f"an input of shape {self.shape} has more than {2**24:,} entries")
        if self.stored is not None and not self.stored[0] < self.stored[1]:
            raise ValueError(f"stored = [lowest, highest] must go up; got {self.stored}")
        if self.layout is not None and len(self.shape) != 3:
            raise ValueError(f"layout is for images, whose shape has three sizes; got {self.shape}")
        return self


Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
Categories = Annotated[list[str], Field(min_length=1)]
"""The category "" is a cell without a value."""


class DataTable(Table):
    """[data]"""

    test: str = Field(min_length=1)
    pool: str = Field(min_length=1)
    train: str | None = Field(None, min_length=1)
    auxiliary: str | None = Field(None, min_length=1)
    natural: str | None = Field(None, min_length=1)
    shifted: str | None = Field(None, min_length=1)
    label: str | None = Field(None, min_length=1)
    columns: Names | None = None
    categories: dict[str, Categories] = {}

    @model_validator(mode="after")
    def _distinct(self) -> "DataTable":
        for key, names in {"columns": self.columns or [], **self.categories}.items():
            if len(set(names)) < len(names):
                raise ValueError(f"every name of {key} must be there once; got {', '.join(names)}")
        return self


ROUNDED = 0.005
"""How far the sum of shares that were rounded may be from 1."""


Pair = Annotated[list[Finite], Field(min_length=2, max_length=2)]


class StyleTable(Table):
    """[thief] style: what everybody knows of how strokes look in the model's images (`types.Style` explains the keys)."""

    pen: Pair
    slant: Pair
    size: Finite
    edge: Finite = 1.0
    centred: bool = True

    @model_validator(mode="after")
    def _possible(self) -> "StyleTable":
        try:
            self.known()
        except BadConfig as error:
            raise ValueError(str(error)) from error
        return self

    def known(self) -> Style:
        (thin, thick), (slant, spread) = self.pen, self.slant
        return Style((thin, thick), (slant, spread), self.size, self.edge, self.centred)


class ThiefTable(Table):
    """[thief]"""

    student: str | None = Field(default=None, min_length=1)
    seeds: str | None = Field(default=None, min_length=1)
    drawings: str | None = Field(default=None, min_length=1)
    prior: list[Annotated[float, Field(ge=0, le=1)]] | None = Field(default=None, min_length=1)
    style: StyleTable | None = None


class AuditTable(Table):
    """[audit]: what is run unless the command line says otherwise."""

    attack: list[str] | None = Field(default=None, min_length=1)
    defense: list[str] | None = Field(default=None, min_length=1)
    budget: list[Annotated[int, Field(ge=1)]] | None = Field(default=None, min_length=1)
    seeds: int | None = Field(default=None, ge=1)
    uniform: int | None = Field(default=None, ge=0)


class TargetConfig(Table):
    """The whole file."""

    kind: Literal["torch", "export", "onnx", "sklearn", "http"]
    answers: Kind
    classes: int = Field(ge=2, le=2**20)
    class_names: tuple[str, ...] = ()
    """In the file, names stand in `classes` in place of their number."""
    price: float = Field(0.0, ge=0, allow_inf_nan=False)
    currency: str = Field("", max_length=12)
    model: ModelTable | None = None
    input: InputTable
    data: DataTable
    thief: ThiefTable = ThiefTable()
    audit: AuditTable = AuditTable()
    http: HttpConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _names(cls, content: Any) -> Any:
        """`classes = ["cat", "dog"]` is two classes with these names."""
        if not isinstance(content, dict):
            return content
        given = cast(dict[str, Any], content)
        if "class_names" in given:
            raise ValueError('names of classes are written in `classes`: classes = ["cat", "dog"]')
        names = given.get("classes")
        if not isinstance(names, list):
            return given
        whole = cast(list[Any], names)
        if not all(isinstance(name, str) and name for name in whole) or len(set(whole)) < len(whole):
            raise ValueError("classes is a number of classes or the name of each, as text, every one different")
        return {**given, "classes": len(whole), "class_names": tuple(whole)}

    @model_validator(mode="after")
    def _consistent(self) -> "TargetConfig":
        prior = self.thief.prior
        if prior is not None and (len(prior) != self.classes or abs(sum(prior) - 1) > ROUNDED):
            raise ValueError(
                f"thief.prior is the share of each of {self.classes} classes, with a sum of 1; it has {len(prior)} with a sum"
                f" of {sum(prior):g}"
            )
        if self.kind == "http":
            if self.http is None or self.model is not None:
                raise ValueError('kind = "http" needs a table [http] and has no [model]')
            return self
        if self.model is None or self.http is not None:
            raise ValueError(f'kind = "{self.kind}" needs a table [model] with the key file, and has no [http]')
        if (self.kind == "torch") != (self.model.architecture is not None):
            raise ValueError(
                'kind = "torch" needs model.architecture, such as "lenet" (`gamekeeper methods` lists them)'
                if self.kind == "torch"
                else f'model.architecture is for kind = "torch"; a file of kind "{self.kind}" brings its own'
            )
        if self.kind != "torch" and self.model.explain is not None:
            raise ValueError('model.explain needs gradients, so it is for kind = "torch" only')
        return self


TABLES: dict[str, type[BaseModel]] = {
    "": TargetConfig,
    "model": ModelTable,
    "input": InputTable,
    "data": DataTable,
    "thief": ThiefTable,
    "audit": AuditTable,
    "http": HttpConfig,
}


def read_config(path: Path) -> TargetConfig:
    """The validated content of a target file. Raises BadConfig naming every wrong key and what is allowed."""
    try:
        if path.stat().st_size > TOML_LIMIT:
            raise BadConfig(
                f"the target file {path} has {path.stat().st_size:,} bytes; at most {TOML_LIMIT:,} are read."
            )
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise BadConfig(f"the target file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadConfig(f"the target file {path} is not valid TOML: {error}.") from error
    try:
        return TargetConfig.model_validate(content)
    except ValidationError as error:
        problems = [problem(detail) for detail in error.errors(include_url=False)]
        raise BadConfig(f"the target file {path} is wrong:\n" + "\n".join(f"  {text}" for text in problems)) from None


def problem(detail: ErrorDetails) -> str:
    """One sentence about one wrong key. Values of [http] are never shown: they may be secrets."""
    place = [part for part in detail["loc"] if isinstance(part, str)]
    name = spelled(detail["loc"]) or "the file"
    if detail["type"] == "extra_forbidden":
        table = TABLES.get(place[0] if len(place) > 1 else "", TargetConfig)
        known = [name for name in table.model_fields if name != "class_names"]
        near = get_close_matches(place[-1], known, 1)
        return f"there is no key {name}.{f' Did you mean {near[0]}?' if near else ''} Known: {', '.join(known)}."
    if detail["type"] == "missing":
        return f"{name} is missing."
    message = detail["msg"].removeprefix("Value error, ")
    value: Any = detail.get("input")
    shown = "" if place[:1] == ["http"] or not isinstance(value, (str, int, float)) else f" Got {value!r}."
    return f"{name}: {message}.{shown}"


def spelled(place: Sequence[int | str]) -> str:
    """`input.shape[0]`, as one would write it in TOML."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")

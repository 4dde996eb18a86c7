"""The mapping file: which field of a log is what. A TOML table; only `client` is needed.

like = "kserve"                  # another mapping to start from: a built-in one; optional
format = "jsonl"                 # jsonl | csv | combined (access logs of nginx and Apache); by default as the file looks
client = "user.id"               # a path, or a list of which the first that leads to something counts
unnamed = "public"               # client of records that name none; without it they are skipped
count = "rows"                   # how many inputs a request had, where the log has no inputs; 1 by default
size = "body_bytes_sent"         # bytes of the answer; optional

[time]                           # or several [[time]], of which the first that is there counts
field = "timestamp_ms"
format = "unix-ms"               # unix-s | unix-ms | unix-us | unix-ns | iso8601 | a strptime pattern; a time without a
                                 # zone is UTC
[input]
field = "request.inputs[0].data" # text that is JSON, perhaps in base64, is read on the way
kind = "numbers"                 # numbers | base64 | file | hash | hashed
columns = ["age", "income"]      # of values by name, in the model's order; with field = "$" columns of the record itself
shape = [1, 28, 28]              # of one input; by default the target's
layout = "channels-last"         # of images, where the target has its channels first; optional
dtype = "uint8"                  # of base64: uint8 | float32 (little-endian)
stored = [0, 255]                # the range in which the log holds inputs, mapped to the target's; optional
folder = "images"                # where files lie, relative to the log; the log's own folder by default

[answer]
field = "response.outputs[0].data"
form = "probabilities"           # probabilities | logits | labels; by default one number is a label, more are probabilities
classes = 10                     # by default the target's
names = ["cat", "dog"]           # of the classes, in the model's order, where answers name them; optional

[filter]                         # records without these values are passed over; * stands for anything
status = [200, 201]
request = "POST /v2/models/*"

[join]                           # request and answer are two lines; paths then begin with `request.` or `response.`
id = "id"
kind = "type"
request = "inference.request"    # what `kind` says of a request, and of an answer
response = "inference.response"

kind = "hash" is text that says which inputs are the same; "hashed" is anything (a list of messages, a prompt) whose
SHA-256 does; "file" is a path to a picture or a .npy array, which must lie inside the folder.
"""

import importlib.resources
import tomllib
from collections.abc import Mapping as Dictionary
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gamekeeper.errors import BadConfig
from gamekeeper.logs.paths import FieldPath, field_path
from gamekeeper.logs.times import ISO, time_format

TOML_LIMIT = 2**20
SHIPPED = importlib.resources.files("gamekeeper.logs") / "mappings"


def _paths(value: Any) -> Any:
    if isinstance(value, str):
        return (field_path(value),)
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return tuple(field_path(each) for each in value)
    raise ValueError("a path such as request.inputs[0].data, or a list of some")


Paths = Annotated[tuple[FieldPath, ...], BeforeValidator(_paths)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1, le=2**20)]
Wanted = Annotated[str | int, Field(union_mode="left_to_right")]


class Table(BaseModel):
    """A table of the mapping file: immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


class TimeTable(Table):
    """[time]"""

    field: Paths
    format: Annotated[str, AfterValidator(time_format)] = ISO


def _times(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)


class InputTable(Table):
    """[input]"""

    field: Paths
    kind: Literal["numbers", "base64", "file", "hash", "hashed"] = "numbers"
    columns: Texts | None = None
    shape: list[Size] | None = None
    layout: Literal["channels-first", "channels-last"] = "channels-first"
    dtype: Literal["uint8", "float32"] = "float32"
    stored: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None = None
    folder: str = "."

    @model_validator(mode="after")
    def _sensible(self) -> "InputTable":
        if self.stored is not None and not self.stored[0] < self.stored[1]:
            raise ValueError(f"stored = [lowest, highest] must go up; got {self.stored}")
        return self


class AnswerTable(Table):
    """[answer]"""

    field: Paths
    form: Literal["probabilities", "logits", "labels"] | None = None
    classes: Annotated[int, Field(ge=2, le=2**20)] | None = None
    names: Texts | None = None


def _dotted(value: Any, inside: str = "") -> Any:
    """TOML reads `request.status = 200` as a table in a table; as a path it is one name."""
    if not isinstance(value, dict):
        return value
    flat: dict[str, Any] = {}
    for name, each in value.items():
        flat |= _dotted(each, f"{inside}{name}.") if isinstance(each, dict) else {inside + name: each}
    return flat


class JoinTable(Table):
    """[join]"""

    id: Paths
    kind: Paths
    request: Text
    response: Text


class Mapping(Table):
    """The whole file, without `like`."""

    format: Literal["jsonl", "csv", "combined"] | None = None
    client: Paths
    unnamed: Text | None = None
    count: Paths = ()
    size: Paths = ()
    time: Annotated[tuple[TimeTable, ...], BeforeValidator(_times)] = ()
    input: InputTable | None = None
    answer: AnswerTable | None = None
    filter: Annotated[dict[Text, Wanted | list[Wanted]], BeforeValidator(_dotted)] = {}
    join: JoinTable | None = None

    @model_validator(mode="after")
    def _readable(self) -> "Mapping":
        for text in self.filter:
            field_path(text)  # raises ValueError
        return self


def shipped() -> list[str]:
    """Names of the built-in mappings."""
    return sorted(each.name.removesuffix(".toml") for each in SHIPPED.iterdir() if each.name.endswith(".toml"))


def load_mapping(text: str) -> Mapping:
    """A built-in mapping by its name, or a mapping file. Raises BadConfig."""
    if text in shipped():
        return _read(tomllib.loads((SHIPPED / f"{text}.toml").read_text(encoding="utf-8")), f"the mapping {text!r}")
    path = Path(text)
    if not path.is_file():
        raise BadConfig(
            f"{text!r} is neither a file nor a built-in mapping ({', '.join(shipped())}). Give one of them."
        )
    if path.stat().st_size > TOML_LIMIT:
        raise BadConfig(f"{path} has more than {TOML_LIMIT:,} bytes, so it is hardly a mapping. Give a TOML file.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not TOML in UTF-8: {error}. Correct it.") from error
    return _read(content, str(path))


def _read(content: dict[str, Any], where: str) -> Mapping:
    like = content.pop("like", None)
    if like is not None:
        if like not in shipped():
            raise BadConfig(f"`like` in {where} must be a built-in mapping ({', '.join(shipped())}); got {like!r}.")
        content = _over(tomllib.loads((SHIPPED / f"{like}.toml").read_text(encoding="utf-8")), content)
    try:
        return Mapping.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()[:5])
        raise BadConfig(f"{where} is not a mapping: {wrong}. docs/logs.md explains every key.") from None


def _over(under: Dictionary[str, Any], upper: Dictionary[str, Any]) -> dict[str, Any]:
    """A file over the one it is like: keys replace keys, inside tables too."""
    both = [key for key in under if isinstance(under[key], dict) and isinstance(upper.get(key), dict)]
    return {**under, **upper, **{key: {**under[key], **upper[key]} for key in both}}

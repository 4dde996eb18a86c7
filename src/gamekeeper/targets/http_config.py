"""The `[http]` table of a target file: where an API is and how to call it. Secrets stay in the environment."""

import os
import re
from typing import Annotated, Any, Literal

import httpx
import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from gamekeeper.errors import BadConfig
from gamekeeper.protocols.json import ALL, ONE, markers, steps
from gamekeeper.protocols.v2 import DATATYPES

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
OURS = {
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "idempotency-key",
    "inference-header-content-length",
    "transfer-encoding",
}

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Status = Annotated[int, Field(ge=100, le=599)]


class HttpConfig(BaseModel):
    """The `[http]` table of a target file.

    url                  base of the API (v2, v1), or the full address of the POST (json)
    protocol             "v2": POST {url}/v2/models/{model}/infer; "v1": POST {url}/v1/models/{model}:predict; "json"
    model                name used by v2 and v1; `name/versions/3` selects one version
    headers              sent with every request; `${NAME}` stands for an environment variable
    request              json: the body, as a table or as JSON text, in which the string "$INPUTS" stands for the batch
                         as nested lists, or "$INPUT" for the single input of a request
    response             json, v1 (`predictions` by default): where the answers are. Names, numbers and * separated
                         by dots: `outputs.0.data`, `results.*.scores`; `$` is the whole document
    maps                 where attribution maps are, if the API sells them: a path as in `response`, or for v2 an output
    labels               names of the classes in order, where the API answers with names or with ids of its own
    unit                 what a certain class scores: 100 where the API answers percentages, 1000 per mille, 255 bytes
    input_name, datatype v2: of the input tensor. Unless both are given, the model's metadata are requested; a model
                         that publishes none gets "input-0" and FP32
    output_name          v2: the output to read; the first one by default
    binary               v2: true or false; by default, what the server's metadata say
    batch                most inputs per request
    timeout              seconds, for connecting, for each read, and for a whole answer
    retries              how often a request is sent again before giving up
    rate_limit_codes     statuses that mean "too fast"
    retry_codes          statuses that mean "try again"
    retry_after_max      longest wait, in seconds, that a server may ask for; the run stops if it asks for more
    max_body             most bytes of an answer, after decompression
    requests_per_second  paces the requests of each worker process
    verify_tls           false accepts any certificate
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str
    protocol: Literal["v2", "v1", "json"] = "v2"
    model: str | None = None
    headers: dict[str, SecretStr] = {}
    request: dict[str, Any] | list[Any] | str | None = None
    response: str | None = None
    maps: str | None = None
    labels: tuple[str, ...] | None = None
    unit: float = Field(1.0, gt=0, allow_inf_nan=False)
    input_name: str | None = None
    output_name: str | None = None
    datatype: str | None = None
    binary: bool | None = None
    batch: int = Field(64, ge=1)
    timeout: Seconds = 30.0
    retries: int = Field(6, ge=0)
    rate_limit_codes: tuple[Status, ...] = (429,)
    retry_codes: tuple[Status, ...] = (500, 502, 503, 504)
    retry_after_max: Seconds = 300.0
    max_body: int = Field(64 * 2**20, ge=1)
    requests_per_second: Seconds | None = None
    verify_tls: bool = True

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise ValueError("not a URL; an address such as https://host/path is needed") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ValueError("an address that begins with http:// or https:// and names a host is needed")
        if parsed.userinfo:
            raise ValueError('a URL with a user name or password would be shown; put them in `headers` as "${NAME}"')
        return url

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
                raise ValueError("a header name has a character that HTTP does not allow")
            if name.lower() in OURS:
                raise ValueError(f"the header {name} is set by gamekeeper; leave it out")
            resolved(name, value.get_secret_value())
        return headers

    @field_validator("datatype")
    @classmethod
    def _known_datatype(cls, datatype: str | None) -> str | None:
        if datatype is not None and datatype not in DATATYPES:
            raise ValueError(f"one of {', '.join(DATATYPES)} is needed")
        return datatype

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if labels is not None and len(set(labels)) != len(labels):
            raise ValueError("every class needs a name of its own")
        return labels

    @field_validator("response")
    @classmethod
    def _path(cls, response: str | None) -> str | None:
        if response is not None:
            steps(response)
        return response

    @field_validator("request")
    @classmethod
    def _template(cls, request: Any) -> Any:
        if isinstance(request, str):
            try:
                request = orjson.loads(request)
            except orjson.JSONDecodeError as error:
                raise ValueError(f'not valid JSON ({error}); "$INPUTS" needs quotes as well') from None
        if request is not None and len(markers(request)) != 1:
            raise ValueError(f'"{ALL}" or "{ONE}" must appear in it exactly once, as a whole string')
        return request

    @model_validator(mode="after")
    def _consistent(self) -> "HttpConfig":
        needs = {"v2": {"model"}, "v1": {"model"}, "json": {"request", "response"}}[self.protocol]
        takes = {
            "v2": {"model", "input_name", "output_name", "datatype", "binary"},
            "v1": {"model", "response"},
            "json": {"request", "response"},
        }[self.protocol]
        special = {"model", "request", "response", "input_name", "output_name", "datatype", "binary"}
        given = {name for name in special if getattr(self, name) is not None}
        if missing := needs - given:
            raise ValueError(f'protocol "{self.protocol}" needs {" and ".join(sorted(missing))}')
        if excess := given - takes:
            raise ValueError(f'protocol "{self.protocol}" does not use {" and ".join(sorted(excess))}')
        if self.maps is not None and self.protocol != "v2":
            steps(self.maps)
        if self.protocol != "json" and httpx.URL(self.url).query:
            raise ValueError(f'protocol "{self.protocol}" allows no query in `url`')
        return self

    @property
    def one_by_one(self) -> bool:
        """Whether the template takes one input per request."""
        return markers(self.request) == [ONE]


def resolved(name: str, text: str) -> tuple[str, list[str]]:
    """A header's value with its variables replaced, and the secrets in it. Raises BadConfig."""
    secrets: list[str] = []
    for variable in VARIABLE.findall(text):
        value = os.environ.get(variable, "")
        if not value:
            raise BadConfig(
                f"the header {name} needs the environment variable {variable}, which is unset or empty."
                f" Set it (export {variable}=…) and run again."
            )
        secrets.append(value)
    if "${" in VARIABLE.sub("", text):
        raise BadConfig(f"the header {name} has a ${{…}} that is not the name of an environment variable.")
    whole = VARIABLE.sub(lambda match: os.environ[match[1]], text)
    if not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?", whole):
        raise BadConfig(
            f"the value of the header {name} is empty, begins or ends with a space, or holds a line break or a"
            " non-ASCII character. Does the variable end with a newline?"
        )
    return whole, [*secrets, whole]

"""MLflow's scoring server, whose path `/invocations` SageMaker shares: both sides.

Source      MLflow's deployment documentation, `POST /invocations` with `inputs`, `instances`, `dataframe_split` or
            `dataframe_records`; SageMaker's requirements for containers (`/ping`)
Numbers     as in `v1.py`: exact values as doubles
Deviations  CSV is not read; `params` are refused, since no model here takes any; `index` of a data frame is ignored
"""

from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any

import orjson

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.bodies import QUOTE, Header, Response, document, received, response
from gamekeeper.protocols.inputs import in_order, nested, rows
from gamekeeper.protocols.json import inputs_json, is_list, is_object, kind
from gamekeeper.protocols.served import Limits, Question, Served, Wanted, published
from gamekeeper.protocols.strict import Most, flat, parse_strictly
from gamekeeper.protocols.v1 import predictions
from gamekeeper.types import Batch, Reply

FORMS = ("inputs", "instances", "dataframe_split", "dataframe_records")
CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    413: "BAD_REQUEST",
    415: "BAD_REQUEST",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}
"""MLflow's words for HTTP's statuses."""

# --- the client's side


def encode_invocations(x: Batch) -> bytes:
    return orjson.dumps({"inputs": inputs_json(x)}, option=orjson.OPT_SERIALIZE_NUMPY)


# --- the server's side


@dataclass(frozen=True)
class Mlflow:
    """`/invocations` before one model; see Wire."""

    served: Served
    limits: Limits = field(default_factory=Limits)

    @property
    def most(self) -> int:
        return self._body

    @cached_property
    def _body(self) -> int:
        return self.served.body(self.limits)

    @cached_property
    def _holds(self) -> Most:
        return self.served.most(self.limits)

    def read(self, headers: tuple[Header, ...], body: bytes) -> Question:
        request = received(headers, body, self.most)
        check_type(request.headers.get("content-type", "application/json"))
        document = parse_strictly(request.body, self._holds)
        value = document.value
        forms = [form for form in FORMS if form in value]
        if len(forms) != 1:
            raise BadRequest(
                f"the body must hold exactly one of {', '.join(FORMS)}; got {', '.join(forms) or 'none of them'}."
            )
        if value.get("params"):
            raise BadRequest("this model takes no `params`. Leave them out.")
        x = self._inputs(forms[0], value[forms[0]], document.booleans)
        return Question(x, tuple(map(Wanted, self.served.outputs)), encoding=request.encoding)

    def _inputs(self, form: str, value: object, booleans: bool) -> Batch:
        place = f"`{form}`"
        if form == "inputs" and is_object(value):
            if list(value) != [self.served.input]:
                raise BadRequest(f"`inputs` must be a list of inputs, or an object with `{self.served.input}` alone.")
            value = value[self.served.input]
        if form == "dataframe_split":
            value = split(value, self.served, self.limits)
            place = "`data` of `dataframe_split`"
        if form == "dataframe_records" and is_list(value) and value and not is_object(value[0]):
            raise BadRequest(f"`dataframe_records` must hold an object for each input; got {kind(value[0])}.")
        return nested(value, self.served, self.limits, place, booleans)

    def write(self, question: Question, reply: Reply) -> Response:
        return response(predictions(published(question, reply, self.served)), encoding=question.encoding)

    def refuse(self, status: int, message: str) -> Response:
        code = CODES.get(status, "BAD_REQUEST" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "INTERNAL_ERROR")
        return document({"error_code": code, "message": message}, status)


def split(frame: object, served: Served, limits: Limits) -> list[Any]:
    """The rows of a data frame in pandas' `split` form, in the model's order of columns. Raises BadRequest."""
    if not is_object(frame) or "data" not in frame:
        raise BadRequest("`dataframe_split` must be an object with `columns` and `data`.")
    if len(served.domain.shape) != 1:
        raise BadRequest("a data frame holds rows of a table, and this model takes others. Send `inputs`.")
    data, columns = frame["data"], frame.get("columns")
    n = rows(data, limits, "`data` of `dataframe_split`")
    flat(data, (n, served.values), "`data` of `dataframe_split`")
    if columns is None or (not served.columns and is_list(columns) and len(columns) == served.values):
        return data
    if not is_list(columns) or not all(isinstance(each, str) for each in columns):
        raise BadRequest(f"`columns` of `dataframe_split` must be a list of names; got {kind(columns)}.")
    places = {name: place for place, name in enumerate(columns)}
    in_order(columns, dict.fromkeys(served.columns or map(str, range(served.values))), "`columns` of `dataframe_split`")
    return [[row[places[name]] for name in served.columns] for row in data]


def check_type(text: str) -> None:
    """Raises BadRequest for a Content-Type that is not JSON in UTF-8."""
    name, _, rest = text.lower().partition(";")
    if name.strip() != "application/json" or rest.strip().replace('"', "") not in ("", "charset=utf-8"):
        raise BadRequest(f"Content-Type must be application/json, in UTF-8; got {QUOTE(text)!r}.", 415)


def status_mlflow(ready: bool) -> Response:
    """`GET /ping` and `GET /health`, as JSON, which MLflow's own empty line is not."""
    return document({"ready": ready}, 200 if ready else 503)

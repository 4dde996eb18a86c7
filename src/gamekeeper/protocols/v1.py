"""TensorFlow Serving's row format ("v1"), as KServe speaks it too: both sides.

Source      TensorFlow Serving's REST API, `POST /v1/models/{model}:predict`; KServe's data plane V1
Numbers     the format declares no datatype, so each number is the exact value of the float32 as a double
Deviations  the server reads `instances` only, not the columns of `inputs`; other keys, such as `signature_name`, are ignored
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.bodies import Header, Response, document, received, response
from gamekeeper.protocols.inputs import nested
from gamekeeper.protocols.json import inputs_json
from gamekeeper.protocols.served import Limits, Numbers, Question, Served, Wanted, published
from gamekeeper.protocols.strict import Most, parse_strictly
from gamekeeper.types import Batch, Reply

# --- the client's side


def encode_v1(x: Batch) -> bytes:
    return orjson.dumps({"instances": inputs_json(x)}, option=orjson.OPT_SERIALIZE_NUMPY)


# --- the server's side


def predictions(arrays: Mapping[str, Numbers]) -> bytes:
    """`{"predictions": [...]}`, a row for each input: its numbers, or an object of them where there are several outputs."""
    exact = {name: array.astype("<f8") for name, array in arrays.items()}
    rows: Any = next(iter(exact.values()))
    if len(exact) > 1:
        rows = [dict(zip(exact, row, strict=True)) for row in zip(*exact.values(), strict=True)]
    return orjson.dumps({"predictions": rows}, option=orjson.OPT_SERIALIZE_NUMPY)


@dataclass(frozen=True)
class V1:
    """`:predict` before one model; see Wire."""

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
        document = parse_strictly(request.body, self._holds)
        value = document.value
        if "instances" not in value:
            raise BadRequest("the body must hold `instances`, a list of inputs (TensorFlow Serving's row format).")
        x = nested(value["instances"], self.served, self.limits, "`instances`", document.booleans)
        return Question(x, tuple(map(Wanted, self.served.outputs)), encoding=request.encoding)

    def write(self, question: Question, reply: Reply) -> Response:
        return response(predictions(published(question, reply, self.served)), encoding=question.encoding)

    def refuse(self, status: int, message: str) -> Response:
        return document({"error": message}, status)


def status_v1(served: Served, ready: bool) -> Response:
    """`GET /v1/models/{model}`, in KServe's words and in TensorFlow Serving's."""
    state = {"version": served.version, "state": "AVAILABLE" if ready else "LOADING"}
    words = {"name": served.name, "ready": ready, "model_version_status": [state]}
    return document(words, 200 if ready else 503)

"""Any headers and any body: a question from the model's domain, or one refusal of ours in a sentence. Nothing else."""

import json
import re
from collections import Counter
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamekeeper.errors import BadRequest
from gamekeeper.protocols.mlflow import Mlflow
from gamekeeper.protocols.served import Limits, Question, Wire
from gamekeeper.protocols.v1 import V1
from gamekeeper.protocols.v2 import V2
from tests.protocols.exchange import MAPS, PACK, TABLE, binary, images, rows, tensor

pytestmark = pytest.mark.thorough

LIMITS = Limits(rows=3, name=20)
WIRES: list[Wire] = [protocol(model, LIMITS) for protocol in (V2, V1, Mlflow) for model in (MAPS, TABLE)]
SENTENCE = re.compile(r"[A-Za-z0-9`].*\.", re.DOTALL)

NUMBERS = st.sampled_from([0, 1, 0.5, -0.0, 1.5, -1, 2**53, 2**64 - 1, 5e-324, 1e308, True, False, None, "1", ""])
WORDS = st.sampled_from(
    [
        "inputs",
        "outputs",
        "instances",
        "dataframe_split",
        "dataframe_records",
        "columns",
        "data",
        "index",
        "params",
        "parameters",
        "id",
        "name",
        "shape",
        "datatype",
        "binary_data",
        "binary_data_size",
        "binary_data_output",
        "classification",
        "shared_memory_region",
        "input-0",
        "probabilities",
        "maps",
        "age",
        "income",
        "FP32",
        "UINT8",
        "BOOL",
        "BYTES",
        "INT64",
        "BF16",
    ]
)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, -1, 2**40, 2.0, True]), max_size=5)
JSON = st.recursive(
    NUMBERS | WORDS | SHAPES | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=20,
)
HEADERS = st.sampled_from(
    ["content-length", "content-encoding", "content-type", "inference-header-content-length", "accept-encoding", "x"]
)
VALUES = st.sampled_from(
    [b"", b"0", b"1", b"2", b"40", b"-1", b"gzip", b"deflate", b"br", b"application/json", b"\xff", b";q=0"]
)


def outcome(wire: Wire, headers: Any, body: bytes) -> Question | BadRequest:
    """What the server makes of a request, checked."""
    question = refusal = None
    try:
        question = wire.read(tuple(headers), body)
    except BadRequest as error:
        refusal = error
    if question is None:
        assert refusal is not None
        message = str(refusal)
        assert SENTENCE.fullmatch(message), message
        assert message.isprintable()
        assert len(message) < 700
        assert refusal.status in (400, 413, 415)
        return refusal
    served = wire.served  # type: ignore[attr-defined]
    served.domain.check(question.x)
    assert question.x.dtype == torch.float32
    assert len(question.x) <= LIMITS.rows
    assert not (np.signbit(question.x.numpy()) & (question.x.numpy() == 0)).any()
    assert {output.name for output in question.outputs} <= set(served.outputs)
    return question


ANY = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@ANY
@given(st.sampled_from(WIRES), st.lists(st.tuples(HEADERS.map(str.encode), VALUES), max_size=4), st.binary(max_size=80))
def test_any_bytes(wire: Wire, headers: list[tuple[bytes, bytes]], body: bytes):
    outcome(wire, headers, body)


@pytest.mark.parametrize(
    "key", ["instances", "inputs", "dataframe_split", "dataframe_records", "columns", "params", "input-0"]
)
@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: type(wire).__name__)
def test_any_depth(wire: Wire, key: str):
    deep = b"[" * 70 + b"]" * 70
    inside = b'{"columns": %s, "data": [[1, 2]], "input-0": %s}' % (deep, deep)
    for value in (deep, inside, b"[%s]" % inside, b'{"a": {"b": %s}}' % deep):
        assert isinstance(outcome(wire, (), b'{"%s": %s}' % (key.encode(), value)), BadRequest)


@ANY
@given(st.sampled_from(WIRES), st.dictionaries(WORDS, JSON, max_size=6), st.booleans())
def test_any_document(wire: Wire, document: dict[str, Any], ascii_only: bool):
    outcome(wire, (), json.dumps(document, ensure_ascii=ascii_only).encode())


TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("input-0") | JSON,
        "shape": st.sampled_from([[1, 1, 2, 3], [1, 2], [2, 2]]) | SHAPES | JSON,
        "datatype": st.sampled_from(["FP32", "FP16", "UINT8", "INT64", "BOOL", "BYTES"]) | JSON,
        "data": st.lists(NUMBERS, max_size=7) | st.just(images(1).tolist()) | st.just(rows(1).tolist()) | JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 30) | JSON}) | JSON,
    },
)


@ANY
@given(
    st.sampled_from(WIRES[:2]),
    st.lists(TENSOR, max_size=2) | JSON,
    st.dictionaries(st.sampled_from(["id", "outputs", "parameters"]), JSON),
    st.binary(max_size=30),
    st.integers(-1, 1),
)
def test_any_tensors(wire: Wire, inputs: object, more: dict[str, Any], tail: bytes, shift: int):
    head = json.dumps({"inputs": inputs, **more}).encode()
    length = str(len(head) + shift * (len(tail) > 0)).encode()
    outcome(wire, ((b"Inference-Header-Content-Length", length),) if tail else (), head + tail)


WHOLE: list[tuple[Wire, bytes, dict[str, object]]] = [
    (WIRES[0], *binary("FP32", images(2).numpy().tobytes(), [2, 1, 2, 3], id="7")),
    (WIRES[0], orjson.dumps(tensor(images(1).tolist())), {}),
    (WIRES[1], *binary("INT32", np.array([3, -2], "<i4").tobytes(), [1, 2])),
    (WIRES[2], orjson.dumps({"instances": images(2).tolist()}), {}),
    (WIRES[4], orjson.dumps({"inputs": images(2).tolist()}), {}),
    (WIRES[5], orjson.dumps({"dataframe_split": {"columns": ["income", "age"], "data": [[1.5, 2.5]]}}), {}),
    (WIRES[5], orjson.dumps({"dataframe_records": [{"income": 1.5, "age": 2.5}]}), {}),
]


PIECES = [b"", b"0", b'"', b"[", b"}", b",", b"9", b"\0", b"e9", b"\\"]


def headers_of(given_: dict[str, object]) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), str(value).encode()) for name, value in given_.items()]


@ANY
@given(
    st.sampled_from(WHOLE),
    st.sampled_from([None, "gzip", "deflate"]),
    st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from(PIECES)),
        max_size=3,
    ),
)
def test_a_request_damaged_in_a_few_places(
    whole: tuple[Wire, bytes, dict[str, object]], packed: str | None, damage: list[tuple[float, bytes]]
):
    wire, body, given_ = whole
    if packed is not None:
        body, given_ = PACK[packed](body), {**given_, "content_encoding": packed}
    for place, piece in damage:
        at = int(place * len(body))
        body = body[:at] + piece + body[at + 1 :]
    result = outcome(wire, headers_of(given_), body)
    assert damage or isinstance(result, Question)


@pytest.mark.slow
def test_fifty_thousand_damaged_requests():
    """As above, by a faster hand: about one in forty still asks something."""
    random = Random(0)
    outcomes: Counter[type] = Counter()
    for _ in range(50_000):
        wire, body, given_ = random.choice(WHOLE)
        packed = random.choice([None, None, "gzip", "deflate"])
        if packed is not None and random.random() < 0.5:
            body, given_ = PACK[packed](body), {**given_, "content_encoding": packed}
        for _ in range(random.randint(1, 3)):
            at = random.randrange(len(body))
            piece = random.choice(PIECES) if random.random() < 0.5 else random.randbytes(1)
            body = body[:at] + piece + body[at + random.randint(0, 2) :]
        outcomes[type(outcome(wire, headers_of(given_), body))] += 1
    assert set(outcomes) == {Question, BadRequest}
    assert min(outcomes.values()) > 500

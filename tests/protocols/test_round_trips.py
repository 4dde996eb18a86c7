"""What one half of a protocol writes, the other reads: inputs with the same bits, answers with the same float32."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.errors import BadRequest, Refused
from gamekeeper.protocols.addresses import Addresses
from gamekeeper.protocols.answers import answers_at, entries
from gamekeeper.protocols.bodies import Response
from gamekeeper.protocols.json import Expected, parse
from gamekeeper.protocols.mlflow import Mlflow, encode_invocations
from gamekeeper.protocols.served import Limits, Question, Served, Wire
from gamekeeper.protocols.v1 import V1, encode_v1
from gamekeeper.protocols.v2 import V2, Slot, answers_v2, decode_v2, encode_v2, maps_v2
from gamekeeper.targets.http import HttpOracle
from gamekeeper.targets.http_config import HttpConfig
from gamekeeper.types import Box, Ranges, Reply
from tests.protocols.exchange import IMAGES, MAPS, Y, headers, images, reply, same

pytestmark = pytest.mark.thorough

FLOATS = st.floats(0, 1, width=32).map(abs)
BATCHES = st.lists(st.lists(FLOATS, min_size=6, max_size=6), min_size=1, max_size=4)
ANSWERS = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=3, max_size=3)


def sent(x: torch.Tensor) -> Iterator[tuple[Wire, bytes, dict[str, object]]]:
    """The same inputs by every client half, with the server half that reads it."""
    for binary in (False, True):
        body = encode_v2(x, Slot("input-0", "FP32", binary), ())
        given = {"Inference_Header_Content_Length": len(body.head)} if binary else {}
        yield V2(IMAGES), body.head + body.tail, given
    yield V1(IMAGES), encode_v1(x), {}
    yield Mlflow(IMAGES), encode_invocations(x), {}


def received(wire: Wire, answer: Response, n: int) -> torch.Tensor:
    """What the client half reads of an answer, as float32."""
    expected = Expected(n, 3)
    if isinstance(wire, V2):
        length = dict(answer.headers).get("Inference-Header-Content-Length")
        return answers_v2(decode_v2(answer.body, length, expected.quote), None, expected).float()
    return answers_at(entries(parse(answer.body, expected.quote), "predictions", expected), expected).float()


@settings(max_examples=60)
@given(BATCHES)
def test_every_road_asks_the_same_question_to_the_last_bit(batch: list[list[float]]):
    x = torch.tensor(batch).reshape(-1, 1, 2, 3)
    for wire, body, given_ in sent(x):
        assert same(wire.read(headers(**given_), body).x, x)


@settings(max_examples=60)
@given(ANSWERS)
def test_every_road_brings_the_same_answer_to_the_last_bit(row: list[float]):
    y = torch.tensor([row])
    for wire, body, given_ in sent(images(1)):
        answer = wire.write(wire.read(headers(**given_), body), Reply(y))
        assert torch.equal(received(wire, answer, 1), y)


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP64", "UINT8", "INT64", "BOOL"])
@pytest.mark.parametrize("binary", [False, True])
def test_datatypes_arrive_as_they_were_cast(datatype: str, binary: bool):
    served = Served("m", Box((1, 2, 3), 0.0, 255.0), 3)
    x = torch.tensor([[[[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]]]])
    if datatype in ("FP16", "BF16", "FP64"):
        x = x / 3
    body = encode_v2(x, Slot("input-0", datatype, binary), ())
    given_ = {"Inference_Header_Content_Length": len(body.head)} if binary else {}
    dtype = {"FP16": torch.float16, "BF16": torch.bfloat16}.get(datatype, torch.float32)
    assert same(V2(served).read(headers(**given_), body.head + body.tail).x, x.to(dtype).float())


@pytest.mark.parametrize("binary", [False, True])
def test_maps_come_back_beside_their_answers(binary: bool):
    maps = torch.rand((2, 3, 4), generator=torch.Generator().manual_seed(0))
    body = encode_v2(images(2), Slot("input-0", "FP32", binary), ["maps", "probabilities"])
    given_ = {"Inference_Header_Content_Length": len(body.head)} if binary else {}
    answer = V2(MAPS).write(V2(MAPS).read(headers(**given_), body.head + body.tail), Reply(Y, maps))
    expected = Expected(2, 3)
    outputs = decode_v2(answer.body, dict(answer.headers).get("Inference-Header-Content-Length"), expected.quote)
    assert torch.equal(maps_v2(outputs, "maps", expected).float(), maps)
    assert torch.equal(answers_v2(outputs, "probabilities", expected).float(), Y)


# --- the audit's own client, unchanged, before these halves


class Server:
    """Answers a client's HTTP messages by the addresses of one model; remembers the questions."""

    def __init__(self, served: Served, limits: Limits | None = None) -> None:
        self.addresses = Addresses(served, limits or Limits())
        self.questions: list[Question] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        there = self.addresses.at(request.method, request.url.path)
        answer = there if isinstance(there, Response) else self.answer(there, request)
        return httpx.Response(answer.status, headers=list(answer.headers), content=answer.body)

    def answer(self, wire: Wire, request: httpx.Request) -> Response:
        try:
            question = wire.read(tuple(request.headers.raw), request.content)
        except BadRequest as error:
            return wire.refuse(error.status, str(error))
        self.questions.append(question)
        return wire.write(question, reply(len(question.x), self.addresses.served.classes))


ROADS = {
    "v2": {"protocol": "v2", "model": "m"},
    "v2 json": {"protocol": "v2", "model": "m", "binary": False},
    "v1": {"protocol": "v1", "model": "m"},
    "mlflow": {"protocol": "json", "request": {"inputs": "$INPUTS"}, "response": "predictions"},
    "records": {"protocol": "json", "request": {"instances": "$INPUTS"}, "response": "predictions.*"},
}


def oracle(server: Server, road: str) -> HttpOracle:
    url = "http://s" + ("/invocations" if ROADS[road]["protocol"] == "json" else "")
    config = HttpConfig(url=url, **ROADS[road])
    served = server.addresses.served
    return HttpOracle(config, served.domain, served.classes, httpx.MockTransport(server))


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("domain", [Box((1, 2, 3)), Box((5,), -1.0, 1.0), Ranges((0.0, -5.0), (10.0, 5.0))])
def test_the_audit_asks_such_a_server_like_any_target(road: str, domain: Box | Ranges):
    server = Server(Served("m", domain, 3))
    x = domain.uniform(3, 0)
    answer = oracle(server, road)(x)
    assert same(server.questions[0].x, x)
    assert torch.equal(answer.y.float(), reply(3).y)


@pytest.mark.parametrize("road", ROADS)
def test_a_refusal_reaches_the_audit_as_a_sentence(road: str):
    server = Server(IMAGES, Limits(rows=2))
    with pytest.raises(Refused, match=r"413: .* at most 2 inputs; got 3"):
        oracle(server, road)(images(3))
    assert server.questions == []


def test_a_model_of_bytes_is_asked_in_bytes():
    server = Server(Served("m", Box((1, 2, 3), 0.0, 255.0), 3, datatype="UINT8"))
    x = torch.from_numpy(np.arange(12, dtype=np.float32).reshape(2, 1, 2, 3))
    oracle(server, "v2")(x)
    assert same(server.questions[0].x, x)


def test_long_answers_are_compressed_for_the_audit():
    server = Server(Served("m", Box((2,)), 1000))
    answer = oracle(server, "v2 json")(Box((2,)).uniform(2, 0))
    assert torch.equal(answer.y.float(), reply(2, 1000).y)
    assert server.questions[0].encoding == "gzip"

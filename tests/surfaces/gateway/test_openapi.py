"""`docs/openapi.json` says what is served, and whatever it allows or forbids, no answer is a 5xx."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.protocols.test_fuzz import HEADERS, JSON, VALUES, WORDS
from tests.surfaces.gateway.live import INFER, Live, built, images, serving, tensor

DOCUMENT = Path(__file__).parents[3] / "docs" / "openapi.json"
EXAMPLES = int(os.environ.get("GATEWAY_EXAMPLES", "8"))
BODIES_TRIED = int(os.environ.get("GATEWAY_BODIES", "1000000"))
PATHS = (INFER, "/v1/models/m:predict", "/invocations")


def filled(path: str) -> str:
    return path.replace("{model}", "m").replace("{version}", "1")


def document() -> dict:
    """With the name of our model, since any other is a 404."""
    value = json.loads(DOCUMENT.read_text())
    for operations in value["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    parameter["schema"] = {"enum": [filled("{" + parameter["name"] + "}")]}
    return value


schema = schemathesis.openapi.from_dict(document())
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    running = built(queue=1000)
    yield running
    running.app.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    running = asyncio.new_event_loop()
    yield running
    running.close()


def test_every_address_is_in_the_document_and_nothing_else(live):
    value, addresses = json.loads(DOCUMENT.read_text()), live.app.addresses
    served = {(path, "post") for path in addresses.wires} | {(path, "get") for path in addresses.documents}
    assert {(filled(path), method) for path, operations in value["paths"].items() for method in operations} == served
    without_key = {
        filled(path)
        for path, operations in value["paths"].items()
        for each in operations.values()
        if not each["security"]
    }
    assert without_key == live.app._open


@pytest.mark.thorough
@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_requests_that_the_document_allows_get_answers_that_it_describes(server, case):
    case.call_and_validate(base_url=f"http://127.0.0.1:{server.port}", headers={"X-API-Key": server.key}, checks=CHECKS)


Headers = list[tuple[bytes, bytes]]


def answered(live: Live, loop, path: str, headers: Headers, body: bytes, parts: int = 1) -> tuple[int, bytes]:
    """Status and body of an answer, in process; the body comes in parts."""
    headers = [*headers, (b"x-api-key", live.key.encode())]
    step = max(1, -(-len(body) // parts))
    pieces = [body[start : start + step] for start in range(0, len(body), step)] or [b""]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = False
    sent: list[dict] = []

    async def receive() -> dict:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "client": ("127.0.0.1", 1)}
    loop.run_until_complete(live.app(scope, receive, send))
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:])


PAIRS = st.lists(st.tuples(HEADERS.map(str.encode), VALUES), max_size=4)
BODIES = st.binary(max_size=400) | st.dictionaries(WORDS, JSON, max_size=6).map(
    lambda value: json.dumps(value).encode()
)


@ANY
@given(st.sampled_from(PATHS), PAIRS, BODIES, st.integers(1, 5))
def test_any_body_is_answered_or_refused_in_a_sentence(live, loop, path, headers, body, parts):
    status, text = answered(live, loop, path, headers, body, parts)
    assert status in (200, 400, 413, 415)
    if status != 200:
        value = json.loads(text)
        assert value.get("error") or value["message"]


@pytest.mark.slow
def test_a_million_bodies_give_no_5xx(live, loop):
    """Good requests, changed in a few places; GATEWAY_BODIES says how many, GATEWAY_SEED which."""
    random, counts = Random(int(os.environ.get("GATEWAY_SEED", "0"))), Counter[int]()
    seeds = [json.dumps(tensor(images(n))).encode() for n in (1, 2)]
    seeds += [json.dumps({key: images().tolist()}).encode() for key in ("instances", "inputs")]
    seeds += [b'{"dataframe_split": {"columns": ["a"], "data": [[1]]}}', b'{"dataframe_records": [{"input-0": [1]}]}']
    for turn in range(BODIES_TRIED):
        headers = damaged_headers(random)
        status, _ = answered(live, loop, random.choice(PATHS), headers, damaged(random, random.choice(seeds)))
        counts[status] += 1
        if turn % 10_000 == 0:
            live.seen.clear()
            live.log.seek(0)
            live.log.truncate()
    print(dict(counts))
    assert set(counts) <= {200, 400, 413, 415}
    assert counts[200] > BODIES_TRIED / 100


def damaged(random: Random, body: bytes) -> bytes:
    """The body with bytes changed, cut out, doubled or put in."""
    text = bytearray(body)
    for _ in range(random.choice((0, 1, 1, 2, 5))):
        place = random.randrange(len(text) + 1)
        match random.randrange(5):
            case 0 if text:
                text[place - 1] = random.randrange(256)
            case 1:
                del text[place : place + random.randrange(20)]
            case 2:
                text[place:place] = text[place : place + random.randrange(40)]
            case 3:
                text[place:place] = random.choice(
                    (b"[", b"{", b'"', b",", b"null", b"true", b"1e999", b"-", b"NaN", b":")
                )
            case _:
                text[place : place + 1] = str(random.choice((2**53, 2**64, -1, 0, 1e308, 5e-324))).encode()
    return bytes(text)


def damaged_headers(random: Random) -> Headers:
    pairs = [
        (b"content-encoding", random.choice((b"gzip", b"deflate", b"br", b""))),
        (b"inference-header-content-length", random.choice((b"0", b"10", b"-1", b"200", b"x"))),
        (b"content-type", random.choice((b"application/json", b"text/plain", b""))),
        (b"accept-encoding", random.choice((b"gzip", b"*;q=0", b"\xff", b"deflate;q=1"))),
        (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
        (b"expect", b"100-continue"),
        (b"content-length", random.choice((b"1", b"x", b"99999999999999999999"))),
    ]
    return [pair for pair in pairs if random.random() < 0.08]

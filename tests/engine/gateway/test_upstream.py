"""A server behind the gateway, and every way in which it can fail: what is raised, how soon, and that nothing is sent twice."""

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from gamekeeper.engine.gateway.request import Request, under_way
from gamekeeper.engine.gateway.upstream import Patience, Upstream, upstream
from gamekeeper.errors import BadConfig, Busy, GamekeeperError, Lost, Malformed, Refused, Unreachable
from gamekeeper.models.answers import Kind
from gamekeeper.models.network import TorchModel
from gamekeeper.models.opaque import RemoteModel
from gamekeeper.models.translation import Translation, translated_wire
from gamekeeper.service.principals import Principal
from gamekeeper.targets.http import HttpOracle
from gamekeeper.targets.http_config import HttpConfig
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Reply
from tests.targets.server import Api, misbehaving, resets, says, serving

BOX, K = Box((5,)), 3
WEIGHTS = np.random.default_rng(0).normal(size=(5, K))
WHO = Principal("acme", "c" * 32, "n" * 32)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GOOD = b'{"predictions":[[0.5,0.25,0.25]]}'
HTML = b"<html><body>502 Bad Gateway</body></html>"


def posterior(x: np.ndarray) -> np.ndarray:
    e = np.exp((x.astype(float)[:, :, None] * WEIGHTS).sum(1))
    return e / e.sum(1, keepdims=True)


def inputs(n: int = 1, seed: int = 0) -> torch.Tensor:
    return BOX.uniform(n, seed)


def asks(deadline: float = math.inf, gone: Callable[[], bool] = lambda: False, n: int = 1, seed: int = 0) -> Request:
    """A request whose client waits for so many seconds."""
    return Request(WHO, inputs(n, seed), time.time(), TRACE, time.monotonic() + deadline, gone)


def behind(
    url: str, patience: Patience | None = None, answers: Kind = "probabilities", /, **config: object
) -> Upstream:
    settings = HttpConfig(**{"url": url, "protocol": "v1", "model": "m", "timeout": 5.0, **config})
    return upstream(RemoteModel(HttpOracle(settings, BOX, K), Classify(K), answers), patience)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def api() -> Iterator[Api]:
    with serving(posterior, BOX.shape) as running:
        yield running


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def answer(model: Upstream, request: Request) -> Reply:
    with under_way(request):
        return model(request.x)


def outcome(model: Upstream, request: Request) -> str:
    """How a request ends, in one word."""
    try:
        reply = answer(model, request)
    except GamekeeperError as error:
        return type(error).__name__
    return "answered" if torch.isfinite(reply.y).all() else "NaN"


def answers(status: str, headers: str = "", body: bytes = b"{}") -> Callable[[socket.socket], None]:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n".encode()
    return lambda connection: connection.sendall(head + body)


def hangs(connection: socket.socket) -> None:
    """Says nothing until the other side hangs up."""
    connection.settimeout(10)
    connection.recv(1)


def drips(connection: socket.socket) -> None:
    """Sends a header one byte at a time, for ever: no step of the exchange takes long."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 200:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def counted(act: Callable[[socket.socket], None], count: list[int]) -> Callable[[socket.socket], None]:
    return lambda connection: (count.append(1), act(connection))[1]


# --- what is answered


def test_the_same_bits_by_every_protocol(api: Api):
    x = inputs(7)
    expected = torch.from_numpy(posterior(x.numpy())).float()
    for config in (
        {"protocol": "v2"},
        {"protocol": "v2", "binary": False},
        {"protocol": "v1"},
        {
            "protocol": "json",
            "url": api.url + "/score",
            "model": None,
            "request": {"question": {"rows": "$INPUTS"}},
            "response": "results.*.scores",
        },
    ):
        model = behind(api.url, **config)
        assert torch.equal(model(x).y.float(), expected), config
        assert torch.equal(answer(model, asks(n=7)).y.float(), expected), config


def test_answers_are_what_the_target_file_says(api: Api):
    api.answer = lambda x: x.astype(float) @ WEIGHTS
    expected = torch.softmax(torch.from_numpy(api.answer(inputs(3).numpy())), 1)
    assert torch.allclose(behind(api.url, None, "logits")(inputs(3)).y, expected)
    with pytest.raises(Malformed, match="declared to answer probabilities"):
        behind(api.url)(inputs(3))


def test_it_takes_images_in_the_server_s_own_range(api: Api):
    wire = translated_wire(
        HttpOracle(HttpConfig(url=api.url, protocol="v1", model="m"), Box((5,), -1.0), K), Translation(-1.0, 1.0)
    )
    model = upstream(RemoteModel(wire, Classify(K), "probabilities"))
    assert torch.allclose(model(inputs(2)).y, torch.from_numpy(posterior(inputs(2).numpy() * 2 - 1)), atol=1e-6)


def test_a_server_that_does_not_list_binary_never_sees_a_byte_of_it(api: Api):
    """MLServer answers 422, and nobody knows whether it charged for that."""
    api.extensions = []
    behind(api.url, protocol="v2")(inputs(2))
    posts = [headers for path, headers in api.seen if path.endswith("/infer")]
    assert [headers["content-type"] for headers in posts] == ["application/json"]
    assert "inference-header-content-length" not in posts[0]
    api.extensions = ["binary_tensor_data"]
    behind(api.url, protocol="v2")(inputs(2))
    assert "inference-header-content-length" in api.seen[-1][1]


def test_the_trace_goes_on_with_this_service_as_its_parent(api: Api):
    model = behind(api.url)
    answer(model, asks())
    model(inputs())
    (_, traced), (_, plain) = api.seen
    version, trace, parent, flags = traced["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert len(parent) == 16
    assert "traceparent" not in plain


def test_only_a_server_can_be_an_upstream():
    with pytest.raises(BadConfig, match='kind = "http"'):
        upstream(TorchModel(torch.nn.Flatten(), Classify(K)))


def test_threads_get_their_own_answers_over_no_more_connections_than_allowed(api: Api):
    model = behind(api.url, Patience(at_once=4))
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda seed: answer(model, asks(20, seed=seed)).y, range(60)))
    for seed, y in enumerate(replies):
        assert torch.equal(y, torch.from_numpy(posterior(inputs(seed=seed).numpy())))
    assert api.connections <= 4


# --- what goes wrong, one thing at a time


@pytest.mark.parametrize(
    ("act", "error", "match"),
    [
        (resets, Lost, "no connection, or it broke"),
        (hangs, Busy, "before the deadline"),
        (drips, Busy, "before the deadline"),
        (says(GOOD[:9], len(GOOD)), Malformed, "broke off before its end"),
        (says(HTML), Malformed, "JSON"),
        (says(b'{"predictions":[[0.5,0.5]]}'), Malformed, r"expected; got \(1, 2\)"),
        (says(b'{"predictions":[[0.5,0.25,0.25],[1,0,0]]}'), Malformed, "1 inputs were sent"),
        (says(b'{"predictions":[[0.5,NaN,0.25]]}'), Malformed, "NaN or infinity, to 1 of 1"),
        (says(b'{"predictions":[null]}'), Malformed, "to 1 of 1 inputs"),
        (answers("500 Internal Server Error", body=b'{"error":"boom"}'), Refused, "status 500: boom"),
        (answers("502 Bad Gateway", body=HTML), Unreachable, "status 502"),
        (answers("503 Service Unavailable"), Unreachable, "status 503"),
        (answers("422 Unprocessable Entity", body=b'{"error":"no"}'), Refused, "status 422: no"),
        (answers("401 Unauthorized"), Unreachable, "Check the key"),
        (answers("302 Found", "Location: http://elsewhere.test/\r\n"), Malformed, "not followed"),
    ],
)
def test_each_fault_is_one_error_in_time_and_one_request(
    act: Callable[[socket.socket], None], error: type[GamekeeperError], match: str
):
    sent: list[int] = []
    with misbehaving(counted(act, sent)) as url:
        model = behind(url)
        with within(1.5), pytest.raises(error, match=match):
            answer(model, asks(0.4))
        model.close()
    assert len(sent) == 1


def test_nan_behind_the_json_is_no_answer(api: Api):
    api.answer = lambda x: np.full((len(x), K), np.nan)
    with pytest.raises(Malformed, match="NaN or infinity, to 2 of 2 inputs"):
        behind(api.url, protocol="v2")(inputs(2))


def test_a_server_that_takes_other_inputs_is_malformed_not_a_traceback(api: Api):
    api.metadata = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 99]}]}
    with pytest.raises(Malformed, match="takes inputs of shape"):
        behind(api.url, protocol="v2")(inputs())


def test_a_time_out_of_its_own_is_shorter_than_the_deadline():
    with misbehaving(hangs) as url, within(1.5), pytest.raises(Lost, match=r"within 0\.2 s"):
        answer(behind(url, timeout=0.2), asks(20))


@pytest.mark.parametrize(
    ("act", "wait"),
    [
        (answers("429 Too Many Requests", "Retry-After: 7\r\n"), 7.0),
        (answers("429 Too Many Requests"), 1.0),
        (answers("429 Too Many Requests", "Retry-After: 999999999\r\n"), 300.0),
        (answers("503 Service Unavailable", "Retry-After: 3\r\n"), 3.0),
    ],
)
def test_a_busy_server_makes_a_busy_service_for_as_long_as_it_says(act: Callable[[socket.socket], None], wait: float):
    with misbehaving(act) as url, pytest.raises(Busy) as error:
        answer(behind(url), asks(5))
    assert error.value.wait == wait


def test_what_never_went_out_is_sent_again():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    model = behind(f"http://127.0.0.1:{port}", Patience(tries=2, failures=2))
    with pytest.raises(Unreachable, match="no connection"):
        answer(model, asks(5))
    assert model.resting  # after two tries


def test_past_its_deadline_nothing_is_sent(api: Api):
    with pytest.raises(Busy, match="deadline"):
        answer(behind(api.url), asks(-1.0))
    assert not api.seen


# --- a server that is down, and comes back


def test_a_server_that_is_down_is_left_alone_and_then_tried_by_one():
    acts = [answers("502 Bad Gateway")] * 4 + [says(GOOD)]
    sent: list[int] = []
    with misbehaving(*(counted(act, sent) for act in acts)) as url:
        model = behind(url, Patience(failures=3, rest=0.3))
        assert [outcome(model, asks(5)) for _ in range(6)] == ["Unreachable"] * 3 + ["Busy"] * 3
        assert len(sent) == 3
        time.sleep(0.35)
        assert [outcome(model, asks(5)) for _ in range(2)] == ["Unreachable", "Busy"]
        time.sleep(0.35)
        assert [outcome(model, asks(5)) for _ in range(3)] == ["answered"] * 3


def test_a_server_that_flaps_is_not_left_alone():
    acts = [answers("502 Bad Gateway"), says(GOOD), resets, resets, says(GOOD), says(GOOD[:5], 99), says(GOOD)]
    with misbehaving(*acts) as url:
        model = behind(url, Patience(failures=3))
        ends = [outcome(model, asks(5)) for _ in acts]
    assert ends == ["Unreachable", "answered", "Lost", "Lost", "answered", "Malformed", "answered"]


@pytest.mark.parametrize("act", [says(HTML), says(b'{"predictions":[null]}'), answers("500 Oops"), answers("413 Big")])
def test_what_a_client_could_provoke_is_not_held_against_the_server(act: Callable[[socket.socket], None]):
    with misbehaving(act) as url:
        model = behind(url, Patience(failures=2))
        assert "Busy" not in [outcome(model, asks(5)) for _ in range(4)]


def test_a_deadline_too_short_to_be_fair_is_not_held_against_it_and_a_fair_one_is():
    with misbehaving(hangs) as url:
        hasty = behind(url, Patience(failures=1, fair=0.5))
        outcome(hasty, asks(0.15))
        assert not hasty.resting
        outcome(hasty, asks(0.6))
        assert hasty.resting


# --- slots


def test_a_client_who_hangs_up_frees_the_slot(api: Api):
    hung_up, computing = threading.Event(), threading.Event()

    def slow_at_first(x: np.ndarray) -> np.ndarray:
        if not computing.is_set():
            computing.set()
            hung_up.wait(10)
            time.sleep(1.0)
        return posterior(x)

    api.answer = slow_at_first
    model = behind(api.url, Patience(at_once=1))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(outcome, model, asks(20, hung_up.is_set))
        assert computing.wait(5)
        with pytest.raises(Busy, match="every connection"):
            answer(model, asks(0.2))
        hung_up.set()
        with within(0.8):
            answer(model, asks(5))
        assert first.result() == "Busy"
    assert not model.resting


def test_requests_wait_for_their_turn_at_the_server_s_rate_or_are_told_when(api: Api):
    model = behind(api.url, requests_per_second=4.0)
    start = time.monotonic()
    for _ in range(3):
        answer(model, asks(5))
    assert time.monotonic() - start >= 0.5
    with pytest.raises(Busy) as error:
        answer(model, asks(0.01))
    assert 0 < error.value.wait <= 0.25


def test_patience_has_limits():
    for wrong in ({"at_once": 0}, {"tries": 0}, {"failures": 0}, {"rest": 0.0}, {"rest": math.inf}, {"fair": -1.0}):
        with pytest.raises(BadConfig):
            Patience(**wrong)


def test_the_log_says_what_is_wrong_and_repeats_nothing_that_a_server_says(caplog: pytest.LogCaptureFixture):
    acts = [
        answers("500 Oops", body=b'{"error":"bad input 0.123456"}'),
        answers("422 No", body=b'{"error":"bad input 0.123456"}'),
        says(b'{"predictions":"0.123456"}'),
        resets,
    ]
    with misbehaving(*acts) as url:
        model = behind(url)
        for _ in acts:
            outcome(model, asks(5))
    lines = [record.getMessage() for record in caplog.records]
    for line, said in zip(
        lines, ("status 500", "status 422", "not what the target file declares", "or it broke"), strict=True
    ):
        assert line.startswith(url)
        assert said in line
    assert not [line for line in lines if "0.123456" in line]

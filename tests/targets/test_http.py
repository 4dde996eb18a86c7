"""Live HTTP targets: exact answers by every protocol, and every way in which a server can go wrong."""

import gzip
import json
import logging
import re
import runpy
import ssl
import threading
import time
import tomllib
import traceback
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import minmax_scale

from gamekeeper.errors import BadConfig, BadQuery, Lost, Malformed, OracleError, Refused, Unreachable
from gamekeeper.models.opaque import RemoteModel
from gamekeeper.service.ledger import Ledger, Recorded
from gamekeeper.targets.config import read_config
from gamekeeper.targets.http import HttpOracle
from gamekeeper.targets.http_config import HttpConfig
from gamekeeper.targets.http_responses import divided, retry_after
from gamekeeper.targets.load import load_target
from gamekeeper.tasks import Classify
from gamekeeper.types import Box
from tests.protocols.examples import Y, output, v2
from tests.targets.server import Api, misbehaving, resets, says, serving

pytestmark = pytest.mark.thorough

BOX, K = Box((5,)), 3
WEIGHTS = np.random.default_rng(0).normal(size=(5, K))
EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "sk-swordfish-0451"
JSON = {"protocol": "json", "request": {"question": {"rows": "$INPUTS"}}, "response": "results.*.scores"}


def posterior(x: np.ndarray) -> np.ndarray:
    """A victim that computes in double, row by row: it sees the last digit of its inputs and nothing of their batch."""
    logits = (x.astype(float)[:, :, None] * WEIGHTS).sum(1)
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def inputs(n: int, seed: int = 0) -> torch.Tensor:
    return BOX.uniform(n, seed)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def api() -> Iterator[Api]:
    with serving(posterior, BOX.shape) as running:
        yield running


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def oracle(config: dict, handler: Callable | None = None, time: Time | None = None, classes: int = K) -> HttpOracle:
    clock = time or Time()
    transport = httpx.MockTransport(handler) if handler else None
    return HttpOracle(HttpConfig(**config), BOX, classes, transport, sleep=clock.sleep, clock=clock)


def fixed(**response: object) -> Callable[[httpx.Request], httpx.Response]:
    """A handler that always answers the same."""
    return lambda request: httpx.Response(**{"status_code": 200, **response})


def rows(request: httpx.Request) -> list[list[float]]:
    return posterior(np.array(json.loads(request.content)["instances"])).tolist()


def predicts(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"predictions": rows(request)})


V1 = {"url": "http://victim.test", "protocol": "v1", "model": "m"}


def v1_answer(body: bytes | str, n: int = 2, classes: int = K, **config: object) -> torch.Tensor:
    """What n inputs get from a server that answers 200 with this body."""
    return oracle({**V1, "retries": 0, **config}, fixed(content=body), classes=classes)(inputs(n)).y


# --- the same answer by every protocol


def by_protocol(url: str) -> dict[str, HttpOracle]:
    return {
        "v2 binary": oracle({"url": url, "model": "m", "batch": 4}),
        "v2 json": oracle({"url": url, "model": "m", "binary": False, "batch": 4}),
        "v1": oracle({"url": url, "protocol": "v1", "model": "m", "batch": 4}),
        "json": oracle({"url": url + "/score", **JSON, "batch": 4}),
    }


def test_four_protocols_one_answer(api: Api):
    x = inputs(10)
    expected = torch.from_numpy(posterior(x.numpy())).float()
    for name, ask in by_protocol(api.url).items():
        assert torch.equal(ask(x).y.float(), expected), name


def test_dtype_is_that_of_the_wire(api: Api):
    dtypes = {name: ask(inputs(2)).y.dtype for name, ask in by_protocol(api.url).items()}
    double = torch.float64
    assert dtypes == {"v2 binary": torch.float32, "v2 json": double, "v1": double, "json": double}


def test_order_and_size_of_requests(api: Api):
    sizes: list[int] = []
    api.answer = lambda x: (sizes.append(len(x)), posterior(x))[1]
    x = inputs(10)
    answer = oracle({"url": api.url, "model": "m", "batch": 4})(x).y
    assert sizes == [4, 4, 2]
    assert torch.equal(answer[7], torch.from_numpy(posterior(x[7:8].numpy())[0]).float())


def test_binary_follows_the_advertised_extension(api: Api):
    for extensions, header in (["binary_tensor_data"], True), (["model_repository"], False):
        api.extensions = extensions
        api.seen.clear()
        oracle({"url": api.url, "model": "m"})(inputs(1))
        assert ("inference-header-content-length" in api.seen[-1][1]) is header


def test_metadata_are_asked_once(api: Api):
    ask = oracle({"url": api.url, "model": "m"})
    ask(inputs(1))
    ask(inputs(1))
    assert [path for path, _ in api.seen] == ["/v2/models/m", "/v2", *["/v2/models/m/infer"] * 2]


def test_no_metadata_falls_back_to_the_configuration(api: Api):
    api.metadata = None
    answer = oracle({"url": api.url, "model": "m", "input_name": "pixels"})(inputs(3)).y
    assert torch.equal(answer, torch.from_numpy(posterior(inputs(3).numpy())).float())


def test_full_configuration_asks_no_metadata(api: Api):
    config = {"url": api.url, "model": "m", "input_name": "pixels", "datatype": "FP32", "binary": True}
    oracle(config)(inputs(1))
    assert [path for path, _ in api.seen] == ["/v2/models/m/infer"]


def test_output_by_name(api: Api):
    assert oracle({"url": api.url, "model": "m", "output_name": "posterior"})(inputs(1)).y.shape == (1, K)
    with pytest.raises(Malformed, match="no output 'logits'; it has posterior"):
        oracle({"url": api.url, "model": "m", "output_name": "logits"})(inputs(1))


@pytest.mark.parametrize(("datatype", "data", "key"), [("INT64", [2], "labels"), ("BYTES", ["cat"], "`labels`")])
def test_a_wrong_output_is_refused_with_the_others_and_the_key_that_chooses(datatype: str, data: list, key: str):
    first = output([1], datatype, data=data)
    body, _ = v2([{**first, "name": "label"}, {**output([1, 3], data=[0.1, 0.2, 0.7]), "name": "probabilities"}])
    config = {"url": "http://victim.test", "model": "m", "input_name": "a", "datatype": "FP32", "binary": False}
    victim = RemoteModel(oracle(config, fixed(content=body)), Classify(K), "probabilities")
    with pytest.raises(Malformed, match=rf"{key}.*probabilities \(FP32 \[1, 3\]\): `output_name` chooses another"):
        victim(inputs(1))
    chosen = RemoteModel(
        oracle({**config, "output_name": "probabilities"}, fixed(content=body)), Classify(K), "probabilities"
    )
    assert torch.allclose(chosen(inputs(1)).y.float(), torch.tensor([[0.1, 0.2, 0.7]]))


@pytest.mark.parametrize(
    ("unit", "rows_"), [(100, [[70, 20, 10]]), (255, [[255, 0, 0]]), (1000, [["700", "200", "100"]])]
)
def test_scores_in_a_declared_unit(unit: int, rows_: list):
    answer = v1_answer(json.dumps({"predictions": rows_}), n=1, unit=unit)
    assert torch.allclose(answer, torch.tensor(np.array(rows_, float) / unit))


def test_what_may_have_been_charged_is_told_from_what_was_not():
    def raised(handler: Callable) -> type[Exception]:
        with pytest.raises(Unreachable) as caught:
            oracle({**V1, "retries": 1}, handler)(inputs(1))
        return type(caught.value)

    def breaking(error: Exception) -> Callable:
        def handler(request: httpx.Request) -> httpx.Response:
            raise error

        return handler

    assert raised(breaking(httpx.ConnectError("refused"))) is Unreachable
    assert raised(breaking(httpx.ConnectTimeout("slow"))) is Unreachable
    assert raised(breaking(httpx.ReadTimeout("slow"))) is Lost
    assert raised(breaking(httpx.RemoteProtocolError("closed"))) is Lost
    for status in (400, 413, 422, 500):
        assert raised(fixed(status_code=status)) is Refused
    for status in (401, 404, 429, 503):
        assert raised(fixed(status_code=status)) is Unreachable


def test_keep_alive_uses_one_connection(api: Api):
    ask = oracle({"url": api.url, "protocol": "v1", "model": "m", "batch": 1})
    ask(inputs(5))
    assert api.connections == 1


def test_gzip_answers(api: Api):
    api.zipped = True
    x = inputs(3)
    for name, ask in by_protocol(api.url).items():
        assert torch.equal(ask(x).y.float(), torch.from_numpy(posterior(x.numpy())).float()), name


# --- what is sent


def test_template_with_one_input_a_request():
    bodies: list[dict] = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"scores": posterior(np.array([bodies[-1]["image"]]))[0].tolist()})

    config = {"url": "http://victim.test/p", "protocol": "json", "request": '{"image": "$INPUT"}', "response": "scores"}
    ask = oracle(config, handler)
    x = inputs(3)
    assert ask.batch == 1
    assert torch.equal(ask(x).y, torch.from_numpy(posterior(x.numpy())))
    assert [body["image"] for body in bodies] == x.double().tolist()


def test_inputs_outside_the_box_are_not_sent():
    asked: list[httpx.Request] = []
    ask = oracle(V1, lambda request: asked.append(request) or httpx.Response(200))
    for bad in (torch.full((1, 5), 2.0), torch.full((1, 5), torch.nan), torch.zeros(1, 4), torch.zeros(0, 5)):
        with pytest.raises(BadQuery):
            ask(bad)
    assert asked == []


# --- paths and answers


@pytest.mark.parametrize("path", ["", "a..b", "$.a", "a[0]", "a."])
def test_other_path_grammars_are_refused(path: str):
    with pytest.raises(ValidationError, match="a path is made of names"):
        HttpConfig(url="http://victim.test", **{**JSON, "response": path})


def test_labels_as_numbers():
    answer = v1_answer('{"predictions": [2, 0]}')
    assert answer.dtype == torch.int64
    assert answer.tolist() == [2, 0]


def test_labels_as_columns_and_as_whole_floats():
    assert v1_answer('{"predictions": [[2], [1]]}').tolist() == [2, 1]
    assert v1_answer('{"predictions": [2.0, 1.0]}').tolist() == [2, 1]


def test_labels_by_name():
    assert v1_answer('{"predictions": ["cat", "ant"]}', labels=["ant", "bee", "cat"]).tolist() == [2, 0]


def test_unknown_label_name_is_shown():
    with pytest.raises(Malformed, match="'dog' that is not among `labels`"):
        v1_answer('{"predictions": ["dog", "dog"]}', labels=("ant", "bee", "cat"))


def test_scores_by_name_leave_out_zeros():
    body = '{"predictions": [{"cat": 0.75, "ant": 0.25}, {"bee": 1}]}'
    answer = v1_answer(body, labels=("ant", "bee", "cat"))
    assert answer.tolist() == [[0.25, 0.0, 0.75], [0.0, 1.0, 0.0]]


def test_labels_must_name_every_class():
    with pytest.raises(BadConfig, match="all 3 classes; it names 2"):
        v1_answer("{}", labels=("ant", "bee"))


def test_null_is_nan_and_the_other_rows_stand():
    answer = v1_answer('{"predictions": [[0.5, 0.25, 0.25], [null, 0.5, 0.5]]}')
    assert answer[0].tolist() == [0.5, 0.25, 0.25]
    assert torch.isnan(answer[1, 0])


@pytest.mark.parametrize(
    "bad",
    [
        "[NaN, 0.5, 0.5]",
        "[Infinity, 0, 0]",
        "[null, null, null]",
        "null",
        "[]",
        "[0.5, 0.5]",
        '[1, "x", 0]',
        "[1, true, 0]",
        "[[1], [2], [3]]",
        '{"error": "too large"}',
        '{"status": 500}',
        '"error: too large"',
        "{}",
    ],
)
def test_an_answer_that_cannot_be_read_costs_its_own_input(bad: str):
    answer = v1_answer(f'{{"predictions": [[0.5, 0.25, 0.25], {bad}, [0, 1, 0]]}}', n=3)
    assert answer[[0, 2]].tolist() == [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]
    assert not answer[1].isfinite().all()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "empty body"),
        (" \n", "empty body"),
        ("<html><title>Sign in</title></html>", "page of HTML or XML, not JSON: <html><title>Sign in"),
        ('{"predictions": [[0.1, 0.2', "not valid JSON"),
        ('{"error": "model \\u001b[31mmelted\\n"}', r"error despite its status: model \[31mmelted"),
        ('{"error": {"message": "quota"}}', "error despite its status: quota"),
        ('{"answers": []}', "no `predictions` .*; it has an object with answers"),
        ('{"predictions": 7}', "a list of 2 answers was expected at `predictions`, where the answer has a number"),
        ('{"predictions": {"0": [1, 0, 0]}}', "has an object with 0. Correct `response` to lead to the list"),
        ('{"predictions": [[0.2, 0.3, 0.5]]}', "2 inputs were sent and 1 answers came back"),
        (
            '{"predictions": [[0.5, 0.5], [0.5, 0.5]]}',
            r"shape \(2, 3\) or \(2,\) were expected; got \(2, 2\)\. Declare classes = 2",
        ),
        ('{"predictions": [[0.5, 0.5, 0], 1]}', "of different kinds: a list of 3, a number"),
        ('{"predictions": [[], []]}', "got"),
        ('{"predictions": [[0.5, "x", 0], [1, "y", 0]]}', r"holds a string \('x'\) where a number"),
        ('{"predictions": [[1, true, 0], [1, true, 0]]}', "holds true or false where a number"),
        ('{"predictions": [[[1], [2], [3]], [[1], [2], [3]]]}', "holds a list of 1 where a number"),
        ('{"predictions": ["ant", "bee"]}', "strings \\('ant'\\). If they name classes, give `labels`"),
        ('{"predictions": [0.5, 0.25]}', "one number per input, and not a whole one"),
        ('{"predictions": [0, 3]}', "labels must be 0 to 2; got 0 to 3"),
        ('{"predictions": [-1, 2]}', "labels must be 0 to 2; got -1 to 2"),
        ('{"predictions": [1e999, 2]}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b'\xef\xbb\xbf{"predictions": 7}', "the answer has a number"),  # a byte-order mark is passed over
    ],
)
def test_malformed_rows(body: str | bytes, message: str):
    with pytest.raises(Malformed, match=message) as error:
        v1_answer(body)
    assert "victim.test" in str(error.value)
    assert len(str(error.value)) < 600
    assert "\x1b" not in str(error.value)


def test_malformed_is_not_asked_again():
    asked: list[httpx.Request] = []
    ask = oracle(V1, lambda request: asked.append(request) or httpx.Response(200, content="<html>"))
    with pytest.raises(Malformed):
        ask(inputs(1))
    assert len(asked) == 1


def test_kinds_may_not_change_between_requests():
    answers_ = [{"predictions": [[0.5, 0.5, 0.0]]}, {"predictions": [1]}]
    ask = oracle({**V1, "batch": 1}, lambda request: httpx.Response(200, json=answers_.pop(0)))
    with pytest.raises(Malformed, match="some requests with labels"):
        ask(inputs(2))


# --- what a v2 model says about itself


def metadata(*found: dict, status: int = 200) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(status, json={"inputs": list(found)})


@pytest.mark.parametrize(
    ("inputs_", "message"),
    [
        (
            [{"name": "a", "datatype": "FP32", "shape": [-1, 7]}],
            r"takes inputs of shape \[-1, 7\]; the target's are \[5\]",
        ),
        ([{"name": "a", "datatype": "FP32", "shape": [-1, 1, 5]}], "takes inputs of shape"),
        ([{"name": "a", "datatype": "BYTES", "shape": [-1, 5]}], "takes BYTES; a numeric type is needed"),
        ([{"name": "a", "datatype": "FP32"}, {"name": "b", "datatype": "FP32"}], r"several inputs \(a, b\)"),
    ],
)
def test_models_that_take_something_else(inputs_: list[dict], message: str):
    with pytest.raises(BadConfig, match=message):
        oracle({"url": "http://victim.test", "model": "m"}, metadata(*inputs_))(inputs(1))


def test_wrong_input_name_is_answered_with_the_right_ones():
    handler = metadata({"name": "pixels", "datatype": "FP32", "shape": [5]})
    with pytest.raises(BadConfig, match="no input 'image'; it has pixels"):
        oracle({"url": "http://victim.test", "model": "m", "input_name": "image"}, handler)(inputs(1))


def test_metadata_that_are_a_login_page():
    with pytest.raises(Malformed, match="HTML"):
        oracle({"url": "http://victim.test", "model": "m"}, fixed(text="<!doctype html>"))(inputs(1))


# --- retries


def statuses(*codes: int, headers: dict | None = None) -> tuple[Callable, list[httpx.Request]]:
    """Answers with these statuses in turn, then with 200."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if len(seen) <= len(codes):
            return httpx.Response(codes[len(seen) - 1], headers=headers, json={"error": "busy"})
        return predicts(request)

    return handler, seen


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_passing_trouble_is_survived(code: int):
    handler, seen = statuses(code, code)
    x = inputs(3)
    assert torch.equal(oracle(V1, handler)(x).y, torch.from_numpy(posterior(x.numpy())))
    assert len(seen) == 3


def test_backoff_is_jittered_growing_and_bounded():
    time = Time()
    handler, _ = statuses(*[503] * 12)
    oracle({**V1, "retries": 12}, handler, time)(inputs(1))
    bounds = [min(30.0, 0.5 * 2**i) for i in range(12)]
    assert all(0 <= sleep <= bound for sleep, bound in zip(time.sleeps, bounds, strict=True))
    assert len(set(time.sleeps)) == 12
    assert max(time.sleeps) > 4


def test_backoff_is_a_function_of_the_seed():
    schedules = []
    for seed in (0, 0, 1):
        time = Time()
        transport = httpx.MockTransport(statuses(*[503] * 6)[0])
        HttpOracle(HttpConfig(**V1), BOX, K, transport, sleep=time.sleep, clock=time, seed=seed)(inputs(1))
        schedules.append(time.sleeps)
    assert schedules[0] == schedules[1] != schedules[2]


def test_giving_up_says_what_how_often_and_what_to_do():
    handler, seen = statuses(*[503] * 99)
    with pytest.raises(
        Unreachable, match=r"victim.test/v1/models/m:predict: status 503: busy \(7 attempts in \d+ s\)"
    ) as e:
        oracle(V1, handler)(inputs(1))
    assert len(seen) == 7
    assert "run again: answered queries are not sent twice" in str(e.value)
    assert e.value.exit_code == 5


def test_retry_after_in_seconds():
    time = Time()
    oracle(V1, statuses(429, 429, headers={"Retry-After": "17"})[0], time)(inputs(1))
    assert time.sleeps == [17.0, 17.0]


def test_retry_after_as_a_date():
    time = Time()
    headers = {"Retry-After": "Wed, 21 Oct 2026 07:28:09 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    oracle(V1, statuses(503, headers=headers)[0], time)(inputs(1))
    assert time.sleeps == [9.0]


def test_retry_after_beyond_patience_stops_at_once():
    time = Time()
    handler, seen = statuses(429, headers={"Retry-After": "3600"})
    with pytest.raises(Unreachable, match=r"asks to wait 3600 s, more than retry_after_max \(300 s\)"):
        oracle(V1, handler, time)(inputs(1))
    assert (len(seen), time.sleeps) == (1, [])


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "nan", "inf", "1e9", "²", "Wed, 99 Oct 2026", "Wed, 21 Oct 2020 07:28:00 GMT"]
)
def test_senseless_retry_after_is_ignored(text: str):
    assert retry_after(httpx.Headers({"Retry-After": text.encode("utf-8")})) == 0  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("code", "advice"), [(400, "target file"), (401, "key in `headers`"), (404, "Check `url`"), (413, "Lower `batch`")]
)
def test_other_statuses_stop_at_once_with_the_servers_words(code: int, advice: str):
    handler, seen = statuses(code)
    with pytest.raises(Unreachable, match=f"status {code}: busy.*{advice}"):
        oracle(V1, handler)(inputs(1))
    assert len(seen) == 1


def test_codes_are_configurable():
    handler, seen = statuses(403, 418)
    oracle({**V1, "rate_limit_codes": [403], "retry_codes": [418]}, handler)(inputs(1))
    assert len(seen) == 3
    with pytest.raises(Unreachable, match="status 429"):
        oracle({**V1, "rate_limit_codes": [403]}, statuses(429)[0])(inputs(1))


@pytest.mark.parametrize("location", ["https://evil.test/", "/elsewhere", "http://[", ""])
def test_redirects_are_not_followed(location: str):
    hosts: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(307, headers={"Location": location})

    with pytest.raises(OracleError):
        oracle({**V1, "retries": 1}, handler)(inputs(1))
    assert set(hosts) == {"victim.test"}


def test_a_redirect_says_where_to():
    with pytest.raises(Malformed, match=r"redirects to https://new.test/api, which is not followed. Set `url`"):
        oracle(V1, fixed(status_code=308, headers={"Location": "https://new.test/api"}))(inputs(1))


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.ConnectTimeout, httpx.ReadError])
def test_transport_failures_are_asked_again(error: type[httpx.TransportError]):
    failures = [error("\x1b[31mboom"), error("boom")]

    def handler(request: httpx.Request) -> httpx.Response:
        if failures:
            raise failures.pop()
        return predicts(request)

    assert len(oracle(V1, handler)(inputs(2)).y) == 2


def test_pacing_spreads_requests():
    time = Time()
    oracle({**V1, "batch": 1, "requests_per_second": 4}, predicts, time)(inputs(5))
    assert time.sleeps == [0.25] * 4


def test_long_error_bodies_are_shortened():
    with pytest.raises(Unreachable) as error:
        oracle(V1, fixed(status_code=400, text="x\x07" * 10**6))(inputs(1))
    assert len(str(error.value)) < 500
    assert str(error.value).isprintable()


# --- not paying twice


def noting(handler: Callable, seen: list[str]) -> Callable:
    """`handler`, with the key of every request written down."""

    def noted(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Idempotency-Key"])
        return handler(request)

    return noted


def keys_of(handler: Callable, folder: Path, batches: list[torch.Tensor]) -> list[str]:
    """The keys of what a process with a ledger in this folder sends."""
    seen: list[str] = []
    victim = RemoteModel(oracle(V1, noting(handler, seen)), Classify(K), "probabilities")
    with closing(Ledger(folder / "ledger.sqlite")) as ledger:
        session = Recorded(victim, ledger, "scope")
        for x in batches:
            session(x)
    return seen


def test_a_retry_keeps_its_key_and_a_restart_too(tmp_path: Path):
    first = keys_of(statuses(503, 503)[0], tmp_path, [inputs(2)])
    (tmp_path / "ledger.sqlite").unlink()  # as if the process had died before the answer was recorded
    again = keys_of(predicts, tmp_path, [inputs(2)])
    assert set(first) == set(again)
    assert len(set(first)) == 1


def test_another_question_has_another_key(tmp_path: Path):
    a, b = keys_of(predicts, tmp_path, [inputs(2, 0), inputs(2, 1)])
    assert a != b


def test_asking_the_same_again_on_purpose_is_another_question_after_a_restart_too(tmp_path: Path):
    x = inputs(2)
    (first,) = keys_of(predicts, tmp_path, [x])
    (second,) = keys_of(predicts, tmp_path, [x, x])  # the first question is answered from the ledger
    assert first != second


def test_an_api_that_honours_keys_does_not_replay_its_answers_to_the_averaging_thief(tmp_path: Path):
    kept: dict[str, list] = {}
    noise = np.random.default_rng(0)

    def random_api(request: httpx.Request) -> httpx.Response:
        key = request.headers["Idempotency-Key"]
        if key not in kept:
            kept[key] = noise.dirichlet(np.ones(K), len(rows(request))).tolist()
        return httpx.Response(200, json={"predictions": kept[key]})

    x, replies = inputs(3), []
    for _ in range(3):  # every time a process of its own, which asks one time more than the last
        victim = RemoteModel(oracle(V1, random_api), Classify(K), "probabilities")
        with closing(Ledger(tmp_path / "ledger.sqlite")) as ledger:
            session = Recorded(victim, ledger, "scope")
            replies = [session(x).y for _ in range(len(replies) + 1)]
    assert len(torch.stack(replies)[:, 0].unique(dim=0)) == 3


def test_without_a_ledger_no_two_questions_share_a_key_and_retries_do():
    seen: list[str] = []
    ask = oracle(V1, noting(statuses(503)[0], seen))
    ask(inputs(2))
    ask(inputs(2))
    assert seen[0] == seen[1] != seen[2]


def test_v2_id_is_the_key(api: Api):
    bodies: list[dict] = []

    def handler(request: httpx.Request) -> httpx.Response:
        head = int(request.headers["Inference-Header-Content-Length"])
        bodies.append({**json.loads(request.content[:head]), "key": request.headers["Idempotency-Key"]})
        return httpx.Response(200, content=v2([output([2, 3], data=Y.ravel().tolist())])[0])

    config = {"url": "http://victim.test", "model": "m", "input_name": "a", "datatype": "FP32", "binary": True}
    oracle(config, handler)(inputs(2))
    assert bodies[0]["id"] == bodies[0]["key"]


def test_answers_before_a_failed_request_are_in_the_ledger(tmp_path: Path):
    count = iter(range(99))
    ask = oracle({**V1, "batch": 2}, lambda q: httpx.Response(404) if next(count) == 2 else predicts(q))
    victim, ledger, x = RemoteModel(ask, Classify(K), "probabilities"), Ledger(tmp_path / "ledger.sqlite"), inputs(10)
    with pytest.raises(Unreachable):
        Recorded(victim, ledger, "scope", ask.batch)(x)
    assert ledger.answers() == 4
    rerun = Recorded(victim, ledger, "scope", ask.batch)
    assert torch.equal(rerun(x).y, torch.from_numpy(posterior(x.numpy())))
    assert rerun.charged == 6
    ledger.close()


# --- attribution maps


def map_of(x: np.ndarray) -> np.ndarray:
    """(n, 2, 3), another for every input."""
    return np.arange(6).reshape(2, 3) * x[:, :1, None]


def explained(url: str) -> dict[str, HttpOracle]:
    v2 = {"url": url, "model": "m", "output_name": "posterior", "maps": "map", "batch": 4}
    v1 = {"url": url, "protocol": "v1", "model": "m", "response": "predictions.*.scores", "maps": "predictions.*.map"}
    return {
        "v2 binary": oracle(v2),
        "v2 json": oracle({**v2, "binary": False}),
        "v1": oracle({**v1, "batch": 4}),
        "json": oracle({"url": url + "/score", **JSON, "maps": "results.*.map", "batch": 4}),
    }


def test_maps_come_beside_the_answers_by_every_protocol(api: Api):
    api.map = map_of
    x = inputs(10)
    for name, ask in explained(api.url).items():
        raw = ask(x)
        assert raw.maps is not None, name
        assert torch.equal(raw.maps.float(), torch.from_numpy(map_of(x.numpy())).float()), name
        assert torch.equal(raw.y.float(), torch.from_numpy(posterior(x.numpy())).float()), name


def test_maps_are_paid_once_and_kept_with_their_answers(api: Api, tmp_path: Path):
    api.map = map_of
    x, ledger = inputs(6), Ledger(tmp_path / "ledger.sqlite")
    victim = RemoteModel(explained(api.url)["json"], Classify(K), "probabilities")
    first, again = (Recorded(victim, ledger, "scope", 4) for _ in range(2))
    paid, read = first(x), again(x)
    assert paid.maps is not None
    assert read.maps is not None
    assert torch.equal(read.maps, paid.maps)
    assert (first.charged, again.charged) == (6, 0)
    ledger.close()


def sold(body: object, n: int = 2) -> torch.Tensor | None:
    """The maps of a JSON answer to n inputs."""
    config = {**V1, "response": "y", "maps": "m", "retries": 0}
    return oracle(config, fixed(json={"y": [[0.5, 0.25, 0.25]] * n, "m": body}))(inputs(n)).maps


@pytest.mark.parametrize(
    "body",
    [
        [[[1.0, 2.0]]],  # one map for two inputs
        [[[1.0], [2.0]], [[1.0]]],  # of different heights
        [[1.0, 2.0], [1.0, 2.0]],  # rows, not maps
        [[["a"]], [["b"]]],
        [[[None]], [[1.0]]],
        [[], []],
        {"map": 1},
        "maps",
        None,
    ],
)
def test_what_is_no_map_is_malformed(body: object):
    with pytest.raises(Malformed, match="map"):
        sold(body)


def test_a_map_of_whole_numbers_is_a_map():
    maps = sold([[[1, 2]], [[3, 4]]])
    assert maps is not None
    assert maps.tolist() == [[[1.0, 2.0]], [[3.0, 4.0]]]


def test_maps_of_another_size_in_another_request_are_malformed():
    sizes = iter([1, 2])

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"y": [[0.5, 0.25, 0.25]], "m": [[[0.0] * next(sizes)]]})

    with pytest.raises(Malformed, match="differ in size"):
        oracle({**V1, "response": "y", "maps": "m", "batch": 1}, handler)(inputs(2))


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"shape": [2, 3], "data": [0.0] * 6}, "height"),
        ({"shape": [1, 2, 3], "data": [0.0] * 6}, "expected"),
        ({"shape": [2, 1, 3], "data": [0.0] * 5}, "numbers"),
        ({"shape": [2, 1, 1], "data": [0.0, "a"]}, "numbers"),
        ({"shape": [2, 1, 1], "data": None}, "numbers"),
        ({"shape": [2, 0, 1], "data": []}, "height"),
        ({"shape": [2, 1, 1], "data": [0.0, 1.0], "datatype": "BYTES"}, "strings"),
        ({"name": "other", "shape": [2, 1, 1], "data": [0.0, 1.0]}, "Correct `maps`"),
    ],
)
def test_v2_maps_that_cannot_be_read(stated: dict, message: str):
    answer = {"name": "y", "datatype": "FP32", "shape": [2, K], "data": [0.5, 0.25, 0.25] * 2}
    body = {"outputs": [answer, {"name": "m", "datatype": "FP32", **stated}]}
    config = {"url": "http://victim.test", "model": "m", "input_name": "a", "datatype": "FP32", "binary": False}
    with pytest.raises(Malformed, match=message):
        oracle({**config, "output_name": "y", "maps": "m", "retries": 0}, fixed(json=body))(inputs(2))


# --- secrets


def secretive(monkeypatch: pytest.MonkeyPatch, handler: Callable, **config: object) -> HttpOracle:
    monkeypatch.setenv("GK_TEST_KEY", SECRET)
    return oracle({**V1, "headers": {"Authorization": "Bearer ${GK_TEST_KEY}"}, "retries": 1, **config}, handler)


def test_headers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    seen: list[httpx.Request] = []
    secretive(monkeypatch, lambda request: seen.append(request) or predicts(request))(inputs(1))
    assert seen[0].headers["Authorization"] == f"Bearer {SECRET}"


ECHOES = [
    fixed(status_code=401, json={"error": f"bad key {SECRET}"}),
    fixed(status_code=503, text=f"you are {SECRET}, go away"),
    fixed(json={"error": f"Bearer {SECRET}"}),
    fixed(text=f"<html>{SECRET}"),
    fixed(text="{" + SECRET + "x" * 400),
    fixed(text="x" * 190 + SECRET),
    fixed(json={"predictions": [SECRET]}),
    fixed(json={"predictions": [[SECRET, 1, 2]]}),
    fixed(json={SECRET: 1}),
    fixed(status_code=302, headers={"Location": f"http://a.test/?key={SECRET}"}),
]


@pytest.mark.parametrize("echo", ECHOES)
def test_secrets_never_show(echo: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    ask = secretive(monkeypatch, echo)
    with pytest.raises(OracleError) as error:
        ask(inputs(1))
    told = [str(error.value), *traceback.format_exception(error.value), caplog.text]
    told += [repr(ask), str(ask.config), repr(ask.config), ask.config.model_dump_json(), str(ask.config.model_dump())]
    for text in told:
        assert SECRET[:8] not in text


def test_secrets_in_the_file_itself_are_not_shown():
    assert SECRET not in repr(HttpConfig(**V1, headers={"X-Key": SECRET}))


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"model": None}, {"headers": {"X-Key": SECRET, "a b": SECRET}}])
def test_wrong_configurations_do_not_show_the_headers(wrong: dict):
    with pytest.raises(ValidationError) as error:
        HttpConfig(**{**V1, "headers": {"X-Key": SECRET}, **wrong})
    assert SECRET[:8] not in str(error.value)


def test_debug_logs_of_a_real_exchange_hold_no_secret(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("GK_TEST_KEY", SECRET)
    oracle({"url": api.url, "model": "m", "headers": {"X-Key": "${GK_TEST_KEY}"}})(inputs(1))
    assert api.seen[-1][1]["x-key"] == SECRET
    assert SECRET not in caplog.text


def test_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GK_TEST_KEY", raising=False)
    with pytest.raises(
        BadConfig, match="header Authorization needs the environment variable GK_TEST_KEY, which is unset"
    ):
        HttpConfig(**V1, headers={"Authorization": "Bearer ${GK_TEST_KEY}"})


@pytest.mark.parametrize("value", [f"{SECRET}\n", f"{SECRET}\r\nX-Evil: 1", f"{SECRET}é"])
def test_unsendable_values_are_refused_without_showing_them(value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GK_TEST_KEY", value)
    with pytest.raises(BadConfig, match="value of the header X-Key") as error:
        HttpConfig(**V1, headers={"X-Key": "${GK_TEST_KEY}"})
    assert SECRET not in str(error.value)


# --- configuration


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "victim.test"}, "begins with http"),
        ({"url": "ftp://victim.test"}, "begins with http"),
        ({"url": "http://me:pw@victim.test"}, "put them in `headers`"),
        ({"url": "http://victim.test/?key=1"}, "allows no query"),
        ({"surprise": 1}, "Extra inputs"),
        ({"batch": 0}, "greater than or equal to 1"),
        ({"timeout": 0}, "greater than 0"),
        ({"timeout": float("inf")}, "finite"),
        ({"model": None}, 'protocol "v1" needs model'),
        ({"input_name": "a"}, 'protocol "v1" does not use input_name'),
        ({"protocol": "v2", "datatype": "FP8"}, "one of FP16"),
        ({"protocol": "json"}, 'protocol "json" needs request and response'),
        ({**JSON, "model": None, "request": {"a": 1}}, "exactly once"),
        ({**JSON, "model": None, "request": {"a": "$INPUT", "b": "$INPUTS"}}, "exactly once"),
        ({**JSON, "model": None, "request": '{"a": $INPUTS}'}, "needs quotes"),
        ({"labels": ("a", "a")}, "a name of its own"),
        ({"headers": {"Content-Length": "5"}}, "set by gamekeeper"),
        ({"headers": {"Bad Name": "5"}}, "HTTP does not allow"),
    ],
)
def test_senseless_configurations(change: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        HttpConfig(**{**V1, **change})


def test_secrets_in_a_query_are_not_shown():
    config = {"url": f"http://victim.test/p?key={SECRET}", **JSON}
    with pytest.raises(Unreachable) as error:
        oracle(config, fixed(status_code=404))(inputs(1))
    assert SECRET not in str(error.value)


# --- bodies, over real sockets where httpx has a part in it


def quick(url: str, retries: int = 1, **config: object) -> HttpOracle:
    """An oracle that does not sleep, with the real clock."""
    settings_ = {"url": url, "protocol": "v1", "model": "m", "retries": retries, **config}
    return HttpOracle(HttpConfig(**settings_), BOX, K, sleep=lambda seconds: None)


GOOD = b'{"predictions": [[0.5, 0.25, 0.25]]}'


def test_half_a_body():
    with (
        misbehaving(says(GOOD[:20], length=len(GOOD))) as url,
        pytest.raises(Malformed, match=r"broke off before its end .*2 attempts"),
    ):
        quick(url)(inputs(1))


def test_half_a_body_then_a_whole_one():
    with misbehaving(says(GOOD[:20], length=len(GOOD)), says(GOOD)) as url:
        assert quick(url)(inputs(1)).y.tolist() == [[0.5, 0.25, 0.25]]


def test_content_length_too_short():
    with misbehaving(says(GOOD, length=20)) as url, pytest.raises(Malformed, match="not valid JSON"):
        quick(url)(inputs(1))


def test_connection_reset():
    with misbehaving(resets) as url, pytest.raises(Unreachable, match=r"no connection, or it broke .*2 attempts"):
        quick(url)(inputs(1))


def test_connection_reset_then_an_answer():
    with misbehaving(resets, says(GOOD)) as url:
        assert quick(url)(inputs(1)).y.tolist() == [[0.5, 0.25, 0.25]]


def test_nobody_listens():
    with misbehaving(resets) as url:
        pass
    with pytest.raises(Unreachable, match="refused"):
        quick(url)(inputs(1))


def test_not_http_at_all():
    with (
        misbehaving(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")) as url,
        pytest.raises(Unreachable, match="no connection, or it broke"),
    ):
        quick(url)(inputs(1))


def test_slow_answer():
    with (
        misbehaving(lambda connection: time.sleep(0.4)) as url,
        pytest.raises(Unreachable, match=r"no answer within 0.1 s"),
    ):
        quick(url, retries=0, timeout=0.1)(inputs(1))


def test_dripping_answer():
    def drip(connection) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(60):
            connection.sendall(b" ")
            time.sleep(0.05)

    start = time.monotonic()
    with misbehaving(drip) as url, pytest.raises(Unreachable, match=r"no complete answer within 0.3 s"):
        quick(url, retries=0, timeout=0.3)(inputs(1))
    assert time.monotonic() - start < 1.5


def test_body_over_the_limit_is_cut_early():
    sent: list[int] = []

    def endless(connection) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            sent.append(connection.send(b" " * 65536))

    with misbehaving(endless) as url, pytest.raises(Malformed, match=r"longer than max_body \(100,000 bytes\)"):
        quick(url, max_body=100_000)(inputs(1))
    assert sum(sent) < 20_000_000


def test_gzip_bomb_is_bounded():
    bomb = gzip.compress(bytes(50_000_000))
    with misbehaving(says(bomb, headers="Content-Encoding: gzip\r\n")) as url:
        ask = quick(url, max_body=1_000_000)
        tracemalloc.start()
        try:
            with pytest.raises(Malformed, match="longer than max_body"):
                ask(inputs(1))
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "encoding", "message"),
    [
        (gzip.compress(GOOD, mtime=0)[:-9], "gzip", "breaks off before its end"),
        (b"not gzip", "gzip", "compression is broken"),
        (GOOD, "br", "was not asked for"),
        (gzip.compress(gzip.compress(GOOD, mtime=0), mtime=0), "gzip, gzip", "was not asked for"),
    ],
)
def test_bad_compression(body: bytes, encoding: str, message: str):
    with (
        misbehaving(says(body, headers=f"Content-Encoding: {encoding}\r\n")) as url,
        pytest.raises(Malformed, match=message),
    ):
        quick(url)(inputs(1))


@pytest.mark.parametrize(
    ("body", "encoding"), [(gzip.compress(GOOD, mtime=0), "gzip"), (zlib.compress(GOOD), "deflate")]
)
def test_good_compression(body: bytes, encoding: str):
    with misbehaving(says(body, headers=f"Content-Encoding: {encoding}\r\n")) as url:
        assert quick(url)(inputs(1)).y.tolist() == [[0.5, 0.25, 0.25]]


def test_untrusted_certificates_are_named_and_not_tried_again():
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("handshake") from ssl.SSLCertVerificationError("self-signed")

    clock = Time()
    with pytest.raises(Unreachable, match="certificate is not trusted"):
        oracle(V1, handler, clock)(inputs(1))
    assert clock.sleeps == []


def test_a_server_without_tls_is_said_to_be_one_and_not_tried_again():
    def handler(request: httpx.Request) -> httpx.Response:
        wrong = ssl.SSLError(1, "wrong version number")
        wrong.reason = "WRONG_VERSION_NUMBER"
        raise httpx.ConnectError("handshake") from wrong

    clock = Time()
    with pytest.raises(Unreachable, match=r"does not speak TLS there.* begin with http:// instead of https://"):
        oracle(V1, handler, clock)(inputs(1))
    assert clock.sleeps == []


def test_scores_that_were_divided_by_a_wrong_unit_name_the_unit():
    assert "divided by `unit` = 100 in [http]: is that right?" in divided(100.0)
    assert divided(1.0) == ""


# --- the example server


@pytest.fixture(scope="module")
def example() -> Iterator[Callable]:
    """Starts `examples/serve_sklearn.py` for a model and gives its address."""
    script = runpy.run_path(str(EXAMPLES / "serve_sklearn.py"))
    running: list = []

    def start(name: str) -> str:
        server = script["server"](name, port=0)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def test_example_target_file():
    """As it stands, and with every commented option of v2."""
    text = (EXAMPLES / "http_target.toml").read_text()
    config = read_config(EXAMPLES / "http_target.toml")
    assert config.http == HttpConfig(**tomllib.loads(text)["http"])
    assert config.http.model == "mnist"
    v2_options = ("labels", "input_name", "datatype", "output_name", "binary", "requests_per_second", "verify_tls")
    full = HttpConfig(**tomllib.loads(re.sub(rf"(?m)^# ({'|'.join(v2_options)}) = ", r"\1 = ", text))["http"])
    assert full.model_fields_set >= {*v2_options}


def test_json_of_the_example_target_file():
    lines = (EXAMPLES / "http_target.toml").read_text().partition('# protocol = "json"')[2].splitlines()
    table = "\n".join(line[2:] for line in lines if re.match(r"# \w+ = ", line))
    config = HttpConfig(protocol="json", **tomllib.loads(table))
    assert config.request == {"images": "$INPUTS", "options": {"top_k": 10}}
    assert not config.one_by_one


@pytest.mark.parametrize("protocol", ["v2", "v1"])
def test_example_serves_logistic_regression(example: Callable, protocol: str):
    x, truth = load_breast_cancer(return_X_y=True)
    box, held_out = Box((30,)), torch.from_numpy(minmax_scale(x)[1::2]).float().clamp(0, 1)
    ask = HttpOracle(HttpConfig(url=example("breast-cancer"), protocol=protocol, model="breast-cancer"), box, 2)
    y = ask(held_out).y
    assert torch.allclose(y.sum(1), torch.ones(len(y), dtype=torch.float64))
    assert (y.argmax(1).numpy() == truth[1::2]).mean() > 0.95


def test_example_target_is_the_shipped_network(example: Callable, tmp_path: Path):
    path = tmp_path / "live.toml"
    path.write_text((EXAMPLES / "http_target.toml").read_text().replace("http://127.0.0.1:8000", example("mnist")))
    live, shipped = load_target(str(path)), load_target("mnist")
    x = shipped.test.x[:200]
    assert (live.batch, live.remote) == (64, True)
    # float32 convolutions differ in the last bits between batches of 64 and of 200
    assert torch.allclose(live.victim(x).y.float(), shipped.victim(x).y, atol=1e-6)

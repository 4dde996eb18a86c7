"""The gateway's server over real sockets: who is let in, what is answered, what every error looks like."""

import gzip
import json
import threading
import time

import pytest
import torch

from gamekeeper.engine.gateway.request import Request
from gamekeeper.errors import Busy, Denied, JournalError, Malformed, Unreachable
from gamekeeper.protocols.v2 import V2
from gamekeeper.service.principals import network
from gamekeeper.surfaces.gateway.refusals import OURS
from gamekeeper.types import Reply
from tests.surfaces.gateway.live import (
    INFER,
    Connection,
    answered,
    body_of,
    built,
    images,
    linear,
    model,
    question,
    raw,
    serving,
    until,
)


@pytest.fixture(scope="module")
def live():
    with serving() as running:
        yield running


def test_a_question_with_a_key_is_answered_and_one_without_is_not(live):
    good = answered(live, question(live))
    assert good.status == 200
    assert good.json["outputs"][0]["data"] == pytest.approx(model(images()).y[0].tolist())
    by_header = raw(body=body_of(images()), X_API_Key=live.key)
    assert answered(live, by_header).body == good.body
    before = len(live.seen)
    wrong = ["", "gk_", live.key[:-1], live.key + "0", "x" * 10_000, "ü"]
    answers = [answered(live, raw(body=body_of(images()), X_API_Key=key)) for key in wrong]
    answers.append(answered(live, raw(body=body_of(images()), Authorization=f"Basic {live.key}")))
    two = raw(body=body_of(images()), key=live.key, X_API_Key=live.key[:-1] + "!")
    answers.append(answered(live, two))
    assert {answer.status for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    assert len({answer.body for answer in answers}) == 1  # nothing says what was wrong with the key
    assert len(live.seen) == before


def test_a_revoked_key_is_let_in_for_two_seconds_at_most():
    with serving() as live:
        live.principals.fresh = 0.1
        assert answered(live, question(live)).status == 200
        live.principals.revoke(live.key.split("_")[1], time.time())
        time.sleep(0.2)
        assert answered(live, question(live)).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nowhere", 404, None),
        ("POST", "/v2/models/other/infer", 404, None),
        ("GET", INFER, 405, "POST"),
        ("OPTIONS", INFER, 405, "POST"),
        ("POST", "/v2/health/live", 405, "GET, HEAD"),
        ("GET", "/v2/models/m%2f/infer", 404, None),
        ("GET", "/../etc/passwd", 404, None),
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_else(live, method, path, status, allow):
    answer = answered(live, raw(path, method))
    assert (answer.status, answer.headers.get("allow")) == (status, allow)
    assert set(answer.json) == {"error"}


def test_health_needs_no_key_and_what_describes_the_model_does(live):
    for path in ("/v2/health/live", "/v2/health/ready", "/ping", "/health", "/v2/models/m/ready"):
        got = answered(live, raw(path, "GET"))
        assert got.status == 200
        head = answered(live, raw(path, "HEAD"), head=True)
        assert (head.status, head.headers["content-length"]) == (200, str(len(got.body)))
    assert answered(live, raw("/v2/health/live", "GET")).json == {"live": True}
    for path in ("/v2", "/v2/models/m", "/v1/models", "/v1/models/m", "/version"):
        assert answered(live, raw(path, "GET")).status == 401
        assert answered(live, raw(path, "GET", key=live.key)).status == 200


def test_a_head_leaves_the_connection_in_step(live):
    with Connection(live) as connection:
        connection.send(raw("/ping", "HEAD") + question(live))
        assert connection.receive(head=True).status == 200
        assert connection.receive().status == 200


def test_answers_to_pipelined_questions_come_in_their_order(live):
    with Connection(live) as connection:
        connection.send(b"".join(question(live, seed=seed) for seed in range(5)))
        got = [connection.receive().json["outputs"][0]["data"] for _ in range(5)]
    want = [model(images(seed=seed)).y[0].tolist() for seed in range(5)]
    assert torch.allclose(torch.tensor(got), torch.tensor(want))


def test_a_body_comes_in_chunks_or_after_100_continue(live):
    body = body_of(images())
    parts = [body[:7], body[7:50], body[50:]]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    head = raw(key=live.key, Content_Length=None, Transfer_Encoding="chunked")
    assert answered(live, head + chunks).status == 200
    with Connection(live) as connection:
        connection.send(raw(key=live.key, Content_Length=len(body), Expect="100-continue"))
        assert connection.receive().status == 100
        connection.send(body)
        assert connection.receive().status == 200
    with Connection(live) as connection:  # who will not be let in is not told to go on
        connection.send(raw(Content_Length=len(body), Expect="100-continue"))
        refused = connection.receive()
        # whether the body follows is not known, so what follows must not be read as another request, nor as a body
        assert (refused.status, refused.headers["connection"]) == (401, "close")
        assert connection.closed()


@pytest.mark.parametrize(
    ("error", "status", "retry", "words"),
    [
        (Denied("no."), 403, None, "no."),
        (Denied("slower.", until=0.0), 429, "1", "slower."),
        (Busy("full.", wait=2.5), 503, "3", "full."),
        (Unreachable("http://10.0.0.7 is down"), 502, "1", "no answer that can be passed on"),
        (Malformed("http://10.0.0.7 said nonsense"), 502, "1", "no answer that can be passed on"),
        (JournalError("/var/lib/journal.db is locked"), 503, "1", "could not be written down"),
        (RuntimeError("secret"), 500, None, OURS),
        (ValueError("0.123456"), 500, None, OURS),
        (RecursionError(), 500, None, OURS),
    ],
)
def test_every_error_has_its_status_and_says_nothing_of_what_is_behind(error, status, retry, words):
    def failing(request: Request) -> Reply:
        raise error

    with serving(failing) as live:
        for path in (INFER, "/v1/models/m:predict", "/invocations"):
            body = body_of(images()) if path == INFER else json.dumps(nested(path)).encode()
            answer = answered(live, raw(path, body=body, key=live.key, Content_Type="application/json"))
            assert (answer.status, answer.headers.get("retry-after")) == (status, retry)
            assert words in answer.json["message" if path == "/invocations" else "error"]
            assert b"Traceback" not in answer.body
            assert b"10.0.0.7" not in answer.body
            assert b"journal.db" not in answer.body


def nested(path: str) -> dict[str, object]:
    return {"inputs" if path == "/invocations" else "instances": images().tolist()}


def test_an_answer_that_is_not_finite_or_of_another_shape_is_never_sent():
    for y in (torch.full((1, 3), float("nan")), torch.full((1, 2), 0.5), torch.full((2, 3), 0.3)):
        with serving(lambda request, y=y: Reply(y)) as live:
            assert answered(live, question(live)).status == 502


def test_an_answer_past_its_deadline_is_504_and_its_thread_is_counted_until_it_ends():
    go = threading.Event()

    def slow(request: Request) -> Reply:
        go.wait(10)
        return linear(request)

    with serving(slow, message_timeout=0.2) as live:
        start = time.monotonic()
        late = answered(live, question(live))
        assert (late.status, late.headers["retry-after"]) == (504, "1")
        assert 0.2 <= time.monotonic() - start < 3
        assert live.seen[0].deadline < time.monotonic()
        assert live.app.pool.under_way == 1
        go.set()
        until(lambda: live.app.pool.under_way == 0)
        assert answered(live, question(live)).status == 200


def test_too_many_requests_are_refused_at_once_and_the_others_are_answered():
    go = threading.Event()

    def slow(request: Request) -> Reply:
        go.wait(10)
        return linear(request)

    with serving(slow, queue=6, threads=2) as live:
        other = live.principals.issue("acme", "bob", time.time())
        mine = [Connection(live) for _ in range(3)]
        for connection in mine:
            connection.send(question(live))
        until(lambda: live.app.pool.under_way == 3)
        fourth = answered(live, question(live))  # half of the queue is one client's
        assert (fourth.status, fourth.headers["retry-after"]) == (429, "1")
        theirs = [Connection(live) for _ in range(3)]
        for connection in theirs:
            connection.send(raw(body=body_of(images()), key=other))
        until(lambda: live.app.pool.under_way == 6)
        third = live.principals.issue("acme", "carol", time.time())
        full = answered(live, raw(body=body_of(images()), key=third))
        assert (full.status, full.headers["retry-after"]) == (503, "1")
        assert live.metric("gamekeeper_requests_under_way") == 6
        go.set()
        assert [connection.receive().status for connection in (*mine, *theirs)] == [200] * 6
        until(lambda: live.app.pool.under_way == 0)


def test_one_client_keeps_half_of_the_threads_busy_at_most():
    go = threading.Event()

    def slow(request: Request) -> Reply:
        if request.who.client == held[0]:
            go.wait(10)
        return linear(request)

    with serving(slow, queue=40, threads=4) as live:
        held = [live.principals.principal(live.key, "", time.time()).client]
        other = live.principals.issue("acme", "bob", time.time())
        waiting = [Connection(live) for _ in range(8)]
        for connection in waiting:
            connection.send(question(live))
        until(lambda: live.app.pool.under_way == 8)
        assert answered(live, raw(body=body_of(images()), key=other)).status == 200
        go.set()
        assert {connection.receive().status for connection in waiting} == {200}


def test_a_client_who_leaves_is_counted_and_breaks_nothing():
    go = threading.Event()

    def slow(request: Request) -> Reply:
        go.wait(10)
        return linear(request)

    with serving(slow, threads=2) as live:
        leaving = [Connection(live) for _ in range(3)]
        for connection in leaving:
            connection.send(question(live))
        until(lambda: len(live.seen) == 1)  # one of two threads: all are one client's
        for connection in leaving:
            connection.close()
        until(lambda: live.metric("gamekeeper_requests_total", protocol="v2", outcome="gone") == 0)
        time.sleep(0.1)
        go.set()
        until(lambda: live.metric("gamekeeper_requests_total", protocol="v2", outcome="gone") == 3)
        assert len(live.seen) == 1  # who left while waiting was not charged
        with Connection(live) as connection:
            connection.send(raw(key=live.key, Content_Length=100) + b"{")
        until(lambda: live.metric("gamekeeper_requests_total", protocol="v2", outcome="gone") == 4)
        assert answered(live, question(live)).status == 200


def test_the_trace_is_passed_on_and_back_and_a_bad_one_is_ignored(live):
    trace = "0af7651916cd43dd8448eb211c80319c"
    good = f"00-{trace}-b7ad6b7169203331-01"
    assert answered(live, question(live, traceparent=good)).headers["traceparent"] == good
    assert live.seen[-1].trace == trace
    later = f"cc-{trace}-b7ad6b7169203331-01-what-the-future-brings"
    assert answered(live, question(live, traceparent=later)).headers["traceparent"] == later
    for bad in (
        good.upper(),
        good[:-1],
        good + "-00",
        f"ff-{trace}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{trace}-{'0' * 16}-01",
        "x",
    ):
        answer = answered(live, question(live, traceparent=bad))
        assert answer.status == 200
        assert "traceparent" not in answer.headers
        assert live.seen[-1].trace == ""


@pytest.mark.parametrize(
    ("trusted", "forwarded", "seen"),
    [
        ((), "203.0.113.9", "127.0.0.1"),
        (("10.0.0.0/8",), "203.0.113.9", "127.0.0.1"),
        (("127.0.0.0/8",), "203.0.113.9", "203.0.113.9"),
        (("127.0.0.0/8",), "198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the first was written by who knows whom
        (("127.0.0.0/8", "203.0.113.0/24"), "198.51.100.1, 203.0.113.9", "198.51.100.1"),
        (("127.0.0.0/8",), "", ""),
        (("127.0.0.0/8",), "nonsense", ""),
    ],
)
def test_a_forwarded_address_is_believed_of_trusted_proxies_only(trusted, forwarded, seen):
    with serving(trusted_proxy=trusted) as live:
        answered(live, question(live, X_Forwarded_For=forwarded))
        want = live.principals.pseudonyms.network("acme", seen)
        assert live.seen[0].who.network == want
        assert network(seen) != network("127.0.0.1") or seen == "127.0.0.1"


def test_nothing_of_a_client_is_in_log_or_metrics():
    canary = 0.7182818
    bad = RuntimeError(f"lost {canary} of alice")

    def answer(request: Request) -> Reply:
        if len(request.x) == 2:
            raise bad
        return linear(request)

    with serving(answer) as live:
        x = images()
        x.flatten()[0] = canary
        good = f"00-{'ab' * 16}-b7ad6b7169203331-01"
        assert answered(live, raw(body=body_of(x), key=live.key, traceparent=good)).status == 200
        assert answered(live, raw(body=body_of(torch.cat([x, x])), key=live.key)).status == 500
        assert answered(live, raw(body=b'{"inputs": "0.7182818"}', key=live.key)).status == 400
        assert answered(live, raw("/0.7182818", "GET")).status == 404
        assert answered(live, raw(body=b"{}", key="gk_stolen")).status == 401
        until(lambda: len(live.lines()) == 6)
        lines, text = live.lines(), live.log.getvalue()
        client = live.principals.principal(live.key, "127.0.0.1", time.time()).client
    metrics = "".join(str(family) for family in live.app.metrics.registry.collect())
    for secret in (
        str(canary),
        "alice",
        "acme",
        live.key,
        live.key.split("_")[1],
        "127.0.0.1",
        "stolen",
        client,
        "lost",
    ):
        assert secret not in text, secret
        assert secret not in metrics, secret
    first = lines[0]
    assert first | {"at": 0, "ms": 0} == {
        "at": 0,
        "status": 200,
        "outcome": "answered",
        "protocol": "v2",
        "rows": 1,
        "ms": 0,
        "client": client[:8],
        "trace": "ab" * 16,
    }
    failure = next(line for line in lines if "error" in line)
    assert failure["error"] == "RuntimeError"
    assert failure["places"][-1].endswith(" answer")


def test_metrics_count_what_was_answered_and_refused():
    with serving() as live:
        answered(live, question(live, n=3))
        answered(live, raw(body=b"[", key=live.key))
        answered(live, raw("/nowhere", "GET"))
        until(lambda: live.metric("gamekeeper_requests_total", protocol="none", outcome="no address") == 1)
        assert live.metric("gamekeeper_requests_total", protocol="v2", outcome="answered") == 1
        assert live.metric("gamekeeper_requests_total", protocol="v2", outcome="bad request") == 1
        assert live.metric("gamekeeper_rows_total") == 3
        assert live.metric("gamekeeper_request_seconds_count", protocol="v2") == 2


def test_large_bodies_are_read_in_a_thread_and_answered_alike(monkeypatch):
    small = None
    for large in (10**9, 0):
        monkeypatch.setattr("gamekeeper.surfaces.gateway.app.LARGE", large)
        with serving() as live:
            answers = [answered(live, question(live, n=4)), answered(live, raw(body=b"[", key=live.key))]
            assert [answer.status for answer in answers] == [200, 400]
            small = small or [answer.body for answer in answers]
            assert [answer.body for answer in answers] == small


def test_what_is_received_at_once_is_bounded():
    body = body_of(images())
    with serving(receiving=2 * len(body) + 1, share=1.0) as live:
        slow = [Connection(live) for _ in range(2)]
        for connection in slow:
            connection.send(raw(key=live.key, Content_Length=len(body)) + body[:-1])
        until(lambda: live.app._receiving.size == 2 * len(body))
        refused = answered(live, question(live))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        for connection in slow:
            connection.send(body[-1:])
            assert connection.receive().status == 200
        assert live.app._receiving.size == 0


def test_strangers_of_one_network_do_not_keep_others_from_the_door(monkeypatch):
    monkeypatch.setattr("gamekeeper.surfaces.gateway.app.DOOR_QUEUE", 4)
    with serving(trusted_proxy=("127.0.0.1",)) as live:
        slow, real = threading.Event(), live.principals.principal
        waiting = lambda key, *rest: (key == live.key or slow.wait(10)) and real(key, *rest)  # noqa: E731
        monkeypatch.setattr(live.principals, "principal", waiting)
        strangers = [Connection(live) for _ in range(5)]
        for number, connection in enumerate(strangers):
            connection.send(raw(body=b"{}", key=f"gk_{number}", X_Forwarded_For=f"10.0.0.{number}"))
        refused = sum(connection.receive().status == 429 for connection in strangers[2:])
        assert answered(live, question(live, X_Forwarded_For="10.9.9.9")).status == 200
        slow.set()
        assert refused == 3
        assert [connection.receive().status for connection in strangers[:2]] == [401, 401]


def test_one_client_cannot_take_all_room_for_bodies():
    body = body_of(images())
    with serving(receiving=4 * len(body)) as live:
        bob = live.principals.issue("acme", "bob", time.time())
        slow = [Connection(live) for _ in range(2)]
        for connection in slow:
            connection.send(raw(key=live.key, Content_Length=len(body)) + body[:-1])
        until(lambda: live.app._receiving.size == 2 * len(body))
        refused = answered(live, question(live))
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert answered(live, raw(body=body, key=bob)).status == 200
        for connection in slow:
            connection.send(body[-1:])
            assert connection.receive().status == 200


def test_a_compressed_body_is_unpacked_in_a_thread_however_short_it_is(monkeypatch):
    read, threads = V2.read, []
    monkeypatch.setattr(V2, "read", lambda *given: threads.append(threading.current_thread().name) or read(*given))
    with serving() as live:
        packed = raw(body=gzip.compress(body_of(images())), key=live.key, Content_Encoding="gzip")
        assert answered(live, packed).body == answered(live, question(live)).body
        assert threads[0] == "gateway"
        assert threads[1] != "gateway"


def test_settings_that_make_no_sense_are_refused():
    from gamekeeper.errors import BadConfig

    for wrong in ({"queue": 0}, {"message_timeout": 0.0}, {"share": 1.5}, {"trusted_proxy": ("10.0.0.0/99",)}):
        with pytest.raises(BadConfig):
            built(**wrong)

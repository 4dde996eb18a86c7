"""What strangers and bad clients send: over real sockets, bounded in time and size, and never a 5xx."""

import contextlib
import gzip
import json
import socket
import struct
import time
import zlib

import pytest

from tests.surfaces.gateway.live import (
    INFER,
    Connection,
    answered,
    body_of,
    images,
    question,
    raw,
    serving,
    tensor,
    until,
)

FORWARDED = {"v1": "/v1/models/m:predict", "mlflow": "/invocations"}


@pytest.fixture(scope="module")
def live():
    with serving(header_timeout=0.5, body_timeout=0.5, header_bytes=8192, connections=20) as running:
        yield running


def binary(live, values: bytes, length: object = None, size: int = 24, **more: object) -> bytes:
    """A request with a binary tensor, whose headers may lie."""
    head = {"name": "input-0", "shape": [1, 1, 2, 3], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [head]}).encode()
    return raw(
        body=text + values,
        key=live.key,
        Inference_Header_Content_Length=len(text) if length is None else length,
        **more,
    )


def test_lies_about_lengths_are_refused(live):
    values = images().numpy().tobytes()
    assert answered(live, binary(live, values)).status == 200
    for length in (0, -1, 10**6, "x", "1e2", "", "9" * 40, "٣"):
        assert answered(live, binary(live, values, length)).status == 400
    for size in (0, -1, 23, 25, 2**63):
        assert answered(live, binary(live, values, size=size)).status == 400
    assert answered(live, binary(live, values + b"x")).status == 400
    assert answered(live, binary(live, values[:-1])).status == 400


def test_numbers_that_are_none_are_refused_both_ways(live):
    for odd in (float("nan"), float("inf"), -float("inf")):
        values = struct.pack("<6f", odd, *[0.5] * 5)
        assert answered(live, binary(live, values)).status == 400
        for word in ("NaN", "Infinity", "-Infinity", "1e999", "null", "true", '"0.5"', "[0.5]"):
            body = json.dumps(tensor(images())).replace("[0.", f"[{word}, 0.", 1)
            assert answered(live, raw(body=body.encode(), key=live.key)).status == 400
    for fine in (-0.0, 1e-42):
        values = struct.pack("<6f", fine, *[0.5] * 5)
        assert answered(live, binary(live, values)).status == 200


def test_deep_and_wide_json_is_refused_soon(live):
    most = live.app.addresses.wires[INFER].most
    bodies = [b"[" * (most // 2), b'{"a":' * (most // 8), b'{"inputs":' + b"[" * 5000 + b"]" * 5000 + b"}"]
    bodies += [b'{"a":1,"a":2}', b"\xff\xfe", b"", b"0", b'"' * (most // 2), b"{" + b'"a":1,' * 5000 + b'"b":1}']
    for body in bodies:
        start = time.monotonic()
        assert answered(live, raw(body=body, key=live.key)).status in (400, 413)
        assert time.monotonic() - start < 3


def test_compressed_bodies_are_bounded_and_true(live):
    good = body_of(images())
    for encoding, packed in (("gzip", gzip.compress(good)), ("deflate", zlib.compress(good))):
        assert answered(live, raw(body=packed, key=live.key, Content_Encoding=encoding)).status == 200
        for wrong in (packed[:-9], packed + packed, good, packed[::-1]):
            assert answered(live, raw(body=wrong, key=live.key, Content_Encoding=encoding)).status == 400
    bomb = gzip.compress(bytes(50_000_000))
    start = time.monotonic()
    assert answered(live, raw(body=bomb, key=live.key, Content_Encoding="gzip")).status == 413
    assert time.monotonic() - start < 3
    for encoding in ("br", "gzip, gzip", "zstd", "compress"):
        assert answered(live, raw(body=good, key=live.key, Content_Encoding=encoding)).status == 415


def test_a_body_that_is_too_long_is_refused_before_it_is_received(live):
    most = live.app.addresses.wires[INFER].most
    answer = answered(live, raw(key=live.key, Content_Length=most + 1))
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    with Connection(live) as connection:  # one that is not announced is cut off where it is too long
        connection.send(raw(key=live.key, Content_Length=None, Transfer_Encoding="chunked"))
        chunk = b"x" * 10_000
        connection.send(b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for _ in range(most // len(chunk) + 1)))
        assert connection.receive().status == 413
        assert connection.closed()
    with Connection(live) as connection:  # who has no key is not received from at all
        connection.send(raw(Content_Length=10**12))
        assert connection.receive().status == 401
        assert connection.closed()


def test_who_sends_slowly_is_cut_off(live):
    with Connection(live, 3) as nothing, Connection(live, 3) as headers, Connection(live, 3) as body:
        headers.send(b"POST / HTTP/1.1\r\nHost:")
        body.send(raw(key=live.key, Content_Length=100))
        start = time.monotonic()
        for _ in range(8):
            time.sleep(0.1)
            for connection in (headers, body):
                with contextlib.suppress(OSError):
                    connection.send(b"x")
        assert nothing.receive().status == 408
        assert headers.receive().status == 408
        assert body.receive().status == 408
        assert all(connection.closed() for connection in (nothing, headers, body))
        assert time.monotonic() - start < 3


def test_an_empty_line_does_not_hold_a_connection(live):
    with Connection(live, 3) as connection:
        connection.send(raw("/ping", "GET"))
        assert connection.receive().status == 200
        connection.send(b"\r\n")
        assert connection.receive().status == 408
        assert connection.closed()
    with Connection(live, 3) as connection:  # which may precede a request all the same (RFC 9112, 2.2)
        connection.send(raw("/ping", "GET") + b"\r\n")
        assert connection.receive().status == 200
        connection.send(b"\r\n" + raw("/ping", "GET"))
        assert connection.receive().status == 200


@pytest.mark.xfail(
    reason="with 1,600 requests in the pipeline it waits below uvicorn's mark of 64 kB, and is not cut off"
)
def test_who_reads_no_answers_is_cut_off(live):
    held = live.server.server_state.connections
    with Connection(live) as connection:
        until(lambda: held)
        (there,) = held
        # little room for answers on their way, and plenty for requests
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        there.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with contextlib.suppress(OSError):  # the server has cut us off
            for _ in range(40):
                connection.send(raw("/ping", "GET") * 100)
                time.sleep(0.01)
        until(lambda: not held, 3)


def test_headers_without_end_are_cut_off(live):
    for line in (b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", b"a" * 60):
        with Connection(live, 3) as connection:
            connection.send(b"POST / HTTP/1.1\r\n")
            sent = 0
            with contextlib.suppress(OSError):  # the server closes while we send
                while sent < 2_000_000:
                    connection.send(line)
                    sent += len(line)
            assert sent < 2_000_000
            with contextlib.suppress(OSError):
                answer = connection.receive()
                assert answer is None or answer.status == 431


def smuggled(live, head: str, rest: bytes = b"") -> list[int]:
    """The statuses of everything that comes back before the server closes or waits for more."""
    statuses = []
    with Connection(live, 2) as connection:
        connection.send(head.replace("\n", "\r\n").encode() + rest)
        while (answer := connection.receive()) is not None:
            statuses.append(answer.status)
            if answer.headers.get("connection") == "close":
                break
    return statuses


def test_requests_with_two_readings_are_refused_and_the_connection_ends(live):
    """What httptools does with each: pinned, since a proxy before it may read it in the other way."""
    inner = raw("/ping", "GET")
    key = f"Authorization: Bearer {live.key}\n"
    chunked = b"0\r\n\r\n" + inner
    cases = {
        "length and chunks": (
            f"POST {INFER} HTTP/1.1\nHost: m\n{key}Content-Length: 4\nTransfer-Encoding: chunked\n\n",
            chunked,
        ),
        "chunks and length": (
            f"POST {INFER} HTTP/1.1\nHost: m\n{key}Transfer-Encoding: chunked\nContent-Length: 4\n\n",
            chunked,
        ),
        "two lengths": (
            f"POST {INFER} HTTP/1.1\nHost: m\n{key}Content-Length: 2\nContent-Length: 4\n\n",
            b"{}" + inner,
        ),
        "equal lengths": (
            f"POST {INFER} HTTP/1.1\nHost: m\n{key}Content-Length: 2\nContent-Length: 2\n\n",
            b"{}" + inner,
        ),
        "list of lengths": (f"POST {INFER} HTTP/1.1\nHost: m\n{key}Content-Length: 2, 2\n\n", b"{}" + inner),
        "signed length": (f"POST {INFER} HTTP/1.1\nHost: m\n{key}Content-Length: +2\n\n", b"{}" + inner),
        "space before the colon": (f"POST {INFER} HTTP/1.1\nHost: m\n{key}Content-Length : 2\n\n", b"{}" + inner),
        "chunks that are not last": (
            f"POST {INFER} HTTP/1.1\nHost: m\n{key}Transfer-Encoding: chunked, identity\n\n",
            chunked,
        ),
        "folded": (
            f"POST {INFER} HTTP/1.1\nHost: m\n{key}Transfer-Encoding:\n chunked\nContent-Length: 4\n\n",
            chunked,
        ),
        "bad chunk size": (
            f"POST {INFER} HTTP/1.1\nHost: m\n{key}Transfer-Encoding: chunked\n\n",
            b"0x0\r\n\r\n" + inner,
        ),
        "NUL in a header": (f"POST {INFER} HTTP/1.1\nHost: m\n{key}X: a\0b\nContent-Length: 2\n\n", b"{}" + inner),
    }
    before = len(live.seen)
    statuses = {name: smuggled(live, *case) for name, case in cases.items()}
    assert statuses == {name: [400] for name in cases}
    assert len(live.seen) == before


def test_bare_line_feeds_are_refused(live):
    with Connection(live, 2) as connection:
        connection.send(question(live).replace(b"\r\n", b"\n"))
        answer = connection.receive()
        assert answer is None or answer.status == 400


def test_http_10_and_upgrades_get_plain_answers(live):
    old = question(live).replace(b"HTTP/1.1", b"HTTP/1.0")
    with Connection(live) as connection:
        connection.send(old)
        answer = connection.receive()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.closed()
    answer = answered(live, raw("/ping", "GET", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Key="x"))
    assert answer.status == 200


def test_more_connections_than_allowed_hear_503(live):
    many = [Connection(live) for _ in range(21)]
    answer = many[-1].receive()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    for connection in many:
        connection.close()
    until(lambda: not live.server.server_state.connections)


def test_the_server_answers_after_all_that(live):
    for _ in range(20):
        assert answered(live, question(live)).status == 200
    counted = live.app.metrics.registry
    for protocol in ("v1", "v2", "mlflow", "none"):
        assert not counted.get_sample_value("gamekeeper_requests_total", {"protocol": protocol, "outcome": "failed"})
    assert live.app.pool.under_way == 0
    assert live.app._receiving.size == 0

"""How the server starts and stops: signals, files that are wrong, sockets, what is said about where it listens."""

import http.client
import ipaddress
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gamekeeper.engine.gateway.request import Request
from gamekeeper.errors import BadConfig
from gamekeeper.surfaces.gateway.running import server
from gamekeeper.surfaces.gateway.settings import ServerSettings
from gamekeeper.types import Reply
from tests.surfaces.gateway.live import (
    INFER,
    Connection,
    answered,
    body_of,
    built,
    images,
    linear,
    question,
    raw,
    serving,
    until,
)


def test_the_server_drains_ready_first_then_those_under_way_then_nobody():
    go = threading.Event()

    def slow(request: Request) -> Reply:
        if len(request.x) == 2:
            go.wait(10)
        return linear(request)

    with serving(slow, notice=0.6, drain=5.0) as live:
        under_way, idle = Connection(live), Connection(live)
        under_way.send(question(live, n=2))
        until(lambda: live.app.pool.under_way == 1)
        idle.send(question(live))
        assert idle.receive().headers.get("connection") is None
        live.server.handle_exit(signal.SIGTERM, None)
        ready = answered(live, raw("/v2/health/ready", "GET"))
        assert (ready.status, ready.json) == (503, {"ready": False})
        assert answered(live, raw("/v2/health/live", "GET")).status == 200
        late = answered(live, question(live))  # a balancer that has not heard it yet
        assert (late.status, late.headers["connection"]) == (200, "close")
        until(lambda: live.app.phase.value == "closed")
        idle.send(question(live))
        refused = idle.receive()
        assert (refused.status, refused.headers["connection"], refused.headers["retry-after"]) == (503, "close", "1")
        assert "being stopped" in refused.json["error"]
        assert idle.closed()
        go.set()
        assert under_way.receive().status == 200
        until(lambda: not live.server.servers[0].is_serving())
    assert live.metric("gamekeeper_requests_total", protocol="v2", outcome="stopping") == 1


def test_draining_ends_by_its_time_whoever_is_still_there():
    go = threading.Event()

    def stuck(request: Request) -> Reply:
        go.wait(20)
        return linear(request)

    with serving(stuck, notice=0.0, drain=0.3) as live:
        connection = Connection(live)
        connection.send(question(live))
        until(lambda: live.app.pool.under_way == 1)
        start = time.monotonic()
        live.server.handle_exit(signal.SIGTERM, None)
        until(lambda: not live.server.servers[0].is_serving())
        assert time.monotonic() - start < 3
        go.set()


@contextmanager
def process(tmp_path: Path, seconds: float):
    """The stand-in with its port and key, and the file it reads at SIGHUP."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    policy = tmp_path / "policy"
    policy.write_text("0")
    command = [sys.executable, "-m", "tests.surfaces.gateway.stand_in", str(port), str(policy), str(seconds)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        key = running.stdout.readline().strip()
        until(lambda: running.poll() is not None or reachable(port), 60)
        yield running, port, key, policy
    finally:
        running.kill()
        running.communicate()


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def asks(port: int, key: str) -> list[float]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("POST", INFER, body_of(images()), {"Authorization": f"Bearer {key}"})
    answer = client.getresponse()
    body = json.loads(answer.read())
    client.close()
    assert answer.status == 200, body
    return body["outputs"][0]["data"]


def test_signals_read_the_policy_again_and_end_the_process_in_order(tmp_path: Path):
    with process(tmp_path, 0.0) as (running, port, key, policy):
        assert asks(port, key) == [1, 0, 0]
        policy.write_text("2")
        running.send_signal(signal.SIGHUP)
        until(lambda: asks(port, key) == [0, 0, 1])
        policy.write_text("nonsense")
        running.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert asks(port, key) == [0, 0, 1]
        running.send_signal(signal.SIGTERM)
        out, log = running.communicate(timeout=10)
        assert running.returncode == 0
        assert out.split() == ["drained", "True"]
    messages = [line["message"] for line in map(json.loads, log.splitlines()) if "message" in line]
    assert "the policy was read again" in messages
    assert "nothing has changed: policy must hold a number" in messages
    assert any(message.startswith("stopping") for message in messages)


def test_a_second_signal_stops_at_once(tmp_path: Path):
    with process(tmp_path, 30.0) as (running, port, key, _):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        client.request("POST", INFER, body_of(images()), {"Authorization": f"Bearer {key}"})
        time.sleep(0.3)
        running.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert running.poll() is None
        start = time.monotonic()
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=10)
        assert time.monotonic() - start < 4
        assert (running.returncode, out.split()) == (3, ["False"])
        client.close()


def test_a_unix_socket_serves_as_well(tmp_path: Path):
    with serving(unix=tmp_path / "socket") as live:
        client = httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "socket")), base_url="http://m")
        answer = client.post(INFER, content=body_of(images()), headers={"X-API-Key": live.key})
        assert answer.status_code == 200
        client.close()
        assert live.seen[0].who.network == live.principals.pseudonyms.network("acme", "")


def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that says it is 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "a.pem").write_bytes(signed.public_bytes(pem))
    (tmp_path / "a.key").write_bytes(private)
    return tmp_path / "a.pem", tmp_path / "a.key"


def test_tls_is_spoken_with_a_certificate(tmp_path: Path):
    public, private = certificate(tmp_path)
    with serving(certificate=public, private_key=private) as live:
        context = ssl.create_default_context(cafile=str(public))
        with httpx.Client(verify=context, base_url=f"https://127.0.0.1:{live.port}") as client:
            answer = client.post(INFER, content=body_of(images()), headers={"X-API-Key": live.key})
        assert answer.status_code == 200


def test_tls_needs_files_that_can_be_read(tmp_path: Path):
    (tmp_path / "bad.pem").write_text("no certificate")
    live = built(certificate=tmp_path / "bad.pem", private_key=tmp_path / "bad.pem")
    with pytest.raises(BadConfig, match="cannot be used"):
        server(live.app, live.settings)
    live.app.close()
    with pytest.raises(BadConfig, match="Give both"):
        ServerSettings(certificate=tmp_path / "bad.pem")


@pytest.mark.parametrize(
    ("host", "exposed"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("a.example", True)],
)
def test_where_others_can_listen_in_is_known(host: str, exposed: bool):
    assert ServerSettings(host=host).exposed == exposed
    assert not ServerSettings(host=host, certificate=Path("a"), private_key=Path("b")).exposed


def test_metrics_have_a_port_of_their_own():
    with serving() as live:
        answered(live, question(live))
        served = live.app.metrics.serve("127.0.0.1", 0)
        try:
            text = httpx.get(f"http://127.0.0.1:{served.server_port}/metrics").text
        finally:
            served.shutdown()
            served.server_close()
        assert 'gamekeeper_requests_total{outcome="answered",protocol="v2"} 1.0' in text
        assert answered(live, raw("/metrics", "GET")).status == 404

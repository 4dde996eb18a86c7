"""`gamekeeper serve` before another server: its numbers pass through, and when it is down clients hear so and pay nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from gamekeeper.engine.gateway.bounded import KEPT
from gamekeeper.targets.builtin import BUILTIN
from tests.surfaces.gateway.whole import Whole, whole
from tests.targets.server import Api

pytestmark = pytest.mark.thorough

WEIGHTS = np.random.default_rng(0).normal(size=(64, 10))
TARGET = """
kind = "http"
answers = "probabilities"
classes = 10
[input]
shape = [64]
[data]
test = "test.npz"
pool = "test.npz"
[http]
url = "{url}"
model = "m"
protocol = "v1"
headers = {{ X-Key = "${{MODEL_KEY}}" }}
"""


def posterior(x: np.ndarray) -> np.ndarray:
    e = np.exp((x.astype(float)[:, :, None] * WEIGHTS).sum(1))
    return e / e.sum(1, keepdims=True)


@contextmanager
def serving(port: int = 0) -> Iterator[Api]:
    """The server behind the gateway, at a port of its own or a given one."""

    class Here(Api):
        server_port_wanted = port
        allow_reuse_address = True

        def server_bind(self) -> None:
            self.server_address = ("127.0.0.1", self.server_port_wanted)
            super().server_bind()

    with Here(posterior, (64,)) as api:
        thread = threading.Thread(target=api.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield api
        finally:
            api.shutdown()
            thread.join()


def ask(gateway: Whole, x: np.ndarray) -> httpx.Response:
    return httpx.post(
        f"{gateway.door.url}/v1/models/live:predict",
        json={"instances": x.astype(float).tolist()},
        headers={
            "Authorization": f"Bearer {gateway.door.keys['auditor']}",
            "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
        },
        timeout=30,
    )


def test_numbers_pass_through_and_a_server_that_is_down_costs_nobody_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MODEL_KEY", "swordfish")
    digits = BUILTIN["digits"]().test
    np.savez(tmp_path / "test.npz", x=digits.x[:50].flatten(1).numpy(), y=digits.y[:50].numpy())
    x = np.random.default_rng(1).random((7, 64), dtype=np.float32)
    with serving() as api:
        port = api.server_address[1]
        (tmp_path / "live.toml").write_text(TARGET.format(url=api.url))
        with whole(tmp_path / "gateway", str(tmp_path / "live.toml")) as gateway:
            answer = ask(gateway, x)
            assert answer.status_code == 200, answer.text
            own = posterior(x).astype("<f4")
            assert np.array(answer.json()["predictions"]).astype("<f4").tobytes() == own.tobytes()
            path, headers = api.seen[-1]
            assert (path, headers["x-key"]) == ("/v1/models/m:predict", "swordfish")
            assert headers["traceparent"].split("-")[1] == "ab" * 16
            assert "authorization" not in headers
            assert gateway.door.keys["auditor"] not in str(headers)
            fallen(api)
            statuses = [ask(gateway, x) for _ in range(7)]
            assert [each.status_code for each in statuses][:1] == [502]
            assert statuses[-1].status_code == 503
            assert int(statuses[-1].headers["retry-after"]) <= 5
            assert not [each.text for each in statuses if str(port) in each.text or "127.0.0.1" in each.text]
            with serving(port):
                end = time.monotonic() + 30
                while (again := ask(gateway, x)).status_code != 200 and time.monotonic() < end:
                    time.sleep(0.3)
                assert again.json() == answer.json()
            assert gateway.queries() == 14


def fallen(api: Api) -> None:
    """The server stops and closes its port; connections that idle are not used again."""
    api.shutdown()
    api.socket.close()
    time.sleep(KEPT + 0.2)

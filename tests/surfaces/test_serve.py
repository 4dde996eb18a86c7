"""`gamekeeper serve`: what is wrong is found before anything is started; a gateway answers, reads its policy again and ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from gamekeeper.engine.gateway.folder import gateway_folder
from gamekeeper.engine.gateway.watching import gateway_scene
from gamekeeper.errors import OracleError
from gamekeeper.service.principals import Principals
from gamekeeper.surfaces.cli import guarded
from gamekeeper.surfaces.init import write_config
from gamekeeper.surfaces.ready_gateway import prepared
from gamekeeper.surfaces.serve import in_process
from tests.surfaces.gateway_folder import answer
from tests.targets.server import serving

pytestmark = pytest.mark.thorough
BODY = {"inputs": [{"name": "input-0", "shape": [2, 1, 8, 8], "datatype": "FP32", "data": [0.5] * 128}]}


def made(path: Path, more: str = "", target: str = "digits") -> Path:
    write_config("gateway", path, target)
    text = (path / "gateway.toml").read_text().replace('"127.0.0.1:8080"', '"unix:gate.sock"')
    (path / "gateway.toml").write_text(text + more)
    return path


def test_a_check_says_what_would_be_done_and_starts_nothing(tmp_path, capsys):
    path = made(tmp_path / "gate", '\n[tenant.acme]\npolicy = "acme.toml"\n')
    (path / "acme.toml").write_text("[slow]\nper_second = 1\n[[rule]]\nwhen = 'any'\nthen = 'slow'\n")
    assert guarded(["serve", str(path), "--check"]) == 0
    out = capsys.readouterr().out
    for words in (
        "serves digits at the Unix socket",
        "Tenants: default, acme.",
        "Detectors that raise alarms: none yet.",
        "Policy: no rules.",
        "Policy of tenant acme: in shadow (any -> slow). What would be done is written down; nothing is done",
        "No quotas: whoever has a key",
        "  KEY=$(gamekeeper keys ",
        "--unix-socket",
        "Everything is in order; nothing was started.",
    ):
        assert words in out
    assert not (path / "gate.sock").exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("policy.toml", "[[rule]]\nwhen = 'mmd'\nthen = 'log'", "line 2, rule[1].when: no detector 'mmd' runs"),
        ("policy.toml", "[coarser]\ndefense = 'mad'", "line 2, coarser.defense: 'mad' may change the top class"),
        (
            "policy.toml",
            "[defense]\ndefense = 'adaptive_misinformation'",
            "names a defense that does not suit this model",
        ),
        ("gateway.toml", "target = 'digitz'", "there is no target 'digitz'"),
        ("gateway.toml", "target = 'digits'\npolicy = 'none.toml'", "none.toml cannot be read"),
        ("gateway.toml", "target = 'digits'\nlisten = '1.2.3.4'", "line 2, listen: '1.2.3.4' is no address"),
        ("gateway.toml", "target = 'digits'\ndetectors = ['mdm']", "mdm"),
        ("limits.json", "{}", "does not hold limits"),
        ("secret.key", "short", "hexadecimal digits"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(tmp_path, capsys, file, text, message):
    path = made(tmp_path / "gate")
    (path / file).write_text(text)
    assert guarded(["serve", str(path), "--check"]) == 4
    assert message in capsys.readouterr().err


def test_limits_of_something_else_are_refused_with_what_to_do(tmp_path, capsys):
    path = made(tmp_path / "gate")
    (path / "limits.json").write_text('{"format": 1, "for": "other", "limits": {}}')
    assert guarded(["serve", str(path), "--check"]) == 4
    assert "gamekeeper calibrate --journal FOLDER, or move the file away" in capsys.readouterr().err


def test_hashes_of_inputs_are_drawn_with_the_secret(tmp_path):
    folder = gateway_folder(made(tmp_path / "gate"))
    with_secret, without = gateway_scene(folder, folder.pseudonyms().secret), gateway_scene(folder)
    assert with_secret.repeats.key != without.repeats.key == 0
    assert with_secret.basis == without.basis  # limits are not the secret's


def test_clients_of_the_journal_make_limits_that_the_gateway_takes(tmp_path, capsys):
    """40 clients scored 0 to 3.9 at each look; at 1 in 10 clients the alarm is at the highest of them."""
    path = made(tmp_path / "gate", "\ndetectors = ['prada:floor=0']\n".replace("\n", "", 1))
    text = (path / "gateway.toml").read_text().replace("alpha = 0.01", "alpha = 0.1", 1)
    (path / "gateway.toml").write_text(text.replace("[tenant", "#"))
    folder = gateway_folder(path)
    looks = gateway_scene(folder).setting.looks
    with folder.open_journal() as journal:
        for number in range(40):
            for nth, look in enumerate(looks):
                scores = {f"prada:floor=0@{look}": number / 10}
                journal.append(answer("default", f"{number:032x}", 1e9 + 100 * number + nth, **scores))
    assert guarded(["calibrate", "--journal", str(path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "40 clients of the journal are believed honest; 0 more asked too little to be judged, and 0 were left out"
        in out
    )
    assert (
        "Alarms at 1 in 10 clients are backed from 29 quiet clients on; you have 40: today's bound is 72.2 in 1,000."
        in out
    )
    ready = prepared(folder, lambda _: None)
    limits = ready.watching[""].limits["prada:floor=0"]
    assert (limits.backing.kind, limits.backing.clients) == ("clients", 40)
    assert limits.null.p(0, 3.9) == pytest.approx(2 / 41)
    assert not ready.watching[""].fresh
    assert (
        guarded(["calibrate", "--journal", str(path), "--last", "5", "--json", "--out", str(tmp_path / "l.json")]) == 4
    )


HTTP = """
kind = "http"
answers = "probabilities"
classes = 10
[input]
shape = [1, 28, 28]
[data]
test = "mnist-test"
pool = "letters"
[http]
url = "{url}"
protocol = "v1"
model = "m"
"""


def test_a_server_behind_the_gateway_is_watched_without_limits_at_first(tmp_path):
    def posterior(x: np.ndarray) -> np.ndarray:
        top = (x.reshape(len(x), -1).sum(1) * 1e3).astype(int) % 10
        return np.eye(10)[top] * 0.9 + 0.01

    with serving(posterior, (1, 28, 28)) as api:
        (tmp_path / "live.toml").write_text(HTTP.format(url=api.url))
        path = made(tmp_path / "gate", target=str(tmp_path / "live.toml"))
        x = torch.rand(21, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        with in_process(path) as gateway:
            key = gateway.issue("ann")
            reply = gateway.ask(key, x)
            assert np.allclose(reply.y.numpy(), posterior(x.numpy()), atol=1e-6)
            watched = gateway.gateways.ready.watching[""]
            assert not watched.limits
            assert "natural inputs" in watched.silent["prada:floor=0"]
            api.answer = lambda x: np.full((len(x), 10), np.nan)
            with pytest.raises(OracleError):
                gateway.ask(key, x)
    folder = gateway_folder(path)
    with folder.open_journal() as journal:
        events = [event for _, event in journal.read("default") if event.client]
    assert [(event.kind, event.n) for event in events] == [("answer", 21)]
    assert "prada:floor=0@20" in events[0].scores  # for the first calibration, although it cannot alarm yet


@pytest.fixture
def running(tmp_path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    path = made(tmp_path / "gate")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "gamekeeper", "serve", str(path)], stdout=log, stderr=log)
        try:
            yield path, process
        finally:
            process.kill()
            process.wait()


def client(path: Path) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(path / "gate.sock")), base_url="http://localhost")


def until(true, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_gateway_from_the_first_request_to_its_end(running, tmp_path, capsys):
    path, process = running
    until((path / "gate.sock").exists)
    folder = gateway_folder(path)
    with folder.open_journal() as journal:
        key = Principals(journal, folder.pseudonyms()).issue("default", "ann", time.time())
    url, headers = "/v2/models/digits/infer", {"Authorization": f"Bearer {key}"}
    with client(path) as http:
        assert http.post(url, json=BODY).status_code == 401
        answers = [http.post(url, json=BODY, headers=headers) for _ in range(3)]
        assert [each.status_code for each in answers] == [200] * 3
        assert len({each.text for each in answers}) == 1
        (path / "policy.toml").write_text("[[rule]]\nwhen = 'any'\nthen = 'slow'\n")
        os.kill(process.pid, signal.SIGHUP)
        until(lambda: b"nothing has changed" in (tmp_path / "log").read_bytes())
        assert b"line 3, rule[1].then" in (tmp_path / "log").read_bytes()
        assert http.post(url, json=BODY, headers=headers).status_code == 200
    assert guarded(["clients", str(path), "--account", "ann", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["queries"], row["alarms"], row["level"]) == (8, 0, "log")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 0
    with folder.open_journal() as journal:
        assert sum(event.n for _, event in journal.read("default")) == 8
    assert key.split("_")[2].encode() not in (tmp_path / "log").read_bytes()

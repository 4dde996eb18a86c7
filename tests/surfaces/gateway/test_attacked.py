"""`gamekeeper audit` attacks a running gateway as any HTTP target, and the gateway counts what it was asked."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gamekeeper.surfaces.cli import guarded
from gamekeeper.targets.builtin import BUILTIN
from tests.surfaces.gateway.whole import Whole, whole

pytestmark = pytest.mark.thorough

TARGET = """
kind = "http"
answers = "probabilities"
classes = 10
[input]
shape = [1, 28, 28]
[data]
test = "test.npz"
pool = "pool.npz"
[thief]
student = "mlp:hidden=8"
[http]
url = "{url}"
protocol = "{protocol}"
model = "mnist"
headers = {{ Authorization = "Bearer ${{GATEWAY_KEY}}" }}
"""
RUN = ["--attack", "knockoff", "--defense", "none", "--budget", "60", "--uniform", "0", "--jobs", "1", "--yes"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("whole") / "gateway") as running:
        yield running


def audit(gateway: Whole, protocol: str, folder: Path) -> int:
    """The exit code."""
    file, run = folder / f"{protocol}.toml", folder / protocol
    digits = BUILTIN["mnist"]()
    np.savez(folder / "test.npz", x=digits.test.x[:100].numpy(), y=digits.test.y[:100].numpy())
    np.savez(folder / "pool.npz", x=digits.pool.x[:100].numpy())
    file.write_text(TARGET.format(url=gateway.door.url, protocol=protocol))
    return guarded(["audit", str(file), *RUN, "--out", str(run)])


def test_the_gateway_counts_exactly_the_queries_of_an_audit(
    gateway: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("GATEWAY_KEY", gateway.door.keys["auditor"])
    for protocol in ("v2", "v1"):
        before = gateway.queries()
        assert audit(gateway, protocol, tmp_path) == 0
        sent = re.search(r"sent to the API in this run: (\d+) inputs; 60 of them by thieves", capsys.readouterr().out)
        assert sent is not None
        assert gateway.queries() - before == int(sent[1]) >= 160
        assert audit(gateway, protocol, tmp_path) == 0
        assert gateway.queries() - before == int(sent[1]), "what was paid for was asked again"
    assert not gateway.events("denied")
    files = [path.read_bytes() for path in (*tmp_path.rglob("*"), *gateway.folder.rglob("*")) if path.is_file()]
    assert not [data for data in files if gateway.door.keys["auditor"].encode() in data]


def test_without_a_key_nothing_is_asked(
    gateway: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("GATEWAY_KEY", "gk_wrong")
    before = gateway.queries()
    assert audit(gateway, "v2", tmp_path) == 5
    said = capsys.readouterr()
    assert "Check the key" in said.out + said.err
    assert gateway.queries() == before

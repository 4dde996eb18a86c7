"""The demo of the gateway, small: over HTTP, a thief is noticed and honest clients are not."""

from pathlib import Path

import pytest
from examples.demo_gateway import play, report
from examples.demo_log import Crowd

pytestmark = pytest.mark.thorough


def test_the_demo_of_the_gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "gateway"
    seen = play(folder, Crowd({"natural": (2, 25), "retries": (1, 15)}, {"uniform": 30}))
    assert {name: row.queries for name, row in seen.items()} == {
        "user-01": 25,
        "user-02": 25,
        "user-03": 30,
        "uniform-thief": 30,
    }
    assert [name for name, row in seen.items() if row.alarms] == ["uniform-thief"]
    assert all(row.level == "log" and row.denied == 0 for row in seen.values())
    assert report(seen, folder)
    printed = capsys.readouterr().out
    assert f"{seen['uniform-thief'].client[:8]}  uniform-thief" in printed
    assert "Honest clients under suspicion: none, of 3." in printed

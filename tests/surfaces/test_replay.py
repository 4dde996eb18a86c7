"""`gamekeeper replay` and `gamekeeper calibrate` as a user meets them: a small log of honest clients and two thieves."""

import functools
import tempfile
from pathlib import Path

import orjson
import pytest

from gamekeeper.detectors.limits_file import from_json
from gamekeeper.replay_files import ReplayFiles
from gamekeeper.replay_rows import Review
from gamekeeper.surfaces.calibrate import needed
from gamekeeper.surfaces.cli import guarded
from tests.engine.test_replay import demo

FEW = ("--detector", "repeats", "--detector", "ood_share:score=mahalanobis", "--detector", "mmd", "--alpha", "0.02")


@functools.cache
def small_demo() -> Path:
    """Seven honest clients and two thieves."""
    folder = Path(tempfile.mkdtemp())
    crowd = demo().Crowd(
        {"natural": (3, 40), "class mix Dirichlet(1)": (1, 40), "retries": (2, 30), "frame bursts": (1, 10)},
        {"knockoff": 60, "uniform": 30},
    )
    demo().write(folder, crowd)
    return folder


def replayed(out: Path, *more: str) -> int:
    folder = small_demo()
    log, mapping = str(folder / "log.jsonl.gz"), str(folder / "mapping.toml")
    return guarded(["replay", log, "--mapping", mapping, "--out", str(out), *more])


def test_a_small_demo_names_its_thieves_and_nobody_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replayed(tmp_path, "--target", "mnist", *FEW, "--fail-if-alarm") == 1
    shown = capsys.readouterr().out
    files = ReplayFiles(tmp_path)
    assert {alarm.client for alarm in files.alarms()} == {"knockoff-thief", "uniform-thief"}
    assert {row.client for row in files.clients()[:2]} == {"knockoff-thief", "uniform-thief"}
    assert "9 clients sent 470 queries" in shown
    assert "2 of them raised an alarm" in shown
    assert "not a verdict" in shown
    assert (tmp_path / "replay.html").exists()
    assert not list(tmp_path.glob("*.sqlite*"))


def test_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replayed(tmp_path, "--target", "mnist", *FEW, "--json") == 0
    whole = orjson.loads(capsys.readouterr().out)
    assert whole["alarmed"] == 2
    assert {alarm["client"] for alarm in whole["alarms"]} == {"knockoff-thief", "uniform-thief"}


def test_without_a_target_there_is_evidence_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replayed(tmp_path) == 0
    shown = capsys.readouterr().out
    assert "Nothing here could raise an alarm" in shown
    assert "mmd did not run: no --target was given" in shown
    rows = {row.client: row for row in ReplayFiles(tmp_path).clients()}
    assert 0.3 < sum(rows[name].exact or 0 for name in ("user-05", "user-06")) / 2 < 0.7  # they ask again
    assert rows["user-01"].exact == 0
    assert replayed(tmp_path, "--benign", "x.npz") == 4
    assert "--target" in capsys.readouterr().err


def test_limits_from_a_file_serve_a_replay_of_the_same_model_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    limits = str(tmp_path / "limits.json")
    assert guarded(["calibrate", "mnist", *FEW, "--out", limits]) == 0
    shown = capsys.readouterr().out
    assert "Alarms at 1 in 50 clients are backed from 149 quiet clients on; you have 4" in shown
    assert replayed(tmp_path / "a", "--target", "mnist", "--limits", limits) == 0
    assert ReplayFiles(tmp_path / "a").header().alarmed == 2
    assert ReplayFiles(tmp_path / "a").header().alpha == 0.02
    assert replayed(tmp_path / "b", "--target", "fashion", "--limits", limits) == 4
    assert "another model" in capsys.readouterr().err


def test_clients_of_a_log_set_limits_without_those_accused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder, limits = small_demo(), str(tmp_path / "limits.json")
    replayed(tmp_path / "a", "--target", "mnist", *FEW)
    files = ReplayFiles(tmp_path / "a")
    for alarm in files.alarms():
        if alarm.client == "uniform-thief":
            files.add(Review(alarm.id, alarm.client, "dismissed", "me", "a test of ours", 0.0))
    source = ["--log", str(folder / "log.jsonl.gz"), "--mapping", str(folder / "mapping.toml")]
    command = ["calibrate", "mnist", *FEW[:-2], "--alpha", "0.5", *source, "--out", limits]
    capsys.readouterr()
    assert guarded([*command, "--replay", str(tmp_path / "a")]) == 0
    shown = capsys.readouterr().out
    # seven honest ones but the camera, whose 100 frames are 10 inputs; and the one whose alarms were dismissed
    assert (
        "7 clients of log.jsonl.gz are believed honest; 1 more asked too little to be judged, and 1 was left out"
        in shown
    )
    stored = orjson.loads(Path(limits).read_bytes())["limits"]
    each = from_json(stored["mmd"])
    assert each.backing.kind == "clients"
    assert each.backing.clients == 7
    assert each.alpha == 0.25
    assert guarded([*command[:-4], "--out", limits]) == 4
    assert "--mapping" in capsys.readouterr().err
    assert guarded([*command, "--alpha", "0.01"]) == 4
    assert "needs a null of" in capsys.readouterr().err


def test_how_many_quiet_clients_back_a_promise():
    assert needed(0.001) == 2_995
    assert needed(0.01) == 299
    assert needed(1.0) == 1

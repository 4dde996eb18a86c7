"""The command line as a person or a build meets it: exit codes, plans, resumption, refusals."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from gamekeeper.surfaces.cli import guarded

QUICK = ["--attack", "knockoff", "--defense", "none", "--defense", "label", "--budget", "60", "--jobs", "1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished audit of two cells."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert guarded(["audit", "digits", *QUICK, "--out", str(folder), "--quiet"]) == 0
    return folder


def test_help_needs_no_torch():
    script = (
        "import sys, gamekeeper, gamekeeper.surfaces.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_dry_run_states_queries_and_money_and_asks_nothing(tmp_path, capsys):
    folder = tmp_path / "run"
    assert guarded(["audit", "digits", *QUICK, "--price", "0.5", "--out", str(folder), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "2 thefts: 2 defenses x 1 thieves x budgets 60 x 1 seed(s)" in said
    assert "at most 2,517 queries, 1,258.50 in money at 0.5 a query" in said
    assert list(folder.iterdir()) == []


def test_a_finished_run_is_resumed_without_work(finished, capsys):
    before = (finished / "results.jsonl").read_bytes()
    assert guarded(["audit", "digits", *QUICK, "--out", str(finished)]) == 0
    assert "2 already done" in capsys.readouterr().out
    assert (finished / "results.jsonl").read_bytes() == before


def test_a_line_cut_by_a_crash_runs_again(finished, tmp_path, capsys):
    results = finished / "results.jsonl"
    whole = results.read_bytes()
    results.write_bytes(whole[:-30])
    assert guarded(["audit", "digits", *QUICK, "--out", str(finished)]) == 0
    assert "1 already done" in capsys.readouterr().out
    again = json.loads(results.read_bytes().splitlines()[-1])
    first = json.loads(whole.splitlines()[-1])
    assert again["clone"] == first["clone"]
    assert again["paid"] == 0


def test_thresholds_set_the_exit_code(finished, capsys):
    run = ["audit", "digits", *QUICK, "--out", str(finished), "--quiet", "--fail-if"]
    assert guarded([*run, "worst.accuracy>0.99@60"]) == 0
    assert guarded([*run, "worst.accuracy>0.2@60"]) == 1
    assert "breached: worst.accuracy>0.2@60 (defense label" in capsys.readouterr().out


def test_json_holds_run_rows_and_flags(finished, capsys):
    assert guarded(["audit", "digits", *QUICK, "--out", str(finished), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [row["defense"] for row in data["rows"]] == ["none", "label"]
    assert "single-seed" in data["rows"][0]["flags"]
    assert data["run"]["schema"] == 1
    assert data["run"]["command"].startswith("gamekeeper ")


def test_report_is_a_pure_function_of_the_folder(finished, capsys):
    assert guarded(["report", str(finished)]) == 0
    page = (finished / "report.html").read_bytes()
    assert guarded(["report", str(finished), "--png"]) == 0
    assert (finished / "report.html").read_bytes() == page
    assert (finished / "price-to-steal.png").exists()
    assert guarded(["report", str(finished), "--json"]) == 0
    assert '"rows"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "mnits"], "there is no target 'mnits'. Built in: mnist"),
        (["audit", "digits", "--budget", "many"], "Invalid value for '--budget'"),
        (["audit", "digits", "--frobnicate"], "No such option"),
        (["audit", "digits", "--defense", "mda"], "Did you mean 'mad'?"),
        (["audit", "digits", "--pool", "nowhere.npz"], "nowhere.npz does not exist"),
        (["audit", "digits", "--pool", "letters"], "shape"),
        (["audit", "digits", "--student", "lenet"], "at least 16 a side"),
        (["audit", "digits", "--price", "inf"], "a finite number, at least 0. Got inf"),
        (["audit", "digits", "--price", "nan"], "Invalid value for '--price'"),
        (["audit", "digits", "--fail-if", "worst"], "must look like"),
        (["report", "nowhere"], "holds no run"),
        (["methods", "mda"], "there is no method 'mda'"),
        (["init", "party"], "there is no configuration 'party'"),
    ],
)
def test_what_cannot_be_done_is_said_with_exit_code_four(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert guarded(arguments) == 4
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_pickle_is_refused(tmp_path, capsys):
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04.")
    target = tmp_path / "target.toml"
    assert guarded(["init", "audit", "--out", str(target)]) == 0
    target.write_text(target.read_text().replace('"mnist-lenet"', '"model.pkl"'))
    assert guarded(["audit", str(target), "--dry-run", "--out", str(tmp_path / "run")]) == 4
    assert "safetensors" in capsys.readouterr().err


def test_a_damaged_ledger_is_left_alone(finished, tmp_path, capsys):
    (tmp_path / "ledger.sqlite").write_bytes(b"rubbish" * 1000)
    assert guarded(["audit", "digits", *QUICK, "--out", str(tmp_path)]) == 4
    assert "damaged" in capsys.readouterr().err
    assert (tmp_path / "ledger.sqlite").read_bytes() == b"rubbish" * 1000


HTTP = """
kind = "http"
answers = "probabilities"
classes = 10
price = 1
[input]
shape = [1, 28, 28]
[data]
test = "mnist-test"
pool = "letters"
[http]
url = "http://127.0.0.1:9"
model = "m"
retries = 0
"""


def test_a_live_target_needs_consent_and_an_answer(tmp_path, capsys):
    target = tmp_path / "live.toml"
    target.write_text(HTTP)
    run = ["audit", str(target), *QUICK, "--out", str(tmp_path / "run")]
    assert guarded(run) == 4
    assert "add --yes" in capsys.readouterr().err
    assert guarded([*run, "--yes"]) == 5
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_init_writes_a_file_that_works_as_it_stands_and_never_over_another(tmp_path, capsys):
    target = tmp_path / "audit.toml"
    assert guarded(["init", "audit", "--out", str(target)]) == 0
    assert guarded(["audit", str(target), "--dry-run", "--out", str(tmp_path / "run")]) == 0
    assert "36 thefts" in capsys.readouterr().out
    text = target.read_text()
    assert guarded(["init", "audit", "--out", str(target)]) == 4
    assert target.read_text() == text


def test_methods_lists_everything_and_explains_one(capsys):
    assert guarded(["methods"]) == 0
    listed = capsys.readouterr().out
    assert all(
        name in listed for name in ("knockoff", "labels", "averaged", "mad", "reverse_sigmoid", "wrn", "copycat")
    )
    assert guarded(["methods", "mad"]) == 0
    said = capsys.readouterr().out
    assert "eps = a number, default 0.95" in said
    assert "source: Orekondy" in said
    assert guarded(["methods", "copycat"]) == 0
    assert "knockoff+labels" in capsys.readouterr().out


def test_an_interrupt_ends_with_two_and_the_run_goes_on_later(tmp_path):
    command = [sys.executable, "-m", "gamekeeper", "audit", "digits", "--budget", "250", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "results.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "run the same command again" in said
    assert (tmp_path / "results.jsonl").read_bytes().endswith(b"\n")

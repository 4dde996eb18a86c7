"""The command line as a person or a build meets it: exit codes, plans, resumption, refusals."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from gamekeeper.engine.lock import claimed
from gamekeeper.results import Results
from gamekeeper.surfaces.cli import guarded

pytestmark = pytest.mark.thorough

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


def test_without_arguments_it_prints_help_and_that_is_no_error(capsys):
    assert guarded([]) == 0
    assert "Usage" in capsys.readouterr().out


def test_dry_run_states_queries_and_money_and_asks_nothing(tmp_path, capsys):
    folder = tmp_path / "run"
    assert guarded(["audit", "digits", *QUICK, "--price", "0.5", "--out", str(folder), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "2 thefts: 2 defenses x 1 thieves x budgets 60 x 1 seed(s)" in said
    assert "and 1 clone of a thief who asks nothing (commonest_class): 0 queries" in said
    assert (
        "at most 5,693 queries (5,573 of them for evaluation, free), 60.00 in money at 0.5 for each of the thieves' 120;"
        in said
    )
    assert list(folder.iterdir()) == []


def test_a_quiet_dry_run_says_what_it_would_cost_and_one_for_machines_in_json(tmp_path, capsys):
    run = ["audit", "digits", *QUICK, "--out", str(tmp_path), "--dry-run"]
    assert guarded([*run, "--quiet"]) == 0
    assert ", free), 0.12 in money at 0.001 for each of the thieves' 120; about " in capsys.readouterr().out
    assert guarded([*run, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert (plan["thefts"], plan["done"], plan["queries"]) == (2, 0, 5693)
    assert (plan["judged"], plan["paid"]) == (5573, 120)


def test_a_folder_at_work_is_left_alone_and_a_dry_run_may_look(finished, capsys):
    results = finished / "results.jsonl"
    whole = results.read_bytes()
    results.write_bytes(whole + b'{"cell": "under w')
    with claimed(finished):
        assert guarded(["audit", "digits", *QUICK, "--out", str(finished)]) == 4
        assert "another run is at work in" in capsys.readouterr().err
        assert guarded(["audit", "digits", *QUICK, "--out", str(finished), "--dry-run"]) == 0
        assert "2 already done" in capsys.readouterr().out
    assert results.read_bytes() == whole + b'{"cell": "under w'
    results.write_bytes(whole)


def test_another_price_and_another_spelling_go_on_with_the_run_and_rename_it(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run")
    again = ["--attack", "knockoff", "--defense", "none", "--defense", "label", "--budget", "60", "--jobs", "1"]
    again[1] = "knockoff+soft"
    assert guarded(["audit", "digits", *again, "--price", "2", "--out", str(tmp_path / "run"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    asked = [(row["attack"], row["queries"], row["price"]) for row in rows if row["budget"]]
    assert asked == [("knockoff+soft", 60, 120.0)] * 2
    assert (tmp_path / "run/results.jsonl").read_bytes() == (finished / "results.jsonl").read_bytes()


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
    assert guarded([*run, "worst.stolen>0.99@60"]) == 0
    assert guarded([*run, "worst.stolen>0.3@60"]) == 1
    assert guarded([*run, "worst.accuracy>0.2@60"]) == 1
    assert "breached: worst.accuracy>0.2@60 (defense label" in capsys.readouterr().out


def test_a_threshold_whose_thief_failed_is_not_judged_and_said_so_below_the_table(
    finished, tmp_path, monkeypatch, capsys
):
    def broken(self, transfer, knows, seed):
        raise ZeroDivisionError("a bug")

    shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr("gamekeeper.learners.distil.Labels.__call__", broken)
    run = ["audit", "digits", *QUICK, "--attack", "knockoff+labels", "--out", str(tmp_path / "run"), "--fail-if"]
    assert guarded([*run, "worst.accuracy>0.99@60"]) == 3
    said = capsys.readouterr().out
    assert said.index("Clone accuracy at 60 queries") < said.index(
        "not judged: worst.accuracy>0.99@60 (defense label: no"
    )
    assert "no full measurement of knockoff+labels" in said
    assert guarded([*run, "worst.accuracy>0.2@60", "--quiet"]) == 1
    assert guarded([*run, "knockoff.accuracy>0.99@60", "--json"]) == 3, "a cell failed, whatever the threshold says"
    data = json.loads("{" + capsys.readouterr().out.split("{", 1)[1])
    assert (data["breached"], data["unjudged"]) == ([], [])


def test_json_holds_run_rows_and_flags(finished, capsys):
    assert guarded(["audit", "digits", *QUICK, "--out", str(finished), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    # the first is the zero-query clone, which asks nothing and meets no defense
    assert [(row["defense"], row["queries"]) for row in data["rows"]] == [("none", 0), ("none", 60), ("label", 60)]
    assert ["single-seed" in row["flags"] for row in data["rows"]] == [False, True, True]
    assert data["zero_query"]["attack"] == "commonest_class"
    assert data["zero_query"]["accuracy"]["value"] == data["rows"][0]["clone"]["accuracy"]["value"]
    (none, label) = (row["clone"]["accuracy"]["value"] for row in data["rows"][1:])
    assert data["stolen"]["none"] > data["stolen"]["label"] > 0 or none <= label
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
        (["audit", "digits", "--defense", "maad"], "Did you mean 'mad'?"),
        (["audit", "digits", "--pool", "nowhere.npz"], "nowhere.npz does not exist"),
        (["audit", "digits", "--pool", "letters"], "shape"),
        (["audit", "digits", "--student", "lenet"], "at least 16 pixels a side"),
        (["audit", "digits", "--price", "inf"], "a finite number, at least 0. Got inf"),
        (["audit", "digits", "--price", "nan"], "Invalid value for '--price'"),
        (["audit", "digits", "--fail-if", "worst"], "must look like"),
        (["audit", "digits", "--fail-if", "worst.accuracy>0.5@7"], "this run has no budget 7"),
        (
            ["audit", "digits", "--defense", "constant_target:target=11"],
            "--defense constant_target:target=11: Constant",
        ),
        (
            ["audit", "digits", "--attack", "knockoff+averaged:n=3", "--budget", "2"],
            "a budget of 2 queries is too small to ask about one",
        ),
        (["report", "nowhere"], "holds no run"),
        (["methods", "maad"], "there is no method 'maad'. Did you mean 'mad'?"),
        (["methods", "knokoff"], "Did you mean 'knockoff'?"),
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


@pytest.mark.parametrize("output", ["--json", "--quiet"])
def test_consent_is_asked_on_stderr_with_what_it_is_about(output, tmp_path, monkeypatch, capsys):
    target = tmp_path / "live.toml"
    target.write_text(HTTP)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert guarded(["audit", str(target), *QUICK, "--out", str(tmp_path / "run"), output]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert (
        "at most 2,124 queries (2,064 of them for evaluation, 64 of these a second time to see whether answers repeat),"
        in said.err
    )
    assert "2,124.00 in money at 1 per query" in said.err
    assert "Spend them? [y/N]" in said.err


@pytest.mark.parametrize("arguments", [["methods"], ["report", "FOLDER"], ["report", "FOLDER", "--json"]])
def test_a_reader_who_leaves_ends_the_command_quietly(arguments, finished):
    command = [sys.executable, "-m", "gamekeeper", *(str(finished) if a == "FOLDER" else a for a in arguments)]
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_pool_without_a_column_of_classes_is_a_pool(tmp_path, capsys):
    columns = [f"f{number}" for number in range(13)]
    values = torch.rand(70, 13, generator=torch.Generator().manual_seed(0))
    for name, more in (("bare.csv", []), ("labelled.csv", ["kind"])):
        lines = [",".join([*columns, *more])] + [",".join([*map(str, x), *more]) for x in values.tolist()]
        (tmp_path / name).write_text("\n".join(lines))
        run = ["audit", "wine", "--pool", str(tmp_path / name), *QUICK, "--out", str(tmp_path / "run"), "--dry-run"]
        assert guarded(run) == 0, capsys.readouterr().err


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
    # the second budget keeps it at work however late the signal comes
    asked = ["audit", "digits", "--budget", "250", "--budget", "4000", "--jobs", "1", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "gamekeeper", *asked]
    # a shell that starts the tests in the background leaves the signal ignored, and children inherit that
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline, results = time.monotonic() + 300, tmp_path / "results.jsonl"
    while not (results.exists() and results.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "run the same command again" in said
    assert results.read_bytes().endswith(b"\n")


def test_a_thief_who_cannot_arm_the_defense_they_know_is_left_out_before_anything_is_spent(tmp_path, capsys):
    run = ["audit", "wine", "--budget", "20", "--uniform", "0", "--quiet", "--out", str(tmp_path)]
    known = [*run, "--attack", "knockoff+partial_bayes", "--defense", "ood_gate:score=msp"]
    assert guarded(known) == 4
    assert "nothing is left to measure" in capsys.readouterr().err
    assert not (tmp_path / "run.json").exists()
    assert guarded([*known, "--attack", "knockoff", "--defense", "flatten:eps=1"]) == 0
    results = Results(tmp_path)
    assert len(results.read()) == 4  # the zero-query clone's beside the thieves'
    assert not any(row.error for row in results.read())
    assert any(
        "partial_bayes does not take part against ood_gate:score=msp" in said for said in results.header().assumptions
    )

"""`gamekeeper reproduce` from the command line: lists, refuses, runs, resumes, prints the paper's figure beside ours."""

import json

import pytest

import gamekeeper.surfaces.reproduce as surface
from gamekeeper.metrics import wilson
from gamekeeper.reproductions.catalogue import REPRODUCTIONS
from gamekeeper.reproductions.description import Experiment, Figure, Ordering, Reproduction
from gamekeeper.results import Results
from gamekeeper.surfaces.cli import guarded

EXACT, FEW = Experiment("iris", "equation_solving", 5), Experiment("iris", "equation_fitting", 5)
TINY = Reproduction(
    name="tiny",
    paper="a paper",
    what="softmax regression on iris",
    minutes=1,
    needs=(),
    seeds=(0, 1),
    uniform=500,
    figures=(Figure("softmax", "4.1", EXACT, (("fidelity", 1.0), ("tv_uniform", "< 1e-7"), ("queries", 5.0))),),
    orderings=(Ordering("the closed form needs fewer", "4.1", ((EXACT, FEW),), "fidelity_uniform"),),
    gap="made up",
)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(surface, "REPRODUCTIONS", {"tiny": TINY})
    return TINY


def test_without_a_name_all_are_listed(capsys):
    assert guarded(["reproduce", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in said] == list(REPRODUCTIONS)


def test_an_unknown_name_and_missing_data_are_said(tmp_path, capsys):
    assert guarded(["reproduce", "nothing"]) == 4
    assert "Known: tramer" in capsys.readouterr().err
    out = ["--data", str(tmp_path), "--out", str(tmp_path / "run")]
    assert guarded(["reproduce", "tramer", *out]) == 4
    assert "adult_train.csv.gz is needed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_it_runs_once_and_then_only_prints(tiny, tmp_path, capsys):
    command = ["reproduce", "tiny", "--jobs", "1", "--out", str(tmp_path)]
    assert guarded(command) == 0
    first = (tmp_path / "results.jsonl").read_bytes(), (tmp_path / "run.json").read_bytes()
    assert "4 thefts, 0 already done" in capsys.readouterr().out
    assert guarded([*command, "--json"]) == 0
    assert ((tmp_path / "results.jsonl").read_bytes(), (tmp_path / "run.json").read_bytes()) == first
    said = json.loads(capsys.readouterr().out)
    fidelity, tv, queries = said["lines"][0]["beside"]
    assert (fidelity["paper"], fidelity["ours"]["value"]) == (1.0, 1.0)
    assert tv["ours"]["value"] < 1e-7
    assert queries["ours"] == 5
    assert said["orderings"][0]["of"] == 2
    rows = Results(tmp_path).read()
    assert {row.paper for row in rows if row.attack == "equation_solving"} == {1.0}
    assert {row.paper for row in rows if row.attack == "equation_fitting"} == {None}


def test_a_report_is_of_one_target(tiny, tmp_path, capsys):
    assert guarded(["reproduce", "tiny", "--jobs", "1", "--out", str(tmp_path)]) == 0
    assert guarded(["report", str(tmp_path)]) == 4
    assert "`gamekeeper reproduce tiny --out" in capsys.readouterr().err


def test_a_run_that_was_cut_goes_on_with_what_is_missing(tiny, tmp_path, capsys):
    command = ["reproduce", "tiny", "--jobs", "1", "--out", str(tmp_path)]
    assert guarded(command) == 0
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:3]) + whole[3][:40])
    capsys.readouterr()
    assert guarded(command) == 0
    assert "4 thefts, 3 already done" in capsys.readouterr().out
    again = path.read_bytes().splitlines(keepends=True)
    assert again[:3] == whole[:3]
    clone, before = json.loads(again[3])["clone"], json.loads(whole[3])["clone"]
    assert clone == before


@pytest.mark.parametrize(
    ("measure", "value", "several", "said"),
    [
        ("accuracy", 0.692, False, "69.2 %"),
        ("fidelity", 0.9996, True, "test agreement 99.96 %"),
        ("fidelity", 1.0, False, "100.0 %"),
        ("queries", 1722.0, True, "queries 1,722"),
        ("tv_uniform", "< 1e-7", True, "uniform TV < 1e-7"),
        ("accuracy", None, False, "–"),
        ("accuracy", wilson(50, 100), False, "50.0 % (40.4–59.6)"),
        ("tv", wilson(1, 1000), False, "1.0e-03"),
    ],
)
def test_numbers_are_spelled_as_papers_print_them(measure, value, several, said):
    assert surface.spelled(measure, value, several) == said

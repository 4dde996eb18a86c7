"""A whole grid on the 8x8 digits: what it finds, what it survives, what it never pays twice."""

import functools
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import pytest
import torch

from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.engine.backends import backend
from gamekeeper.engine.grid import Audit, evaluation_queries, expand, queries
from gamekeeper.engine.plan import check_defenses
from gamekeeper.engine.run import LEDGER, prepared, run_cell, work
from gamekeeper.errors import BadConfig, Malformed, Unsuited
from gamekeeper.results import Results, Row
from gamekeeper.service.ledger import Ledger
from gamekeeper.surfaces.cli import guarded
from gamekeeper.surfaces.report.terminal import cell_line
from gamekeeper.targets.choice import Choice
from gamekeeper.types import Reply, Transfer

pytestmark = pytest.mark.thorough

ATTACKS = ["knockoff", "knockoff+labels", "knockoff+averaged:n=3"]
DEFENSES = ["none", "label", "reverse_sigmoid", "mad"]
DIGITS = Choice("digits")
load = functools.cache(Choice.load)


def cells(audit: Audit):
    return expand(audit, load(audit.target))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def rows(folder) -> dict[tuple[str, str, int], Row]:
    grid = cells(Audit(DIGITS, ATTACKS, DEFENSES, [60, 240], [0]))
    found = [run_cell(cell, folder) for cell in grid]
    assert not [row.error for row in found if row.error]
    return {(row.defense, row.attack, row.budget): row for row in found}


def accuracy(row: Row) -> float:
    assert row.clone is not None
    return row.clone.accuracy.value


def test_undefended_theft_works_and_more_budget_steals_more(rows):
    assert accuracy(rows["none", "knockoff", 240]) > 0.8
    assert accuracy(rows["none", "knockoff", 240]) > accuracy(rows["none", "knockoff", 60])


def test_defenses_lower_the_soft_thief(rows):
    for defense in ("reverse_sigmoid", "mad"):
        assert accuracy(rows[defense, "knockoff", 240]) < accuracy(rows["none", "knockoff", 240]) - 0.1


def test_the_label_thief_of_a_defense_that_keeps_labels_holds_the_very_clone_of_no_defense(rows):
    for defense in ("label", "reverse_sigmoid"):
        assert rows[defense, "knockoff+labels", 240].clone == rows["none", "knockoff+labels", 240].clone


def test_every_thief_spends_their_budget_and_no_more(rows):
    for row in rows.values():
        assert row.queries == (row.budget // 3 * 3 if "averaged" in row.attack else row.budget)
        assert row.price == pytest.approx(row.queries * 0.001)


def test_learners_and_budgets_share_what_was_paid(rows):
    paid = {key: row.paid for key, row in rows.items() if key[0] == "none"}
    assert paid["none", "knockoff", 60] == 60
    assert paid["none", "knockoff+labels", 60] == 0
    assert paid["none", "knockoff", 240] == 240 - 60
    assert paid["none", "knockoff+averaged:n=3", 60] == 60


def test_the_plan_states_what_is_then_paid(rows, folder):
    audit = Audit(DIGITS, ATTACKS, DEFENSES, [60, 240], [0])
    target = DIGITS.load()
    grid = expand(audit, target)
    planned = queries(grid, target)
    assert sum(row.paid for row in rows.values()) == planned - evaluation_queries(grid, target)


def test_a_rerun_answers_from_the_ledger_and_equals_the_first_run(rows, folder):
    for cell in cells(Audit(DIGITS, ATTACKS[:1], DEFENSES[:1], [60, 240], [0])):
        again, first = run_cell(cell, folder), rows[cell.defense, cell.attack, cell.budget]
        assert again.paid == 0
        assert again.clone == first.clone
        assert again.utility == first.utility


def test_utility_is_measured_on_honest_inputs(rows):
    none, mad = rows["none", "knockoff", 240].utility, rows["mad", "knockoff", 240].utility
    assert none is not None
    assert mad is not None
    assert (none.l1, none.top1_kept, none.l1_histogram[0]) == (0, 1, 397)
    assert mad.l1 == pytest.approx(0.95, abs=0.01)
    assert sum(mad.l1_histogram) == 397
    assert mad.deterministic


def test_a_cell_that_fails_is_a_row_and_the_others_run(folder, monkeypatch):
    def broken(self, transfer, knows, seed):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("gamekeeper.learners.distil.Labels.__call__", broken)
    good, bad = cells(Audit(DIGITS, ATTACKS[:2], ["none"], [60], [5], uniform=0))
    assert run_cell(good, folder).error is None
    row = run_cell(bad, folder)
    assert row.error is not None
    assert row.error.startswith("ZeroDivisionError: a bug")
    assert "in broken" in (folder / "errors.log").read_text()


def test_a_cell_that_fails_after_asking_says_what_it_had_spent(tmp_path, monkeypatch):
    def unsuited(self, transfer, knows, seed):
        raise Unsuited("these answers will not do")

    monkeypatch.setattr("gamekeeper.learners.distil.Labels.__call__", unsuited)
    (bad,) = cells(Audit(DIGITS, ["knockoff+labels"], ["none"], [60], [5], uniform=0))
    row = run_cell(bad, tmp_path)
    assert row.error == "Unsuited: these answers will not do"
    assert (row.queries, row.paid, row.price) == (60, 60, pytest.approx(0.06))
    assert "failed after 60 queries, Unsuited" in cell_line(row)
    again = run_cell(bad, tmp_path)
    assert (again.queries, again.paid) == (60, 0)


def test_a_chain_that_cannot_stand_is_refused_before_anything_is_asked():
    grid = cells(Audit(DIGITS, ["knockoff"], ["none", "label+constant_target:target=11"], [60], [0], uniform=0))
    with pytest.raises(Unsuited, match=r"--defense label\+constant_target:target=11: .* got 11"):
        check_defenses(grid, DIGITS.load())


def test_a_chain_armed_for_the_check_is_the_one_that_the_cells_of_this_process_use(tmp_path, monkeypatch):
    armings = []
    arm = MAD.arm
    monkeypatch.setattr(MAD, "arm", lambda self, *given: (armings.append(self), arm(self, *given))[1])
    target = prepared(DIGITS)
    grid = expand(Audit(DIGITS, ["knockoff"], ["mad"], [60, 70], [3, 4], uniform=0), target)
    check_defenses(grid, target)
    assert len(armings) == 1
    assert [row.error for row in backend(1).submit(work(tmp_path), grid)] == [None] * 4
    assert len(armings) == 2, "one a seed"


def test_a_thief_who_asks_nothing_is_a_failed_cell(tmp_path):
    class Silent:
        prefix = True

        def __call__(self, oracle, knows, seed):
            return Transfer(knows.pool[:0], Reply(torch.empty(0, 10)), 0)

    (cell,) = cells(Audit(DIGITS, ["knockoff"], ["none"], [60], [0], uniform=0))
    row = run_cell(replace(cell, thief=replace(cell.thief, querying=Silent())), tmp_path)
    assert row.error == "Unsuited: knockoff asked nothing: a budget of 60 is too small for it. Raise --budget."


@pytest.mark.parametrize("attack", ["uniform", "jbda", "equation_solving", "lowd_meek", "smoothing", "copycat"])
def test_only_who_draws_from_the_pool_is_limited_by_it(attack):
    target = DIGITS.load()
    budget = len(target.pool) + 1
    audit = Audit(DIGITS, [attack], ["none"], [budget], [0])
    if attack != "copycat":
        assert len(expand(audit, target)) == 1
    else:
        with pytest.raises(BadConfig, match=r"has 5,000 inputs, with which 'copycat' cannot fill a budget of 5,001"):
            expand(audit, target)
    with pytest.raises(BadConfig, match="cannot fill"):
        expand(replace(audit, attacks=["smoothing:n=2"], budgets=[2 * budget]), target)


def test_a_thief_who_asks_three_times_has_three_pools(tmp_path):
    target = DIGITS.load()
    assert expand(Audit(DIGITS, ["knockoff+averaged:n=3"], ["none"], [15_000], [0]), target)
    with pytest.raises(BadConfig, match="cannot fill a budget of 15,001"):
        expand(Audit(DIGITS, ["knockoff+averaged:n=3"], ["none"], [15_001], [0]), target)


def test_answers_that_are_not_numbers_stop_the_run(folder, monkeypatch):
    monkeypatch.setattr(
        "gamekeeper.models.network.TorchModel.logits", lambda self, x: torch.full((len(x), 10), torch.nan)
    )
    (cell,) = cells(Audit(DIGITS, ATTACKS[:1], ["none"], [60], [6], uniform=0))
    with pytest.raises(Malformed, match="60 of 60 answers hold NaN"):
        run_cell(cell, folder)


def test_ids_differ_where_anything_differs_and_only_there():
    base = Audit(DIGITS, ["knockoff"], ["mad"], [100], [0])
    (cell,) = cells(base)
    assert cells(base)[0].id == cell.id
    assert cells(replace(base, defenses=["mad:eps=0.95"]))[0].id == cell.id
    others = [
        replace(base, defenses=["mad:eps=0.9"]),
        replace(base, attacks=["knockoff+labels"]),
        replace(base, budgets=[101]),
        replace(base, seeds=[1]),
        replace(base, uniform=1),
        replace(base, target=Choice("digits", student="mlp:hidden=64")),
        replace(base, target=Choice("wine")),
    ]
    assert len({cell.id, *(cells(other)[0].id for other in others)}) == 1 + len(others)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attacks": []}, "at least one attack"),
        ({"budgets": [0]}, "at least 1"),
        ({"budgets": [1_000_000]}, "cannot fill a budget of 1,000,000"),
        (
            {"attacks": ["knockoff+averaged:n=3"], "budgets": [2, 9]},
            "3 times: a budget of 2 queries is too small to ask",
        ),
        ({"attacks": ["knockof"]}, "Did you mean 'knockoff'"),
        ({"defenses": ["mad:eps=much"]}, "must be a number. Got 'much'"),
        ({"defenses": ["mad:strength=1"]}, "has no parameter 'strength'"),
        ({"attacks": ["knockoff+labels+soft"]}, "names 2 learners"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(change, message):
    with pytest.raises(BadConfig, match=message):
        cells(replace(Audit(DIGITS, ["knockoff"], ["none"], [100], [0]), **change))


COMMAND = ["audit", "digits", "--budget", "60", "--budget", "240", "--quiet"]
COMMAND += ["--defense", "none", "--defense", "mad", "--attack", "knockoff", "--attack", "knockoff+labels"]


def table(rows: list[Row]) -> list[tuple]:
    return [(row.cell, row.clone, row.victim, row.utility, row.queries) for row in rows]


def test_two_kills_and_a_resume_give_the_table_of_an_uninterrupted_run(rows, tmp_path):
    cut = tmp_path / "cut"
    grid = cells(Audit(DIGITS, ATTACKS[:2], ["none", "mad"], [60, 240], [0]))
    whole = [rows[cell.defense, cell.attack, cell.budget] for cell in grid]
    for lines, jobs in ((2, "2"), (4, "1")):
        command = [sys.executable, "-m", "gamekeeper", *COMMAND, "--out", str(cut), "--jobs", jobs]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 600
        results = cut / "results.jsonl"
        while time.monotonic() < deadline and not (results.exists() and results.read_bytes().count(b"\n") >= lines):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert lines <= results.read_bytes().count(b"\n") < 8
    assert guarded([*COMMAND, "--out", str(cut), "--jobs", "1"]) == 0
    assert table([row for row in Results(cut).read() if row.budget]) == table(whole)  # without the zero-query clone
    with closing(Ledger(cut / LEDGER)) as ledger:
        ledger.check()
        answered = ledger.db.execute("SELECT sum(inputs) FROM batch WHERE answered IS NOT NULL").fetchone()[0]
        assert answered == ledger.answers(), "an answer was paid twice"


def test_a_worker_that_is_killed_costs_its_cell_only(tmp_path, monkeypatch):
    grid = cells(Audit(DIGITS, ["knockoff"], ["none", "label"], [60], [0], uniform=0))
    doomed = replace(grid[0], thief=replace(grid[0].thief, querying=Killer()))
    found = list(backend(2).submit(work(tmp_path), [doomed, grid[1], grid[1]]))
    assert {row.cell for row in found if row.error is None} == {grid[1].id}
    assert "WorkerDied" in next(str(row.error) for row in found if row.cell == doomed.id)


class Killer:
    """A way of asking that takes its process down."""

    prefix = True

    def __call__(self, oracle, knows, seed):
        os.kill(os.getpid(), signal.SIGKILL)

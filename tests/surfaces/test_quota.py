"""A quota is what the audit's price curve says, over the accounts; what it rests on stands above it."""

import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest

from gamekeeper.engine.gateway.folder import gateway_folder
from gamekeeper.engine.gateway.gateway_config import parse_gateway
from gamekeeper.errors import BadConfig
from gamekeeper.results import Results
from gamekeeper.service.journal.accounts import Quota
from gamekeeper.surfaces.cli import guarded
from gamekeeper.surfaces.quota import with_quota_from
from tests.surfaces.gateway_folder import made

RESULTS = Path(__file__).parents[2] / "results"
FEW, MNIST = str(RESULTS / "few-inside-mnist"), str(RESULTS / "mnist")


def test_the_quota_of_committed_results_is_the_one_computed_by_hand(capsys):
    """The victim has .984; .8 of that is .7872. The strongest thief has .681833 at 50 queries and .802333 at 100.

    So it takes 50 * 2 ** ((.7872 - .681833) / (.802333 - .681833)) = 91.66 queries; five accounts have 18 each.
    """
    assert guarded(["quota", FEW]) == 0
    out = capsys.readouterr().out
    assert tomllib.loads(out) == {"quota": {"key": {"queries": 18, "seconds": 2_592_000}}}
    assert parse_gateway(f"target = 'mnist'\n{out}", "gateway.toml").quotas.key == Quota(18, 2_592_000.0)
    for words in (
        "80 % of the model's accuracy (0.787) takes 92 queries without a defense, 56 to > 100 within the noise",
        "over 5 accounts that is 18 each",
        "insider at 50 queries (0.682) and insider at 100 queries (0.802)",
        "seeds 0, 1, 2",
        "At the lower end of the noise it would be 11 each.",
    ):
        assert words in out
    assert guarded(["quota", FEW, "--defense", "keyed_misinformation", "--accounts", "2", "--days", "1"]) == 0
    out = capsys.readouterr().out
    assert tomllib.loads(out)["quota"]["key"] == {"queries": 45, "seconds": 86_400}  # of 90.1
    assert "No thief who knows this defense was measured" in out


def test_beyond_the_largest_budget_the_quota_rests_on_that_budget_and_says_so(capsys):
    assert guarded(["quota", str(RESULTS / "all-mnist"), "--defense", "label", "--accounts", "4"]) == 0
    out = capsys.readouterr().out
    assert tomllib.loads(out)["quota"]["key"]["queries"] == 125
    assert "takes > 500 queries behind 'label'" in out
    assert "the largest budget: the true price lies beyond it and was not measured" in out
    assert "One seed shows nothing of a thief's luck" in out


def test_at_the_smallest_budget_fewer_may_do_and_that_is_said(capsys):
    assert guarded(["quota", str(RESULTS / "exact-wine"), "--accounts", "1"]) == 0
    out = capsys.readouterr().out
    assert "the smallest budget: fewer queries were not tried, and may do" in out
    assert "Measure smaller budgets" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([MNIST], "a copy gets there without any query."),
        (
            [FEW, "--defense", "mda"],
            "no thief was measured behind the defense 'mda' in this run. Measured: none, adaptive",
        ),
        ([FEW, "--share", "0.5"], "sized by one of 0.8, 0.9, 0.95 of the victim's accuracy. Got 0.5."),
        ([FEW, "--accounts", "92"], "with less than a query each"),
    ],
)
def test_where_no_quota_follows_none_is_printed(capsys, arguments, message):
    assert guarded(["quota", *arguments]) == 4
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_an_unfinished_run_with_failures_says_so(tmp_path, capsys):
    source, part = Results(Path(FEW)), Results(tmp_path)
    rows = source.read()
    failed, missing = [row.cell for row in rows if row.defense != "none"][:2]
    part.write_header(source.header())
    for row in rows:
        if row.cell != missing:
            part.append(replace(row, error="boom", clone=None) if row.cell == failed else row)
    assert guarded(["quota", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"The audit is not finished: {len(rows) - 1} of {len(rows)} cells are done." in out
    assert "1 of its cells failed." in out


def test_a_reproduction_with_several_targets_has_no_quota(tmp_path, capsys):
    data = asdict(Results(Path(FEW)).header())
    data["target"] |= {"targets": {}}
    (tmp_path / "run.json").write_bytes(orjson.dumps(data))
    assert guarded(["quota", str(tmp_path)]) == 4
    assert "several targets" in capsys.readouterr().err


def test_a_gateway_may_take_its_quota_from_an_audit_unless_its_file_has_one(tmp_path):
    folder = made(tmp_path)
    assert with_quota_from(folder, Path(FEW), 5).config.quotas.key == Quota(18, 2_592_000.0)
    with (folder.path / "gateway.toml").open("a") as file:
        file.write("\n[quota.key]\nqueries = 3\n")
    with pytest.raises(BadConfig, match=r"has a \[quota.key\]"):
        with_quota_from(gateway_folder(folder.path), Path(FEW), 5)

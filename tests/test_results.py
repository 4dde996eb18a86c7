"""The results file: what a crash leaves, what an older or newer version finds."""

import os
from dataclasses import replace

import orjson
import pytest

from gamekeeper.errors import BadConfig
from gamekeeper.results import SCHEMA, Results, Run, from_json, to_line
from tests.analysis.rows import row


def run(cells: list[str], schema: int = SCHEMA) -> Run:
    return Run(schema, "0.1.0", "2026-11-22", "gamekeeper audit", cells, {}, [], [0], [1000])


def test_a_row_comes_back_as_it_was_written():
    for each in (row(), row(error="Unsuited: no")):
        assert from_json(orjson.loads(to_line(each))) == each


def test_a_line_cut_by_a_crash_is_set_aside_and_the_rows_before_it_are_kept(tmp_path):
    results = Results(tmp_path)
    results.append(row(seed=0))
    results.append(row(seed=1))
    with results.path.open("ab") as file:
        file.write(to_line(row(seed=2))[:50])
    assert [each.seed for each in results.every()] == [0, 1]
    assert results.repair()
    results.append(row(seed=3))
    assert [each.seed for each in results.every()] == [0, 1, 3]
    assert (tmp_path / "results.jsonl.torn").read_bytes() == to_line(row(seed=2))[:50] + b"\n"
    assert not results.repair()


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    results = Results(tmp_path)
    results.append(row())
    with results.path.open("ab") as file:
        file.write(b'{"cell": \n')
    results.append(row(seed=1))
    with pytest.raises(BadConfig, match="line 2 of"):
        results.every()


def test_the_last_row_of_a_cell_counts_and_order_is_that_of_the_header(tmp_path):
    results = Results(tmp_path)
    first, second = row(seed=0), row(seed=1)
    results.append(row(seed=1, error="failed"))
    results.append(second)
    results.append(first)
    results.append(row(seed=7))
    results.write_header(run([first.cell, second.cell, "not yet run"]))
    assert results.read() == [first, second]


def test_rows_have_the_names_and_the_price_of_the_run_that_reads_them(tmp_path):
    results = Results(tmp_path)
    old, other = row("mad"), row("none")
    results.append(old)
    results.append(other)
    asked = run([old.cell, other.cell])
    names = {old.cell: ["mad:eps=0.95", "copycat"]}
    results.write_header(replace(asked, target={"price": 0.5}, names=names))
    first, second = results.read()
    assert (first.defense, first.attack, first.price) == ("mad:eps=0.95", "copycat", 500.0)
    assert (second.defense, second.attack, second.price) == ("none", "knockoff", 500.0)
    results.write_header(asked)
    assert results.read() == [old, other], "a header without names or price leaves rows as they are"


def test_a_newer_schema_is_refused_and_unknown_keys_are_not(tmp_path):
    results = Results(tmp_path)
    results.write_header(run([], SCHEMA + 1))
    with pytest.raises(BadConfig, match="newer gamekeeper"):
        results.header()
    data = orjson.loads(to_line(row()))
    data["later"] = 1
    assert data.pop("unanswered") is None, "a row of an older version does not say"
    for nested in ("utility", "clone", "victim", "seconds"):
        data[nested]["later"] = 1
    data["clone"]["accuracy"]["later"] = 1
    assert from_json(data) == row()


@pytest.mark.parametrize("left", [0, 1, 30, 200])
def test_a_header_cut_short_says_so(tmp_path, left):
    results = Results(tmp_path)
    results.write_header(run(["a"]))
    header = tmp_path / "run.json"
    header.write_bytes(header.read_bytes()[:left])
    with pytest.raises(BadConfig, match=r"run\.json is not the complete header of a run"):
        results.header()


@pytest.mark.parametrize("text", ["[]", "7", "{}", '{"schema": "1"}'])
def test_a_header_of_something_else_says_so(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadConfig, match="not the complete header of a run"):
        Results(tmp_path).header()


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(BadConfig, match="holds no run"):
        Results(tmp_path).header()


def test_a_full_disk_leaves_whole_lines_only(tmp_path, monkeypatch):
    results = Results(tmp_path)
    results.append(row())
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:40]))
    with pytest.raises(OSError, match="disk full"):
        results.append(row(seed=1))
    monkeypatch.undo()
    assert results.repair()
    assert results.every() == [row()]

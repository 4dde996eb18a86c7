"""Tables of a run of `gamekeeper detect`, from rows made by hand."""

import detection_docs
import orjson
import pytest

from gamekeeper.detection_rows import DetectionRow, to_line

THIEF = DetectionRow(
    "c0", "0.2.0", "mnist", "knockoff", False, 500, 0, 1.0, 1, 1, {"mmd": 1, "any": 1}, {"mmd": 20, "prada:floor=0": 0}, 0.4, 0.8
)  # fmt: skip
MISSED = DetectionRow(
    "c1", "0.2.0", "mnist", "knockoff", False, 500, 1, 1.0, 1, 1, {"mmd": 0, "any": 0}, {"mmd": 0}, 0.8, 0.8
)  # fmt: skip
HONEST = DetectionRow(
    "c2", "0.2.0", "mnist", "retries", True, 500, 0, 1.0, 100, 100, {"mmd": 2, "prada:floor=0": 0, "any": 2}
)  # fmt: skip
HEADER = {
    "version": "0.2.0",
    "date": "2026-11-29",
    "alpha": 0.001,
    "inputs": {"for limits": 1000, "of honest clients": 500},
    "detectors": {
        "repeats": "evidence",
        "mmd": {"alpha": 0.0005, "kind": "streams", "inputs": 500, "clients": 20, "alarmed": 0},
    },
    "cells": ["c0", "c1", "c2"],
}


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(detection_docs, "RESULTS", tmp_path)
    detection_docs.rows.cache_clear()
    run = tmp_path / "detect-mnist"
    run.mkdir()
    (run / "detection.json").write_bytes(orjson.dumps(HEADER))
    stray = DetectionRow("old", "0.1", "mnist", "uniform", False, 500, 0, 1.0, 1)
    (run / "detection.jsonl").write_bytes(b"".join(map(to_line, (stray, THIEF, MISSED, HONEST))))
    yield
    detection_docs.rows.cache_clear()


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_thieves_stand_with_delay_and_what_they_have_by_then():
    rows = cells(detection_docs.thieves("detect-mnist"))
    assert len(rows) == 3  # the head, its line, and one thief; what the header does not name is left out
    assert dict(zip(rows[0], rows[2], strict=True)) == {
        "thief": "`knockoff`", "own queries": "100 %", "accounts": "1", "noticed by 50": "50 %", "noticed by 100": "50 %",
        "noticed by 250": "50 %", "noticed by 500": "50 %", "delay": "20", "first": "`mmd`", "learnt by then": "75 %",
        "all answers": "0.800", "runs": "2",
    }  # fmt: skip


def test_honest_clients_and_limits():
    rows = cells(detection_docs.honest("detect-mnist"))
    assert rows[2][:2] == ["retries", "100"]
    assert rows[2][2].startswith("20 (")  # per 1,000
    limits = cells(detection_docs.limits("detect-mnist"))
    assert limits[2][1] == "evidence, never an alarm"
    assert limits[3] == ["`mmd`", "0.5", "streams", "20", "0", "139"]  # 1 - .05^(1/20)


def test_one_detector_has_its_own_part():
    rows = cells(detection_docs.part("detect-mnist", "mmd"))
    assert rows[2] == ["`knockoff`", "50 %", "20"]
    assert rows[3][0] == "honest: retries"
    assert detection_docs.part("detect-mnist", "hardness") == "Not part of `results/detect-mnist`.\n"
    assert cells(detection_docs.part("detect-mnist", "prada"))[2][1:] == ["0 %", "never"]


def test_a_run_that_is_not_there_says_how_to_make_it():
    for table in (detection_docs.thieves, detection_docs.honest, detection_docs.limits):
        assert table("detect-fashion") == "Not run yet: `gamekeeper detect fashion`.\n"


def test_an_unfinished_run_says_so(tmp_path):
    assert "Unfinished" not in detection_docs.thieves("detect-mnist")
    header = HEADER | {"cells": [*HEADER["cells"], "c3"]}
    (tmp_path / "detect-mnist/detection.json").write_bytes(orjson.dumps(header))
    detection_docs.rows.cache_clear()
    assert "Unfinished: 3 of 4 cells." in detection_docs.thieves("detect-mnist")

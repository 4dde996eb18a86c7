"""Rulings, survival and false claims from rows written by hand."""

from dataclasses import replace
from typing import Any

import pytest

from gamekeeper.analysis.ownership import ruling, summarise
from gamekeeper.ownership.chance import binomial
from gamekeeper.ownership_rows import OwnershipRow, SuspectCounts, from_json, to_line

PANEL = (8, 11, 9, 12, 10, 9, 11, 8, 10, 12)
ROW = OwnershipRow(
    "a", "0", "mnist", "removal", "backdoor", "none", 0, 10, True, 100, 100,
    suspects=(SuspectCounts("the copy", 60, 0.95),), panels=(PANEL,), accuracies=((0.94,) * 10,), agreements=(0.02,),
    variety=0.97, before=SuspectCounts("the copy before", 100, 0.97),
)  # fmt: skip


def after(hits: int, accuracy: float = 0.95, **changed: Any) -> OwnershipRow:
    return replace(ROW, suspects=(SuspectCounts("the copy", hits, accuracy),), **changed)


def test_a_ruling_is_that_of_the_gates_and_the_level():
    assert ruling(ROW, 0).decision == "supports"
    assert ruling(after(12), 0).decision == "not shown"
    assert ruling(after(60, accuracy=0.5), 0).shut == ("panel accuracy",)
    assert ruling(after(60, agreements=(0.9,)), 0).decision == "void"
    assert ruling(after(60, own=10), 0).shut == ("own model",)
    assert ruling(after(60, variety=0.1), 0).shut == ("label variety",)


def test_labels_that_a_beacon_drew_are_held_against_chance_and_others_against_the_panel():
    drawn, claimed = ruling(ROW, 0).log10_p, ruling(after(60, drawn=False), 0).log10_p
    assert drawn == pytest.approx(binomial(60, 100, 0.1238), abs=0.5)  # the panel's 99 % bound of 100 of 1,000
    assert drawn < claimed < -3


def test_survival_is_the_share_of_claimed_answers_and_the_accuracy_that_was_paid():
    (line,) = summarise([after(60), after(12, 0.93, seed=1)]).survival
    assert line.seeds == 2
    assert line.share == pytest.approx(0.36)
    assert line.before == 1
    assert line.paid == pytest.approx(0.03)
    assert line.panel == pytest.approx(0.1)
    assert line.decisions == {"supports": 1, "not shown": 1, "void": 0}


def test_each_removal_and_each_way_of_lying_has_a_line_and_failures_are_named():
    innocents = tuple(SuspectCounts(name, 90, 0.94) for name in "abc")
    alike = (tuple(80 + hits for hits in PANEL),) * 3
    forged = replace(
        ROW, kind="forgery", scheme="", how="targeted", drawn=False, suspects=innocents, panels=alike,
        accuracies=ROW.accuracies * 3, agreements=(0.8,) * 3,
    )  # fmt: skip
    whole = summarise([ROW, after(50, how="ftal"), forged, replace(ROW, how="blur", error="Unsuited: no images")])
    assert [line.removal for line in whole.survival] == ["none", "ftal"]
    (line,) = whole.forgeries
    assert line.trials == 3
    assert line.accused == {
        "none": 3, "panel chance": 0, "panel": 0, "agreement": 0, "variety": 3, "all": 0,
    }  # fmt: skip
    assert whole.failed == {"backdoor blur": "Unsuited: no images"}


def test_a_row_read_again_is_the_same():
    import orjson

    assert from_json(orjson.loads(to_line(ROW))) == ROW
    assert from_json({**orjson.loads(to_line(ROW)), "later": 1}) == ROW

"""--fail-if: what is compared with what."""

from dataclasses import replace

import pytest

from gamekeeper.analysis.thresholds import check_threshold, parse_threshold, threshold_results
from gamekeeper.engine.grid import Audit, expand
from gamekeeper.errors import BadConfig
from gamekeeper.targets.choice import Choice
from tests.analysis.rows import row

ROWS = [
    row("none", "knockoff", accuracy=0.95),
    row("none", "knockoff+labels", accuracy=0.90),
    row("mad", "knockoff", accuracy=0.60),
    row("mad", "knockoff+labels", accuracy=0.85),
    row("mad", "knockoff+labels", budget=250, accuracy=0.40),
]


def values(text: str, rows=ROWS) -> list[tuple[str, float]]:
    verdicts = threshold_results(parse_threshold(text), rows)
    assert all(verdict.judged for verdict in verdicts)
    return [(verdict.defense, round(verdict.value, 3)) for verdict in verdicts if verdict.breached]


def test_worst_is_the_strongest_thief_of_every_defense_but_none():
    assert values("worst.accuracy>0.8@1000") == [("mad", 0.85)]
    assert values("worst.accuracy>0.85@1000") == []
    assert values("worst.accuracy>=0.85@1000") == [("mad", 0.85)]


def test_none_counts_when_named_or_alone():
    assert values("none/worst.fidelity>0.9") == [("none", 0.95)]
    assert values("worst.accuracy>0.9", [row("none", accuracy=0.95)]) == [("none", 0.95)]


def test_a_thief_and_a_budget_can_be_named():
    assert values("mad/knockoff.accuracy>0.5") == [("mad", 0.6)]
    assert values("knockoff+labels.accuracy>0.3@250") == [("mad", 0.4)]


def test_seeds_are_averaged_before_the_comparison():
    rows = [row("mad", seed=0, accuracy=0.7), row("mad", seed=1, accuracy=0.9)]
    assert values("worst.accuracy>=0.8", rows) == [("mad", 0.8)]
    assert values("worst.accuracy>0.8", rows) == []


def test_methods_with_parameters_are_names_too():
    rows = [row("mad:eps=0.95", "knockoff+averaged:n=3", accuracy=0.7)]
    assert values("mad:eps=0.95/knockoff+averaged:n=3.accuracy>0.5", rows) == [("mad:eps=0.95", 0.7)]


FAILED = row("mad", "knockoff+labels", error="ZeroDivisionError: a bug")


@pytest.mark.parametrize(
    ("text", "breached", "judged"),
    [
        ("worst.accuracy>0.8@1000", False, False),  # the failed thief might have been over it
        ("worst.accuracy>0.5@1000", True, True),  # another one is over it already
        ("worst.accuracy<0.7@1000", False, False),  # the failed thief might have been the strongest
        ("knockoff.accuracy>0.8@1000", False, True),  # not about the failed one
        ("knockoff+labels.accuracy>0.1@1000", False, False),
        ("worst.accuracy>0.8", False, False),  # the largest budget is that of the grid, failed or not
        ("none/worst.accuracy>0.8@1000", True, True),
    ],
)
def test_a_failed_cell_is_not_a_cell_that_stole_nothing(text, breached, judged):
    (verdict,) = threshold_results(parse_threshold(text), [ROWS[0], ROWS[2], FAILED])
    assert (verdict.breached, verdict.judged) == (breached, judged)
    assert judged or verdict.missing == ("knockoff+labels",)


def test_a_thief_whom_the_defense_does_not_suit_is_out_of_worst_and_missing_by_name():
    refused = row("mad", "jbda", error="Unsuited: no seeds")
    for text, judged in (("worst.accuracy>0.8", True), ("jbda.accuracy>0.8", False)):
        (verdict,) = threshold_results(parse_threshold(text), [row("mad", accuracy=0.5), refused])
        assert verdict.judged == judged
    (verdict,) = threshold_results(parse_threshold("worst.accuracy>0.8"), [refused])
    assert not verdict.judged


def test_a_control_is_no_thief():
    rows = [row("none", accuracy=0.5), replace(row("none", "knockoff+shuffled", error="killed"), learner="shuffled")]
    (verdict,) = threshold_results(parse_threshold("worst.accuracy>0.8"), rows)
    assert (verdict.judged, verdict.value) == (True, 0.5)


def test_a_thief_is_measured_when_all_their_seeds_are():
    rows = [row("mad", seed=0, accuracy=0.9), row("mad", seed=1, error="killed")]
    (verdict,) = threshold_results(parse_threshold("worst.accuracy>0.8"), rows)
    assert (verdict.breached, verdict.judged, verdict.value) == (False, False, None)


BAD = ["worst>0.8", "worst.speed>0.8", "worst.accuracy=0.8", "", "worst.accuracy>x", "worst.accuracy>0.8.1"]


@pytest.mark.parametrize("text", [*BAD, "worst.accuracy>.", "worst.accuracy>80", "worst.accuracy>-1"])
def test_what_is_not_a_threshold_is_refused(text):
    with pytest.raises(BadConfig, match="must look like"):
        parse_threshold(text)


DIGITS = Choice("digits")
TARGET = DIGITS.load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worst.accuracy>0.8@77", "no budget 77, so there would be nothing to judge. It has 50, 60"),
        ("dawn/worst.accuracy>0.8", "no defense dawn, .* It has none, mad"),
        ("jbda.accuracy>0.1", "no thief jbda, .* It has knockoff"),
        ("worst.fidelity_uniform>0.1", "is not measured in this run"),
    ],
)
def test_a_threshold_that_would_judge_nothing_is_refused_before_the_run(text, message):
    cells = expand(Audit(DIGITS, ["knockoff"], ["none", "mad"], [50, 60], [0], uniform=0), TARGET)
    with pytest.raises(BadConfig, match=message):
        check_threshold(parse_threshold(text), cells)
    check_threshold(parse_threshold("mad/knockoff.accuracy>0.8@60"), cells)

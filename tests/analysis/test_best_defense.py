"""Which defense the headline names: every outcome once."""

from dataclasses import replace

import pytest

from gamekeeper.analysis.best_defense import BestDefense, best_defense
from gamekeeper.analysis.summary import summarise
from gamekeeper.results import Row
from tests.analysis.rows import row, twice
from tests.surfaces.report import example


def best(*rows: Row) -> BestDefense:
    every = twice(rows)
    return best_defense(summarise(example.run(every), every))


KNOWING = "knockoff+partialbayes"
UNDEFENDED = row(accuracy=0.9)
MILD = row("mild", KNOWING, accuracy=0.8, defended=0.97, kept_thief=0.9)
HARSH = row("harsh", KNOWING, accuracy=0.1, defended=0.1, kept_thief=0.1)
BLIND = row("blind", accuracy=0.5)
"""Faced nobody who knows it."""


@pytest.mark.parametrize(
    ("rows", "outcome", "defense", "dearer"),
    [
        ([], "untested", None, None),
        ([row("mild", error="Unsuited: no")], "unmeasured", None, None),
        ([MILD], "affordable", "mild", None),
        ([MILD, HARSH], "affordable", "mild", "harsh"),
        ([row("harsher", KNOWING, accuracy=0.1, defended=0.05, kept_thief=0.1), HARSH], "costly", "harsh", None),
        ([row("a", accuracy=0.895), row("b", accuracy=0.91)], "ineffective", "a", None),
    ],
)
def test_every_outcome(rows: list[Row], outcome: str, defense: str | None, dearer: str | None):
    decision = best(UNDEFENDED, *rows)
    assert decision.outcome == outcome
    assert (decision.defense.defense if decision.defense else None) == defense
    assert (decision.dearer.defense if decision.dearer else None) == dearer
    assert decision.costs_accuracy == (defense in ("mild", "harsh"))


def test_one_seed_ranks_nothing():
    rows = [UNDEFENDED, HARSH]
    assert best_defense(summarise(example.run(rows), rows)).outcome == "one seed"


def test_the_bare_label_is_no_better_than_itself():
    rows = [row(accuracy=0.9), row(attack="knockoff+labels", accuracy=0.7)]
    assert best(*rows, row("poison", KNOWING, accuracy=0.7, kept_thief=0.9)).label_does_as_well
    assert not best(*rows, row("poison", KNOWING, accuracy=0.5, kept_thief=0.9)).label_does_as_well
    assert not best(*rows, row("label", accuracy=0.7)).label_does_as_well


@pytest.mark.parametrize("blind", [BLIND, row("blind", accuracy=0.5, kept_thief=0.5)])
def test_a_defense_that_faced_nobody_who_knows_it_is_not_ranked(blind: Row):
    alone = best(UNDEFENDED, blind)
    assert (alone.outcome, alone.defense) == ("unproven", None)
    assert alone.unproven is not None
    assert alone.unproven.defense == "blind"
    beside = best(UNDEFENDED, blind, MILD)
    assert beside.defense is not None
    assert (beside.outcome, beside.defense.defense) == ("affordable", "mild")
    assert beside.unproven is not None
    assert beside.unproven.defense == "blind"


def test_a_defense_that_leaves_no_less_than_the_best_is_no_hope():
    assert best(UNDEFENDED, row("blind", accuracy=0.85), MILD).unproven is None


def test_a_label_thief_does_not_know_the_defense_but_the_bare_label_has_nothing_to_know():
    thieves = ("knockoff", "knockoff+labels")
    rows = [row(d, a, accuracy=0.7) for d in ("mild", "label") for a in thieves]
    free = [row(accuracy=0.9), row(attack="knockoff+labels", accuracy=0.7)]
    assert best(*free, *rows[:2]).outcome == "unproven"
    assert best(*free, *rows[2:]).outcome == "affordable"


def test_a_void_run_ranks_nothing():
    rows = [replace(one, flags=["weak-victim"]) for one in (UNDEFENDED, MILD)]
    assert best(*rows) == BestDefense("void")

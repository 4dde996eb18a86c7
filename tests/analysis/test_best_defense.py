"""Which defense the headline names: every outcome once."""

import pytest

from gamekeeper.analysis.best_defense import BestDefense, best_defense
from gamekeeper.analysis.summary import summarise
from gamekeeper.results import Row
from tests.analysis.rows import row
from tests.surfaces.report import example


def best(*rows: Row) -> BestDefense:
    return best_defense(summarise(example.run(list(rows)), rows))


UNDEFENDED = row(accuracy=0.9)
MILD, HARSH = row("mild", accuracy=0.8, defended=0.97), row("harsh", accuracy=0.1, defended=0.1)


@pytest.mark.parametrize(
    ("rows", "outcome", "defense", "dearer"),
    [
        ([], "untested", None, None),
        ([row("mild", error="Unsuited: no")], "unmeasured", None, None),
        ([MILD], "affordable", "mild", None),
        ([MILD, HARSH], "affordable", "mild", "harsh"),
        ([row("harsher", accuracy=0.1, defended=0.05), HARSH], "costly", "harsh", None),
        ([row("a", accuracy=0.895), row("b", accuracy=0.91)], "ineffective", "a", None),
    ],
)
def test_every_outcome(rows: list[Row], outcome: str, defense: str | None, dearer: str | None):
    decision = best(UNDEFENDED, *rows)
    assert decision.outcome == outcome
    assert (decision.defense.defense if decision.defense else None) == defense
    assert (decision.dearer.defense if decision.dearer else None) == dearer
    assert decision.costs_accuracy == (defense in ("mild", "harsh"))


def test_the_bare_label_is_no_better_than_itself():
    rows = [row(accuracy=0.9), row(attack="knockoff+labels", accuracy=0.7)]
    assert best(*rows, row("poison", accuracy=0.7)).label_does_as_well
    assert not best(*rows, row("poison", accuracy=0.5)).label_does_as_well
    assert not best(*rows, row("label", accuracy=0.7)).label_does_as_well

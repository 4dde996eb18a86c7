"""What a run says its thieves knew follows from the thieves that were in it."""

import pytest

from gamekeeper.engine.grid import Audit, expand
from gamekeeper.engine.plan import Question
from gamekeeper.targets.choice import Choice

WINE = Choice("wine")


@pytest.fixture(scope="module")
def target():
    return WINE.load()


def said(attacks: list[str], target) -> str:
    audit = Audit(WINE, attacks, ["none", "round"], [20], [0])
    return Question(audit, target, tuple(expand(audit, target)), {}, ()).header(["audit", "wine"]).assumptions[-1]


def test_nobody_was_told_the_defense_unless_somebody_undid_it(target):
    assert said(["knockoff", "knockoff+labels"], target) == (
        "No thief in this run knew which defense protects the model."
    )


def test_the_thieves_who_were_told_are_named(target):
    told = said(["knockoff", "knockoff+partial_bayes:size=400", "knockoff+inverse"], target)
    assert "Only knockoff+partial_bayes:size=400, knockoff+inverse knew which defense protects the model" in told
    assert "seed" in told

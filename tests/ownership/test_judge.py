"""Verdicts that support true claims, and none that convicts whoever copied nothing."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.errors import BadClaim, Unsuited
from gamekeeper.ownership.canonical import json_bytes
from gamekeeper.ownership.chance import binomial
from gamekeeper.ownership.claim import commitment
from gamekeeper.ownership.evidence import Committed, Measured, PanelMeasured, agreement, variety
from gamekeeper.ownership.gates import Gates
from gamekeeper.ownership.judge import verdict
from gamekeeper.ownership.nulls import DrawnLabels, OfPanel, Ranks
from gamekeeper.ownership.register import FIRST, Entry
from gamekeeper.ownership.stamps import Stamp

CLAIM, OPENING = "ab" * 32, bytes(range(32))
ENTRY = Entry(commitment(CLAIM, OPENING), FIRST, 1_000)
COMMITTED = Committed(ENTRY, CLAIM, OPENING, (Stamp(1_005, 1), Stamp(1_003, 9)))
COPY = Measured(hits=100, n=100, queries=100, accuracy=0.95)
PANEL = PanelMeasured((1, 3, 5, 7, 9, 4, 5, 6, 2, 3), (0.95,) * 10, own=100, agreement=0.01, variety=0.97)
PUBLIC = 2_000


def judged(measured=COPY, panel=PANEL, gates=Gates(), committed=COMMITTED, public=PUBLIC, family=None, null=OfPanel()):  # noqa: B008
    return verdict(measured, panel, gates, committed, public, family or {}, null)


def test_a_copy_is_supported_and_an_independent_model_is_not():
    """A judge that always says yes fails here, and so does one that always says no."""
    assert judged().decision == "supports"
    for hits in PANEL.hits:
        innocent = judged(replace(COPY, hits=hits))
        assert innocent.decision == "not shown"
        assert "A copy may have lost its marks" in innocent.reasons[0]
        assert all(innocent.gates.values())


def test_every_count_is_in_the_verdict():
    found = judged()
    assert (found.hits, found.n, found.queries, found.panel) == (100, 100, 100, PANEL.hits)
    assert found.log10_p == found.adjusted == pytest.approx(-6.2, abs=0.1)
    assert found.null == "another model like those of the panel"
    assert found.reasons == ()


SHUT = [
    ("opened", {"committed": replace(COMMITTED, claim="cd" * 32)}, "not one to this claim"),
    ("opened", {"committed": replace(COMMITTED, opening=bytes(32))}, "not one to this claim"),
    ("committed first", {"committed": replace(COMMITTED, stamps=())}, "no stamp dates the entry"),
    ("committed first", {"public": 1_003}, "earliest stamp is of 1970-01-01 00:16:43 UTC"),
    ("committed first", {"committed": replace(COMMITTED, stamps=(Stamp(2_000, 1),))}, "must be older"),
    ("panel accuracy", {"measured": replace(COPY, accuracy=0.90)}, "about as accurate as the suspect"),
    ("panel accuracy", {"measured": replace(COPY, accuracy=math.nan)}, "about as accurate as the suspect"),
    ("own model", {"panel": replace(PANEL, own=8)}, "owner's own model must pass"),
    ("panel", {"panel": replace(PANEL, hits=(1, 3, 5, 7, 9, 4, 5, 6, 2, 99))}, "1 of 10 do"),
    ("panel agreement", {"panel": replace(PANEL, agreement=0.9)}, "adversarial examples that transfer"),
    ("label variety", {"panel": replace(PANEL, variety=0.0)}, "labels must vary"),
]


@pytest.mark.parametrize(("gate", "change", "reason"), SHUT)
def test_each_gate_voids_by_itself_and_says_why(gate, change, reason):
    """But a panel of which one model passes leaves no claim significant: there, the owner's model fails as well."""
    found = judged(**change)
    assert found.decision == "void"
    assert not found.gates[gate]
    assert any(reason in each for each in found.reasons)
    assert {name for name, opened in found.gates.items() if not opened} - {gate} <= (
        {"own model"} if gate == "panel" else set()
    )


def test_the_registers_own_clock_proves_nothing():
    """An entry back-dated to long before the suspect, with a stamp of later."""
    old = replace(ENTRY, at=1)
    assert judged(committed=Committed(old, CLAIM, OPENING, (Stamp(2_001, 1),))).decision == "void"


def test_a_small_panel_is_refused():
    few = replace(PANEL, hits=PANEL.hits[:9], accuracy=PANEL.accuracy[:9])
    assert not judged(panel=few).gates["panel size"]
    with pytest.raises(Unsuited, match="needs a panel"):
        judged(panel=replace(PANEL, hits=(), accuracy=()))
    with pytest.raises(BadClaim, match="has an accuracy"):
        replace(PANEL, accuracy=(0.9,))


FORGED = [
    (78, (57, 75, 76), (70, 72, 74, 75, 76, 77, 78, 73, 71, 78)),
    (71, (32, 48, 63), (51, 55, 58, 60, 61, 62, 63, 64, 54, 57)),
]
"""Hits of independent models on transferable examples, as measured on MNIST with four panel models; filled up to ten."""


@pytest.mark.parametrize(("n", "suspects", "panel"), FORGED)
def test_forged_claims_fool_the_naive_judge_and_not_this_one(n, suspects, panel):
    for hits in suspects:
        assert binomial(hits, n, 0.1) < -6
        shown = PanelMeasured(panel, (0.95,) * 10, own=n, agreement=0.8, variety=0.9)
        found = judged(Measured(hits, n, n, 0.95), shown)
        assert found.decision == "void"
        assert not found.gates["panel agreement"]
        blind = judged(Measured(hits, n, n, 0.95), replace(shown, agreement=0.0))  # by the panel's rate alone
        assert blind.decision != "supports"


def test_the_victims_own_mistakes_have_a_chance_of_one_half():
    """Independent models repeat 12 to 18 of 32: 16 are nothing, although one in ten would be -6; all 32 are a weight copy."""
    panel = PanelMeasured((12, 18, 15, 16, 14, 17, 15, 16, 13, 16), (0.95,) * 10, own=32, agreement=0.35, variety=0.9)
    assert binomial(16, 32, 0.1) < -6
    assert judged(Measured(16, 32, 32, 0.95), panel).decision == "not shown"
    assert judged(Measured(32, 32, 32, 0.95), panel).decision == "supports"


def test_every_registered_claim_counts_against_each_other():
    family = {f"untested {i}": 0.0 for i in range(999)}
    one, many = judged(), judged(family=family)
    assert many.log10_p == one.log10_p
    assert many.adjusted == pytest.approx(one.log10_p + 3)
    assert judged(replace(COPY, hits=60), family=family).decision == "not shown"
    assert judged(replace(COPY, hits=60)).decision == "supports"
    assert judged(family={ENTRY.digest: -1.0}).adjusted == one.adjusted  # the same test once


def test_labels_of_a_beacon_need_no_more_than_chance():
    """DAWN, 23 of 43 marks with labels drawn from nine: the binomial of the panel's bound; the panel alone backs less."""
    panel = PanelMeasured((2, 3, 4, 4, 3, 5, 6, 2, 3, 4), (0.95,) * 10, own=43, agreement=0.02, variety=0.95)
    clone = Measured(23, 43, 43, 0.95)
    drawn = judged(clone, panel, Gates(level=1e-6), null=DrawnLabels(9))
    assert drawn.decision == "supports"
    assert drawn.log10_p == pytest.approx(-10.26, abs=0.01)
    assert "drawn from 9" in drawn.null
    assert judged(clone, panel, Gates(level=1e-6), null=OfPanel()).log10_p == pytest.approx(-3.6, abs=0.1)
    with pytest.raises(Unsuited, match="two classes"):
        judged(clone, panel, null=DrawnLabels(1))


def test_ranks_need_99_models_for_a_hundredth():
    hits = tuple(i % 12 for i in range(99))
    panel = PanelMeasured(hits, (0.95,) * 99, own=100, agreement=0.01, variety=0.9)
    assert judged(replace(COPY, hits=12), panel, Gates(level=0.01), null=Ranks()).decision == "supports"
    assert judged(replace(COPY, hits=11), panel, Gates(level=0.01), null=Ranks()).decision == "not shown"
    assert judged(panel=PANEL, gates=Gates(level=0.01), null=Ranks()).decision == "void"  # ten cannot


def test_a_level_outside_its_range_is_refused():
    with pytest.raises(BadClaim, match="level in"):
        Gates(level=0.0)


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 9), min_size=10, max_size=10),
    st.integers(0, 40),
    st.integers(20, 40),
    st.integers(0, 5),
    st.booleans(),
)
def test_of_any_counts(hits, suspect, own, others, drawn):
    """A verdict is void where a gate is shut and only there; more hits and fewer claims never hurt the claimant."""
    panel = PanelMeasured(tuple(hits), (0.9,) * 10, own, agreement=0.1, variety=0.9)
    null = DrawnLabels(9) if drawn else OfPanel()
    family = {str(i): 0.0 for i in range(others)}
    found = judged(Measured(suspect, 40, 40, 0.9), panel, family=family, null=null)
    assert (
        (found.decision == "void")
        == (not all(found.gates.values()))
        == bool(found.decision == "void" and found.reasons)
    )
    assert found.log10_p <= found.adjusted <= 0
    if found.decision == "supports":
        assert suspect > max(hits)
        assert judged(Measured(40, 40, 40, 0.9), panel, family=family, null=null).decision == "supports"
        assert judged(Measured(suspect, 40, 40, 0.9), panel, null=null).decision == "supports"
    text = json_bytes(found.predicate()).decode()  # no floats
    assert not any(word in text.lower() for word in ("proved", "proven", "innocent", "guilty", "stolen"))


def test_agreement_by_hand():
    """Three models, four inputs: pairs that both hit are 3 of 3, 1 of 3, 0 and 0."""
    right = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]], dtype=torch.bool)
    assert agreement(right) == pytest.approx(4 / 12)
    assert agreement(torch.ones(5, 7, dtype=torch.bool)) == 1
    assert agreement(torch.ones(1, 7, dtype=torch.bool)) == 0
    random = torch.rand(10, 2_000, generator=torch.Generator().manual_seed(0)) < 0.1
    assert agreement(random) == pytest.approx(0.01, abs=0.003)


def test_variety_by_hand():
    assert variety(torch.arange(10).repeat(3), 10) == pytest.approx(1)
    assert variety(torch.zeros(30, dtype=torch.int64), 10) == 0
    assert variety(torch.tensor([0, 0, 1, 1]), 2) == pytest.approx(1)
    assert variety(torch.tensor([0, 0, 5, 5]), 10) == pytest.approx(0.5)  # 1 of 2 bits that four labels could have
    assert variety(torch.tensor([3]), 10) == 0

"""verdict.html: the verdict first, then what it rests on; self-contained, escaped, and a pure function of a trial."""

import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from examples.local_authority import authority

from gamekeeper.analysis.ownership import OwnershipSummary, summarise
from gamekeeper.analysis.scheme_history import history_of, rounded, to_json
from gamekeeper.ownership.bundle import Trial, write_bundle
from gamekeeper.ownership.nulls import OfPanel, Ranks
from gamekeeper.ownership.opinion import Compared, Opinion, interval, opinion, tail
from gamekeeper.ownership_rows import OwnershipRow, SuspectCounts
from gamekeeper.surfaces.report.hits import NARROW, hits_figure, piled
from gamekeeper.surfaces.report.survival import survival_figure
from gamekeeper.surfaces.report.verdict_words import MEND, accusations, another_panel, firm, power, steps
from gamekeeper.surfaces.verdict_report import Paid, verdict_page, write_verdict_report
from tests.ownership.test_bundle import guesses, trial_of
from tests.ownership.trials import drawn_claim, registered, triggers
from tests.surfaces.report.test_page import Page

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
EVIL = '<script>alert(1)</script>"><img src=x onerror=y>\x1b[31m\u202eboss $x$'
BUNDLE = Path("out/bundle")


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> dict[str, Trial]:
    """One of each verdict."""
    folder = tmp_path_factory.mktemp("trials")
    world = registered(authority(folder), folder, drawn_claim(triggers()))
    record = trial_of(world, tuple(world.papers.claim.tensors["y"].tolist()))
    records = (record, trial_of(world, guesses(77)), replace(record, terms=replace(record.terms, public_since=1)))
    each = [write_bundle(folder / str(number), world.papers, one) for number, one in enumerate(records)]
    return {one.verdict.decision: one for one in each}


def page_of(judgement: Opinion, trial: Trial, paid: Paid | None = None, history=None) -> str:
    return verdict_page(judgement, tail(trial), BUNDLE, paid, history)


def text_of(trial: Trial, **more) -> str:
    return " ".join(Page(page_of(opinion(trial), trial, **more)).text.split())


def row(kind: str, scheme: str, how: str, hits: int, accuracy: float = 0.9, own: int = 100) -> OwnershipRow:
    """100 inputs, with a panel that hits 6 to 15 of them."""
    suspects = (SuspectCounts("one", hits, accuracy),)
    before = SuspectCounts("one", 100, 0.92) if kind == "removal" else None
    return OwnershipRow(
        f"{kind}{how}", "1", "mnist", kind, scheme, how, 0, 10, False, 100, own, suspects, (tuple(range(6, 16)),),
        ((0.9,) * 10,), (0.01,), 0.99, before,
    )  # fmt: skip


def summary() -> OwnershipSummary:
    return summarise(
        [
            row("removal", "backdoor:n=100", "none", 100, 0.9203),
            row("removal", "backdoor:n=100", "rtal", 20, 0.88),
            row("innocent", "backdoor:n=100", "", 10),
            row("forgery", "", "untargeted", 95),
        ]
    )


@pytest.fixture
def history(tmp_path):
    header = {"target": EVIL, "date": "2026-11-29", "version": "1", "queries": 2500, "cells": []}
    (tmp_path / "ownership.json").write_bytes(to_json(header, summary()))
    return history_of("backdoor", tmp_path / "ownership.json")


@pytest.mark.parametrize(
    ("decision", "first", "advice"),
    [
        ("supports", "supports the claim that suspect was derived", "There are honest explanations"),
        ("not shown", "does not show that suspect was derived", "Accuse nobody on this claim."),
        ("void", "This claim is void", "Look at the date that you entered"),
    ],
)
def test_the_first_screen_has_the_verdict_what_it_means_and_what_to_do(trials, decision, first, advice):
    text = text_of(trials[decision])
    start = text[: text.index("What was compared")]
    for part in (first, advice, f"verdict: {decision}", "What to do now", opinion(trials[decision]).sentence):
        assert part in start
    words = set(re.findall(r"[a-z]+", text.lower()))
    assert not {"proved", "proves", "innocent", "stolen", "guilty", "thief"} & words


def test_p_has_its_null_its_interval_and_its_family(trials):
    text = text_of(trials["supports"])
    for part in (
        "another model like those of the panel", "claims in the register 1, all counted (Holm)", "0.001 or less",
        "would most likely put p between", "22 hits or more", "nothing of whether they are the right ones",
    ):  # fmt: skip
        assert part in text


def test_gates_stand_one_by_one_with_the_reason_of_those_that_are_shut(trials):
    open_ones, late = text_of(trials["supports"]), text_of(trials["void"])
    assert open_ones.count(" open ") == 8
    assert " shut the claim must be older than the suspect" in late
    assert set(MEND) == {name for name, _, _ in opinion(trials["void"]).gates}
    assert [word for word, _ in steps(opinion(trials["void"]))[1:]] == ["committed first:"]


def test_what_nobody_knows_is_unchecked_and_what_committed_runs_know_is_there(trials, history):
    nothing = text_of(trials["supports"])
    assert nothing.count("unchecked") == 3
    assert "No committed run tried claims of this scheme" in nothing
    known = text_of(trials["supports"], history=history)
    assert "unchecked" not in known
    assert "0 of 1; up to 95" in known
    assert "a judge who compares with guessing alone: 1 of 1" in known
    assert "What removals leave of such marks" in known
    assert "Measured with backdoor:n=100 on" in known  # a claim names its scheme alone
    other = replace(history, honest=None, survival=())
    assert (
        text_of(trials["supports"], history=other).count("unchecked") == 2
    )  # what is known of made-up claims is known
    assert history_of("dawn", Path("nowhere")) is None
    assert accusations(None) == "unchecked"


def test_costs_are_said_where_they_are_known(trials):
    assert "140 queries of the suspect, 1.40 USD" in text_of(trials["supports"], paid=Paid(1.4, "USD"))
    assert "140 queries of the suspect, free" in text_of(trials["supports"], paid=Paid(0.0, ""))
    assert "the bundle does not say what they cost" in text_of(trials["supports"])
    assert "gamekeeper verify --bundle out/bundle" in text_of(trials["supports"])


def test_names_from_outside_are_escaped_everywhere(trials, history):
    clean = opinion(trials["void"])
    hostile = replace(
        clean, sentence=EVIL, counts=EVIL, chance=EVIL, null=EVIL, suspect=Compared(EVIL, 3, 0.9),
        own=Compared(EVIL, 3, float("nan")), panel=tuple(replace(each, who=EVIL) for each in clean.panel),
        facts=((EVIL, EVIL), ("scheme", EVIL)), change=(EVIL,), unchecked=(EVIL,), digest=EVIL,
        gates=tuple((name, text, EVIL and reason and EVIL) for name, text, reason in clean.gates),
    )  # fmt: skip
    whole = verdict_page(hostile, tail(trials["void"]), Path(EVIL), Paid(1.0, EVIL), history)
    assert "<script" not in whole
    assert "<img" not in whole
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", whole)
    Page(whole)


def test_the_page_loads_nothing_scrolls_in_boxes_and_its_links_lead_somewhere(trials, history):
    page = Page(page_of(opinion(trials["supports"]), trials["supports"], history=history))
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert (page.tags["svg"], page.unboxed) == (4, [])  # each figure for a page and for a phone


def test_the_report_is_a_pure_function_of_the_trial(trials, tmp_path):
    names = ("verdict.html", "verdict.svg", "verdict.png")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_verdict_report(trials["supports"], tmp_path / folder, BUNDLE)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(names)


def test_the_figure_shows_every_model_and_the_curve_is_the_null(trials):
    trial = trials["supports"]
    judgement, chances = opinion(trial), tail(trial)
    assert chances[judgement.hits] == judgement.log10_p
    assert chances[0] == 0
    assert sorted(chances, reverse=True) == list(chances)
    for width in (6.8, NARROW):
        people, below = hits_figure(judgement, chances, width).axes
        dots = people.lines[0].get_xdata()
        assert sorted(dots) == sorted(each.hits for each in judgement.panel)
        assert [line.get_xdata()[0] for line in people.lines[1:3]] == [judgement.own.hits, judgement.hits]
        assert list(below.lines[0].get_ydata()) == pytest.approx(list(chances))
        assert people.lines[-1].get_xdata()[0] == judgement.needed
    nobody = replace(judgement, needed=None, panel=())
    assert len(hits_figure(nobody, chances).axes) == 2


def test_dots_that_would_hide_each_other_are_piled_up():
    assert piled([5, 3, 5, 5], 0.6) == [(3, 0), (5, 0), (5, 1), (5, 2)]
    assert piled([10, 11, 25], 10.0) == [(10, 0), (11, 1), (25, 0)]  # ten hits of 600 are as wide as a dot


def test_another_panel_moves_p_by_what_a_jackknife_says():
    assert interval(Ranks(), 9, 10, (1, 2, 3, 4)) == pytest.approx((Ranks().log10_p(9, 10, (1, 2, 3, 4)),) * 2)
    low, high = interval(OfPanel(), 40, 40, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
    wide = interval(OfPanel(), 40, 40, (0, 1, 2, 3, 4, 5, 6, 7, 15, 20))
    assert low < OfPanel().log10_p(40, 40, tuple(range(1, 11))) < high <= 0
    assert wide[1] - wide[0] > high - low
    assert interval(OfPanel(), 3, 10, (2,))[1] == 0
    assert another_panel((-4.0, -1.0), 10).endswith("between 1 in 10,000 and 0.100.")


def test_most_other_panels_put_p_into_the_interval():
    """Simulated: sixteen panels of ten models whose rates of hits differ. Leaving one model out spans far less than that."""
    generator = np.random.default_rng(0)
    panels = [tuple(map(int, generator.binomial(20, generator.beta(5, 45, 10)))) for _ in range(16)]
    values = [OfPanel().log10_p(12, 20, panel) for panel in panels]
    inside = [
        sum(low <= each <= high for each in values) - 1
        for low, high in (interval(OfPanel(), 12, 20, one) for one in panels)
    ]
    assert 0.75 <= sum(inside) / (16 * 15) <= 0.99


def test_a_verdict_that_another_panel_might_change_says_so(trials):
    judgement = opinion(trials["supports"])
    assert firm(judgement) == ""
    assert "not shown" in firm(replace(judgement, interval=(-6.0, -2.9)))
    other = opinion(trials["not shown"])
    assert "supports" in firm(replace(other, interval=(-3.1, 0.0)))


@pytest.mark.parametrize(
    ("log10_p", "words"),
    [(0.0, "1.000"), (-1.3, "0.050"), (-4.0, "1 in 10,000"), (-3.62, "1 in 4,200"), (-9.2, "1 in 10^9")],
)
def test_small_chances_in_words(log10_p, words):
    assert power(log10_p) == words


def test_what_removals_leave_is_drawn_with_what_it_costs():
    lines = summary().survival
    figure = survival_figure(lines)
    assert figure is not None
    left, paid = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["rtal", "none"]  # the cheapest on top
    assert [text.get_text() for text in paid.texts] == ["4.0", "0.0"]
    assert survival_figure(()) is None


def test_the_file_of_schemes_says_the_same_as_the_rows(tmp_path, history):
    again = summary()
    assert history is not None
    stranger = history_of("stranger", tmp_path / "ownership.json")
    assert stranger == replace(history, tried="", survival=(), honest=None)
    known = (history.survival, (history.honest,), history.forged)
    for ours, theirs in zip(known, (again.survival, again.innocents, again.forgeries), strict=True):
        assert [asdict(each) for each in ours if each] == [rounded(asdict(each)) for each in theirs]
    assert orjson.loads(to_json({"target": "t", "date": "d", "version": "v", "queries": 1}, again))["target"] == "t"

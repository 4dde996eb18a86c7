"""Reproductions: the descriptions make sense, the table says what rows say, and a run resumes."""

import json
import math
from dataclasses import replace

import pytest

from gamekeeper.methods import InputSpec, parse_defense, parse_thief
from gamekeeper.reproductions.catalogue import REPRODUCTIONS
from gamekeeper.reproductions.description import (
    Experiment,
    Figure,
    Ordering,
    Reproduction,
    all_flags,
    belongs,
    cells,
    figure_results,
    ordering_results,
    with_paper,
)
from gamekeeper.reproductions.victims import VICTIMS
from gamekeeper.targets.builtin import BUILTIN
from gamekeeper.targets.choice import Choice
from tests.analysis.rows import row

SOFT, LABELS = Experiment("mnist", "knockoff", 1000), Experiment("mnist", "knockoff+labels", 1000)
FEW = Reproduction(
    name="few",
    paper="a paper",
    what="two thieves",
    minutes=1,
    needs=(),
    seeds=(0, 1, 2),
    figures=(
        Figure("soft", "Table 1", SOFT, (("accuracy", 0.9), ("queries", "about 1,000"))),
        Figure("labels", "Table 1", LABELS, (("accuracy", "worse"),)),
    ),
    orderings=(Ordering("soft beats labels", "5", ((SOFT, LABELS),)),),
)


def pairs(*differences: float):
    """Rows of both thieves, seed by seed that far apart."""
    soft = [row(attack="knockoff", seed=seed, accuracy=0.8 + gap) for seed, gap in enumerate(differences)]
    labels = [row(attack="knockoff+labels", seed=seed, accuracy=0.8) for seed in range(len(differences))]
    return soft + labels


def test_a_line_has_the_mean_over_seeds_beside_the_papers_figure():
    soft, labels = figure_results(FEW, pairs(0.02, 0.04, 0.06))
    accuracy, queries = soft.beside
    assert accuracy.paper == 0.9
    assert accuracy.ours.value == pytest.approx(0.84)
    assert accuracy.ours.low < 0.82 < 0.86 < accuracy.ours.high, "three seeds 2 points apart: t(2) = 4.3"
    assert queries.ours == 1000
    assert labels.beside[0].ours.value == pytest.approx(0.8)
    assert soft.seeds == 3


def test_other_budgets_targets_and_defenses_are_other_thefts():
    strange = [row(budget=999), row(defense="label"), replace(row(), target="fashion"), row(attack="knockoff+labels")]
    assert not [each for each in strange if belongs(each, SOFT)]
    assert figure_results(FEW, strange[:3])[0].beside[0].ours is None


def test_a_failed_cell_is_said_and_is_no_number():
    soft, _ = figure_results(FEW, [row(error="Unsuited: no")])
    assert soft.error == "Unsuited: no"
    assert soft.beside[0].ours is None


@pytest.mark.parametrize(
    ("differences", "held", "word"),
    [
        ((0.02, 0.03, 0.04), 3, "as claimed"),
        ((-0.02, -0.03, -0.04), 0, "reversed"),
        ((0.02, -0.03, 0.04), 2, "not decided"),
        ((0.02,), 1, "not decided"),
    ],
)
def test_an_ordering_is_judged_in_pairs_of_one_seed(differences, held, word):
    (found,) = ordering_results(FEW, pairs(*differences))
    assert (found.held, found.of, found.word) == (held, len(differences), word)
    assert found.mean == pytest.approx(sum(differences) / len(differences))
    if len(differences) == 3 and word == "as claimed":
        half = 4.302653 * 0.01 / math.sqrt(3)
        assert (found.low, found.high) == (pytest.approx(0.03 - half), pytest.approx(0.03 + half))


def test_seeds_without_their_pair_do_not_count():
    rows = [each for each in pairs(0.02, 0.03, 0.04) if each.attack == "knockoff" or each.seed < 2]
    assert ordering_results(FEW, rows)[0].of == 2
    assert not ordering_results(FEW, [each for each in rows if each.attack == "knockoff"])


def test_a_row_carries_the_papers_number_where_there_is_one():
    assert with_paper(row(attack="knockoff"), FEW).paper == 0.9
    assert with_paper(row(attack="knockoff+labels"), FEW).paper is None


def test_a_targets_rows_are_flagged_by_themselves():
    """Labels beat posteriors on mnist only: the other target's rows must not be flagged for it."""
    mnist = pairs(-0.1, -0.1, -0.1)
    fashion = [replace(each, target="fashion", cell=f"fashion {each.cell}") for each in pairs(0.1, 0.1, 0.1)]
    flags = all_flags(mnist + fashion)
    flagged = {each.target for each in mnist + fashion if "labels-beat-posteriors" in flags[each.cell]}
    assert flagged == {"mnist"}


@pytest.mark.parametrize("reproduction", REPRODUCTIONS.values(), ids=lambda each: each.name)
def test_every_description_can_be_run(reproduction):
    """Names of targets, thieves and defenses exist; orderings compare one target; every figure has a measure."""
    spec = InputSpec((1, 28, 28), 10)
    for theft in reproduction.thefts:
        assert theft.target in {**BUILTIN, **VICTIMS}
        parse_thief(theft.attack, spec)
        parse_defense(theft.defense, spec)
        assert theft.budget > 0
    for ordering in reproduction.orderings:
        for better, worse in ordering.pairs:
            assert better != worse
            assert better.target.removesuffix("-incomplete") == worse.target
    assert all(figure.said for figure in reproduction.figures)
    assert len(set(reproduction.seeds)) == len(reproduction.seeds) > 0
    assert json.dumps(reproduction.name)


def test_cells_load_each_target_once_and_hold_every_theft_at_every_seed():
    loaded = []
    digits = Experiment("digits", "knockoff", 60)
    small = replace(FEW, figures=(Figure("a", "b", digits, (("accuracy", 0.9),)),), orderings=())
    found = cells(small, Choice, lambda target, source: loaded.append(target.name))
    assert loaded == ["digits"]
    assert [(cell.budget, cell.seed, cell.attack) for cell in found] == [(60, seed, "knockoff") for seed in (0, 1, 2)]

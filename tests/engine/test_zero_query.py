"""Every audit has the clone of a thief who asks nothing, and what a defense that answers at random leaves is no more."""

from dataclasses import dataclass, replace

import pytest
import torch

from gamekeeper.attacks.zero_query import NamesOnly
from gamekeeper.defenses.stateless import Stateless
from gamekeeper.engine.grid import Audit, zero_query_cells, zero_query_thief
from gamekeeper.engine.plan import plan, settle
from gamekeeper.engine.run import run_cell
from gamekeeper.learners.augmented import Affine, Augmented
from gamekeeper.learners.distil import Soft
from gamekeeper.models.estimators import Forest
from gamekeeper.results import Row
from gamekeeper.targets.builtin import digits
from gamekeeper.targets.choice import Choice
from gamekeeper.targets.target import Target
from gamekeeper.types import Box

SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
BARS = {
    "a": (0, 1, 2, 5),
    "g": (3, 4, 2, 5),
    "d": (6, 7, 2, 5),
    "f": (1, 3, 2, 3),
    "b": (1, 3, 5, 6),
    "e": (4, 6, 2, 3),
}
BARS["c"] = (4, 6, 5, 6)


@dataclass(frozen=True)
class SevenSegments:
    """Draws digits as a pocket calculator shows them, 8 by 8, blurred by a random share: nobody's handwriting."""

    high: float

    def __call__(self, n: int, seed: int, /):
        generator = torch.Generator().manual_seed(seed)
        glyphs = torch.zeros(10, 1, 8, 8)
        for digit, bars in enumerate(SEGMENTS):
            for top, bottom, left, right in (BARS[bar] for bar in bars):
                glyphs[digit, 0, top : bottom + (top == bottom), left : right + 1] = self.high
        drawn = torch.randint(10, (n,), generator=generator)
        share = 0.6 + 0.4 * torch.rand(n, 1, 1, 1, generator=generator)
        x = glyphs[drawn] * share + 0.1 * self.high * torch.rand(n, 1, 8, 8, generator=generator)
        return x.clamp(0, self.high), drawn


@dataclass(frozen=True)
class Drawable:
    """The built-in digits, for a thief who can draw, or who knows how frequent the classes are."""

    prior: tuple[float, ...] | None = None
    name: str = "digits"

    def load(self) -> Target:
        target = digits()
        if self.prior is not None:
            return replace(target, prior=self.prior)
        return replace(target, drawings=SevenSegments(target.box.high))


@dataclass(frozen=True)
class AtRandom:
    """A defense whose answers have nothing to do with the input: a random class for each."""

    @property
    def keeps_top1(self) -> bool:
        return False

    def arm(self, victim, owner, seed):
        generator = torch.Generator().manual_seed(seed)

        def some_class(y):
            return torch.eye(y.shape[1])[torch.randint(y.shape[1], (len(y),), generator=generator)]

        return Stateless(some_class)


def asked(source, folder, attacks=("knockoff", "knockoff+labels"), defenses=("none",), seeds=(0,)):
    audit = Audit(source, list(attacks), list(defenses), [60, 200], list(seeds), uniform=0)
    return settle(audit, folder, lambda text: None)


def measured(cells, folder) -> list[Row]:
    rows = [run_cell(cell, folder) for cell in cells]
    assert [row.error for row in rows] == [None] * len(rows)
    return rows


@pytest.mark.parametrize("source", [Choice("digits"), Choice("wine"), Drawable()])
def test_every_audit_has_one_for_each_seed_and_it_costs_nothing(source, tmp_path):
    question = asked(source, tmp_path, defenses=("round", "label"), seeds=(3, 4))
    rows = measured(question.zero_query, tmp_path)
    assert [(row.defense, row.budget, row.seed, row.queries, row.paid, row.price) for row in rows] == [
        ("none", 0, 3, 0, 0, 0.0),
        ("none", 0, 4, 0, 0, 0.0),
    ]
    assert all(row.utility and row.utility.l1 == 0.0 and row.utility.l1_thief is None for row in rows)
    ahead, alone = (plan(question, cells, tmp_path, 1) for cells in (question.every, question.cells))
    assert (ahead.zero_query, alone.zero_query) == (2, 0)
    assert (ahead.queries, ahead.thefts, ahead.done) == (alone.queries, alone.thefts, 0)


def test_a_constant_answer_scores_as_the_commonest_class_does(tmp_path):
    (row,) = measured(asked(Choice("digits"), tmp_path).zero_query, tmp_path)
    assert row.attack == "commonest_class"
    assert row.clone
    assert row.clone.accuracy.value == pytest.approx(row.chance)


def test_a_public_prior_names_the_class(tmp_path):
    question = asked(Drawable(prior=(0.0, 0.0, 0.0, 1.0, *[0.0] * 6)), tmp_path)
    (row,) = measured(question.zero_query, tmp_path)
    truth = digits().test.y
    assert truth is not None
    assert row.clone
    assert row.clone.accuracy.value == pytest.approx(float((truth == 3).double().mean()))
    assert any("public shares" in said for said in question.header([]).assumptions)


def test_who_can_draw_has_more_than_who_cannot(tmp_path):
    question = asked(Drawable(), tmp_path)
    (row,) = measured(question.zero_query, tmp_path)
    assert row.attack == "names_only"
    assert row.clone
    assert row.chance
    assert row.clone.accuracy.low > 1.5 * row.chance
    assert any("draws 3,000 inputs" in said for said in question.header([]).assumptions)


def test_a_network_for_images_sees_them_turned_and_what_is_fitted_in_one_go_cannot():
    target = replace(digits(), drawings=SevenSegments(1.0))
    sixty_four = replace(target, box=Box((64,), 0.0, 1.0))
    forest = replace(target, student=Forest(target.box.shape, 10))
    thieves = [zero_query_thief(each)[1] for each in (target, sixty_four, forest)]
    assert [thief.learner for thief in thieves if isinstance(thief, NamesOnly)] == [
        Augmented(Soft(), (Affine(),)),
        Soft(),
        Soft(),
    ]


def test_other_drawings_and_another_prior_are_other_cells():
    audit = Audit(Choice("digits"), ["knockoff"], ["none"], [60], [0])
    target = digits()
    others = [
        target,
        replace(target, drawings=SevenSegments(1.0)),
        replace(target, drawings=SevenSegments(2.0)),
        replace(target, prior=(0.1,) * 10),
    ]
    assert len({zero_query_cells(audit, each)[0].id for each in others}) == 4


@pytest.mark.parametrize("source", [Choice("digits"), Drawable()])
def test_behind_a_defense_that_answers_at_random_no_thief_is_above_it(source, tmp_path):
    question = asked(source, tmp_path, defenses=(f"{__name__}.AtRandom",), seeds=(0, 1, 2))
    start = measured(question.zero_query, tmp_path)
    thieves = measured([cell for cell in question.cells if cell.budget == 200], tmp_path)
    most = min(row.clone.accuracy.high for row in start if row.clone)
    for attack in ("knockoff", "knockoff+labels"):
        own = [row.clone.accuracy.value for row in thieves if row.clone and row.attack == attack]
        assert len(own) == 3
        assert sum(own) / 3 <= most

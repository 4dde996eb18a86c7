"""Fidelity measures of Tramer et al.: copies whose measures are known beforehand, and what always holds."""

from dataclasses import dataclass, replace

import orjson
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.data.dataset import Dataset
from gamekeeper.defenses.guarantees import Guarantees
from gamekeeper.engine.evaluate import PART, CloneMetrics, broken, by_confidence, maps_kept, variation
from gamekeeper.engine.grid import UNIFORM, UNIFORM_IMAGES, Audit, expand
from gamekeeper.metrics import wilson
from gamekeeper.results import Band, Clone, from_json, to_line
from gamekeeper.simplex import distance
from gamekeeper.targets.builtin import breast_cancer
from gamekeeper.targets.choice import Choice
from gamekeeper.tasks import Classify
from gamekeeper.types import Batch, Model, Reply
from tests.analysis.rows import row

TASK = Classify(3)
TARGET = breast_cancer()


@dataclass(frozen=True, eq=False)
class Softmax:
    """softmax(w.x) over three classes, or a constant class."""

    w: torch.Tensor
    constant: int | None = None
    task: Classify = TASK

    def __call__(self, x: Batch, /) -> Reply:
        if self.constant is not None:
            return Reply(torch.eye(3)[torch.full((len(x),), self.constant)])
        return Reply(torch.softmax(x.flatten(1) @ self.w, 1))


def victim(seed: int, scale: float = 3.0) -> Softmax:
    return Softmax(scale * torch.randn(30, 3, generator=torch.Generator().manual_seed(seed)))


def clone_metrics(model: Model, uniform: int = 500, answers="probabilities", truth_seed: int = 0) -> CloneMetrics:
    truth = torch.randint(3, (269,), generator=torch.Generator().manual_seed(truth_seed))
    test = Dataset(TARGET.test.x, truth)
    return CloneMetrics(replace(TARGET, victim=model, test=test, answers=answers), lambda: model, uniform)


def test_the_victim_itself_is_at_distance_zero_everywhere():
    measured = clone_metrics(victim(0)).clone(victim(0))
    assert measured.fidelity.value == 1.0
    assert measured.fidelity_uniform == wilson(500, 500)
    assert measured.tv is not None
    assert measured.tv_uniform is not None
    assert (measured.tv.value, measured.tv_uniform.value) == (0.0, 0.0)
    assert (measured.tv.n, measured.tv_uniform.n) == (269, 500)
    assert measured.accuracy_ratio is not None
    assert measured.accuracy_ratio.value == 1.0


@pytest.mark.parametrize("constant", [0, 1, 2])
def test_a_constant_copy_agrees_where_the_victim_says_its_class_and_lies_off_by_the_rest(constant: int):
    """R = 1 - P[f = c]; the distance of a vertex e_c to a posterior is 1 - y_c."""
    model = victim(1)
    judge = clone_metrics(model)
    measured = judge.clone(Softmax(model.w, constant))
    uniform = torch.cat(list(judge.uniform_inputs()))
    for x, rate, tv in (
        (TARGET.test.x, measured.fidelity, measured.tv),
        (uniform, measured.fidelity_uniform, measured.tv_uniform),
    ):
        y = model(x).y
        assert rate is not None
        assert tv is not None
        assert rate.value == float((y.argmax(1) == constant).double().mean())
        assert tv.value == pytest.approx(float((1 - y[:, constant].double()).mean()), abs=1e-6)


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 50))
def test_disagreement_is_at_least_the_difference_of_accuracies(seed: int, other: int, truth: int):
    judge = clone_metrics(victim(seed), 0, truth_seed=truth)
    measured, own = judge.clone(victim(other)), judge.clone(victim(seed))
    gap = abs(own.accuracy.value - measured.accuracy.value)
    assert 1 - measured.fidelity.value >= gap - 1e-12
    assert measured.accuracy_ratio is None or measured.accuracy_ratio.value == pytest.approx(
        measured.accuracy.value / own.accuracy.value
    )


@given(st.integers(0, 10_000), st.floats(0.1, 20.0))
def test_variation_is_a_distance_and_below_pinskers_bound(seed: int, scale: float):
    x = TARGET.test.x[:50]
    a, b, c = (torch.softmax(x.double() @ victim(seed + i, scale).w.double(), 1) for i in range(3))
    tv = variation(a, b)
    assert torch.equal(tv, variation(b, a))
    assert ((tv >= 0) & (tv <= 1)).all()
    assert (tv <= (distance(a, b, "kl") / 2).sqrt() + 1e-7).all()
    assert (variation(a, c) <= tv + variation(b, c) + 1e-12).all()
    assert (variation(a, a) == 0).all()


def test_variation_is_the_largest_difference_over_events():
    a, b = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[0.1, 0.4, 0.5]])
    assert float(variation(a, b)) == pytest.approx(0.4)


def test_posteriors_that_are_not_published_whole_have_no_distance():
    measured = clone_metrics(victim(0), answers="labels").clone(victim(1))
    assert measured.tv is None
    assert measured.tv_uniform is None
    assert measured.fidelity_uniform is not None


def test_nothing_is_said_of_uniform_inputs_that_were_not_asked():
    measured = clone_metrics(victim(0), uniform=0).clone(victim(1))
    assert measured.fidelity_uniform is None
    assert measured.tv_uniform is None
    assert measured.tv is not None


def test_uniform_inputs_come_in_parts_fill_the_box_and_are_the_same_every_time():
    judge = clone_metrics(victim(0), 2 * PART + 7)
    parts = list(judge.uniform_inputs())
    assert [len(part) for part in parts] == [PART, PART, 7]
    whole = torch.cat(parts)
    assert len(whole.unique(dim=0)) == len(whole)
    assert torch.equal(whole, torch.cat(list(judge.uniform_inputs())))
    assert float((whole.mean(0) - 0.5).abs().max()) < 0.05


def test_tables_are_judged_on_tramers_number_of_inputs_and_images_on_fewer():
    def uniform(shape: tuple[int, ...], asked: int | None) -> int:
        target = replace(TARGET, box=replace(TARGET.box, shape=shape))
        return expand(Audit(Choice("any"), ["knockoff"], ["none"], [10], [0], asked), target)[0].uniform

    assert UNIFORM == 10_000
    assert uniform((30,), None) == UNIFORM
    assert uniform((1, 5, 6), None) == UNIFORM_IMAGES
    assert uniform((30,), 0) == 0


def test_rows_of_earlier_versions_load_and_new_measures_come_back():
    old = orjson.loads(to_line(row()))
    for key in ("tv", "tv_uniform", "accuracy_ratio"):
        del old["clone"][key]
    assert from_json(old) == row()
    old["clone"]["of a later version"] = 1
    assert from_json(old) == row()
    measured = replace(row(), clone=clone_metrics(victim(0)).clone(victim(1)))
    assert from_json(orjson.loads(to_line(measured))) == measured
    assert isinstance(measured.clone, Clone)


CLEAN = torch.tensor([[0.45, 0.35, 0.2], [0.7, 0.2, 0.1], [0.95, 0.03, 0.02], [0.995, 0.003, 0.002], [0.5, 0.3, 0.2]])
MOVED = torch.tensor([[0.35, 0.45, 0.2], [0.7, 0.2, 0.1], [0.03, 0.95, 0.02], [0.995, 0.003, 0.002], [0.3, 0.5, 0.2]])


def test_answers_are_counted_by_how_sure_the_clean_one_was():
    truth = torch.tensor([1, 0, 0, 1, 0])
    bands = by_confidence(CLEAN, MOVED, TASK, truth)
    assert bands == [
        Band(0.5, 2, 0, 1, 1),
        Band(0.7, 1, 1, 1, 1),
        Band(0.9, 0, 0, 0, 0),
        Band(0.99, 1, 0, 1, 0),
        Band(1.0, 1, 1, 0, 0),
    ]


def test_a_broken_promise_is_named_and_a_kept_one_is_not():
    still = CLEAN.clone()
    assert broken(Guarantees(True, 0.0, True), CLEAN, still) == []
    assert broken(Guarantees(True, 2.0, False), CLEAN, MOVED) == ["keeps_top1"]
    assert broken(Guarantees(False, 1.8, False), CLEAN, MOVED) == ["l1_bound"]  # the third row moves by 1.84
    assert broken(Guarantees(False, 1.9, True), CLEAN, MOVED) == []
    softer = CLEAN * 0.9 + 0.1 / 3
    assert broken(Guarantees(True, 2.0, True), CLEAN, softer) == ["keeps_confidence"]


def test_either_of_two_tied_classes_may_be_named():
    tied = torch.tensor([[0.4, 0.4, 0.2]])
    assert broken(Guarantees(True, 2.0, False), tied, torch.tensor([[0.1, 0.8, 0.1]])) == []
    assert broken(Guarantees(True, 2.0, False), tied, torch.tensor([[0.1, 0.1, 0.8]])) == ["keeps_top1"]


def test_maps_are_compared_with_the_victims_own():
    """A copy keeps everything, a negated map has the opposite order, a flat one none; maps of a table are one row."""
    model, x = victim(0), TARGET.test.x[:40]
    maps = torch.rand(40, 1, 30, generator=torch.Generator().manual_seed(1))
    clean = Reply(model(x).y, maps)
    same, turned, flat = (
        maps_kept(x, clean, Reply(clean.y, each), model) for each in (maps, -maps, torch.zeros_like(maps))
    )
    assert same is not None
    assert turned is not None
    assert flat is not None
    assert (same.rank, same.overlap, same.flat, same.drop) == (pytest.approx(1), 1, 0, same.drop_clean)
    assert (turned.rank, turned.overlap) == (pytest.approx(-1), 0)
    assert turned.drop != turned.drop_clean == same.drop_clean
    assert (flat.rank, flat.flat, flat.flat_clean) == (None, 1, 0)
    assert maps_kept(x, clean, Reply(clean.y), model) is None
    remote = maps_kept(x, clean, clean, None)
    assert remote is not None
    assert remote.drop is None

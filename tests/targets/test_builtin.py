"""Built-in targets: they load, they are good at their task, and no example leaks from one part to another."""

import pytest
import torch

from gamekeeper.architectures import Mlp
from gamekeeper.data.splits import overlap
from gamekeeper.models.network import TorchModel
from gamekeeper.models.opaque import SklearnModel
from gamekeeper.targets.builtin import BUILTIN, blends
from gamekeeper.targets.load import load_target
from gamekeeper.targets.target import Target

LOADED: dict[str, Target] = {}


@pytest.fixture(params=list(BUILTIN))
def target(request: pytest.FixtureRequest) -> Target:
    if request.param not in LOADED:
        LOADED[request.param] = load_target(request.param)
    return LOADED[request.param]


ACCURACY = {"mnist": 0.97, "fashion": 0.9, "digits": 0.95, "breast-cancer": 0.93, "wine": 0.88}


def test_the_victim_is_good_at_its_task(target: Target):
    assert target.test.y is not None
    y = target.victim(target.test.x).y
    assert float((y.argmax(1) == target.test.y).float().mean()) >= ACCURACY[target.name]
    assert torch.allclose(y.sum(1), torch.ones(len(y), dtype=y.dtype), atol=1e-5)


def test_no_example_is_in_two_parts(target: Target):
    test, pool, train = target.test.x, target.pool.x, target.owner.x
    assert overlap(test, pool) == overlap(test, train) == overlap(pool, train) == 0


def test_everything_lies_in_the_box(target: Target):
    for x in (target.test.x, target.pool.x, target.owner.x):
        target.box.check(x)


def test_the_pool_fills_the_default_budgets_and_has_no_labels_of_the_victims(target: Target):
    assert len(target.pool) >= 2_500
    letters = target.name in ("mnist", "fashion")
    assert (target.pool.y is None) != letters
    if letters:
        assert target.pool.y.max() == 25, "letters, not the victim's ten classes"


def test_the_student_takes_the_targets_inputs(target: Target):
    out = target.student()(target.test.x[:2])
    assert out.shape == (2, target.victim.task.classes)


def test_answers_are_deterministic_and_independent_of_the_batch(target: Target):
    x = target.test.x[:5]
    y = target.victim(x).y
    assert torch.equal(y, target.victim(x).y)
    assert torch.allclose(y[:1], target.victim(x[:1]).y, rtol=0, atol=1e-6)


def test_the_small_ones_are_the_same_when_made_again():
    for name in ("breast-cancer", "wine"):
        first, again = load_target(name), load_target(name)
        assert first.digest == again.digest
        assert torch.equal(first.victim(first.pool.x[:50]).y, again.victim(again.pool.x[:50]).y)


def test_every_built_in_has_a_digest_of_its_own():
    assert len({load_target(name).digest for name in ("mnist", "fashion", "breast-cancer", "wine")}) == 4


def test_the_kinds_are_as_documented():
    assert isinstance(load_target("mnist").victim, TorchModel)
    target = load_target("breast-cancer")
    assert isinstance(target.victim, SklearnModel)
    assert target.student == Mlp((30,), 2, hidden=())
    assert target.victim(target.test.x[:2]).y.dtype == torch.float64


def test_blends_mix_two_different_rows_by_thirty_to_seventy_percent():
    x = torch.eye(6)
    mixed = blends(x, 200, seed=3)
    top = mixed.topk(2).values
    assert torch.allclose(top.sum(1), torch.ones(200))
    assert float(top.max()) <= 0.7
    assert float(top.min()) >= 0.3
    assert not torch.equal(mixed, blends(x, 200, seed=4))

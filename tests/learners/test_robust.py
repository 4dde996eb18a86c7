"""Robust learners: the loss's two limits, and the flipped labels that small losses betray."""

import pytest
import torch
from torch.nn import functional as F

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.errors import BadConfig
from gamekeeper.learners.distil import Labels
from gamekeeper.learners.robust import Gce, GeneralisedCrossEntropy, SmallLoss, Smoothed, co_teach, easiest
from gamekeeper.simplex import distance
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import DiskCloneCache
from gamekeeper.types import Box, Knowledge, Learner, Reply, Transfer

pytestmark = pytest.mark.thorough

QUICK = Fit(epochs=1, least_steps=90, rate=0.5, batch=32)
BOX = Box((2,))
X = BOX.uniform(400, 0)
Y = torch.softmax(30 * torch.stack([X[:, 0], X[:, 1], 1 - X.sum(1)], 1), 1)
STUDENT = Mlp((2,), 3, (16,))


def knows(**more) -> Knowledge:
    return Knowledge(X, BOX, Classify(3), STUDENT, **more)


WIDE = Box((20,))
WIDE_X = WIDE.uniform(400, 0)
DIRECTIONS = torch.randn(3, 20, generator=torch.Generator().manual_seed(5))
WIDE_KNOWS = Knowledge(WIDE_X, WIDE, Classify(3), Mlp((20,), 3, (64,)))
MEMORISING = Fit(epochs=1, least_steps=600, rate=0.2, batch=32)


def linear(x: torch.Tensor) -> torch.Tensor:
    """Labels of a linear victim in 20 dimensions, where 400 labels can be learnt by heart."""
    return torch.eye(3)[(x @ (DIRECTIONS - DIRECTIONS.mean(1, keepdim=True)).T).argmax(1)]


def flipped(share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers for WIDE_X of which a share is moved to another class, and which ones."""
    generator = torch.Generator().manual_seed(1)
    wrong = torch.rand(len(WIDE_X), generator=generator) < share
    moved = torch.where(wrong, torch.randint(1, 3, wrong.shape, generator=generator), 0)
    return torch.eye(3)[(linear(WIDE_X).argmax(1) + moved) % 3], wrong


def fidelity(learner: Learner) -> float:
    """On fresh inputs, of a clone learnt from answers of which a fifth is flipped."""
    y, _ = flipped(0.2)
    fresh_x = WIDE.uniform(2000, 9)
    return agreement(learner(Transfer(WIDE_X, Reply(y), len(y)), WIDE_KNOWS, 0)(fresh_x).y, linear(fresh_x))


def agreement(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.argmax(1) == b.argmax(1)).float().mean())


def test_gce_is_cross_entropy_for_q_to_0():
    out = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.eye(3, dtype=torch.float64)[torch.arange(50) % 3]
    assert torch.allclose(GeneralisedCrossEntropy(1e-9)(out, y), F.cross_entropy(out, y), rtol=1e-7)


def test_gce_is_half_the_l1_distance_to_the_label_at_q_1():
    out = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.eye(3, dtype=torch.float64)[torch.arange(50) % 3]
    mae = distance(torch.softmax(out, 1), y, "l1").mean() / 2
    assert torch.allclose(GeneralisedCrossEntropy(1.0)(out, y), mae)


def test_gce_by_hand():
    out = torch.log(torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64))
    y = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(GeneralisedCrossEntropy(0.5)(out, y), torch.tensor(1.0, dtype=torch.float64))


def test_gce_pulls_less_at_an_absurd_label_than_cross_entropy_does():
    out = torch.tensor([[8.0, 0.0, 0.0]], requires_grad=True)
    y = torch.tensor([[0.0, 1.0, 0.0]])
    (pull,) = torch.autograd.grad(GeneralisedCrossEntropy(0.7)(out, y), out)
    (full,) = torch.autograd.grad(F.cross_entropy(out, y), out)
    p = torch.softmax(out, 1)[0, 1].item()
    assert torch.allclose(pull, p**0.7 * full)


def test_both_resist_flips_that_the_label_thief_learns_by_heart():
    plain = fidelity(Labels(MEMORISING))
    assert fidelity(Gce(fit=MEMORISING)) > plain + 0.05
    assert fidelity(SmallLoss(0.2, MEMORISING)) > plain + 0.05


def test_the_easiest_of_every_class_are_kept():
    loss = torch.tensor([0.1, 0.9, 0.5, 0.3, 9.0, 8.0, 7.0, 6.0, 5.0])
    top = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1])
    assert easiest(loss, top, 0.25).tolist() == [True, False, True, True, False, True, True, True, True]
    assert easiest(loss, top, 0.0).all()


def test_small_losses_find_the_flipped_labels():
    y, wrong = flipped(0.2)
    peers = fresh(WIDE_KNOWS.student, 0), fresh(WIDE_KNOWS.student, 1)
    for trusted in co_teach(peers, WIDE_X, y, 0.2, MEMORISING, 0):
        assert (~trusted & wrong).sum() / wrong.sum() > 0.8
        assert (trusted & ~wrong).sum() / (~wrong).sum() > 0.93


def test_the_peers_are_two_networks_and_each_learns_from_the_others_choice():
    y, _ = flipped(0.2)
    first, second = (fresh(WIDE_KNOWS.student, seed) for seed in (0, 1))
    trusted = co_teach((first, second), WIDE_X, y, 0.2, QUICK, 0)
    assert not torch.equal(trusted[0], trusted[1])
    assert not torch.equal(first(WIDE_X), second(WIDE_X))
    assert not first.training
    assert not second.training


def test_nothing_flipped_and_nothing_distrusted_is_the_label_thief_bit_for_bit():
    transfer = Transfer(X, Reply(Y), len(X))
    clones = [
        learner(transfer, knows(), 3)(X).y for learner in (SmallLoss(0.0, QUICK), Labels(QUICK), Smoothed(0.0, QUICK))
    ]
    assert torch.equal(clones[0], clones[1])
    assert torch.equal(clones[2], clones[1])


def test_smoothed_clones_are_less_sure():
    transfer = Transfer(X, Reply(Y), len(X))
    sure, unsure = (
        learner(transfer, knows(), 0)(X).y.amax(1).mean() for learner in (Labels(QUICK), Smoothed(0.3, QUICK))
    )
    assert unsure < sure - 0.1


@pytest.mark.parametrize(
    "learner", [Gce(fit=QUICK), SmallLoss(fit=QUICK), Smoothed(fit=QUICK)], ids=lambda made: type(made).__name__
)
def test_only_the_top_class_is_looked_at(learner):
    flat = 0.3 * torch.eye(3)[Y.argmax(1)] + 0.7 / 3
    clones = [learner(Transfer(X, Reply(y), len(X)), knows(), 0)(X).y for y in (Y, flat)]
    assert torch.equal(*clones)


@pytest.mark.parametrize("learner", [Gce(fit=QUICK), SmallLoss(fit=QUICK)], ids=lambda made: type(made).__name__)
def test_a_clone_is_taken_from_the_shelf_and_never_for_another_recipe(learner, tmp_path):
    clones = DiskCloneCache(tmp_path)
    transfer = Transfer(X, Reply(Y), len(X))
    made, again = (learner(transfer, knows(clones=clones), 0)(X).y for _ in range(2))
    assert torch.equal(made, again)
    assert clones.seconds > 0
    Labels(QUICK)(transfer, knows(clones=clones), 0)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_no_answers_leave_the_student_untrained():
    nothing = Transfer(X[:0], Reply(Y[:0]), 0)
    for learner in (Gce(fit=QUICK), SmallLoss(fit=QUICK), Smoothed(fit=QUICK)):
        assert torch.equal(learner(nothing, knows(), 0)(X).y, Labels(QUICK)(nothing, knows(), 0)(X).y)


@pytest.mark.parametrize(
    "make", [lambda: Gce(q=0.0), lambda: Gce(q=1.1), lambda: SmallLoss(flips=1.0), lambda: Smoothed(eps=-0.1)]
)
def test_parameters_out_of_range_are_refused(make):
    with pytest.raises(BadConfig, match="must be"):
        make()

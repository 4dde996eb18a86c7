"""Semi-supervised learners: unasked inputs help, sure guesses alone count, and nothing is asked."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gamekeeper.architectures import Classifier, LeNet, Mlp, ResNet
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.learners.distil import Labels
from gamekeeper.learners.semi_supervised import S4L, FixMatch, guess, unasked
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import label
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import DiskCloneCache
from gamekeeper.types import Box, Knowledge, Learner, Reply, Transfer

pytestmark = pytest.mark.thorough

QUICK = Fit(epochs=5, least_steps=60, rate=0.2, batch=16)
RINGS = Box((2,), -1.0, 1.0)


def moons(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two interleaved half circles with a gap between, and which one: the shape is in the inputs, not in the labels."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.arange(n) % 2
    turn = torch.pi * torch.rand(n, generator=generator)
    x = torch.stack([turn.cos(), turn.sin()], 1)
    x = torch.where(which[:, None] == 1, torch.tensor([1.0, 0.5]) - x, x) - torch.tensor([0.5, 0.25])
    return x / 1.6 + 0.02 * torch.randn(n, 2, generator=generator), which


POOL, SIDE = moons(1500, 0)
TEST, TRUTH = moons(1000, 1)
IMAGES = Box((1, 8, 8))


def knows(**more) -> Knowledge:
    return Knowledge(POOL, RINGS, Classify(2), Mlp((2,), 2, (64, 64)), **more)


def transfer(n: int) -> Transfer:
    return Transfer(POOL[:n], Reply(torch.eye(2)[SIDE[:n]]), n)


def accuracy(learner: Learner, n: int) -> float:
    return float((learner(transfer(n), knows(), 0)(TEST).y.argmax(1) == TRUTH).float().mean())


def images() -> tuple[Knowledge, Transfer]:
    """Upright images, one corner bright; the class is which column is bright below."""
    which = torch.arange(400) % 4
    x = 0.4 * torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x[:, :, :2, :3] = 1.0
    x[torch.arange(400), :, 5:, 2 * which] = 1.0
    thief = Knowledge(x, IMAGES, Classify(4), Mlp((1, 8, 8), 4, (16,)))
    return thief, Transfer(x[:40], Reply(torch.eye(4)[which[:40]]), 40)


def test_fixmatch_beats_plain_labels_at_20_answers():
    fit = Fit(epochs=1, least_steps=250, rate=0.2, batch=20)
    plain, semi = (accuracy(learner, 20) for learner in (Labels(fit), FixMatch(fit=fit)))
    assert semi > plain + 0.03
    assert semi > 0.95


def test_guesses_below_the_threshold_teach_nothing():
    # no softmax of a student reaches a threshold it would have to exceed 1 for; weight 0 must then give the same clone
    never = FixMatch(threshold=1.0, fit=QUICK)
    silent = FixMatch(weight=0.0, threshold=1.0, fit=QUICK)
    clones = [learner(transfer(20), knows(), 0)(TEST).y for learner in (never, silent)]
    assert torch.equal(*clones)
    always = FixMatch(threshold=0.0, fit=QUICK)(transfer(20), knows(), 0)(TEST).y
    assert not torch.equal(always, clones[0])


def test_guesses_are_made_without_a_gradient():
    student = nn.Linear(2, 2)
    found = guess(student, POOL[:5])
    assert not found.requires_grad
    assert torch.allclose(found.sum(1), torch.ones(5))


def test_only_what_was_not_asked_counts_as_unasked():
    left = unasked(POOL, POOL[100:300])
    assert torch.equal(left, torch.cat([POOL[:100], POOL[300:]]))
    assert torch.equal(unasked(POOL, POOL + 0.5), POOL)


def test_a_pool_that_is_used_up_leaves_the_transfer_set():
    asked = POOL[torch.randperm(len(POOL), generator=torch.Generator().manual_seed(0))]
    assert torch.equal(unasked(POOL, asked), asked)


def test_labels_by_default_and_whole_answers_on_request():
    soft = 0.3 + 0.4 * torch.eye(2)[SIDE[:50]]
    for make in (FixMatch,):
        given, bare = (Transfer(POOL[:50], Reply(y), 50) for y in (soft, label(soft)))
        assert torch.equal(make(fit=QUICK)(given, knows(), 0)(TEST).y, make(fit=QUICK)(bare, knows(), 0)(TEST).y)
        assert not torch.equal(
            make("soft", fit=QUICK)(given, knows(), 0)(TEST).y, make(fit=QUICK)(given, knows(), 0)(TEST).y
        )


def test_rotations_leave_only_the_students_own_weights():
    thief, asked = images()
    thief = replace(thief, student=ResNet((1, 8, 8), 4, depth=8, width=4))
    clone = S4L(fit=Fit(epochs=1, least_steps=6, batch=16))(asked, thief, 0)
    assert isinstance(clone.net, Classifier)
    assert clone(thief.pool).y.shape == (400, 4)
    assert set(clone.net.state_dict()) == set(thief.student().state_dict())


def test_rotations_shape_the_features():
    """A linear reading of six features tells the four turns apart, for which labels alone leave too little."""
    thief, asked = images()
    thief = replace(thief, student=Mlp((1, 8, 8), 4, (6,)))
    turned = torch.cat([thief.pool.rot90(k, (2, 3)) for k in range(4)])
    quarter = torch.arange(4).repeat_interleave(len(thief.pool))
    labels, turns = (
        readable(
            S4L(weight=weight, fit=Fit(epochs=1, least_steps=150, rate=0.1, batch=16))(asked, thief, 0), turned, quarter
        )
        for weight in (0.0, 1.0)
    )
    assert turns > 0.9
    assert turns > labels + 0.1


def readable(clone: TorchModel, x: Tensor, truth: Tensor) -> float:
    """How often a linear reading of the features is right; a little ridge, since ReLUs die."""
    with torch.no_grad():
        features = torch.cat([clone.net.features(x), torch.ones(len(x), 1)], 1).double()
    square = features.T @ features + 1e-3 * torch.eye(features.shape[1], dtype=torch.float64)
    read = features @ torch.linalg.solve(square, features.T @ torch.eye(4, dtype=torch.float64)[truth])
    return float((read.argmax(1) == truth).float().mean())


def test_zero_weight_s4l_on_an_mlp_is_the_label_thief():
    thief, asked = images()
    clones = [learner(asked, thief, 0)(thief.pool).y for learner in (S4L(weight=0.0, fit=QUICK), Labels(QUICK))]
    assert torch.equal(*clones)


def test_rotations_need_square_images_and_a_student_with_a_head():
    with pytest.raises(Unsuited, match=r"square images; these inputs have shape \(2,\)"):
        S4L(fit=QUICK)(transfer(20), knows(), 0)
    thief, asked = images()

    class Bare:
        def __call__(self) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

    with pytest.raises(Unsuited, match="features and a head"):
        S4L(fit=QUICK)(asked, replace(thief, student=Bare()), 0)


def test_the_shelf_tells_pools_apart(tmp_path):
    clones = DiskCloneCache(tmp_path)
    clones = [
        FixMatch(fit=QUICK)(transfer(20), Knowledge(POOL[:rest], RINGS, Classify(2), knows().student, clones=clones), 0)
        for rest in (1500, 700, 1500)
    ]
    answers = [clone(TEST).y for clone in clones]
    assert torch.equal(answers[0], answers[2])
    assert not torch.equal(answers[0], answers[1])
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_images_of_a_convolutional_student_are_learnt_from():
    box = Box((1, 16, 16))
    x = box.uniform(60, 0)
    asked = Transfer(x[:20], Reply(torch.eye(2)[torch.arange(20) % 2]), 20)
    clone = FixMatch(fit=Fit(epochs=1, least_steps=5, batch=8))(
        asked, Knowledge(x, box, Classify(2), LeNet(box.shape, 2, 16)), 0
    )
    assert torch.isfinite(clone(x).y).all()


def test_no_answers_leave_the_student_untrained():
    nothing = Transfer(POOL[:0], Reply(torch.empty(0, 2)), 0)
    assert torch.equal(FixMatch(fit=QUICK)(nothing, knows(), 0)(TEST).y, Labels(QUICK)(nothing, knows(), 0)(TEST).y)


def test_parameters_out_of_range_are_refused():
    for wrong in ({"threshold": 1.5}, {"ratio": 0}, {"weight": -1.0}):
        with pytest.raises(BadConfig, match="FixMatch needs"):
            FixMatch(**wrong)
    with pytest.raises(BadConfig, match="weight of S4L"):
        S4L(weight=-1.0)

"""Learners: what they make of the answers, and what no learner may do."""

import hashlib

import pytest
import torch
from safetensors import SafetensorError

from gamekeeper.architectures import LeNet, Mlp, fresh
from gamekeeper.defenses.baselines import ConstantTarget, Flatten, LeastLikely
from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.defenses.reverse_sigmoid import ReverseSigmoid
from gamekeeper.defenses.truncate import Label, Round, TopK
from gamekeeper.errors import BadConfig
from gamekeeper.learners.distil import Labels, Sharpened, Soft, normalised, sharpen
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import label
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import DiskCloneCache, train
from gamekeeper.types import Box, Knowledge, Owner, Reply, Transfer

pytestmark = pytest.mark.thorough

QUICK = Fit(epochs=20, least_steps=200, rate=0.5, batch=32)
BOX = Box((2,))
X = BOX.uniform(400, 0)
Y = torch.softmax(8 * torch.stack([X[:, 0], X[:, 1], 1 - X.sum(1)], 1), 1)


def knows(**more) -> Knowledge:
    return Knowledge(X, BOX, Classify(3), Mlp((2,), 3, (16,)), **more)


def agreement(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.argmax(1) == b.argmax(1)).float().mean())


def test_a_constant_oracle_makes_a_constant_clone():
    constant = torch.tensor([[0.1, 0.7, 0.2]]).repeat(len(X), 1)
    clone = Soft(QUICK)(Transfer(X, Reply(constant), len(X)), knows(), seed=0)
    answers = clone(BOX.uniform(100, 3)).y
    assert agreement(answers, torch.tensor([[0.0, 1.0, 0.0]]).repeat(100, 1)) == 1.0
    assert torch.allclose(answers.mean(0), constant[0], atol=0.03)


def test_shuffled_answers_teach_nothing():
    order = torch.randperm(len(Y), generator=torch.Generator().manual_seed(0))
    clone = Labels(QUICK)(Transfer(X, Reply(Y[order]), len(X)), knows(), seed=0)
    share = Y.argmax(1).bincount().max() / len(Y)
    assert agreement(clone(X).y, Y) < share + 0.15


def test_same_seed_same_clone_bit_for_bit_and_another_seed_another():
    transfer = Transfer(X, Reply(Y), len(X))
    first, again, other = (Soft(QUICK)(transfer, knows(), seed)(X).y for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Soft(QUICK)(Transfer(X[:40], Reply(Y[:40]), 40), knows(), seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_labels_see_the_top_class_only():
    flat = 0.9 * torch.eye(3)[Y.argmax(1)] * 0.2 + 0.8 / 3
    clones = [Labels(QUICK)(Transfer(X, Reply(y), len(X)), knows(), seed=0)(X).y for y in (Y, flat)]
    assert torch.equal(*clones)


KEEPING = [
    Label(), Round(decimals=1), TopK(k=2), ReverseSigmoid(), Flatten(eps=0.95),
    LeastLikely(eps=0.95, keep_top1=True), ConstantTarget(eps=0.95, keep_top1=True),
]  # fmt: skip


def defended(recipe) -> torch.Tensor:
    owner = Owner(X[:0], torch.empty(0, dtype=torch.long), BOX, knows().student)
    armed = recipe.arm(TorchModel(fresh(knows().student, 9), Classify(3)), owner, 0)
    return armed.respond(X, Reply(Y), armed.fresh()).y


@pytest.mark.parametrize("recipe", KEEPING, ids=lambda recipe: type(recipe).__name__)
def test_a_defense_that_keeps_the_top_class_leaves_the_label_thief_bitwise_what_they_had(recipe):
    assert recipe.keeps_top1
    assert not torch.equal(defended(recipe), Y)
    assert torch.equal(label(defended(recipe)), label(Y))


def test_so_their_clone_is_the_undefended_one_bit_for_bit():
    quick = Fit(epochs=1, least_steps=20, batch=32)
    clones = [Labels(quick)(Transfer(X, Reply(y), len(X)), knows(), 0)(X).y for y in (Y, defended(KEEPING[3]))]
    assert torch.equal(*clones)


def test_a_defense_that_does_not_keep_it_changes_what_the_label_thief_learns():
    assert not torch.equal(label(defended(MAD(eps=1.1))), label(Y))


def test_no_answers_leave_the_student_untrained():
    clone = Soft(QUICK)(Transfer(X[:0], Reply(Y[:0]), 0), knows(), seed=0)
    assert clone(X).y.shape == (400, 3)


def test_sharpening_undoes_flattening():
    y = torch.tensor([[0.7, 0.2, 0.1]])
    flattened = y.sqrt() / y.sqrt().sum()
    assert torch.allclose(sharpen(flattened, 2.0), y)
    assert torch.isfinite(sharpen(torch.full((1, 1000), 1e-3), 50.0)).all()


def test_truncated_answers_are_renormalised_and_whole_ones_left_alone():
    y = torch.tensor([[0.5, 0.3, 0.0], [0.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    expected = torch.tensor([[0.625, 0.375, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.2, 0.3, 0.5]])
    assert torch.allclose(normalised(y), expected)
    assert torch.equal(normalised(Y), Y)


def test_power_must_be_positive():
    with pytest.raises(BadConfig, match="must be positive"):
        Sharpened(power=0.0)


def test_the_shelf_gives_the_very_clone_back_and_counts_its_seconds(tmp_path):
    clones = DiskCloneCache(tmp_path)
    made = train(knows(clones=clones), X, Y, QUICK, 0)
    assert clones.seconds == 0
    taken = train(knows(clones=clones), X, Y, QUICK, 0)
    assert torch.equal(made(X).y, taken(X).y)
    assert clones.seconds > 0
    for other in (train(knows(clones=clones), X, Y, QUICK, 1), train(knows(clones=clones), X, Y.flip(1), QUICK, 0)):
        assert not torch.equal(other(X).y, made(X).y)


def test_a_convolutional_clone_answers_alike_trained_or_found(tmp_path):
    """To the last bit: a run that was killed and resumed finds what an uninterrupted one trained."""
    box, task = Box((1, 28, 28)), Classify(10)
    x = box.uniform(200, 0)
    thief = Knowledge(x, box, task, LeNet(box.shape, 10), clones=DiskCloneCache(tmp_path))
    y = task.target(torch.arange(200) % 10)
    made, taken = (train(thief, x, y, Fit(epochs=1, least_steps=4), 0) for _ in range(2))
    assert torch.equal(made(x).y, taken(x).y)
    assert all(
        a.is_contiguous() == b.is_contiguous()
        for a, b in zip(made.net.parameters(), taken.net.parameters(), strict=True)
    )


def test_a_clones_name_is_the_hash_of_what_it_was_made_from_so_that_old_shelves_stay_good(tmp_path):
    quick = Fit(epochs=1, least_steps=5, batch=32)
    train(knows(clones=DiskCloneCache(tmp_path)), X, Y, quick, 0)
    digest = hashlib.sha256(repr((knows().student, knows().task, quick, 0, torch.__version__)).encode())
    for tensor in (X, Y):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
    assert [path.stem for path in tmp_path.iterdir()] == [digest.hexdigest()[:32]]


def test_a_shelf_that_cannot_be_written_is_a_warning_and_the_clone_stands(tmp_path, monkeypatch, caplog):
    def half(tensors, path, metadata):
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    (tmp_path / "file").touch()
    made = train(knows(), X, Y, QUICK, 0)
    for folder in (tmp_path / "file", tmp_path / "full"):
        caplog.clear()
        assert torch.equal(train(knows(clones=DiskCloneCache(folder)), X, Y, QUICK, 0)(X).y, made(X).y)
        assert "could not be stored" in caplog.text
        monkeypatch.setattr("gamekeeper.training.student.save_file", half)
    assert list((tmp_path / "full").iterdir()) == []


def test_a_damaged_clone_is_made_again(tmp_path):
    clones = DiskCloneCache(tmp_path)
    made = train(knows(clones=clones), X, Y, QUICK, 0)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(train(knows(clones=clones), X, Y, QUICK, 0)(X).y, made(X).y)
    assert clones.seconds == 0

"""The learnt inverse: a monotone map is learnt back, in full precision, and answers do not depend on their batch."""

import numpy as np
import pytest
import torch

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.defenses.baselines import Flatten
from gamekeeper.defenses.truncate import Label
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.learners import inverse
from gamekeeper.learners.distil import Soft
from gamekeeper.learners.inverse import WIDEST, Inverse, Undo, undo
from gamekeeper.learners.lookup_table import LookupTable, flat
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import distance
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Knowledge, Owner, Reply, Transfer

QUICK = Fit(epochs=5, least_steps=20, rate=0.1, batch=32)
BOX = Box((2,))
X = BOX.uniform(200, 0)
Y = flat(3, 200, np.random.default_rng(3))


def softer(y: torch.Tensor) -> torch.Tensor:
    """A monotone map: the square root, renormalised."""
    return y.sqrt() / y.sqrt().sum(1, keepdim=True)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(inverse, "PASSES", Fit(epochs=1, least_steps=250, rate=0.3, decay=1e-4, batch=256))


def test_a_monotone_map_is_learnt_back(short):
    prior = flat(3, 6000, np.random.default_rng(0))
    recovered = undo(softer(Y), LookupTable(prior, softer(prior)), 0)
    before, after = (distance(y, Y, "l1").mean() for y in (softer(Y), recovered))
    assert after < 0.1
    assert after < 0.25 * before
    assert torch.allclose(recovered.sum(1), torch.ones(200), atol=1e-5)


def test_an_answer_does_not_depend_on_its_batch(monkeypatch):
    monkeypatch.setattr(inverse, "PASSES", Fit(epochs=1, least_steps=20, rate=0.3, batch=256))
    prior = flat(3, 1000, np.random.default_rng(0))
    rows = LookupTable(prior, softer(prior))
    assert torch.allclose(undo(Y[:1], rows, 0), undo(Y, rows, 0)[:1], atol=1e-6)


def test_it_computes_in_float32_whatever_the_loop_does():
    net = fresh(lambda: Undo(3), 0).eval()
    close = torch.tensor([[0.997, 0.002, 0.001], [0.998, 0.001, 0.001]])
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net(close)
    assert torch.equal(mixed, net(close))
    assert mixed.dtype == torch.float32


@pytest.mark.parametrize(
    ("classes", "hidden"), [(3, (128, 64)), (10, (128, 64)), (43, (512, 256)), (100, (1024, 512)), (101, WIDEST)]
)
def test_the_widths_are_the_papers(classes, hidden):
    linear = [layer for layer in Undo(classes).layers if isinstance(layer, torch.nn.Linear)]
    assert tuple(layer.out_features for layer in linear) == (*hidden, classes)


def test_no_defense_known_is_the_soft_thief_bit_for_bit():
    knows = Knowledge(X, BOX, Classify(3), Mlp((2,), 3, (8,)))
    transfer = Transfer(X, Reply(Y), 200)
    assert torch.equal(Inverse(fit=QUICK)(transfer, knows, 0)(X).y, Soft(QUICK)(transfer, knows, 0)(X).y)


def test_the_undone_answers_are_what_is_learnt(short):
    student = Mlp((2,), 3, (16,))
    fit = Fit(epochs=1, least_steps=150, rate=0.5, batch=32)
    clean = torch.softmax(20 * torch.stack([X[:, 0], X[:, 1], 1 - X.sum(1)], 1), 1)
    defense = Flatten(eps=0.95)
    owner = Owner(X[:0], torch.empty(0, dtype=torch.long), BOX, student)
    armed = defense.arm(TorchModel(fresh(student, 0), Classify(3)), owner, 0)
    transfer = Transfer(X, armed.respond(X, Reply(clean), None), 200)
    knows = Knowledge(X, BOX, Classify(3), student, defenses=(defense,))
    undone, soft = (
        distance(learner(transfer, knows, 0)(X).y, clean, "l1").mean()
        for learner in (Inverse(6000, fit=fit), Soft(fit))
    )
    assert undone < 0.3 * soft


def test_it_needs_a_defense_the_thief_can_arm():
    class Private:
        keeps_top1 = True

        def arm(self, victim, owner, seed):
            raise Unsuited("it needs training examples.")

    knows = Knowledge(X, BOX, Classify(3), Mlp((2,), 3, (8,)), defenses=(Private(),))
    with pytest.raises(Unsuited, match="Private refused"):
        Inverse(100, fit=QUICK)(Transfer(X, Reply(Y), 200), knows, 0)


def test_no_answers_leave_the_student_untrained():
    knows = Knowledge(X, BOX, Classify(3), Mlp((2,), 3, (8,)), defenses=(Label(),))
    assert Inverse(fit=QUICK)(Transfer(X[:0], Reply(Y[:0]), 0), knows, 0)(X).y.shape == (200, 3)


def test_parameters_out_of_range_are_refused():
    for wrong in ({"size": 1}, {"guesses": 0}, {"concentration": 0.0}):
        with pytest.raises(BadConfig, match="Inverse needs"):
            Inverse(**wrong)

"""Choosing among answers: rows by hand, and lies that a filter finds."""

import pytest
import torch

from gamekeeper.architectures import Mlp
from gamekeeper.errors import BadConfig
from gamekeeper.learners.filters import Confident, Neighbours, agreeing, surest
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Knowledge, Learner, Posterior, Reply, Transfer

BOX = Box((2,))
X = BOX.uniform(400, 0)
SCORES = torch.stack([X[:, 0], X[:, 1], 1 - X.sum(1)], 1)
TRUE = torch.softmax(30 * SCORES, 1)
QUICK = Fit(epochs=3, least_steps=150, rate=0.5, batch=32)
KNOWS = Knowledge(X, BOX, Classify(3), Mlp((2,), 3, (32,)))


def fidelity(learner: Learner, y: Posterior) -> float:
    """On fresh inputs, of a clone learnt from y."""
    x = BOX.uniform(2_000, 9)
    truth = torch.stack([x[:, 0], x[:, 1], 1 - x.sum(1)], 1).argmax(1)
    return float((learner(Transfer(X, Reply(y), len(y)), KNOWS, 0)(x).y.argmax(1) == truth).double().mean())


def test_the_surest_and_the_least_sure_of_each_class_by_hand():
    y = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.7, 0.3], [0.45, 0.55]])
    assert surest(y, 0.5, "most").tolist() == [True, False, True, False, True]
    assert surest(y, 0.5, "least").tolist() == [False, True, False, True, True]
    assert surest(y, 1.0, "most").all()


def test_a_row_agrees_with_most_of_its_nearest_and_is_none_of_them():
    f = torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2], [5.3]])
    assert agreeing(f, torch.tensor([0, 0, 0, 1, 0, 1, 1]), 2).tolist() == [True] * 3 + [False] * 4
    assert agreeing(f, torch.tensor([0, 0, 0, 1, 0, 1, 1]), 3).tolist() == [True] * 4 + [False, True, True]
    assert agreeing(f[:2], torch.tensor([0, 1]), 1).tolist() == [False, False]


def test_lies_among_the_unsure_are_left_out_by_confidence():
    sure = TRUE.amax(1)
    liar = sure < sure.quantile(0.3)
    lies = torch.where(liar[:, None], TRUE.roll(1, 1), TRUE)
    assert not (surest(lies, 0.4, "most") & liar).any()
    assert fidelity(Confident(0.4, fit=QUICK), lies) > 0.8  # what is kept lies far from the borders
    assert fidelity(Confident(0.4, "least", fit=QUICK), lies) < 0.6


def test_scattered_lies_are_left_out_by_neighbours():
    liar = torch.rand(len(X), generator=torch.Generator().manual_seed(2)) < 0.3
    lies = torch.where(liar[:, None], TRUE.roll(1, 1), TRUE)
    assert agreeing(X.double(), lies.argmax(1), 10)[liar].double().mean() < 0.2
    assert fidelity(Neighbours(10, QUICK), lies) > 0.9


def test_answers_of_which_none_agrees_are_all_learnt_and_two_or_fewer_do_no_harm():
    y = torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    for n in (0, 1, 2):
        clone = Neighbours(1, QUICK)(Transfer(X[:n], Reply(y[:n]), n), KNOWS, 0)
        assert torch.isfinite(clone(X).y).all()
    assert torch.equal(clone(X[:2]).y.argmax(1), y.argmax(1))


def test_the_same_answers_give_the_same_clone():
    transfer = Transfer(X[:60], Reply(TRUE[:60]), 60)
    brief = Fit(epochs=1, least_steps=20)
    for learner in (Confident(fit=brief), Neighbours(fit=brief)):
        assert torch.equal(learner(transfer, KNOWS, 4)(X).y, learner(transfer, KNOWS, 4)(X).y)


def test_shares_and_neighbours_that_are_none_are_refused():
    with pytest.raises(BadConfig, match="share of Confident"):
        Confident(0.0)
    with pytest.raises(BadConfig, match="k of Neighbours"):
        Neighbours(0)

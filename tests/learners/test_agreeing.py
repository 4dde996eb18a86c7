"""Agreeing: learns from answers that agree with what was drawn, and from all where too few do."""

import torch

from gamekeeper.architectures import Mlp
from gamekeeper.learners.agreeing import Agreeing, agreed
from gamekeeper.learners.distil import Soft
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Knowledge, Reply, Transfer

BOX, FIT = Box((4,)), Fit(epochs=1, least_steps=10)
X = BOX.uniform(20, 0)
KNOWS = Knowledge(X, BOX, Classify(3), Mlp((4,), 3, (8,)))
Y = torch.softmax(5 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), 1)


def transfer(wrong: int | None) -> Transfer:
    """Drawings of which the first `wrong` are contradicted; None: nothing was drawn."""
    if wrong is None:
        return Transfer(X, Reply(Y), 20)
    top = Y.argmax(1)
    return Transfer(X, Reply(Y), 20, torch.where(torch.arange(20) < wrong, (top + 1) % 3, top))


def answers(learner: Agreeing | Soft, some: Transfer) -> torch.Tensor:
    return learner(some, KNOWS, 0)(X).y


def test_contradicted_answers_are_dropped():
    rows = agreed(transfer(8))
    assert rows is not None
    assert rows.tolist() == [False] * 8 + [True] * 12
    without = Transfer(X[8:], Reply(Y[8:]), 20)
    assert torch.equal(answers(Agreeing(FIT), transfer(8)), answers(Soft(FIT), without))


def test_it_is_soft_where_nothing_was_drawn_or_fewer_than_half_agree():
    for wrong in (None, 11):
        assert agreed(transfer(wrong)) is None
        assert torch.equal(answers(Agreeing(FIT), transfer(wrong)), answers(Soft(FIT), transfer(wrong)))
    assert agreed(transfer(10)) is not None

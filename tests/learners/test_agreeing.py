"""Agreeing drops what contradicts the drawing, and nothing else."""

import torch

from gamekeeper.architectures import Mlp
from gamekeeper.learners.agreeing import Agreeing, uncontradicted
from gamekeeper.learners.distil import Soft
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Knowledge, Reply, Transfer

BOX = Box((2,))
KNOWS = Knowledge(BOX.uniform(5, 0), BOX, Classify(2), Mlp((2,), 2, (16,)))
FIT = Fit(epochs=20, least_steps=200)


def transfer(n: int, lies: float, drawn: bool = True) -> Transfer:
    """Points left and right of the middle; that share of the answers names the other side."""
    x = BOX.uniform(n, 1)
    side = (x[:, 0] > 0.5).long()
    wrong = torch.rand(n, generator=torch.Generator().manual_seed(2)) < lies
    y = torch.nn.functional.one_hot(torch.where(wrong, 1 - side, side), 2).float()
    return Transfer(x, Reply(y), n, side if drawn else None)


def test_lies_that_contradict_the_drawings_do_no_harm():
    x = BOX.uniform(500, 9)
    side = (x[:, 0] > 0.5).long()
    right = {}
    for learner in (Soft(FIT), Agreeing(FIT)):
        right[type(learner)] = float((learner(transfer(300, 0.6), KNOWS, 0)(x).y.argmax(1) == side).float().mean())
    assert right[Soft] < 0.5 < 0.95 < right[Agreeing]


def test_without_drawings_it_learns_as_soft_does():
    some = transfer(40, 0.3, drawn=False)
    x = BOX.uniform(50, 9)
    assert torch.equal(Agreeing(FIT)(some, KNOWS, 3)(x).y, Soft(FIT)(some, KNOWS, 3)(x).y)


def test_rows_that_were_not_drawn_are_kept_and_so_is_everything_if_nothing_agrees():
    y = torch.eye(3)[[0, 1, 2, 0]]
    assert uncontradicted(Transfer(torch.zeros(4, 2), Reply(y), 4, torch.tensor([0, 0, -1, -1]))).tolist() == [
        1,
        0,
        1,
        1,
    ]
    assert uncontradicted(Transfer(torch.zeros(4, 2), Reply(y), 4, torch.tensor([1, 0, 0, 1]))).all()

"""Twice: each image and a copy a pixel away, both paid for, and only what both agree on is kept."""

import pytest
import torch

from gamekeeper.attacks.twice import SIDES, Twice
from gamekeeper.data.transforms import moved
from gamekeeper.errors import Unsuited
from gamekeeper.service.oracles import Transcript
from gamekeeper.types import Reply
from tests.attacks.toys import PLANE, images, meter, plane, thief, walker


def test_images_and_copies_are_asked_in_turn_and_the_images_answers_kept_where_both_agree():
    transcript = Transcript(images)
    transfer = Twice()(meter(60, transcript), thief(), seed=0)
    asked, answered = transcript.seen(60)
    for x, copy in zip(asked[::2], asked[1::2], strict=True):
        assert any(torch.equal(moved(x[None], side[:1], side[1:])[0], copy) for side in SIDES)
    kept = answered[::2].argmax(1) == answered[1::2].argmax(1)
    assert 0 < kept.sum() < 30
    assert torch.equal(transfer.x, asked[::2][kept])
    assert torch.equal(transfer.reply.y, answered[::2][kept])
    assert transfer.cost == 60


def test_answers_that_depend_on_every_bit_are_mostly_dropped():
    def hashed(x: torch.Tensor, /) -> Reply:
        return Reply(torch.eye(4)[(x.double().flatten(1).sum(1) * 1e6).long() % 4])

    assert len(Twice()(meter(400, hashed), thief(), seed=0).x) < 100


def test_a_larger_budget_starts_with_the_questions_of_a_smaller_one():
    small, large = Transcript(images), Transcript(images)
    Twice()(meter(20, small), thief(), seed=5)
    Twice()(meter(50, large), thief(), seed=5)
    assert torch.equal(large.seen(50)[0][:20], small.seen(20)[0])


@pytest.mark.parametrize("budget", [0, 1, 7, 1_000])
def test_the_budget_is_spent_as_far_as_the_pool_goes(budget: int):
    gate = meter(budget)
    assert Twice()(gate, thief(), seed=0).cost == min(budget, 600) == budget - gate.left


def test_flat_inputs_are_refused():
    with pytest.raises(Unsuited, match="twice"):
        Twice()(meter(5, plane, PLANE), walker(), seed=0)

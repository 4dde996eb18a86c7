"""Smoothing: the mean answer of moved copies beside the clean image, every copy paid for."""

import pytest
import torch

from gamekeeper.attacks.smoothing import Smoothing
from gamekeeper.data.transforms import moved
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.service.oracles import Transcript
from tests.attacks.toys import PLANE, images, meter, plane, thief, walker


def test_the_clean_image_gets_the_mean_answer_of_its_copies():
    transcript = Transcript(images)
    transfer = Smoothing(n=3, shift=1)(meter(30, transcript), thief(), seed=0)
    asked, answered = transcript.seen(30)
    assert (len(transfer.x), transfer.cost) == (10, 30)
    assert torch.allclose(transfer.reply.y, answered.view(10, 3, 4).mean(1))
    pool = {row.numpy().tobytes() for row in thief().pool}
    assert all(row.numpy().tobytes() in pool for row in transfer.x)
    moves = [(d, r) for d in (-1, 0, 1) for r in (-1, 0, 1)]
    for i, copy in enumerate(asked):
        x = transfer.x[i // 3][None]
        assert any(
            torch.equal(moved(x, torch.tensor([d]), torch.tensor([r]), torch.zeros(1, dtype=torch.long))[0], copy)
            for d, r in moves
        )


def test_no_copy_is_asked_twice_even_if_all_are_asked():
    transcript = Transcript(images)
    Smoothing(n=18, shift=1, flip=True)(meter(90, transcript), thief(), seed=0)
    assert len(transcript.seen(90)[0].unique(dim=0)) == 90


def test_a_budget_that_is_no_multiple_leaves_the_last_image_fewer_copies():
    transcript = Transcript(images)
    transfer = Smoothing(n=4)(meter(10, transcript), thief(), seed=0)
    assert len(transfer.x) == 3
    assert torch.allclose(transfer.reply.y[2], transcript.seen(10)[1][8:].mean(0))


def test_a_used_up_pool_ends_the_attack():
    gate = meter(100)
    assert Smoothing(n=3)(gate, thief(pool=20), seed=0).cost == 60
    assert gate.left == 40


def test_more_copies_than_there_are_shifts_are_refused():
    with pytest.raises(BadConfig, match="9 copies"):
        Smoothing(n=10, shift=1)


def test_small_images_are_shifted_by_a_pixel_at_most():
    transcript = Transcript(images)  # images of 8 x 8
    transfer = Smoothing(n=9, shift=2)(meter(90, transcript), thief(), seed=0)
    asked = transcript.seen(90)[0].view(10, 9, *transfer.x.shape[1:])
    moves = [torch.tensor([[d], [r]]) for d in (-1, 0, 1) for r in (-1, 0, 1)]
    for x, copies in zip(transfer.x, asked, strict=True):
        expected = {moved(x[None], d, r)[0].numpy().tobytes() for d, r in moves}
        assert {copy.numpy().tobytes() for copy in copies} == expected
    with pytest.raises(Unsuited, match="9 different copies"):
        Smoothing(n=10)(meter(90, images), thief(), seed=0)


def test_flat_inputs_are_refused():
    with pytest.raises(Unsuited, match="smoothing"):
        Smoothing()(meter(5, plane, PLANE), walker(), seed=0)

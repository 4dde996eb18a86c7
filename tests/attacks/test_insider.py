"""The insider: their own inputs first, then blends of two, all different."""

from dataclasses import replace

import pytest
import torch

from gamekeeper.attacks.insider import Insider
from gamekeeper.errors import Unsuited
from gamekeeper.types import Box
from tests.attacks.toys import IMAGES, images, meter, thief


def keys(x: torch.Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in x}


def test_his_own_inputs_come_first_in_an_order_of_the_seed():
    knows = thief()
    one, other = (Insider()(meter(10), knows, seed).x for seed in (0, 1))
    assert keys(one) == keys(other) == keys(knows.seeds)
    assert not torch.equal(one, other)
    assert not torch.equal(one, knows.seeds)


def test_what_follows_lies_between_two_of_their_inputs_three_to_seven_tenths_of_the_way():
    own = torch.eye(64)[:5].view(5, 1, 8, 8)
    x = Insider()(meter(105), thief(seeds=own), seed=0).x
    blends = x[5:].flatten(1)
    assert torch.allclose(blends.sum(1), torch.ones(100))
    assert ((blends > 0).sum(1) == 2).all()
    assert blends.amax(1).max() <= 0.7 + 1e-6
    assert blends[blends > 0].min() >= 0.3 - 1e-6
    assert blends.amax(1).min() < 0.55 < 0.65 < blends.amax(1).max()
    pairs = {tuple(row.nonzero()[:, 0].tolist()) for row in blends}
    assert len(pairs) == 10  # every pair of five is blended


def test_large_budgets_repeat_nothing_and_start_with_small_ones():
    large, small = (Insider()(meter(budget), thief(), seed=3) for budget in (2500, 1100))
    assert len(large.x.unique(dim=0)) == 2500
    assert torch.equal(large.x[:1100], small.x)
    assert torch.equal(small.reply.y, images(small.x).y)


def test_repeated_inputs_are_asked_once_and_a_single_one_ends_the_attack():
    one = IMAGES.uniform(1, 0)
    gate = meter(20)
    assert len(Insider()(gate, thief(seeds=one.repeat(3, 1, 1, 1)), seed=0).x) == 1
    assert gate.left == 19
    two = torch.cat([one, one, IMAGES.uniform(1, 1)])
    assert len(Insider()(meter(200), thief(seeds=two), seed=0).x.unique(dim=0)) == 200


def test_a_thief_without_inputs_of_the_kind_is_refused():
    with pytest.raises(Unsuited, match=r"none.*seeds"):
        Insider()(meter(5), replace(thief(), seeds=None), seed=0)


def test_blends_stay_in_any_box():
    box = Box((3,), -2.0, 5.0)

    def oracle(x: torch.Tensor, /):
        return images(torch.zeros(len(x), 1, 8, 8))

    knows = replace(thief(), box=box, pool=box.uniform(5, 0), groups=None, seeds=box.uniform(4, 1).double())
    x = Insider()(meter(60, oracle, box), knows, seed=0).x
    assert len(x.unique(dim=0)) == 60

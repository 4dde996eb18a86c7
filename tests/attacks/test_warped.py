"""Warped copies: nothing at strength 0, each image's own change otherwise, and the rarest classes again."""

import pytest
import torch

from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.attacks.warped import Warped, askew, rare
from gamekeeper.data.splits import overlap, row_keys
from gamekeeper.errors import BadConfig
from gamekeeper.types import Reply
from tests.attacks.toys import IMAGES, meter, thief


def test_at_strength_0_it_asks_what_the_pool_holds_in_knockoffs_order_and_each_image_once():
    gate = meter(350)
    x = Warped(strength=0.0)(gate, thief(), seed=3).x
    assert torch.equal(x, Knockoff()(meter(350), thief(), seed=3).x)
    assert gate.left == 50


def test_no_copy_is_an_image_of_the_pool_and_the_pool_is_gone_through_again():
    x = Warped()(meter(700), thief(), seed=3).x
    assert overlap(x, thief().pool) == 0
    assert len(x.unique(dim=0)) == 700


def test_a_copy_at_full_strength_moves_no_pixel_further_than_it_says():
    # a dot at radius r from the middle moves by at most r (turn + shear + scale) and a tenth of the side
    x = torch.zeros(200, 1, 21, 21)
    x[:, 0, 10, 15] = 1.0
    there = (askew(x, 1.0, 0.0, torch.Generator().manual_seed(0)) > 0.2)[:, 0]
    rows, columns = torch.nonzero(there)[:, 1:].T
    apart = ((rows - 10) ** 2 + (columns - 15) ** 2).float().sqrt()
    assert 2 < apart.max() < 5 * (0.26 + 0.3 + 0.25) * 1.3 + 21 * 0.1 * 2**0.5 + 1


def test_what_comes_in_from_outside_is_the_low_end_of_the_box():
    x = torch.full((50, 1, 8, 8), 3.0)
    copies = askew(x, 1.0, -2.0, torch.Generator().manual_seed(0))
    assert copies.min() == -2
    assert copies.max() == pytest.approx(3.0)


def test_the_rarest_classes_are_chosen_most_and_absent_ones_not_at_all():
    classes = torch.tensor([0] * 60 + [1] * 30 + [3] * 10)
    chosen = classes[rare(classes, 9_000, torch.Generator().manual_seed(0))].bincount(minlength=4)
    wanted = torch.tensor([1, 31, 0, 51]) / 83
    torch.testing.assert_close(chosen / 9_000, wanted, atol=0.02, rtol=0)


def test_balanced_asks_again_about_images_of_the_class_that_is_named_least():
    pool = thief().pool
    marked = set(row_keys(pool[:15]))

    def oracle(x: torch.Tensor, /) -> Reply:
        return Reply(torch.nn.functional.one_hot((x.amax((1, 2, 3)) > 2).long(), 4).float())

    assert marked
    bright = pool.clone()
    bright[:15] *= 3  # a twentieth of the pool; only these can be answered with class 1
    knows = thief()
    wide = type(IMAGES)(IMAGES.shape, 0.0, 3.0)
    share = {}
    for balanced in (False, True):
        gate = meter(512, oracle, wide)
        transfer = Warped(balanced=balanced)(gate, type(knows)(bright, wide, knows.task, knows.student), seed=1)
        share[balanced] = float(transfer.reply.y[:, 1].mean())
    assert share[True] > 3 * share[False]


def test_a_strength_that_would_tear_images_apart_is_refused():
    with pytest.raises(BadConfig, match="0 to 3"):
        Warped(strength=-0.1)

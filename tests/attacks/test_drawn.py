"""Thieves who draw, warp or restyle: what they ask about, what it costs, and what they know."""

from dataclasses import replace

import pytest
import torch

from gamekeeper.architectures import Mlp
from gamekeeper.attacks.drawn import Drawn
from gamekeeper.attacks.restyled import Restyled, nearest, places, restyle, thinned
from gamekeeper.attacks.warped import Warped, affine, seen_through
from gamekeeper.data.drawn.digits import Digits
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.service.oracles import Metered
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Knowledge, Reply, Style

BOX = Box((1, 28, 28))
STYLE = Style((2.0, 3.5), (0.15, 0.2), 20.0)
LETTERS = torch.zeros(40, 1, 28, 28)
for number in range(40):
    LETTERS[number, 0, 4:24, 6 : 10 + number % 8] = 1
    LETTERS[number, 0, 4 + number // 8 : 8 + number // 8, 6:22] = 1
KNOWS = Knowledge(LETTERS, BOX, Classify(10), Mlp((1, 28, 28), 10), drawings=Digits(), style=STYLE)
ONE = torch.ones(1)


def flat(x: torch.Tensor, /) -> Reply:
    return Reply(torch.full((len(x), 10), 0.1))


def test_drawings_are_asked_in_order_with_the_class_each_was_drawn_as():
    meter = Metered(flat, 35, BOX)
    transfer = Drawn()(meter, KNOWS, 3)
    x, classes = Digits()(35, 3)
    assert torch.equal(transfer.x, x)
    assert transfer.drawn is not None
    assert torch.equal(transfer.drawn, classes)
    assert (meter.spent, transfer.cost) == (35, 35)


def test_drawings_are_the_same_whatever_the_thief_holds_beside_them():
    other = replace(KNOWS, pool=1 - LETTERS, seeds=LETTERS[:3], groups=torch.arange(40))
    asked = [Drawn()(Metered(flat, 20, BOX), knows, 0).x for knows in (KNOWS, other)]
    assert torch.equal(*asked)


def test_a_thief_without_drawings_or_style_is_refused_before_any_query():
    meter, poor = Metered(flat, 5, BOX), replace(KNOWS, drawings=None, style=None)
    for querying in (Drawn(), Restyled()):
        with pytest.raises(Unsuited, match="none"):
            querying(meter, poor, 0)
    assert meter.spent == 0


def test_warped_at_strength_0_asks_about_the_pools_images_themselves_and_ends_with_them():
    transfer = Warped(0.0)(Metered(flat, 100, BOX), KNOWS, 0)
    rows = LETTERS.flatten(1).unique(dim=0)
    assert transfer.cost == len(rows)
    assert torch.equal(transfer.x.flatten(1).unique(dim=0), rows)


def test_warped_asks_about_each_image_before_the_second_copy_of_any():
    transfer = Warped()(Metered(flat, 80, BOX), KNOWS, 0)
    assert len(transfer.x.flatten(1).unique(dim=0)) == 80
    with pytest.raises(BadConfig, match="strength"):
        Warped(-1.0)


def test_a_warp_is_the_geometry_it_says():
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 1, 4] = 1  # three above the middle
    still = torch.zeros(1, 2)
    quarter = seen_through(x, affine(ONE * torch.pi / 2, 0 * ONE, ONE), still)
    assert quarter.round(decimals=4).nonzero().tolist() in ([[0, 0, 4, 1]], [[0, 0, 4, 7]])
    half = seen_through(x.roll(1, 2), affine(0 * ONE, 0 * ONE, 0.5 * ONE), still)
    assert half.nonzero().tolist() == [[0, 0, 3, 4]]
    sheared = seen_through(x, affine(0 * ONE, ONE, ONE), still)
    assert sheared[0, 0, 1].max() == 1
    assert sheared[0, 0, 1, 4] == 0
    moved = seen_through(x, affine(0 * ONE, 0 * ONE, ONE), torch.tensor([[2.0, -1.0]]))
    assert moved.nonzero().tolist() == [[0, 0, 2, 2]]


def test_a_thick_bar_is_thinned_to_a_line_in_its_middle_and_a_ring_stays_a_ring():
    mask = torch.zeros(2, 30, 30, dtype=torch.bool)
    mask[0, 10:17, 3:27] = True
    mask[1, 5:25, 5:25] = True
    mask[1, 12:18, 12:18] = False
    thin = thinned(mask)
    assert (thin & ~mask).sum() == 0
    assert (thin[0].sum(0) <= 1).all()
    rows = thin[0].nonzero()[:, 0]
    assert ((rows - 13).abs() <= 1).all()
    assert thin[1, 15, :12].any()
    assert thin[1, 15, 18:].any()
    assert not thin[1, 12:18, 12:18].any()
    assert torch.equal(thinned(thin), thin)


def test_restyled_letters_have_the_pen_and_the_middle_of_the_style():
    generator = torch.Generator().manual_seed(0)
    bar = torch.zeros(30, 1, 28, 28)
    bar[:, :, 4:24, 10:18] = 1
    upright = Style((3.0, 3.0), (0.0, 0.0), 20.0)
    x = restyle(bar, generator, BOX, upright, 0.0)
    assert len(x) == 30
    widths = x[:, 0, 12:16].sum(2).mean(1)  # ink across the stroke; the letter is turned by a few degrees
    assert ((widths - 3).abs() < 0.4).all()
    place = torch.arange(28.0)
    for axis in (1, 2):
        mass = x[:, 0].sum(axis)
        assert ((mass @ place / mass.sum(1) - 13.5).abs() <= 0.01).all()


def test_an_image_without_ink_is_left_out_and_distances_are_exact():
    x = torch.cat([torch.zeros(2, 1, 28, 28), LETTERS[:3]])
    assert len(restyle(x, torch.Generator().manual_seed(0), BOX, STYLE, 0.05)) == 3
    away = nearest(torch.tensor([[[2.0, 1.0], [6.0, 1.0]]]), 5, 8)[0]
    assert torch.allclose(away[1], torch.tensor([2.0, 1, 0, 1, 2, 1, 0, 1]), atol=1e-3)
    assert torch.allclose(away[4, 6], torch.tensor(3.0))
    thin = torch.zeros(2, 4, 4, dtype=torch.bool)
    thin[0, 1, 2] = thin[1, 0, 3] = thin[1, 3, 0] = True
    assert places(thin).tolist() == [[[2, 1], [2, 1]], [[3, 0], [0, 3]]]

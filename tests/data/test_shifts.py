"""Benign shifts: strength 0 changes nothing, and each does what its name says."""

from dataclasses import fields, replace

import pytest
import torch

from gamekeeper.data.shifts import (
    IMAGES,
    QUANTITIES,
    STROKES,
    Dimmed,
    Drifted,
    Missing,
    Moved,
    Noisy,
    Occluded,
    Rotated,
    Scaled,
    Thicker,
    Thinner,
    suitable,
)
from gamekeeper.types import Box, Ranges

BOX = Box((1, 28, 28), -1.0, 1.0)
ROWS = Ranges((0.0, 0.0, -5.0), (90.0, 1.0, 5.0))
X = BOX.uniform(20, 0)
TABLE = torch.stack(
    [torch.arange(20.0, 60.0), (torch.arange(40) % 2).float(), torch.randn(40, generator=torch.Generator().manual_seed(1))],
    1,
)  # fmt: skip
CASES = [(shift, X, BOX) for shift in (*IMAGES, *STROKES)] + [
    (shift, TABLE, ROWS) for shift in (*QUANTITIES, Missing())
]


@pytest.mark.parametrize(("shift", "x", "domain"), CASES)
def test_strength_0_changes_nothing_and_the_usual_one_stays_in_the_domain(shift, x, domain):
    (strength,) = fields(shift)
    still = replace(shift, **{strength.name: 0.0})
    torch.testing.assert_close(still(x, domain, 3), x, atol=1e-5, rtol=0)
    shifted = shift(x, domain, 3)
    domain.check(shifted)
    assert shifted.shape == x.shape
    assert not torch.allclose(shifted, x, atol=1e-3)
    assert torch.equal(shifted, shift(x, domain, 3))


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 12, 20)])
def test_a_quarter_turn_is_a_quarter_turn(shape: tuple[int, int, int]):
    x = Box(shape).uniform(30, 0)[..., : min(shape[1:]), : min(shape[1:])]
    turned = Rotated(90.0)(x, Box(tuple(x.shape[1:])), 0)
    ways = torch.stack([(turned - x.rot90(k, (2, 3))).abs().amax((1, 2, 3)) for k in (1, 3)])
    assert (ways.amin(0) < 1e-4).all()
    assert (ways.argmin(0) == 0).any()
    assert (ways.argmin(0) == 1).any()


def test_an_image_that_is_not_square_keeps_its_lengths_when_turned():
    x = torch.zeros(10, 1, 16, 40)
    x[:, :, 8, 16:25] = 1.0  # a bar of nine pixels in the middle
    turned = Rotated(90.0)(x, Box((1, 16, 40)), 0)
    assert turned.sum((1, 2, 3)).tolist() == pytest.approx([9.0] * 10, abs=0.6)
    assert (turned.amax(3) > 0.4).sum((1, 2)).float().mean() == pytest.approx(9.0, abs=1.0)


def test_moved_goes_each_of_four_ways_by_two_pixels():
    x = torch.zeros(80, 1, 28, 28)
    x[:, :, 14, 14] = 1.0
    places = Moved()(x, Box((1, 28, 28)), 0).flatten(1).argmax(1)
    assert {divmod(int(p), 28) for p in places} == {(12, 14), (16, 14), (14, 12), (14, 16)}


def test_strokes_grow_and_shrink_by_so_many_pixels():
    x = torch.full((1, 1, 28, 28), -1.0)
    x[:, :, 10:15, 10:15] = 1.0
    for pixels in (0.5, 1.0, 1.5, 2.0):
        thick, thin = (((shift(pixels / 28)(x, BOX, 0) + 1) / 2)[0, 0, 12] for shift in (Thicker, Thinner))
        assert float(thick.sum()) == pytest.approx(5 + 2 * pixels, abs=1e-4)
        assert float(thin.sum()) == pytest.approx(5 - 2 * pixels, abs=1e-4)


def test_dimmed_noisy_scaled_and_occluded_by_hand():
    assert torch.allclose(Dimmed(0.4)(X, BOX, 0), -1 + 0.6 * (X + 1), atol=1e-6)
    middle = torch.zeros(50, 1, 28, 28)
    assert float(Noisy(0.1)(middle, BOX, 0).std()) == pytest.approx(0.2, rel=0.02)
    hidden = Occluded(0.25)(torch.ones(50, 1, 28, 28), BOX, 0) == -1
    assert (hidden.sum((1, 2, 3)) == 49).all()
    area = (Scaled(0.2)(torch.ones(60, 1, 28, 28), BOX, 0) > 0).float().mean((1, 2, 3))
    assert {round(float(share), 1) for share in area} == {0.6, 1.0}


def test_of_a_table_only_quantities_move_and_whole_numbers_stay_whole():
    moved = Drifted(1.0)(TABLE, ROWS, 0)
    assert torch.equal(moved[:, 1], TABLE[:, 1])
    changed = moved != TABLE
    assert (changed.sum(1) <= 1).all()
    assert torch.equal(moved[:, 0], moved[:, 0].round())
    step = (moved - TABLE)[:, 2][changed[:, 2] & (moved[:, 2] < 5)]
    assert torch.allclose(step, TABLE[:, 2].std(correction=0), atol=1e-5)
    gone = Missing(1.0)(TABLE, ROWS, 0)
    assert torch.equal(gone, TABLE.median(0).values.expand_as(TABLE))


def test_shifts_suit_images_and_tables_and_nothing_else():
    assert suitable(X, BOX) == (*IMAGES, *STROKES)
    assert suitable(X.expand(20, 3, 28, 28), Box((3, 28, 28))) == IMAGES
    assert suitable(TABLE, ROWS) == (*QUANTITIES, Missing())
    assert suitable(TABLE[:, 1:2], Box((1,))) == (Missing(),)
    assert suitable(X[0], Box((28, 28))) == ()
    assert suitable(X[..., :4, :4], Box((1, 4, 4))) == ()

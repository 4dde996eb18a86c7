"""Measures of maps against small cases worked by hand, and the laws they obey."""

import math

import pytest
import torch

from gamekeeper.errors import BadConfig
from gamekeeper.explain.metrics import (
    Confidence,
    average_drop,
    confidence,
    degenerate,
    degenerate_share,
    enlarged,
    overlap,
    rank_correlation,
    top_pixels,
)
from gamekeeper.types import Reply

MAPS = torch.randn(6, 10, 10, generator=torch.Generator().manual_seed(0))


def first_pixels(x: torch.Tensor, /) -> Reply:
    """Two classes; the first one's probability is the mean of the first two pixels of the first channel."""
    p = x.flatten(2)[:, 0, :2].mean(1)
    return Reply(torch.stack([p, 1 - p], 1))


def test_average_drop_by_hand():
    """Of (0.8, 0.4) the top pixel leaves 0.4 of 0.6, a third less; of class 1 it leaves 0.6 where 0.4 was: a rise."""
    x = torch.zeros(2, 1, 2, 2)
    x[:, 0, 0] = torch.tensor([0.8, 0.4])
    maps = torch.zeros(2, 2, 2)
    maps[:, 0, 0] = 1
    found = confidence(first_pixels, x, maps, torch.tensor([0, 1]), share=0.25)
    assert torch.allclose(found.before, torch.tensor([0.6, 0.4]))
    assert torch.allclose(found.after, torch.tensor([0.4, 0.6]))
    assert torch.allclose(found.drops(), torch.tensor([1 / 3, 0.0]))
    assert average_drop(found).value == pytest.approx(1 / 6)


def test_with_the_whole_map_nothing_drops_and_every_channel_is_kept_alike():
    x = torch.rand(6, 3, 10, 10)
    whole = confidence(first_pixels, x, MAPS, torch.zeros(6, dtype=torch.long), share=1.0)
    assert average_drop(whole).value == 0
    seen = []

    def spying(some: torch.Tensor, /) -> Reply:
        seen.append(some)
        return first_pixels(some)

    confidence(spying, x, MAPS, torch.zeros(6, dtype=torch.long))
    stay = top_pixels(MAPS)
    assert torch.equal(seen[0], x)
    for channel in range(3):
        assert torch.equal(seen[1][:, channel], torch.where(stay, x[:, channel], torch.zeros(())))


def test_what_had_no_probability_cannot_drop():
    assert Confidence(torch.zeros(1), torch.zeros(1)).drops().item() == 0


@pytest.mark.parametrize(("share", "number"), [(0.15, 15), (0.151, 16), (0.001, 1), (1.0, 100)])
def test_exactly_the_stated_share_stays(share, number):
    stay = top_pixels(MAPS, share)
    assert (stay.sum((1, 2)) == number).all()
    lowest = torch.where(stay, MAPS, torch.full((), math.inf)).amin((1, 2))
    highest = torch.where(stay, torch.full((), -math.inf), MAPS).amax((1, 2))
    assert (lowest >= highest).all()


def test_of_equal_pixels_the_first_stay():
    assert top_pixels(torch.zeros(1, 4, 4), 0.25).flatten().nonzero().flatten().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("share", [0.0, 1.01])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(BadConfig, match="top share"):
        top_pixels(MAPS, share)


def test_a_monotone_change_keeps_order_and_top():
    changed = MAPS.exp() * 7 - 3
    assert torch.allclose(rank_correlation(MAPS, changed), torch.ones(6, dtype=torch.float64))
    assert torch.allclose(rank_correlation(MAPS, -changed), -torch.ones(6, dtype=torch.float64))
    assert (overlap(MAPS, changed) == 1).all()
    assert (overlap(MAPS, -MAPS) == 0).all()


def test_rank_correlation_by_hand():
    """Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 x 2 / (4 x 15) = 0.8; with ties 1.5 1.5 3 4 it is Pearson's of the ranks."""
    a = torch.tensor([[[10.0, 20.0], [30.0, 40.0]]])
    assert rank_correlation(a, torch.tensor([[[1.0, 3.0], [2.0, 4.0]]])).item() == pytest.approx(0.8)
    assert rank_correlation(a, torch.tensor([[[5.0, 5.0], [6.0, 7.0]]])).item() == pytest.approx(4.5 / math.sqrt(22.5))


def test_overlap_of_unrelated_maps_is_about_the_share():
    a, b = torch.randn(2, 400, 10, 10, generator=torch.Generator().manual_seed(1))
    assert overlap(a, b).mean().item() == pytest.approx(0.15, abs=0.02)
    assert torch.equal(overlap(a, b), overlap(b, a))


def test_degenerate_maps_are_counted_and_have_no_rank_correlation():
    maps = MAPS.clone()
    maps[0], maps[1], maps[2, 0, 0] = 0.0, 2.5, math.nan
    assert degenerate(maps).tolist() == [True, True, True, False, False, False]
    assert degenerate_share(maps).value == 0.5
    assert rank_correlation(maps, MAPS).isnan().tolist() == degenerate(maps).tolist()
    assert rank_correlation(MAPS, maps).isnan().tolist() == degenerate(maps).tolist()


def test_small_maps_are_enlarged_and_tables_left_alone():
    small = torch.tensor([[[0.0, 1.0]]])
    assert enlarged(small, torch.zeros(1, 3, 2, 4)).shape == (1, 2, 4)
    assert torch.equal(enlarged(MAPS, torch.zeros(6, 1, 10, 10)), MAPS)
    row = torch.tensor([[[3.0, 1.0, 2.0]]])
    asked = []

    def spying(some: torch.Tensor, /) -> Reply:
        asked.append(some)
        return Reply(torch.tensor([[0.5, 0.5]]))

    confidence(spying, torch.ones(1, 3), row, torch.tensor([0]), share=0.5)
    assert asked[1].tolist() == [[1.0, 0.0, 1.0]]

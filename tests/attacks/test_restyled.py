"""Restyled: the pen, the size and the middle are those of the style, whatever the pool's strokes look like."""

import torch

from gamekeeper.attacks.restyled import Restyled, skeletons
from gamekeeper.data.drawn import pen
from gamekeeper.data.drawn.thin import thinned
from gamekeeper.types import Box, Style

UNIT, BOX = Box((1, 28, 28)), Box((1, 28, 28), -1.0, 2.0)
STILL = Restyled(bend=0.0, turn=0.0)


def bars(widths: tuple[int, ...]) -> torch.Tensor:
    """Upright bars of these widths, 14 high, near the left edge."""
    x = torch.zeros(len(widths), 1, 28, 28)
    for row, width in enumerate(widths):
        x[row, 0, 3:17, 4 : 4 + width] = 1.0
    return x


def redrawn(x: torch.Tensor, style: Style, recipe: Restyled = STILL, box: Box = UNIT) -> torch.Tensor:
    return recipe.redrawn(x, torch.Generator().manual_seed(0), box, style)


def test_a_bar_of_any_width_becomes_a_stroke_as_wide_and_as_long_as_the_style_says():
    drawn = redrawn(bars((2, 3, 5)), Style(pen=(2.0, 2.0), slant=(0.0, 0.0), size=20.0))
    across, along = drawn[:, 0].sum(2), drawn[:, 0].sum(1)
    torch.testing.assert_close(across[:, 10:18], torch.full((3, 8), 2.0), atol=0.25, rtol=0)  # the pen's width
    assert ((along.amax(1) - 20).abs() < 1.25).all()
    torch.testing.assert_close(pen.mass(drawn), torch.full((3, 2), 13.5), atol=1e-3, rtol=0)


def test_strokes_lean_as_the_style_says():
    drawn = redrawn(bars((2,)), Style(pen=(2.0, 2.0), slant=(0.3, 0.0), size=20.0))[0, 0]
    columns = (drawn * torch.arange(28)).sum(1)[6:22] / drawn.sum(1)[6:22]
    slopes = columns.diff()
    torch.testing.assert_close(
        slopes.mean(), torch.tensor(-0.3), atol=0.03, rtol=0
    )  # rows go down, so the top is to the right


def test_copies_stay_in_the_box_and_an_empty_image_becomes_a_dot():
    x = torch.cat([bars((3,)) * 3 - 1, torch.full((1, 1, 28, 28), -1.0)])
    drawn = redrawn(x, Style(pen=(3.0, 3.0), slant=(0.0, 0.0), size=20.0), Restyled(), BOX)
    BOX.check(drawn)
    assert drawn.amax((1, 2, 3)).tolist() == [2.0, 2.0]
    assert float(drawn.min()) == -1


def test_it_keeps_no_more_than_a_line_of_a_thick_shape_and_never_its_brightness():
    x = bars((5,))
    style = Style(pen=(2.0, 3.0), slant=(0.1, 0.1), size=20.0)
    assert torch.equal(redrawn(x, style), redrawn(x * 0.4, style))


def test_skeletons_have_the_same_holes_and_pieces():
    mask = torch.zeros(1, 20, 20, dtype=torch.bool)
    mask[0, 2:18, 2:18] = True
    mask[0, 7:13, 7:13] = False  # a thick ring
    thin = thinned(mask)
    assert not (thin & ~mask).any()
    assert thin[0, 10, :10].sum() == 1 == thin[0, :10, 10].sum()  # one line around the hole
    assert torch.equal(thinned(thin), thin)


def test_a_line_is_its_own_skeleton():
    mask = torch.zeros(2, 9, 9, dtype=torch.bool)
    mask[0, 4, 2:7] = True
    mask[1].fill_diagonal_(True)
    assert torch.equal(thinned(mask), mask)


def test_points_of_a_skeleton_lie_on_the_stroke():
    points = skeletons(bars((3,))[:, 0]) / 3
    assert (points[0, :, 0] - 5).abs().max() < 0.5

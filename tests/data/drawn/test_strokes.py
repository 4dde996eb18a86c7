"""Strokes: exact distances, curves through their points, a pen of a known width, images centred by mass."""

import pytest
import torch

from gamekeeper.data.drawn.strokes import (
    STEPS,
    Dice,
    centred,
    curve,
    dice,
    distance,
    field,
    fitted,
    ink,
    skeletons,
    slanted,
)


def numbers(n: int) -> Dice:
    return Dice(n, torch.Generator().manual_seed(0))


def test_a_straight_stroke_is_as_far_away_as_geometry_says():
    start, end = torch.tensor([[[5.0, 3.0]]]), torch.tensor([[[5.0, 9.0]]])
    away = distance((start, end), 12)[0]
    assert torch.equal(away[3:10, 5], torch.zeros(7))
    assert torch.allclose(away[6], (torch.arange(12) - 5.0).abs())
    assert away[0, 5] == 3
    assert away[11, 5] == 2
    assert torch.allclose(away[0, 9], torch.tensor(5.0))  # 3 above the end and 4 beside it
    slope = distance((torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[8.0, 6.0]]])), 12)[0]
    assert torch.allclose(slope[3, 4], torch.tensor(0.0), atol=1e-3)
    assert torch.allclose(slope[8, 1], torch.tensor((8 * 8 - 6 * 1) / 10))


def test_the_nearest_of_several_strokes_counts_and_a_point_is_a_stroke():
    start, end = torch.tensor([[[2.0, 0.0], [9.0, 4.0]]]), torch.tensor([[[2.0, 11.0], [9.0, 4.0]]])
    away = distance((start, end), 12)[0]
    assert away[4, 5] == 3
    assert away[4, 7] == 2
    assert away[1, 9] == 3


def test_ink_is_white_within_the_radius_black_beyond_the_edge_and_half_on_it():
    away = torch.tensor([[[0.0, 1.0, 1.5, 2.0, 2.25, 3.0]]])
    white = ink(away, torch.tensor([2.0]), torch.tensor([1.0]))[0, 0]
    assert torch.equal(white, torch.tensor([1.0, 1.0, 1.0, 0.5, 0.25, 0.0]))


def test_a_curve_goes_through_its_control_points_and_two_make_a_straight_line():
    controls = torch.tensor([[0.0, 0.0], [4.0, 1.0], [5.0, 7.0], [1.0, 9.0]])
    drawn = curve(4) @ controls
    assert torch.allclose(drawn[::STEPS], controls)
    line = curve(2) @ controls[:2]
    assert torch.allclose(line, torch.arange(STEPS + 1)[:, None] / STEPS * controls[1])
    assert torch.allclose(curve(4).sum(1), torch.ones(3 * STEPS + 1))


def test_nothing_is_drawn_between_two_strokes():
    both = skeletons(["0,0 0,100/100,0 100,100", "0,50 100,50"])
    start, end = both.segments(torch.tensor([0]), both.controls[:1])
    assert torch.allclose(start[..., 0], end[..., 0], atol=1e-6)
    assert set(start[0, :, 0].round(decimals=5).tolist()) == {0.0, 1.0}
    alone, until = both.segments(torch.tensor([1]), both.controls[1:])
    assert torch.allclose(torch.cat([alone[0, :, 1], until[0, :, 1]]), torch.tensor(0.5))


def test_what_touches_still_touches_in_a_bent_field():
    points = torch.rand(200, 5, 2, generator=torch.Generator().manual_seed(1))
    points[:, 4] = points[:, 0]
    moved = field(points, 0.06, numbers(200))
    assert torch.equal(moved[:, 4], moved[:, 0])
    assert float(((moved - points) ** 2).mean().sqrt()) == pytest.approx(0.06, rel=0.15)
    assert torch.equal(field(points, 0.0, numbers(200)), points)


def test_a_slant_leans_to_the_right_and_an_angle_turns_clockwise():
    up = torch.tensor([[[0.0, -1.0]]])
    assert torch.allclose(slanted(up, torch.tensor([0.5]), torch.tensor([0.0])), torch.tensor([[[0.5, -1.0]]]))
    turned = slanted(up, torch.tensor([0.0]), torch.tensor([torch.pi / 2]))
    assert torch.allclose(turned, torch.tensor([[[1.0, 0.0]]]), atol=1e-6)


def test_a_fitted_drawing_has_its_size_and_its_middle():
    points = torch.tensor([[[2.0, 1.0], [4.0, 9.0]]])
    assert torch.allclose(fitted(points, torch.tensor([20.0])), torch.tensor([[[-2.5, -10.0], [2.5, 10.0]]]))


def test_a_centred_image_has_its_mass_in_the_middle_and_black_where_nothing_was():
    x = torch.zeros(3, 28, 28)
    x[0, 2:5, 20:26] = 1
    x[1, 20:27, 3] = 0.5
    moved = centred(x)
    place = torch.arange(28.0)
    for axis in (1, 2):
        mass = moved[:2].sum(axis)
        assert ((mass @ place / mass.sum(1) - 13.5).abs() <= 0.5).all()
    assert torch.allclose(moved.sum((1, 2)), x.sum((1, 2)))
    assert not moved[2].any()


def test_portions_and_seeds_draw_different_numbers():
    drawn = {float(dice(seed, portion).uniform(0.0, 1.0)[0]) for seed in range(20) for portion in range(20)}
    assert len(drawn) == 400

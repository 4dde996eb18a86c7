"""Cloth: limbs, edges and shapes put together are where geometry says."""

import torch

from gamekeeper.data.drawn.cloth import HALF, SIDE, Dice, Sheet, both, cover, edge, either, line, where

AT = (torch.arange(SIDE) - (SIDE - 1) / 2) / HALF
ON = Sheet(AT[None, None, :].expand(1, SIDE, SIDE), AT[None, :, None].expand(1, SIDE, SIDE), Dice(1, torch.Generator()))


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1), value)


def test_an_edge_is_straight_between_its_knots_and_constant_beyond_them():
    t = torch.tensor([[[-2.0, -1.0, 0.0, 1.0, 1.5, 3.0]]])
    out = edge(t, [(-1.0, 0.0), (1.0, 4.0), (2.0, 0.0)])
    assert torch.allclose(out, torch.tensor([[[0.0, 0.0, 2.0, 4.0, 2.0, 0.0]]]))


def test_a_limb_has_its_radius_at_each_end():
    limb = ON.limb((one(AT[4].item()), one(AT[10].item())), (one(AT[20].item()), one(AT[10].item())), (0.1, 0.3))[0]
    assert torch.allclose(limb[10, [4, 12, 20]], torch.tensor([0.1, 0.2, 0.3]), atol=1e-5)
    assert torch.allclose(limb[13, 4], torch.tensor(0.1 - 3 / HALF), atol=1e-5)
    assert torch.allclose(limb[10, 23], torch.tensor(0.3 - 3 / HALF), atol=1e-5)


def test_shapes_are_joined_shared_and_left_out():
    left, right = 0.5 - (ON.u + 0.5).abs(), 0.5 - (ON.u - 0.5).abs()
    assert torch.equal(either(left, right) > 0, (left > 0) | (right > 0))
    assert torch.equal(both(left, right) > 0, (left > 0) & (right > 0))
    assert not (where(one(0.0), left) > 0).any()
    assert torch.equal(where(one(1.0), left), left)


def test_a_shape_covers_half_a_pixel_on_its_edge_and_a_line_fades_to_its_width():
    shape = torch.tensor([[[-1.0, -0.5, 0.0, 0.5, 1.0]]]) / HALF
    assert torch.allclose(cover(shape), torch.tensor([[[0.0, 0.0, 0.5, 1.0, 1.0]]]))
    assert torch.allclose(line(torch.tensor([[[-0.2, 0.0, 0.1]]]), 0.2), torch.tensor([[[0.0, 1.0, 0.5]]]))

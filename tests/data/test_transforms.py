"""Images moved by whole pixels, each by its own number."""

import torch

from gamekeeper.data.transforms import moved, shifted_by, warped
from gamekeeper.types import Box

BOX = Box((3, 8, 8), -1.0, 2.0)


def test_a_shift_moves_pixels_and_repeats_the_edge():
    x = torch.arange(9.0).view(1, 1, 3, 3)
    down, right, mirrored = (
        moved(x, *(torch.tensor([v]) for v in move)) for move in ((1, 0, 0), (0, -1, 0), (0, 0, 1))
    )
    assert down[0, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert right[0, 0].tolist() == [[1, 2, 2], [4, 5, 5], [7, 8, 8]]
    assert mirrored[0, 0].tolist() == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]


def test_images_of_a_batch_move_each_by_its_own_shift():
    x = BOX.uniform(6, 0)
    down, right, mirror = (
        torch.tensor([0, 1, -1, 2, 0, -2]),
        torch.tensor([0, -2, 1, 0, 3, 1]),
        torch.tensor([0, 1] * 3),
    )
    together = moved(x, down, right, mirror)
    alone = torch.cat([moved(x[i : i + 1], down[i : i + 1], right[i : i + 1], mirror[i : i + 1]) for i in range(6)])
    assert torch.equal(together, alone)
    assert torch.equal(together[0], x[0])


def test_a_warp_that_does_nothing_gives_the_image_bit_for_bit():
    x = torch.rand(3, 2, 7, 9, generator=torch.Generator().manual_seed(0))
    still = torch.eye(2).repeat(3, 1, 1)
    assert torch.equal(warped(x, still, torch.zeros(3, 2)), x)
    assert torch.equal(shifted_by(x, torch.zeros(3, 2)), x)


def test_a_warp_takes_each_pixel_from_where_it_says():
    x = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
    torch.testing.assert_close(warped(x, quarter, torch.zeros(1, 2)), x.rot90(1, (2, 3)))
    right = warped(x, torch.eye(2)[None], torch.tensor([[1.0, 0.0]]), outside=0.25)
    torch.testing.assert_close(right[..., :-1], x[..., 1:])
    assert (right[..., -1] == 0.25).all()
    half = shifted_by(x, torch.tensor([[0.5, 0.0]]))
    torch.testing.assert_close(half[..., 1:], (x[..., 1:] + x[..., :-1]) / 2)

"""Images moved by whole pixels, each by its own number."""

import torch

from gamekeeper.data.transforms import moved
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

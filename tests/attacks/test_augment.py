"""Views of images: crops and colours, all within the box and by one generator."""

import pytest
import torch

from gamekeeper.attacks.augment import crop, grey, need_images, view
from gamekeeper.errors import Unsuited
from gamekeeper.types import Box

BOX = Box((3, 8, 8), -1.0, 2.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_crop_shows_between_a_fifth_and_all_of_the_area():
    # a ramp from 0 to 1: the range that a crop shows is the width it was cut from
    ramp = (torch.arange(64) / 63).view(1, 1, 1, 64).expand(500, 1, 64, 64)
    across, down = crop(ramp, generator(), flip=False), crop(ramp.transpose(2, 3), generator(), flip=False)
    width = across[:, 0, 0, -1] - across[:, 0, 0, 0]
    height = down[:, 0, -1, 0] - down[:, 0, 0, 0]
    area = width * height
    assert (width > 0).all()  # never mirrored
    assert 0.17 < area.min() < 0.3
    assert 0.9 < area.max() <= 1
    assert abs(float(area.mean()) - 0.6) < 0.06


def test_half_of_the_crops_are_mirrored_where_asked_for():
    ramp = (torch.arange(16) / 15).view(1, 1, 1, 16).expand(400, 1, 16, 16)
    x = crop(ramp, generator(), flip=True)
    assert 0.4 < float((x[:, 0, 0, -1] < x[:, 0, 0, 0]).float().mean()) < 0.6


@pytest.mark.parametrize("channels", [1, 3])
def test_views_stay_in_the_box_and_depend_on_the_generator_alone(channels: int):
    box = Box((channels, 8, 8), -1.0, 2.0)
    x = box.uniform(50, 0)
    one, same, other = (view(x, box, generator(seed), True) for seed in (0, 0, 1))
    assert one.shape == x.shape
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.min() >= -1
    assert one.max() <= 2
    assert (one != x).flatten(1).any(1).all()


def test_a_fifth_of_colour_views_is_grey():
    x = view(BOX.uniform(1000, 0), BOX, generator(), False)
    plain = (x.amax(1) - x.amin(1)).flatten(1).amax(1) < 1e-5
    assert 0.15 < float(plain.float().mean()) < 0.25


def test_grey_keeps_greys():
    x = torch.rand(2, 1, 4, 4).expand(2, 3, 4, 4)
    assert torch.allclose(grey(x), x[:, :1])


def test_flat_inputs_are_refused():
    with pytest.raises(Unsuited, match="smoothing looks at shifted"):
        need_images(Box((5,)), "smoothing")

"""Units and layout: one declared scale for all files, checked against what they hold."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gamekeeper.data.scale import Arrays, Scale, channels_last
from gamekeeper.errors import BadConfig

BYTES = np.array([0, 51, 255, 102], np.uint8).reshape(1, 1, 2, 2)
SEEN = torch.tensor([0, 0.2, 1, 0.4]).reshape(1, 1, 2, 2)
IMAGE = (1, 2, 2)


def file(x: np.ndarray, pictures: bool = False) -> Arrays:
    return Arrays(Path("f.npz"), x, None, pictures)


@pytest.mark.parametrize("ends", [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)])
def test_images_are_seen_in_0_to_1_whatever_the_model_takes(ends: tuple[float, float]):
    low, high = ends
    assert torch.equal(Scale(IMAGE, low, high).read(file(BYTES)), torch.from_numpy(BYTES) / 255)
    floats = (BYTES / 255 * (high - low) + low).astype(np.float32)
    torch.testing.assert_close(Scale(IMAGE, low, high).read(file(floats)), SEEN)


@pytest.mark.parametrize("kind", ["u1", "i8", "f4"])
def test_one_declared_range_holds_for_files_of_every_dtype(kind: str):
    scale = Scale(IMAGE, -1.0, 1.0, stored=(0.0, 255.0))
    torch.testing.assert_close(scale.read(file(BYTES.astype(kind))), SEEN)


def test_bytes_of_a_table_are_in_the_models_own_units():
    x = np.array([[0, 16], [8, 4]], np.uint8)
    assert Scale((2,), 0.0, 16.0).read(file(x)).tolist() == [[0, 16], [8, 4]]
    assert Scale((2,), stored=(0.0, 16.0)).read(file(x)).tolist() == [[0, 1], [0.5, 0.25]]


@pytest.mark.parametrize("most", [1, 16, 63])
@pytest.mark.parametrize("shape", [(1, 2, 2), (4,)])
def test_bytes_that_are_hardly_pixels_need_a_declaration(most: int, shape: tuple[int, ...]):
    x = np.array([0, 1, most, 0], np.uint8).reshape(1, *shape)
    with pytest.raises(
        BadConfig, match=rf"bytes of at most {most}, .* `stored = \[0, {most}\]`, or `stored = \[0, 255\]`"
    ):
        Scale(shape).read(file(x))
    assert Scale(shape, stored=(0.0, float(most))).read(file(x)).max() == 1
    assert Scale(shape, stored=(0.0, 255.0)).read(file(x)).max() == np.float32(most) / np.float32(255)


def test_pictures_say_themselves_what_they_hold():
    assert Scale(IMAGE).read(file(BYTES // 100, pictures=True)).max() == np.float32(2) / np.float32(255)


@pytest.mark.parametrize(
    ("low", "high", "stored", "held"),
    [
        (0.0, 255.0, None, [0.0, 1.0]),  # divided by 255 already
        (0.0, 1.0, None, [0.0, 1 / 255]),  # divided twice
        (-1.0, 1.0, None, [0.0, 1.0]),  # 0 to 1 where it is -1 to 1
        (0.0, 1.0, (0.0, 255.0), [0.0, 1.0]),  # 0 to 1 where all files hold 0 to 255
    ],
)
def test_images_that_are_hardly_in_their_range_are_refused(low: float, high: float, stored, held: list[float]):
    x = np.array([*held, *held], np.float32).reshape(1, 1, 2, 2)
    with pytest.raises(BadConfig, match="hardly images in that range"):
        Scale(IMAGE, low, high, stored).read(file(x))


@pytest.mark.parametrize(
    ("scale", "x"),
    [
        (Scale(IMAGE, -1.0, 1.0), BYTES.astype("f4")),
        (Scale(IMAGE, stored=(0.0, 100.0)), BYTES),
        (Scale(IMAGE, -2.1, 2.6), BYTES),
        (Scale(IMAGE, 0.0, 255.0), BYTES * np.float32(2)),
    ],
)
def test_what_lies_outside_is_refused_with_the_key_to_set(scale: Scale, x: np.ndarray):
    with pytest.raises(BadConfig, match=r"f\.npz holds 0 to \d+; .*`stored`"):
        scale.read(file(x))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("last", [True, False])
def test_files_may_have_their_channels_first_or_last(channels: int, last: bool):
    first = np.random.default_rng(0).random((5, channels, 7, 6)).astype(np.float32)
    scale = Scale((channels, 7, 6), last=last)
    for x in (first, first.transpose(0, 2, 3, 1)):
        assert torch.equal(scale.read(file(x)), torch.from_numpy(first))


def test_a_shape_that_fits_both_ways_is_read_as_declared():
    x = np.random.default_rng(0).random((2, 3, 3, 3)).astype(np.float32)
    assert torch.equal(Scale((3, 3, 3)).read(file(x)), torch.from_numpy(x))
    last = Scale((3, 3, 3), last=True).read(file(x))
    assert torch.equal(last, torch.from_numpy(x).permute(0, 3, 1, 2))


def test_grey_images_may_be_flat_or_without_a_channel():
    x = np.random.default_rng(0).random((5, 12)).astype(np.float32)
    image = torch.from_numpy(x).reshape(5, 1, 3, 4)
    assert torch.equal(Scale((1, 3, 4)).read(file(x)), image)
    assert torch.equal(Scale((1, 3, 4)).read(file(x.reshape(5, 3, 4))), image)
    assert torch.equal(Scale((3, 4)).read(file(x.reshape(5, 3, 4))), image[:, 0])
    assert Scale((3, 12)).read(file(x.reshape(5, 3, 4))).shape == (5, 1, 3, 4), "refused where shapes are compared"


def test_grey_pictures_are_shown_to_a_model_of_colour_and_colourless_ones_to_a_grey_model():
    three = np.repeat(BYTES, 3, 1)
    assert torch.equal(Scale((3, 2, 2)).read(file(BYTES, pictures=True)), torch.from_numpy(three) / 255)
    assert torch.equal(Scale(IMAGE).read(file(three, pictures=True)), torch.from_numpy(BYTES) / 255)
    three[0, 0] = 7
    assert Scale(IMAGE).read(file(three, pictures=True)).shape == (1, 3, 2, 2), "refused where shapes are compared"


@pytest.mark.parametrize(
    ("shape", "layout", "last"),
    [
        ([8, 8, 3], None, True),
        ([28, 28, 1], None, True),
        ([3, 8, 8], None, False),
        ([1, 8, 1], None, False),
        ([8, 8, 4], None, False),
        ([8, 8, 4], "channels-last", True),
        ([8, 8, 3], "channels-first", False),
        ([3, 3, 3], "channels-last", True),
        ([64], None, False),
    ],
)
def test_the_layout_shows_in_the_shape_or_is_declared(shape: list[int], layout: str | None, last: bool):
    assert channels_last(shape, layout) == last

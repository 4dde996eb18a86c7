"""Views: shifted by so much and no more, erased in one square, inside the box, drawn from the generator alone."""

import torch

from gamekeeper.learners.views import erased, noisy, shifted, strong, weak
from gamekeeper.types import Box

IMAGES, TABLE = Box((1, 28, 28)), Box((5,), -1.0, 3.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_shift_moves_every_pixel_alike_and_repeats_the_border():
    x = torch.rand(200, 2, 6, 6, generator=generator(9))
    moved = shifted(x, 1, generator())
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    possible = torch.stack([padded[:, :, i : i + 6, j : j + 6] for i in range(3) for j in range(3)])
    equal = (possible == moved).flatten(2).all(2)
    assert (equal.sum(0) == 1).all()
    # all nine shifts occur
    assert equal.any(1).all()


def test_a_shift_by_nothing_is_the_image():
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(shifted(x, 0, generator()), x)


def test_one_square_of_at_most_half_a_side_is_erased():
    x = torch.rand(300, 1, 10, 10, generator=generator(1))
    hole = (erased(x, generator()) != x)[:, 0]
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(hole.sum((1, 2)), rows * columns)
    assert ((rows - columns).abs() <= 1).all()
    assert rows.max() in (5, 6)
    assert rows.min() == 0
    means = x.mean((1, 2, 3))
    assert all(
        torch.allclose(one[gap], mean) for one, gap, mean in zip(erased(x, generator())[:, 0], hole, means, strict=True)
    )


def test_noise_has_the_deviation_asked_for_and_stays_in_the_box():
    x = torch.full((20_000, 5), 1.0)
    found = noisy(x, TABLE, 0.1, generator())
    assert torch.allclose(found.std(), torch.tensor(0.4), rtol=0.02)
    assert noisy(torch.full((100, 5), 3.0), TABLE, 0.5, generator()).max() == 3.0


def test_views_of_images_and_tables_stay_in_the_box_and_follow_the_generator():
    for box, x in (
        (IMAGES, IMAGES.uniform(20, 0)),
        (TABLE, TABLE.uniform(20, 0)),
        (Box((3, 32, 32)), Box((3, 32, 32)).uniform(5, 0)),
    ):
        for view in (weak, strong):
            first, again, other = (view(x, box, generator(seed)) for seed in (1, 1, 2))
            box.check(first)
            assert first.shape == x.shape
            assert torch.equal(first, again)
            assert not torch.equal(first, other)


def test_the_strong_view_is_further_from_the_input_than_the_weak():
    ramp = torch.linspace(0, 1, 28).expand(50, 1, 28, 28)
    for box, x in ((IMAGES, ramp), (TABLE, TABLE.uniform(50, 0))):
        near, far = ((view(x, box, generator()) - x).abs().mean() for view in (weak, strong))
        assert far > 2 * near


def test_the_inputs_are_left_as_they_were():
    x = IMAGES.uniform(4, 0)
    kept = x.clone()
    strong(x, IMAGES, generator())
    assert torch.equal(x, kept)

"""Drawings: the pen's arithmetic against values worked by hand, and what a thief who draws may rely on."""

import ast
from pathlib import Path

import pytest
import torch

import gamekeeper.data.drawn as drawn
from gamekeeper.data.drawn import pen
from gamekeeper.data.drawn.clothes import Clothes
from gamekeeper.data.drawn.digits import Digits
from gamekeeper.data.drawn.skeletons import SKELETONS
from gamekeeper.types import Drawings

BOTH = pytest.mark.parametrize("recipe", [Digits(), Clothes()], ids=lambda recipe: type(recipe).__name__)


def test_the_distance_to_a_straight_stroke_is_that_of_plane_geometry():
    a, b = torch.tensor([[[2.0, 3.0]]]), torch.tensor([[[6.0, 3.0]]])
    apart = pen.distance(a, b, 8, 9)[0]
    assert apart[3, 2:7].abs().max() < 1e-6  # on the stroke
    assert float(apart[5, 4]) == pytest.approx(2)  # beside it
    assert float(apart[7, 0]) == pytest.approx((2**2 + 4**2) ** 0.5)  # beyond its end


def test_a_round_pen_covers_what_lies_within_half_its_width():
    apart = torch.tensor([[[0.0, 0.5, 1.0, 1.25, 1.5, 2.0]]])
    covered = pen.ink(apart, torch.tensor([2.0]))
    torch.testing.assert_close(covered, torch.tensor([[[1, 1, 0.5, 0.25, 0, 0]]]))
    torch.testing.assert_close(
        pen.ink(apart, torch.tensor([2.0]), 2.0)[0, 0], torch.tensor([1, 0.75, 0.5, 0.375, 0.25, 0])
    )


def test_a_curve_goes_through_its_points_and_a_straight_one_stays_straight():
    points = torch.tensor([[0.0, 0.0], [1.0, 3.0], [4.0, 2.0], [6.0, 6.0]])
    curve = pen.weights(4, span=5) @ points
    torch.testing.assert_close(curve[::5], points)
    straight = torch.tensor([[0.0, 1.0], [2.0, 2.0], [4.0, 3.0], [6.0, 4.0]])
    curve = pen.weights(4, span=5) @ straight
    torch.testing.assert_close(curve[:, 1], 1 + curve[:, 0] / 2)


def test_strokes_are_not_joined():
    points, a, b = pen.curves([[(0.0, 0.0), (1.0, 0.0)], [(5.0, 5.0), (6.0, 5.0)]])
    ends = torch.cat([a @ points, b @ points], 1)
    assert (ends[:, 2:] - ends[:, :2]).norm(dim=1).max() < 0.5  # no segment leads from one to the other


def test_centring_puts_the_centre_of_mass_in_the_middle_and_keeps_the_mass():
    x = torch.zeros(2, 1, 28, 28)
    x[0, 0, 4:9, 6:8], x[1, 0, 20, 11] = 1.0, 0.5
    moved = pen.centred(x)
    torch.testing.assert_close(pen.mass(moved), torch.full((2, 2), 13.5), atol=1e-4, rtol=0)
    torch.testing.assert_close(moved.sum((1, 2, 3)), x.sum((1, 2, 3)))
    assert torch.equal(pen.centred(torch.zeros(1, 1, 6, 6)), torch.zeros(1, 1, 6, 6))


def test_digits_are_centred_by_mass():
    x, _ = Digits()(100, 0)
    torch.testing.assert_close(pen.mass(x), torch.full((100, 2), 13.5), atol=0.02, rtol=0)


def test_every_digit_has_three_skeletons_or_more():
    assert len(SKELETONS) == 10
    assert min(map(len, SKELETONS)) >= 3


@BOTH
def test_drawings_are_images_whose_classes_take_turns(recipe: Drawings):
    x, classes = recipe(300, 0)
    assert x.shape == (300, 1, 28, 28)
    assert x.dtype == torch.float32
    assert 0 <= float(x.min()) < float(x.max()) <= 1
    assert torch.equal(classes, torch.arange(300) % 10)
    assert (x.flatten(1).amax(1) > 0.1).all()


@BOTH
def test_more_drawings_begin_with_the_same_ones_and_the_seed_alone_decides(recipe: Drawings):
    x, classes = recipe(270, 3)
    torch.manual_seed(9)
    some, their = recipe(31, 3)
    assert torch.equal(some, x[:31])
    assert torch.equal(their, classes[:31])
    assert not torch.equal(recipe(31, 4)[0], some)
    assert len(recipe(0, 3)[0]) == 0


@BOTH
def test_no_drawing_comes_twice(recipe: Drawings):
    x, _ = recipe(1_000, 1)
    assert len(x.unique(dim=0)) == 1_000


def test_a_drawing_that_was_made_before_is_left_out():
    values = iter(torch.arange(10_000) // 2)

    def draw(classes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.stack([next(values) for _ in classes]).float().view(-1, 1, 1, 1)

    x, classes = pen.stream(300, 0, 10, draw)
    assert torch.equal(x.flatten(), torch.arange(300.0))
    assert len(classes) == 300


def test_what_draws_imports_no_data():
    """Provenance: a generator that could read an image of the owner's would have to import something that reads."""
    allowed = {"gamekeeper.data.drawn", "gamekeeper.data.transforms", "gamekeeper.data.splits", "torch", "jaxtyping"}
    allowed |= {"math", "dataclasses", "functools", "collections"}
    for file in Path(drawn.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text())
        names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert all(any(name == each or name.startswith(each + ".") for each in allowed) for name in names), file
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"open", "eval", "exec", "__import__"}


@BOTH
def test_drawings_of_a_class_are_more_alike_than_those_of_two(recipe: Drawings):
    """One that mixed up its classes would fail; so would one that drew the same thing for all."""
    x, classes = recipe(1_000, 0)
    old, new = x.flatten(1).split(500)
    means = torch.stack([old[classes[:500] == k].mean(0) for k in range(10)])
    nearest = torch.cdist(new, means).argmin(1)
    assert float((nearest == classes[500:]).float().mean()) > 0.5


def test_clothes_fill_the_image_along_one_side():
    x = Clothes()(500, 0)[0][:, 0] > 0.05
    spans = [x.any(axis).sum(1) for axis in (1, 2)]
    assert float((torch.maximum(*spans) >= 24).float().mean()) > 0.95

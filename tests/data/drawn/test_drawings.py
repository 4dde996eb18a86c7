"""Drawings: from the names of the classes alone, the same for a seed, the first ones of more, none twice."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gamekeeper.data import drawn
from gamekeeper.data.drawn.clothes import Clothes
from gamekeeper.data.drawn.digits import WAYS, Digits
from gamekeeper.data.drawn.strokes import PORTION
from gamekeeper.types import Box, Drawings

EVERY = [Digits(), Clothes()]
every = pytest.mark.parametrize("drawings", EVERY, ids=repr)
ALLOWED = {"gamekeeper.types", "gamekeeper.errors", "gamekeeper.data.drawn"}


@every
def test_it_is_a_recipe_whose_classes_come_in_rotation(drawings: Drawings):
    x, classes = drawings(25, 0)
    assert isinstance(drawings, Drawings)
    assert hash(drawings) == hash(type(drawings)())
    assert classes.tolist() == [i % 10 for i in range(25)]
    assert x.dtype == torch.float32
    Box((1, 28, 28)).check(x)


@every
@pytest.mark.parametrize("n", [0, 1])
def test_few_drawings_are_that_many(drawings: Drawings, n: int):
    x, classes = drawings(n, 0)
    assert (x.shape, classes.shape) == ((n, 1, 28, 28), (n,))


@every
def test_more_drawings_begin_with_the_same_ones_across_portions(drawings: Drawings):
    few, some = drawings(7, 3)[0], drawings(PORTION + 9, 3)[0]
    assert torch.equal(few, some[:7])
    assert torch.equal(some, drawings(2 * PORTION, 3)[0][: PORTION + 9])


@every
def test_the_seed_alone_decides(drawings: Drawings):
    torch.manual_seed(1)
    first = drawings(20, 5)[0]
    torch.manual_seed(2)
    assert torch.equal(first, drawings(20, 5)[0])
    assert not torch.equal(first, drawings(20, 6)[0])


@every
def test_no_drawing_comes_twice(drawings: Drawings):
    x = torch.cat([drawings(3 * PORTION, seed)[0] for seed in (0, 1)])
    assert len(x.flatten(1).unique(dim=0)) == len(x)


@every
def test_drawings_of_a_class_are_more_alike_than_those_of_two(drawings: Drawings):
    """One that mixed up its classes would fail; so would one that drew the same thing for all."""
    x, classes = drawings(2 * PORTION, 0)
    old, new = x.flatten(1).split(PORTION)
    means = torch.stack([old[classes[:PORTION] == k].mean(0) for k in range(10)])
    nearest = torch.cdist(new, means).argmin(1)
    assert float((nearest == classes[PORTION:]).float().mean()) > 0.5


@every
def test_drawings_are_black_at_the_corners_and_white_somewhere(drawings: Drawings):
    x = drawings(PORTION, 0)[0][:, 0]
    assert float(x[:, 0, 0].mean()) < 0.05
    assert float(x.amax((1, 2)).min()) > 0.3


def test_digits_are_centred_by_mass_and_written_in_several_ways():
    x = Digits()(PORTION, 0)[0][:, 0]
    place = torch.arange(28.0)
    for axis in (1, 2):
        mass = x.sum(axis)
        assert ((mass @ place / mass.sum(1) - 13.5).abs() <= 0.5 + 1e-4).all()
    assert min(map(len, WAYS)) >= 3


def test_nothing_but_numbers_and_geometry_is_imported():
    """Provenance: no drawing can hold anything of an owner's, since nothing that reads files is within reach."""
    for path in Path(drawn.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("gamekeeper"):
                assert any(str(node.module).startswith(name) for name in ALLOWED), (path.name, node.module)
            assert not (isinstance(node, ast.Name) and node.id in ("open", "exec", "eval", "__import__"))


def test_drawing_reads_no_data_file():
    code = (
        "import sys, builtins\n"
        "from gamekeeper.data.drawn.digits import Digits\n"
        "from gamekeeper.data.drawn.clothes import Clothes\n"
        "Digits()(10, 0), Clothes()(10, 0)\n"
        "print([m for m in sys.modules if m.startswith('gamekeeper.data') and 'drawn' not in m])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['gamekeeper.data']"


def test_clothes_fill_the_image_along_one_side():
    x = Clothes()(PORTION, 0)[0][:, 0] > 0.05
    spans = [x.any(axis).sum(1) for axis in (1, 2)]
    assert float((torch.maximum(*spans) >= 24).float().mean()) > 0.95

"""A panel that somebody else can train again, as accurate as the suspect, and that never saw the claim."""

import pytest
import torch

from gamekeeper.architectures import LeNet, Mlp
from gamekeeper.data.dataset import Dataset
from gamekeeper.errors import BadConfig
from gamekeeper.models.estimators import Forest
from gamekeeper.ownership.panel import SHARES, Independent, architectures, enough, matched, recipes, without
from tests.ownership.trials import BOX, KINDS, TASK, points

A, B = KINDS


def test_each_pair_divides_the_data_anew_into_two_halves():
    panel = recipes(10, {A: 0.5, B: 0.5})
    assert len(set(panel)) == 10
    for first, second in zip(panel[::2], panel[1::2], strict=True):
        both = torch.cat([first.rows(100), second.rows(100)])
        assert sorted(both.tolist()) == list(range(100))
    assert panel[0].rows(100).tolist() != panel[2].rows(100).tolist()
    assert {recipe.architecture for recipe in panel} == {A, B}


def test_a_recipe_is_trained_again_to_the_bit_from_its_repr():
    recipe = Independent(A, 3, 1, 0.25)
    copied = eval(repr(recipe), {**{c.__name__: c for c in (Independent, Mlp)}, "Fit": type(recipe.fit)})
    one, two = (each.trained(points(200, 1), BOX, TASK, None) for each in (recipe, copied))
    for name, weight in one.net.state_dict().items():
        assert torch.equal(weight, two.net.state_dict()[name])


ACCURACIES = dict(zip(SHARES, (0.80, 0.85, 0.90, 0.93, 0.95), strict=True))
TRIES = [
    (0.94, [0.5]),
    (0.96, [0.5, 0.9]),
    (0.90, [0.5, 0.25]),
    (0.86, [0.5, 0.25, 0.125]),
    (0.50, [0.5, 0.25, 0.125, 0.0625]),
]


@pytest.mark.parametrize(("wanted", "tries"), TRIES)
def test_an_architecture_gets_the_share_that_brings_it_nearest(wanted, tries):
    """The half is tried first, then shares in one direction, and no more than needed; the last tried is the nearest."""
    trained = []

    def measure(recipe: Independent) -> float:
        trained.append(recipe.share)
        return ACCURACIES[recipe.share]

    assert matched([A], wanted, measure) == {A: tries[-1]}
    assert trained == tries


def test_an_architecture_that_stays_far_off_is_left_out_unless_all_do():
    def measure(recipe: Independent) -> float:
        return 0.97 if recipe.architecture == A else 0.87

    assert set(matched([A, B], 0.96, measure)) == {A}
    assert set(matched([A, B], 0.5, measure)) == {B}  # the nearest there is; the gate on accuracy says the rest
    assert set(matched([A, B], 0.92, measure)) == {A, B}


def test_inputs_of_the_claim_are_left_out():
    data = Dataset(torch.arange(8.0)[:, None].repeat(1, 2), torch.arange(8))
    left = without(data, data.x[2:4].double(), -data.x[:1])  # -0.0 is 0.0
    assert left.y is not None
    assert left.y.tolist() == [1, 4, 5, 6, 7]
    with pytest.raises(BadConfig, match="20 labelled training inputs"):
        enough(left)


def test_architectures_suit_the_inputs():
    kinds = {kind: [type(one) for one in architectures(kind, 4)] for kind in ((1, 28, 28), (1, 8, 8), (7,))}
    assert kinds[1, 28, 28] == [LeNet, Mlp, LeNet]
    assert LeNet not in kinds[1, 8, 8]
    assert Forest in kinds[7,]
    for shape in kinds:
        for one in architectures(shape, 4):
            assert one()(torch.rand(2, *shape)).shape == (2, 4)

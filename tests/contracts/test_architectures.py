"""What every network by name must do: be drawn from a seed, answer its classes, end in a linear head, refuse what it cannot take."""

from dataclasses import fields, is_dataclass

import pytest
import torch
from torch import nn

from gamekeeper.architectures import Classifier, fresh
from gamekeeper.errors import BadConfig
from gamekeeper.methods import ARCHITECTURES
from gamekeeper.models.estimators import Fitting
from gamekeeper.types import Architecture, Box
from tests.contracts.recipes import again, untouched

SHAPES = ((5,), (1, 4, 4), (1, 8, 8), (1, 16, 16), (3, 32, 32))
"""From small to large: a network takes the first that it does not refuse, and the largest."""
K = 3
NETWORKS = {name: recipe for name, recipe in ARCHITECTURES.items() if not isinstance(recipe((1,), K), Fitting)}
"""Trees have no weights; see tests/models/test_estimators.py."""
every = pytest.mark.parametrize("recipe", NETWORKS.values(), ids=NETWORKS)


def taken(recipe: type) -> list[Architecture]:
    """The network for the smallest and the largest shape that it takes."""
    found: list[Architecture] = []
    for shape in SHAPES:
        try:
            recipe(shape, K)()
        except BadConfig:
            continue
        found.append(recipe(shape, K))
    assert found[-1] == recipe(SHAPES[-1], K)
    return list(dict.fromkeys([found[0], found[-1]]))


@every
def test_it_is_a_frozen_recipe_of_a_shape_and_a_number_of_classes(recipe: type):
    assert is_dataclass(recipe)
    assert recipe.__dataclass_params__.frozen
    assert [field.name for field in fields(recipe)][:2] == ["shape", "classes"]
    for architecture in taken(recipe):
        assert isinstance(architecture, Architecture)
        assert again(architecture) == architecture
        assert hash(again(architecture)) == hash(architecture)


@every
def test_its_weights_depend_on_the_seed_alone(recipe: type):
    architecture = taken(recipe)[0]
    with untouched(1):
        first, other = fresh(architecture, 0).state_dict(), fresh(architecture, 1).state_dict()
    with untouched(2):
        same = fresh(architecture, 0).state_dict()
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@every
def test_it_answers_a_logit_for_every_class_input_by_input(recipe: type):
    for architecture in taken(recipe):
        net, x = fresh(architecture, 0).eval(), Box(architecture.shape).uniform(3, 0)
        with torch.no_grad():
            out = net(x)
            assert out.shape == (3, K)
            assert out.dtype == torch.float32
            torch.testing.assert_close(torch.cat([net(row) for row in x.split(1)]), out, atol=1e-4, rtol=1e-4)


@every
def test_it_is_features_and_a_linear_head(recipe: type):
    net = fresh(taken(recipe)[0], 0).eval()
    assert isinstance(net, Classifier)
    assert isinstance(net.head, nn.Linear)
    assert net.head.out_features == K
    x = Box(taken(recipe)[0].shape).uniform(2, 0)
    assert torch.equal(net.head(net.features(x)), net(x))


@every
def test_every_weight_gets_a_gradient(recipe: type):
    architecture = taken(recipe)[0]
    net = fresh(architecture, 0).train()
    net(Box(architecture.shape).uniform(4, 0)).square().sum().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in net.parameters())


@every
def test_a_shape_it_cannot_take_is_refused_with_what_it_needs(recipe: type):
    for shape in SHAPES:
        try:
            recipe(shape, K)()
        except BadConfig as refusal:
            assert str(shape) in str(refusal)  # noqa: PT017
            assert recipe.__name__ in str(refusal)  # noqa: PT017

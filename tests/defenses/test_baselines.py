"""The trivial perturbations."""

import pytest
import torch

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.defenses.baselines import ConstantTarget, Flatten, LeastLikely, constant_target, flatten, least_likely
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import distance
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Owner


def dirichlet(n: int, k: int, alpha: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(k)
    gamma = torch._standard_gamma(torch.full((n, k), alpha, dtype=torch.float64), generator=generator) + 1e-300
    return gamma / gamma.sum(1, keepdim=True)


def victim_and_owner(classes: int) -> tuple[TorchModel, Owner]:
    architecture = Mlp((4,), classes, (5,))
    owner = Owner(torch.empty(0, 4), torch.empty(0, dtype=torch.long), Box((4,)), architecture)
    return TorchModel(fresh(architecture, 0), Classify(classes)), owner


def test_flatten_at_full_strength_is_uniform_but_for_the_label():
    y = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    expected = torch.tensor([[0.34, 0.33, 0.33]], dtype=torch.float64)
    torch.testing.assert_close(flatten(y, 2.0), expected, atol=1e-12, rtol=0)


def test_least_likely_moves_half_of_eps_onto_the_least_likely_class():
    y = torch.tensor([[0.75, 0.25, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[0.5625, 0.1875, 0.25]], dtype=torch.float64)
    torch.testing.assert_close(least_likely(y, 0.5, keep_top1=False), expected, atol=1e-12, rtol=0)


def test_constant_target_moves_onto_its_class_whatever_the_answer():
    y = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    expected = torch.tensor([[0.25, 0.75, 0.0], [0.25, 0.0, 0.75]], dtype=torch.float64)
    torch.testing.assert_close(constant_target(y, 0.5, 0, keep_top1=False), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("keep_top1", [False, True])
def test_an_answer_of_the_target_class_moves_to_the_next_class(keep_top1: bool):
    y = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[0.25, 0.0, 0.75], [0.75, 0.0, 0.25]], dtype=torch.float64)
    torch.testing.assert_close(constant_target(y, 0.5, 2, keep_top1), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("eps", [0.1, 0.5, 0.95])
def test_all_spend_the_same_l1_where_their_goal_is_further_away(eps: float):
    y = torch.eye(10, dtype=torch.float64) * 0.98 + 0.002
    spent = [
        distance(y, z, "l1")
        for z in (flatten(y, eps), least_likely(y, eps, keep_top1=False), constant_target(y, eps, 3, keep_top1=False))
    ]
    for l1 in spent:
        torch.testing.assert_close(l1, torch.full((10,), eps, dtype=torch.float64), atol=1e-12, rtol=0)


def test_keep_top1_keeps_it_at_full_strength():
    y = dirichlet(2000, 10, 0.3)
    for z in (flatten(y, 2.0), least_likely(y, 2.0, keep_top1=True), constant_target(y, 2.0, 3, keep_top1=True)):
        assert torch.equal(z.argmax(1), y.argmax(1))


def test_without_keep_top1_full_strength_is_the_vertex():
    y = dirichlet(50, 10, 1.0)
    assert torch.equal(least_likely(y, 2.0, keep_top1=False).argmax(1), y.argmin(1))
    assert (constant_target(y, 2.0, 3, keep_top1=False).argmax(1) != y.argmax(1)).all()


def test_a_target_the_victim_does_not_have_is_unsuited():
    victim, owner = victim_and_owner(3)
    with pytest.raises(Unsuited, match="below the victim's 3 classes; got 3"):
        ConstantTarget(target=3).arm(victim, owner, 0)


def test_a_single_class_has_nothing_to_move():
    victim, owner = victim_and_owner(1)
    for recipe in (Flatten(), LeastLikely(), ConstantTarget()):
        with pytest.raises(Unsuited, match="two classes or more"):
            recipe.arm(victim, owner, 0)


@pytest.mark.parametrize("recipe", [Flatten, LeastLikely, ConstantTarget])
@pytest.mark.parametrize("eps", [-0.1, 2.1, float("nan")])
def test_eps_out_of_range_is_refused(recipe: type, eps: float):
    with pytest.raises(BadConfig, match=rf"The eps of {recipe.__name__} must be from 0 to 2. Got"):
        recipe(eps=eps)


def test_a_negative_target_is_refused():
    with pytest.raises(BadConfig, match=r"The target of ConstantTarget must be 0 or more. Got -1."):
        ConstantTarget(target=-1)

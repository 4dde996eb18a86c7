"""Evasion: what a step can and cannot do, on classifiers whose answer to it is known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.errors import BadConfig
from gamekeeper.follow_on.evasion import Craft, away, fgsm, noise, pgd, reach_of, towards
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Box
from tests.attacks.toys import linear

BOX = Box((1, 8, 8))
NET = fresh(Mlp(BOX.shape, 4, (32,)), 0).eval()
X = BOX.uniform(40, 1)
Y = NET(X).argmax(1)


def ifgsm(eps: float, steps: int = 10) -> Craft:
    """`steps` steps that add up to eps: the edge is reached where the sign never turns."""
    return Craft(eps, steps, 1 / steps)


RECIPES = {"fgsm": fgsm, "ifgsm": ifgsm, "pgd": pgd}
every = pytest.mark.parametrize("make", RECIPES.values(), ids=RECIPES)


def wrong(x: torch.Tensor, net: torch.nn.Module = NET) -> float:
    return float((net(x).argmax(1) != Y).double().mean())


@every
def test_no_room_no_change(make):
    assert torch.equal(away(NET, X, Y, make(0.0), BOX), X)
    assert torch.equal(noise(X, 0.0, BOX, 0), X)


@every
def test_on_the_network_itself_it_nearly_always_succeeds(make):
    assert wrong(away(NET, X, Y, make(0.3), BOX)) > 0.95
    wanted = (Y + 1) % 4
    reached = NET(towards(NET, X, wanted, make(0.3), BOX)).argmax(1) == wanted
    assert reached.double().mean() > 0.8


@every
@settings(max_examples=10, deadline=None)
@given(eps=st.floats(0, 1), low=st.floats(-2, 0), width=st.floats(0.1, 3), seed=st.integers(0, 99))
def test_no_entry_moves_by_more_than_eps_or_out_of_the_box(make, eps: float, low: float, width: float, seed: int):
    box = Box(BOX.shape, low, low + width)
    x = box.uniform(5, seed)
    for moved in (away(NET, x, Y[:5], make(eps), box, seed), noise(x, eps, box, seed)):
        assert (moved - x).abs().max() <= eps * width * (1 + 1e-5) + 1e-6
        assert moved.min() >= box.low - 1e-6
        assert moved.max() <= box.high + 1e-6


def test_one_step_on_a_linear_classifier_is_the_sign_of_the_difference_of_weights():
    weights = torch.randn(2, 64, generator=torch.Generator().manual_seed(3))
    net = linear(weights, torch.zeros(2), BOX.shape).net
    x = torch.full((1, *BOX.shape), 0.5)
    moved = away(net, x, torch.tensor([0]), fgsm(0.25), BOX)
    assert torch.equal((moved - x).flatten(), 0.25 * (weights[1] - weights[0]).sign())
    assert torch.allclose(towards(net, x, torch.tensor([1]), fgsm(0.25), BOX), moved)


def test_pgd_starts_at_random_and_by_its_seed_alone():
    one, same, other = (away(NET, X, Y, pgd(0.05), BOX, seed) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_more_steps_climb_higher():
    loss = [torch.nn.functional.cross_entropy(NET(away(NET, X, Y, make(0.1), BOX)), Y) for make in (fgsm, ifgsm)]
    assert loss[1] > loss[0]


def test_crafted_on_a_copy_it_beats_noise_of_the_same_size_on_the_model():
    """The copy learnt the model's labels on other inputs, from other first weights."""
    asked = BOX.uniform(1_500, 7)
    answers = NET(asked).argmax(1)
    copy = fit(fresh(Mlp(BOX.shape, 4, (16,)), 5), asked, answers, torch.nn.functional.cross_entropy, Fit(), 0)
    baseline = wrong(noise(X, 0.1, BOX, 0))
    for make in RECIPES.values():
        assert wrong(away(copy, X, Y, make(0.1), BOX)) > baseline + 0.3


def test_noise_moves_every_entry_either_way_by_eps():
    x = torch.full((200, *BOX.shape), 0.5)
    moved = noise(x, 0.2, BOX, 4) - 0.5
    assert torch.allclose(moved.abs(), torch.tensor(0.2))
    assert abs(float((moved > 0).double().mean()) - 0.5) < 0.02


@pytest.mark.parametrize(("shape", "eps"), [((1, 28, 28), 0.3), ((3, 32, 32), 8 / 255), ((30,), 0.1), ((1, 8, 8), 0.3)])
def test_the_usual_reach_follows_from_the_kind_of_input(shape, eps):
    assert reach_of(Box(shape)) == eps


@pytest.mark.parametrize(("eps", "steps", "stride"), [(-0.1, 1, 1.0), (1.1, 1, 1.0), (0.3, 0, 1.0), (0.3, 1, 0.0)])
def test_what_makes_no_sense_is_refused(eps, steps, stride):
    with pytest.raises(BadConfig, match="Got"):
        Craft(eps, steps, stride)

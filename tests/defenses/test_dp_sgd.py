"""DP-SGD: every example's gradient is clipped by itself, the noise is what it is said to be, and the price is known."""

import math

import pytest
import torch
from torch import nn

from gamekeeper.architectures import Mlp, ResNet, fresh
from gamekeeper.defenses.dp_sgd import DPSGD
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.tasks import Classify
from gamekeeper.training.dp_accounting import ORDERS, epsilon, noise_for, rdp
from gamekeeper.training.dp_sgd import PrivateFit, clipped_sum, per_example, train
from gamekeeper.types import Box, Owner

TASK, BOX = Classify(3), Box((4,))
MLP = Mlp((4,), 3, (5,))


def owner(n: int = 30, seed: int = 0) -> Owner:
    x = torch.rand(n, 4, generator=torch.Generator().manual_seed(seed))
    return Owner(x, (3 * x[:, 0]).long().clamp(max=2), BOX, MLP)


def one_by_one(net: nn.Module, held: Owner) -> list[dict[str, torch.Tensor]]:
    """The obvious loop: a backward pass an example."""
    found = []
    for x, y in zip(held.x, TASK.target(held.truth), strict=True):
        net.zero_grad()
        TASK.loss(net(x[None]), y[None]).backward()
        found.append({name: weight.grad.clone() for name, weight in net.named_parameters()})
    return found


def norm(gradient: dict[str, torch.Tensor]) -> float:
    return math.sqrt(sum(float(g.square().sum()) for g in gradient.values()))


def test_gradients_of_every_example_are_those_of_a_backward_pass_each():
    net, held = fresh(MLP, 0), owner()
    found = per_example(net, TASK, held.x, TASK.target(held.truth))
    for i, expected in enumerate(one_by_one(net, held)):
        for name, g in expected.items():
            torch.testing.assert_close(found[name][i], g, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("clip", [0.05, 0.5, 1e6])
def test_each_example_is_clipped_not_their_mean(clip: float):
    net, held = fresh(MLP, 0), owner()
    alone = one_by_one(net, held)
    scales = [min(1.0, clip / norm(g)) for g in alone]
    assert clip > 1 or min(scales) < 1
    total = clipped_sum(per_example(net, TASK, held.x, TASK.target(held.truth)), clip)
    for name, g in total.items():
        torch.testing.assert_close(
            g, sum(s * one[name] for s, one in zip(scales, alone, strict=True)), atol=1e-5, rtol=1e-4
        )
    single = clipped_sum(per_example(net, TASK, held.x[:1], TASK.target(held.truth[:1])), clip)
    assert norm(single) <= clip * (1 + 1e-5)


def test_without_noise_or_clipping_it_is_stochastic_gradient_descent():
    held = owner()
    ours, plain = fresh(MLP, 1), fresh(MLP, 1)
    train(ours, TASK, held.x, held.truth, PrivateFit(1e9, 0.0, 1.0, 5, rate=0.3, momentum=0.5), seed=0)
    descent = torch.optim.SGD(plain.parameters(), lr=0.3, momentum=0.5)
    for _ in range(5):
        descent.zero_grad()
        TASK.loss(plain(held.x), TASK.target(held.truth)).backward()
        descent.step()
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_the_noise_of_a_step_has_the_standard_deviation_sigma_c():
    """With nobody sampled a step is noise alone: rate * sigma * C / (q n)."""
    held = owner(10)
    net = fresh(Mlp((4,), 3, (2_000,)), 0)
    before = [w.detach().clone() for w in net.parameters()]
    recipe, sigma, q = DPSGD(clip=0.2, rate=0.7, momentum=0.0), 3.0, 1e-9
    train(net, TASK, held.x, held.truth, PrivateFit(recipe.clip, sigma, q, 1, recipe.rate, recipe.momentum), seed=3)
    moved = torch.cat([(a.detach() - b).flatten() for a, b in zip(net.parameters(), before, strict=True)]).double()
    expected = 0.7 * sigma * 0.2 / (q * 10)
    n = len(moved)
    assert abs(float(moved.std()) / expected - 1) < 4 / math.sqrt(2 * n)
    assert abs(float(moved.mean())) < 4 * expected / math.sqrt(n)


@pytest.mark.parametrize("order", [2, 5, 64])
def test_taking_everybody_is_the_gaussian_mechanism(order: int):
    assert rdp(1.0, 2.0, order) == pytest.approx(order / 8)
    assert rdp(1 - 1e-12, 2.0, order) == pytest.approx(order / 8, rel=1e-6)
    assert rdp(0.0, 2.0, order) == 0.0


def test_order_two_by_hand():
    """A(2) = (1 - q)^2 + 2 q (1 - q) + q^2 exp(1 / sigma^2)."""
    q, sigma = 0.1, 1.5
    assert rdp(q, sigma, 2) == pytest.approx(math.log((1 - q) ** 2 + 2 * q * (1 - q) + q**2 * math.exp(1 / sigma**2)))


@pytest.mark.parametrize(
    ("q", "noise", "steps"), [(0.01, 1.0, 1000), (0.03, 0.8, 500), (1.0, 5.0, 10), (0.2, 2.0, 100)]
)
def test_the_price_is_opacus_price(q: float, noise: float, steps: int):
    oracle = pytest.importorskip("opacus.accountants.analysis.rdp", reason="opacus, the extra dp, is not installed")
    curve = oracle.compute_rdp(q=q, noise_multiplier=noise, steps=steps, orders=list(ORDERS))
    assert [steps * rdp(q, noise, a) for a in ORDERS] == pytest.approx(list(curve), rel=1e-9)
    expected, _ = oracle.get_privacy_spent(orders=list(ORDERS), rdp=curve, delta=1e-5)
    assert epsilon(q, noise, steps, 1e-5) == pytest.approx(float(expected), rel=1e-9)


def test_privacy_is_spent_by_steps_and_saved_by_noise():
    spent = [epsilon(0.05, 1.0, steps, 1e-5) for steps in (10, 100, 1000)]
    saved = [epsilon(0.05, noise, 100, 1e-5) for noise in (0.5, 1.0, 2.0)]
    assert spent == sorted(spent)
    assert saved == sorted(saved, reverse=True)
    assert epsilon(0.05, 0.0, 1, 1e-5) == math.inf


@pytest.mark.parametrize("target", [0.5, 3.0, 20.0])
def test_the_noise_for_a_price_is_the_least_that_keeps_to_it(target: float):
    noise = noise_for(target, 0.05, 200, 1e-5)
    assert epsilon(0.05, noise, 200, 1e-5) <= target
    assert epsilon(0.05, noise - 2e-3, 200, 1e-5) > target


def test_armed_it_says_what_it_spent_and_learns_in_spite_of_the_noise():
    held, fair = owner(300), owner(400, seed=1)
    victim = TorchModel(fresh(MLP, 0), TASK)
    armed = DPSGD(epsilon=8.0, batch=100, epochs=15).arm(victim, held, 0)
    assert 7.5 < armed.epsilon <= 8.0
    assert armed.delta == pytest.approx(1 / 3000)
    right = armed.private(fair.x).y.argmax(1) == fair.truth
    assert float(right.double().mean()) > 0.75
    again = DPSGD(epsilon=8.0, batch=100, epochs=15).arm(victim, held, 0)
    assert torch.equal(again.private(fair.x).y, armed.private(fair.x).y)


def test_networks_that_mix_a_batch_are_refused():
    box = Box((1, 8, 8))
    recipe = ResNet(box.shape, 3)
    held = Owner(box.uniform(5, 0), torch.zeros(5, dtype=torch.long), box, recipe)
    with pytest.raises(Unsuited, match="BatchNorm"):
        DPSGD().arm(TorchModel(fresh(recipe, 0), TASK), held, 0)


@pytest.mark.parametrize("wrong", [{"epsilon": 0.0}, {"clip": -1.0}, {"momentum": 1.0}, {"batch": 0}, {"epochs": 0}])
def test_what_makes_no_sense_is_refused(wrong: dict):
    with pytest.raises(BadConfig, match="DPSGD"):
        DPSGD(**wrong)

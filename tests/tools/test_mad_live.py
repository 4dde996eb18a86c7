"""Angles and losses of a live thief."""

import pytest
import torch
from mad_live import gradient, gradient_angle, learn_online, white_box
from torch import Tensor, nn

from gamekeeper.architectures import LeNet, Mlp, fresh
from gamekeeper.defenses.mad.jacobian import gram
from gamekeeper.defenses.mad.recipe import MAD, deviation, mad
from gamekeeper.simplex import one_hot
from tests.defenses.programs import peaked

pytestmark = pytest.mark.thorough

K = 5


def thief() -> nn.Module:
    return fresh(LeNet((1, 16, 16), K, 20), 3).double().eval()


def inputs(n: int) -> Tensor:
    return torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def blobs(n: int) -> tuple[Tensor, Tensor]:
    """Points round three centres, and their centres."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(n) % 3
    return torch.eye(3)[truth] * 2 + 0.3 * torch.randn(n, 3, generator=generator), truth


def test_an_unchanged_answer_has_no_angle():
    assert gradient_angle(thief(), inputs(3), peaked(3, K, 1.0), peaked(3, K, 1.0)).tolist() == [0.0] * 3


def test_the_measured_angle_is_that_of_the_gram_matrix():
    net, x, y = thief(), inputs(6), peaked(6, K, 2.0)
    p = torch.softmax(net(x), 1).detach()
    poisoned = mad(y, p, 0.9)
    expected = deviation(y, poisoned, p, gram(net, x))
    torch.testing.assert_close(gradient_angle(net, x, y, poisoned), expected, atol=1e-6, rtol=0)


def test_twice_one_minus_its_cosine_is_the_objective():
    net, x, y, new = thief(), inputs(4), peaked(4, K, 2.0), peaked(4, K, 2.0, seed=1)
    angle = torch.deg2rad(gradient_angle(net, x, y, new))
    for i in range(4):
        u, v = (nn.functional.normalize(gradient(net, x[i : i + 1], z[i : i + 1]), dim=0) for z in (y, new))
        assert (2 * (1 - angle[i].cos())).item() == pytest.approx((u - v).square().sum().item(), abs=1e-9)


def test_the_white_box_turns_the_thiefs_own_gradient_further_than_any_other_vertex():
    net, x, y = thief(), inputs(8), peaked(8, K, 2.0)
    found = gradient_angle(net, x, y, white_box(MAD(eps=2.0, jacobian="all"))(net, x, y))
    for k in range(K):
        other = one_hot(torch.full((8,), k), y)
        assert (gradient_angle(net, x, y, other) <= found + 1e-6).all()


def test_the_white_box_follows_the_thief_as_they_learn():
    net, x, y = thief(), inputs(20), peaked(20, K, 1.0)
    poison = white_box(MAD(eps=0.5))
    before = poison(net, x, y)
    with torch.no_grad():
        net.head.weight.mul_(-30)
    assert not torch.equal(poison(net, x, y), before)


def test_undefended_learning_is_plain_sgd_and_lowers_the_loss():
    x, truth = blobs(90)
    y = one_hot(truth, torch.zeros(90, 3))
    net, twin = fresh(Mlp((3,), 3, (8,)), 0), fresh(Mlp((3,), 3, (8,)), 0)
    trace = learn_online(net, x, y, white_box(MAD(eps=0.0)), (x, truth), rate=0.1, every=30)
    for row, answer in zip(x.split(1), y.split(1), strict=True):
        grads = torch.autograd.grad(nn.functional.cross_entropy(twin(row), answer), list(twin.parameters()))
        with torch.no_grad():
            for weight, g in zip(twin.parameters(), grads, strict=True):
                weight.sub_(0.1 * g)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(net.parameters(), twin.parameters(), strict=True))
    assert list(trace.losses) == [0, 30, 60, 90]
    assert trace.losses[90] < trace.losses[0] / 2
    assert trace.angles.tolist() == [0.0] * 90


def test_at_full_strength_gradients_flip_and_the_loss_rises():
    x, truth = blobs(60)
    y = one_hot(truth, torch.zeros(60, 3)) * 0.9 + 0.1 / 3
    traces = {}
    for eps in (0.0, 0.5, 2.0):
        net = fresh(Mlp((3,), 3, (8,)), 0)
        traces[eps] = learn_online(net, x, y, white_box(MAD(eps=eps, jacobian="all")), (x, truth), rate=0.1)
    means = [traces[eps].angles.mean().item() for eps in (0.0, 0.5, 2.0)]
    assert means[0] == 0 < means[1] < 90 < means[2]
    assert traces[0.5].losses[60] < traces[0.5].losses[0] < traces[2.0].losses[60]

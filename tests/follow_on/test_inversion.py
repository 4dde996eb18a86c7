"""Model inversion: the direction of a linear model's weights, the box, and copies that know nothing."""

import pytest
import torch

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.errors import BadConfig
from gamekeeper.follow_on.inversion import Invert, invert, processed
from gamekeeper.types import Box
from tests.attacks.toys import linear

pytestmark = pytest.mark.thorough

WEIGHTS = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
EVERY = torch.arange(5)
PLAIN = Invert(blur=False)


def posterior(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(net(x), 1).detach()


def test_of_a_softmax_regression_it_draws_the_class_weights_less_their_mean():
    net = linear(WEIGHTS, torch.zeros(5), (1, 8, 8)).net
    x = invert(net, EVERY, PLAIN, Box((1, 8, 8), -1.0, 1.0)).flatten(1)
    alike = torch.cosine_similarity(x, WEIGHTS - WEIGHTS.mean(0))
    assert alike.min() > 0.9
    crossed = torch.cosine_similarity(x, (WEIGHTS - WEIGHTS.mean(0)).roll(1, 0))
    assert crossed.max() < 0.2


def test_the_first_step_has_the_stated_length_and_direction():
    net = linear(WEIGHTS, torch.zeros(5), (64,)).net
    x = invert(net, EVERY, Invert(steps=1, rate=0.01), Box((64,), -1.0, 1.0))
    wanted = WEIGHTS - WEIGHTS.mean(0)
    assert torch.allclose(x, 0.01 * 2 * 8 * wanted / wanted.norm(dim=1, keepdim=True), atol=1e-6)


def test_its_own_network_is_sure_of_what_was_drawn_and_each_class_by_itself():
    net = fresh(Mlp((1, 8, 8), 5, (32,)), 1)
    with torch.no_grad():
        net.head.weight *= 10  # untrained weights alone never make a network sure
    box = Box((1, 8, 8))
    x = invert(net, EVERY, PLAIN, box)
    assert posterior(net, x).diagonal().min() > 0.8
    alone = invert(net, torch.tensor([3]), PLAIN, box)
    assert torch.allclose(alone[0], x[3], atol=1e-5)


@pytest.mark.parametrize(
    "box", [Box((1, 8, 8)), Box((1, 8, 8), -0.5, 0.25), Box((1, 8, 8), 1.0, 2.0), Box((64,), -3.0, -1.0)]
)
@pytest.mark.parametrize("blur", [True, False])
def test_the_box_is_respected(box, blur):
    net = linear(WEIGHTS, torch.zeros(5), box.shape).net
    x = invert(net, EVERY, Invert(blur=blur), box)
    box.check(x)
    assert x.std() > 0


def test_what_an_untrained_copy_draws_is_near_chance_on_the_model():
    model = linear(3 * WEIGHTS, torch.zeros(5), (1, 8, 8)).net
    box = Box((1, 8, 8), -1.0, 1.0)
    told = [
        float(
            posterior(model, invert(fresh(Mlp((1, 8, 8), 5, (32,)), seed), EVERY, Invert(steps=30, blur=False), box))
            .diagonal()
            .mean()
        )
        for seed in range(6)
    ]
    assert abs(sum(told) / 6 - 0.2) < 0.15
    own = posterior(model, invert(model, EVERY, PLAIN, box)).diagonal()
    assert own.min() > 0.95


def test_the_best_on_the_way_is_returned():
    """A step as long as the box overshoots at once; what is returned is never worse than the start."""
    net = fresh(Mlp((1, 8, 8), 5, (32,)), 1)
    box = Box((1, 8, 8))
    x = invert(net, EVERY, Invert(steps=5, rate=10.0), box)
    assert (posterior(net, x).diagonal() >= posterior(net, torch.zeros(5, 1, 8, 8)).diagonal()).all()


def test_the_blur_keeps_flat_pictures_and_spreads_a_point_binomially():
    flat = torch.full((1, 2, 6, 6), 0.7)
    assert torch.allclose(processed(flat, True, Box((2, 6, 6))), flat)
    point = torch.zeros(1, 1, 5, 5)
    point[0, 0, 2, 2] = 1
    spot = processed(point, True, Box((1, 5, 5)))[0, 0, 1:4, 1:4]
    assert torch.allclose(spot, torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16)
    assert torch.equal(processed(point, False, Box((1, 5, 5))), point)


@pytest.mark.parametrize(("steps", "rate"), [(0, 0.1), (1, 0.0)])
def test_what_makes_no_sense_is_refused(steps, rate):
    with pytest.raises(BadConfig, match="at least one step"):
        Invert(steps, rate)

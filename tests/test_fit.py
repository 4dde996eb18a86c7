"""The training loop: the optimiser is the one named, and impossible recipes are refused."""

import pytest
import torch
from torch import Tensor, nn

from gamekeeper.architectures import fresh
from gamekeeper.errors import BadConfig
from gamekeeper.training.fit import Fit, descent, fit

X = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (64,), generator=torch.Generator().manual_seed(1))


def linear() -> nn.Module:
    return fresh(lambda: nn.Linear(5, 3), 0)


def trained(**recipe) -> Tensor:
    net = fit(linear(), X, Y, nn.functional.cross_entropy, Fit(**recipe), 0)
    return next(iter(net.parameters())).detach()


def one_step(recipe: Fit) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, their gradient on the whole set, and what a step of the recipe's optimiser makes of them."""
    net = linear()
    (weight, _) = net.parameters()
    before = weight.detach().clone()
    nn.functional.cross_entropy(net(X), Y).backward()
    descent(net, recipe).step()
    return before, weight.grad, weight.detach()


def test_each_optimiser_takes_its_own_step():
    before, slope, after = one_step(Fit(rate=0.1, decay=0.5))
    assert torch.allclose(after, before - 0.1 * (slope + 0.5 * before), atol=1e-6)
    # Adam's first step is the rate times the gradient's sign, whatever its size
    before, slope, after = one_step(Fit(rate=0.1, decay=0.5, optimiser="adam"))
    assert torch.allclose(after, before - 0.1 * (slope + 0.5 * before).sign(), atol=1e-4)
    before, slope, after = one_step(Fit(rate=0.1, decay=0.5, optimiser="adamw"))
    assert torch.allclose(after, before - 0.1 * (slope.sign() + 0.5 * before), atol=1e-4)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_every_optimiser_learns_and_repeats_itself(optimiser):
    recipe = Fit(epochs=1, least_steps=100, rate=0.05, batch=16, optimiser=optimiser)
    nets = [fit(linear(), X, Y, nn.functional.cross_entropy, recipe, 3) for _ in range(2)]
    before, after = (nn.functional.cross_entropy(net(X), Y).item() for net in (linear(), nets[0]))
    assert after < before - 0.1
    assert torch.equal(nets[0](X), nets[1](X))


@pytest.mark.parametrize("steps", range(1, 9))
def test_any_number_of_steps_can_be_trained(steps):
    assert torch.isfinite(trained(epochs=0, least_steps=steps)).all()


@pytest.mark.parametrize(
    "wrong", [{"rate": 0.0}, {"decay": -1.0}, {"momentum": 1.0}, {"epochs": 0, "least_steps": 0}, {"batch": 0}]
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(BadConfig, match="training needs"):
        Fit(**wrong)

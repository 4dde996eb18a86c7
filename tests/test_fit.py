"""The training loop: the optimiser is the one named, and impossible recipes are refused."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from gamekeeper.architectures import fresh
from gamekeeper.errors import BadConfig
from gamekeeper.training.fit import Fit, descent, fit, one_cycle

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
    descent(net, recipe)(recipe.rate)
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


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 64, 301])
def test_the_rate_is_that_of_one_cycle(steps):
    optimiser = torch.optim.SGD(linear().parameters(), 0.05)
    schedule = OneCycleLR(optimiser, 0.05, total_steps=steps, pct_start=0.25, cycle_momentum=False)
    for number in range(steps):
        assert one_cycle(number, steps, 0.05) == schedule.get_last_lr()[0]
        optimiser.step()
        if number < steps - 1:
            schedule.step()


def test_momentum_is_torchs_sgd_bit_for_bit():
    ours, theirs = linear(), linear()
    recipe = Fit(rate=0.1, momentum=0.9, decay=0.01)
    step = descent(ours, recipe)
    optimiser = torch.optim.SGD(theirs.parameters(), 0.1, 0.9, weight_decay=0.01, fused=True)
    for number in range(5):
        for net in (ours, theirs):
            net.zero_grad()
            out = net(X).detach() @ net.weight if number == 2 else net(X)  # the bias gets no gradient once
            out.square().mean().backward()
        step(0.1)
        optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_training_does_not_load_torchs_compiler():
    script = (
        "import sys, torch; from torch import nn; from gamekeeper.training.fit import Fit, fit;"
        "fit(nn.Linear(2, 2), torch.rand(4, 2), torch.rand(4, 2), nn.functional.mse_loss, Fit(epochs=1, least_steps=1), 0);"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0

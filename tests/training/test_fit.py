"""The training loop at its corners."""

import math

import pytest
import torch

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit, fit

X = torch.rand(64, 4, generator=torch.Generator().manual_seed(0))
Y = Classify(2).target((X[:, 0] > 0.5).long())


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_the_fewest_steps_train(steps: int):
    net = fresh(Mlp((4,), 2), 0)
    before = [weight.clone() for weight in net.parameters()]
    fit(net, X, Y, Classify(2).loss, Fit(epochs=1, least_steps=steps), 0)
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.parametrize(("epochs", "least"), [(30, 300), (10, 100), (20, 200), (1, 1), (100, 3000), (15, 0)])
def test_a_third_of_a_training_is_rounded_as_each_caller_says(epochs: int, least: int):
    whole = Fit(epochs=epochs, least_steps=least, rate=0.3)
    nearest = Fit(epochs=max(1, round(epochs / 3)), least_steps=round(least / 3), rate=0.3)
    below = Fit(epochs=max(1, epochs // 3), least_steps=least // 3, rate=0.3)
    above = Fit(epochs=-(-epochs // 3), least_steps=least // 3, rate=0.3)
    assert whole.shortened(1 / 3) == nearest
    assert whole.shortened(1 / 3, math.floor, math.floor) == below
    assert whole.shortened(1 / 3, math.ceil, math.floor) == above

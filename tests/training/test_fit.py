"""The training loop at its corners."""

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

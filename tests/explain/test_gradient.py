"""Maps made of the input's gradient: exact on linear networks, row by row, in evaluation mode."""

import torch
from torch import nn

from gamekeeper.architectures import Mlp, ResNet, fresh
from gamekeeper.explain import as_map, gradient, gradient_x_input
from gamekeeper.models.network import CHUNK, TorchModel
from gamekeeper.tasks import Classify
from gamekeeper.types import Box

BOX = Box((12,))
W = torch.randn(3, 12, generator=torch.Generator().manual_seed(2))


def test_a_linear_victims_gradient_is_its_weights():
    net = nn.Linear(12, 3, bias=False)
    net.weight.data = W
    x = BOX.uniform(5, 0)
    top = torch.tensor([0, 1, 2, 1, 0])
    assert torch.allclose(gradient(net, x, top), W[top][:, None])
    assert torch.allclose(gradient_x_input(net, x, top).sum((1, 2)), (x * W[top]).sum(1))


def test_a_networks_gradient_is_what_a_small_step_changes():
    net = fresh(Mlp((12,), 3, (8,)), 0).double().eval()
    x, top, h = BOX.uniform(3, 1).double(), torch.tensor([2, 0, 1]), 1e-6

    def score(x: torch.Tensor) -> torch.Tensor:
        return net(x).gather(1, top[:, None])[:, 0].detach()

    steps = [(score(x + h * e) - score(x - h * e)) / (2 * h) for e in torch.eye(12, dtype=torch.float64)]
    torch.testing.assert_close(gradient(net, x, top)[:, 0], torch.stack(steps, 1), atol=1e-7, rtol=0)


def test_the_class_named_is_explained_and_not_the_networks_own():
    net = nn.Linear(12, 3, bias=False)
    net.weight.data = W
    x = BOX.uniform(20, 0)
    wrong = (net(x).argmax(1) + 1) % 3
    assert torch.allclose(gradient(net, x, wrong)[:, 0], W[wrong])


def test_channels_are_summed_and_tables_are_one_row():
    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert torch.equal(as_map(image), image[:, 0] + image[:, 1])
    assert as_map(torch.zeros(5, 7)).shape == (5, 1, 7)


def test_maps_are_made_in_evaluation_mode_and_the_mode_is_restored():
    net = fresh(ResNet((1, 8, 8), 3, depth=8, width=4), 0).train()
    x = torch.rand(4, 1, 8, 8)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    together = gradient(net, x, torch.zeros(4, dtype=torch.long))
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    alone = torch.cat([gradient(net, one, torch.zeros(1, dtype=torch.long)) for one in x.split(1)])
    assert torch.allclose(together, alone, atol=1e-6)


def test_maps_of_more_than_one_chunk_are_those_of_each_row():
    net, x = fresh(Mlp((12,), 3, (8,)), 0), BOX.uniform(CHUNK + 3, 0)
    sold = TorchModel(net, Classify(3), explain=gradient)
    assert torch.allclose(sold(x).maps[-4:], sold(x[-4:]).maps, atol=1e-6)


def test_inputs_in_double_are_explained_in_the_networks_own_dtype():
    net, x = fresh(Mlp((12,), 3, (8,)), 0), BOX.uniform(4, 0)
    sold = TorchModel(net, Classify(3), explain=gradient)
    assert torch.equal(sold(x.double()).maps, sold(x).maps)


def test_a_network_without_biases_is_explained_wholly_and_one_with_biases_is_not():
    """x * gradient sums to the logit of a positively homogeneous network: Euler's theorem."""
    x, top = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(3)), torch.arange(6) % 3
    errors = []
    for bias in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=bias), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3, bias=bias)
        )
        missing = net(x).gather(1, top[:, None])[:, 0] - gradient_x_input(net, x, top).sum((1, 2))
        errors.append(missing.abs().max().item())
    assert errors[0] < 1e-5 < 1e-2 < errors[1]

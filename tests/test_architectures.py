"""Networks by name: what torch must not be asked to do with them."""

import pytest
import torch
from torch import nn

from gamekeeper.architectures import BasicBlock, LeNet, ResNet, ResNet18, Wrn, fresh
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Box


def test_the_shortcut_is_a_strided_1x1_convolution_and_its_normalisation():
    block = fresh(lambda: BasicBlock(3, 5, 2), 0).train()
    x = Box((3, 7, 8)).uniform(4, 0)
    projection, normalised = block.shortcut
    strided = nn.functional.conv2d(x, projection.weight, stride=2)
    assert torch.allclose(block(x), torch.relu(block.second(block.first(x)) + normalised(strided)), atol=1e-5)


@pytest.mark.parametrize("recipe", [LeNet, ResNet18, Wrn, lambda s, k: ResNet(s, k, width=2)])
def test_no_network_has_a_strided_1x1_convolution_of_few_channels(recipe):
    # torch 2.13 corrupts memory in its backward pass (channels_last, 2 to 7 channels): a crash, or silently wrong numbers
    layers = [layer for layer in recipe((3, 32, 32), 10)().modules() if isinstance(layer, nn.Conv2d)]
    assert not [n for n in layers if n.kernel_size == (1, 1) and n.stride != (1, 1) and 1 < n.in_channels < 8]


def test_the_narrowest_resnet_trains():
    box = Box((1, 8, 8))
    x = box.uniform(40, 0)
    net = fresh(ResNet(box.shape, 2, width=2), 0)
    y = torch.eye(2)[(x.mean((1, 2, 3)) > x.mean()).long()]
    fit(net, x, y, Classify(2).loss, Fit(epochs=1, least_steps=60, rate=0.1), 0)
    assert all(torch.isfinite(p).all() for p in net.parameters())

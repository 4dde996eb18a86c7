"""The Gram matrix of logits, against explicit Jacobians in float64."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from gamekeeper.architectures import LeNet, Mlp, ResNet, Wrn, fresh
from gamekeeper.defenses.mad.jacobian import gram, gram_at_once
from gamekeeper.types import Architecture


def explicit(net: nn.Module, x: Tensor) -> Tensor:
    """J J^T from the Jacobian in all weights, input by input."""
    weights = {name: w.detach() for name, w in net.named_parameters()}
    found = []
    for row in x.split(1):
        J = jacrev(lambda w, row=row: functional_call(net, w, (row,))[0])(weights)
        J = torch.cat([part.flatten(1) for part in J.values()], 1)
        found.append(J @ J.T)
    return torch.stack(found)


def unsettled(net: nn.Module) -> nn.Module:
    """In float64, with normalisation layers that do something."""
    generator = torch.Generator().manual_seed(0)
    for m in net.double().eval().modules():
        if isinstance(m, nn.BatchNorm2d):
            for t in (m.running_mean, m.weight.data, m.bias.data):
                t.copy_(torch.randn(t.shape, generator=generator))
            m.running_var.copy_(torch.rand(m.running_var.shape, generator=generator) + 0.5)
    return net


def inputs(n: int, *shape: int) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def check(net: nn.Module, x: Tensor) -> None:
    expected = explicit(net, x)
    torch.testing.assert_close(gram(net, x), expected, atol=1e-12 * expected.abs().max().item(), rtol=0)


@pytest.mark.parametrize(
    "architecture",
    [Mlp((7,), 5, (8, 6)), Mlp((7,), 5, ()), LeNet((1, 16, 16), 4, 20), ResNet((3, 8, 8), 5, 8, 4), Wrn((3, 8, 8), 4, 10, 1)],
    ids=lambda a: type(a).__name__,
)  # fmt: skip
def test_equals_the_explicit_jacobian(architecture: Architecture):
    check(unsettled(fresh(architecture, 0)), inputs(3, *architecture.shape))


class Odd(nn.Module):
    """A layer used twice, two layers that share a weight, a grouped convolution, a bare parameter, an unused layer."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(2, 4, 3, groups=2)
        self.strided = nn.Conv2d(4, 3, 3, stride=2, padding=1, dilation=1)
        self.norm = nn.LayerNorm(12)
        self.twice = nn.Linear(12, 12)
        self.one, self.other = nn.Linear(12, 12, bias=False), nn.Linear(12, 12, bias=False)
        self.other.weight = self.one.weight
        self.scale = nn.Parameter(torch.ones(12))
        self.unused = nn.Linear(3, 3)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.strided(torch.tanh(self.grouped(x))).flatten(1))
        h = torch.tanh(self.twice(torch.tanh(self.twice(h))))
        return self.head(self.other(torch.tanh(self.one(h))) * self.scale) / 2


def test_equals_the_explicit_jacobian_where_layers_have_no_formula():
    torch.manual_seed(0)
    check(Odd().double().eval(), inputs(3, 2, 6, 6))


def test_rows_are_cut_to_fit_into_memory(monkeypatch: pytest.MonkeyPatch):
    net = unsettled(fresh(LeNet((1, 16, 16), 4, 20), 0))
    x = inputs(5, 1, 16, 16)
    whole = gram_at_once(net, x)
    monkeypatch.setattr("gamekeeper.defenses.mad.jacobian.NUMBERS", 1)
    torch.testing.assert_close(gram(net, x), whole, atol=0, rtol=1e-12)


def test_the_network_is_left_as_it_was():
    net = fresh(ResNet((3, 8, 8), 5, 8, 4), 0).eval()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    gram(net, torch.rand(2, 3, 8, 8))
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())
    assert all(w.grad is None and w.requires_grad for w in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())


def test_float32_is_close_to_float64():
    net = fresh(LeNet((1, 16, 16), 4, 20), 0).eval()
    x = inputs(3, 1, 16, 16)
    single = gram(net, x.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), gram(net.double(), x), rtol=1e-4, atol=1e-4 * single.max().item())


def test_threads_that_share_a_network_do_not_see_each_others_layers():
    net = fresh(LeNet((1, 28, 28), 10), 0).eval()
    batches = torch.rand((4, 2, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    wanted = [gram(net, x) for x in batches]
    with ThreadPoolExecutor(4) as threads:
        seen = list(threads.map(lambda number: gram(net, batches[number % 4]), range(40)))
    assert all(torch.equal(each, wanted[number % 4]) for number, each in enumerate(seen))

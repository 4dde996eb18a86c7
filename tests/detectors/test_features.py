"""Features come with the answer, and are the same as those of a pass of their own."""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from gamekeeper.architectures import LeNet, fresh
from gamekeeper.detectors.features import ObservedModel, Tap, observed, tap
from gamekeeper.explain.gradient import gradient
from gamekeeper.models.network import TorchModel
from gamekeeper.tasks import Classify
from gamekeeper.types import Reply

X = torch.rand(9, 1, 28, 28, generator=torch.Generator().manual_seed(0))


class Counted(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.passes = net, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return self.net(x)


def lenet() -> Counted:
    return Counted(fresh(LeNet((1, 28, 28), 10), 0))


def test_features_need_no_pass_of_their_own():
    net = lenet()
    victim = observed(TorchModel(net, Classify(10)))
    assert isinstance(victim, ObservedModel)
    taps = [tap(victim, "test", layer) for layer in ("conv", "flat", "penultimate", "logits")]
    reply = victim(X)
    assert net.passes == 1
    noted = [each.behind(X, reply) for each in taps]
    assert net.passes == 1
    for each, features in zip(taps, noted, strict=True):
        torch.testing.assert_close(features, Tap(victim, each.layer)(X))
    rows = torch.tensor([4, 2])
    assert torch.equal(taps[1].behind(X[rows], victim.take(reply, rows)), noted[1][rows])


def test_threads_that_use_one_network_note_features_of_their_own():
    victim = observed(TorchModel(lenet(), Classify(10)))
    flat = tap(victim, "test", "flat")
    batches = [X[place : place + 1] for place in range(8)]
    wanted = [flat(x) for x in batches]

    def same(number: int) -> bool:
        x, noted = batches[number % 8], wanted[number % 8]
        return torch.equal(flat(x), noted) and torch.equal(flat.behind(x, victim(x)), noted)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(same, range(400)))


def test_another_reply_has_no_features_of_this_one():
    net = lenet()
    victim = observed(TorchModel(net, Classify(10)))
    features = tap(victim, "test", "flat")
    reply = victim(X)
    other = Reply(reply.y.clone())
    torch.testing.assert_close(features.behind(X[:3], other.take(slice(3))), features(X[:3]))
    assert net.passes == 3


def test_a_reply_that_nobody_holds_is_forgotten():
    victim = observed(TorchModel(lenet(), Classify(10)))
    assert isinstance(victim, ObservedModel)
    tap(victim, "test", "flat")
    for _ in range(3):
        victim(X)
    assert len(victim.noted) == 0


def test_maps_take_passes_of_their_own():
    victim = observed(TorchModel(lenet(), Classify(10), explain=gradient))
    features = tap(victim, "test", "flat")
    assert len(features.behind(X, victim(X))) == len(X)

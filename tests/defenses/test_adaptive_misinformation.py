"""Adaptive Misinformation: its gate and losses in closed form, and what its two networks have learnt."""

import functools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.defenses import AdaptiveMisinformation
from gamekeeper.defenses.adaptive_misinformation import Misinformer, away, misinform, share, to_uniform
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.targets.builtin import digits
from gamekeeper.targets.target import Target


@functools.cache
def target() -> Target:
    """Digits, and digits upside down in negative for what is no digit."""
    found = digits()
    return replace(found, owner=replace(found.owner, ood=1 - found.owner.x[:400].flip(2)))


@functools.cache
def armed(oe: float = 1.0) -> Misinformer:
    found = AdaptiveMisinformation(oe=oe).arm(target().victim, target().owner, 0)
    assert isinstance(found, Misinformer)
    return found


def sure(y: Tensor) -> Tensor:
    return y.amax(1)


def test_half_of_the_answer_is_misinformation_at_tau():
    y = torch.tensor([[0.75, 0.25], [0.7, 0.3], [0.8, 0.2]]).double()
    a = share(y, 0.75, 1000.0)[:, 0]
    assert a[0] == 0.5
    assert a[1] == pytest.approx(1 / (1 + math.exp(-50)))
    assert a[2] == pytest.approx(1 / (1 + math.exp(50)), rel=1e-6)
    soft = share(y, 0.75, 10.0)[:, 0]
    torch.testing.assert_close(soft, 1 / (1 + torch.exp(10.0 * (y.amax(1) - 0.75))))


def test_far_from_tau_one_network_answers_alone():
    y, wrong = torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    torch.testing.assert_close(misinform(y, wrong, 0.75, 1000.0), torch.stack([y[0], wrong[1]]))


def test_permuting_classes_permutes_the_answer_and_leaves_the_losses():
    y, wrong = torch.softmax(torch.randn(2, 20, 5, generator=torch.Generator().manual_seed(3)).double(), 2)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.equal(misinform(y[:, order], wrong[:, order], 0.5, 9.0), misinform(y, wrong, 0.5, 9.0)[:, order])
    z, classes = y.log(), torch.arange(20) % 5
    torch.testing.assert_close(away(z[:, order], order.argsort()[classes]), away(z, classes))
    torch.testing.assert_close(to_uniform(z[:, order]), to_uniform(z))


def test_the_losses_are_those_of_the_paper():
    z = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)).double()
    y = torch.arange(20) % 5
    p = torch.softmax(z, 1)
    torch.testing.assert_close(away(z, y), -(1 - p.gather(1, y[:, None])).log().mean())
    # the authors' code: cross-entropy of log(1 - p), which is the same up to log(k - 1)
    torch.testing.assert_close(F.cross_entropy((1 - p).log(), y), away(z, y) + math.log(4))
    torch.testing.assert_close(to_uniform(z), F.cross_entropy(z, torch.full_like(z, 0.2)))
    assert torch.isfinite(away(torch.tensor([[200.0, 0.0]]), torch.tensor([0])))


def test_the_misinformation_network_avoids_the_right_class():
    test = target().test
    assert test.y is not None
    right = (armed().wrong(test.x).argmax(1) == test.y).double().mean()
    assert right < 0.03  # chance is 0.1


def test_outlier_exposure_makes_the_victim_unsure_of_what_is_no_digit():
    strange, x = 1 - target().owner.x[500:800].flip(2), target().test.x
    gaps = []
    for oe in (0.0, 1.0):
        net = armed(oe).right
        with torch.no_grad():
            inside, outside = (sure(torch.softmax(net(each), 1)) for each in (x, strange))
        gaps.append((inside[:, None] > outside).double().mean())
    assert gaps[1] > max(0.97, gaps[0] + 0.01)


def test_benign_accuracy_falls_with_tau_and_the_victim_stays_good():
    test, victim = target().test, target().victim
    assert test.y is not None
    reply, taus, right = victim(test.x), (0.0, 0.1, 0.5, 0.9, 0.99, 1.0), []
    for tau in taus:
        found = AdaptiveMisinformation(tau=tau).arm(victim, target().owner, 0)
        right.append(float((found.respond(test.x, reply, None).y.argmax(1) == test.y).double().mean()))
    assert right[2] > right[0] - 0.05
    assert all(before >= after for before, after in zip(right[1:], right[2:], strict=False))
    assert right[-1] < 0.2


def test_networks_are_trained_once_for_every_strength():
    one, two = (AdaptiveMisinformation(tau=tau).arm(target().victim, target().owner, 0) for tau in (0.3, 0.6))
    assert isinstance(one, Misinformer)
    assert isinstance(two, Misinformer)
    assert one.right is two.right


def test_without_auxiliary_inputs_it_names_the_option():
    with pytest.raises(Unsuited, match="--auxiliary related, unrelated or a data file"):
        AdaptiveMisinformation().arm(target().victim, replace(target().owner, ood=None), 0)
    for wrong in ({"tau": 1.5}, {"nu": 0.0}, {"oe": -1.0}, {"epochs": 0}):
        with pytest.raises(BadConfig):
            AdaptiveMisinformation(**wrong)

"""SwiftThief: the exact budget, the switch to rare classes, density, one network through all rounds."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gamekeeper.architectures import Mlp, ResNet
from gamekeeper.attacks.swift_thief import SwiftThief, Thief, density, seek_rare
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.service.oracles import Transcript
from gamekeeper.training.fit import Fit
from gamekeeper.types import Attack, Reply, Transfer
from tests.attacks.toys import IMAGES, PLANE, images, meter, plane, thief, walker

pytestmark = pytest.mark.thorough

QUICK = Fit(epochs=1, least_steps=5, rate=0.1)
SMALL = SwiftThief(rounds=3, epochs=1, last_epochs=1, unasked=40, width=8, batch=16, fit=QUICK)
TINY = replace(SMALL, rounds=2, unasked=16)


def test_it_is_an_attack_of_its_own():
    assert isinstance(SMALL, Attack)


@pytest.mark.parametrize("budget", [0, 1, 31])
def test_the_budget_is_spent_exactly_and_nothing_is_asked_twice(budget: int):
    gate = meter(budget)
    transfer, clone = SMALL.steal(gate, thief(), seed=0)
    assert gate.left == 0
    assert transfer.cost == len(transfer.x) == len(transfer.x.unique(dim=0)) == budget
    assert budget == 0 or torch.equal(transfer.reply.y, images(transfer.x).y)
    assert torch.allclose(clone(IMAGES.uniform(5, 0)).y.sum(1), torch.ones(5))


def test_queries_and_clone_depend_on_the_seed_alone():
    (first, a), (again, b), (other, _) = (TINY.steal(meter(8), thief(), seed) for seed in (1, 1, 2))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    assert torch.equal(a(first.x).y, b(first.x).y)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    TINY(meter(6), thief(), seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_a_used_up_pool_ends_the_attack():
    gate = meter(60)
    transfer, _ = SMALL.steal(gate, thief(pool=25), seed=0)
    assert (len(transfer.x), gate.left) == (25, 35)


def test_students_with_batch_normalisation_work():
    gate = meter(8)
    replace(TINY, rounds=1)(gate, thief(student=ResNet((1, 8, 8), 4, width=2)), seed=0)
    assert gate.left == 0


def test_a_constant_oracle_makes_a_constant_clone():
    def constant(x: torch.Tensor, /) -> Reply:
        return Reply(torch.tensor([[0.0, 0.0, 1.0, 0.0]]).repeat(len(x), 1))

    clone = SMALL(meter(40, constant), thief(), seed=0)
    assert (clone(IMAGES.uniform(100, 3)).y.argmax(1) == 2).all()


@pytest.mark.parametrize(
    ("counts", "left", "rare"),
    [
        # two classes below the mean of 10 by 8 each: sixteen answers would lift them
        ([2, 2, 18, 18], 16, True),
        ([2, 2, 18, 18], 17, False),
        ([10, 10, 10, 10], 1, False),
        ([0, 0, 0, 40], 30, True),
    ],
)
def test_rare_classes_are_sought_once_the_budget_left_is_just_needed_for_them(counts, left, rare):
    assert seek_rare(torch.tensor(counts), left) == rare


def test_in_rare_mode_a_fifth_of_a_round_goes_to_what_is_most_like_the_rarest_class_seen():
    # bright images are class 1, of which one was answered; class 3 was never seen
    dark, bright = 0.3 * IMAGES.uniform(40, 0), 0.7 + 0.3 * IMAGES.uniform(20, 1)
    asked_x = torch.cat([dark[:19], bright[:1]])
    y = torch.eye(4)[torch.tensor([0] * 10 + [2] * 9 + [1])]
    x = torch.cat([dark[20:], bright[10:]])
    gate = meter(5)
    agent = Thief(SMALL, gate, thief(), 0, torch.Generator(), 20)
    rows = agent.choose(agent.net, x, Transfer(asked_x, Reply(y), 20), 20)
    assert len(rows) == 4
    assert (rows >= 20).all()
    gate = meter(500)
    assert (
        len(
            Thief(SMALL, gate, thief(), 0, torch.Generator(), 20).choose(
                agent.net, x, Transfer(asked_x, Reply(y), 20), 20
            )
        )
        == 20
    )


def test_the_parts_of_a_rare_round_are_asked_without_training_between(monkeypatch):
    phases: list[int] = []
    real = Thief.phase

    def phase(self, pool, asked, epochs):
        phases.append(len(asked.x))
        real(self, pool, asked, epochs)

    monkeypatch.setattr(Thief, "phase", phase)
    monkeypatch.setattr("gamekeeper.attacks.swift_thief.seek_rare", lambda counts, left: True)
    transcript = Transcript(images)
    SMALL(meter(30, transcript), thief(), seed=0)
    assert [len(x) for x in transcript.queries] == [10] + [2] * 10
    assert phases == [10, 20, 30]


def test_density_is_the_gaussian_kernels():
    points, centers = torch.rand(7, 3), torch.rand(4, 3)
    expected = (-((points[:, None] - centers[None]) ** 2).sum(2) / (2 * 0.5**2)).exp().sum(1).log()
    assert torch.allclose(density(points, centers), expected, atol=1e-5)
    assert torch.isfinite(density(points + 1000, centers)).all()


def test_it_refuses_what_it_cannot_crop_or_take_apart():
    with pytest.raises(Unsuited, match="SwiftThief looks at"):
        SMALL(meter(5, plane, PLANE), walker(), seed=0)

    def other() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

    with pytest.raises(Unsuited, match="features and a head"):
        SMALL(meter(5), thief(student=other), seed=0)


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"width": 2}, {"rate": 0.0}])
def test_parameters_that_make_no_sense_are_refused(wrong):
    with pytest.raises(BadConfig, match="SwiftThief needs"):
        SwiftThief(**wrong)


def test_the_students_own_head_answers():
    net = Thief(SMALL, meter(5), thief(student=Mlp((1, 8, 8), 4, (16,))), 0, torch.Generator(), 20)
    assert net.siamese.body is net.net.body

"""Knockoff and what every theft must do: spend the budget, learn only from answers, depend on the seed alone."""

import torch

from gamekeeper.architectures import Mlp
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.attacks.theft import Theft
from gamekeeper.attacks.wrappers import Averaged
from gamekeeper.learners.distil import Labels, Soft
from gamekeeper.service.oracles import Metered, Transcript
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Knowledge, Reply

BOX = Box((2,))
QUICK = Fit(epochs=20, least_steps=200, rate=0.5, batch=32)


def knowledge(pool: torch.Tensor) -> Knowledge:
    return Knowledge(pool, BOX, Classify(3), Mlp((2,), 3, (16,)))


def sectors(x: torch.Tensor, /) -> Reply:
    """Three classes by the larger coordinate, softly."""
    return Reply(torch.softmax(10 * torch.stack([x[:, 0] - x[:, 1], x[:, 1] - x[:, 0], x.sum(1) - 1], 1), 1))


def test_every_input_is_asked_once_and_the_budget_is_spent():
    knows = knowledge(BOX.uniform(500, 0))
    meter = Metered(sectors, 200, BOX)
    transfer = Knockoff()(meter, knows, seed=1)
    assert meter.left == 0
    assert transfer.cost == len(transfer.x) == 200
    assert len(transfer.x.unique(dim=0)) == 200


def test_answers_stand_beside_the_inputs_they_were_given_to():
    transfer = Knockoff()(Metered(sectors, 100, BOX), knowledge(BOX.uniform(500, 0)), seed=1)
    assert torch.equal(transfer.reply.y, sectors(transfer.x).y)


def test_a_smaller_budget_asks_a_prefix_of_the_larger():
    knows = knowledge(BOX.uniform(500, 0))
    small, large = (Knockoff()(Metered(sectors, budget, BOX), knows, seed=4).x for budget in (50, 400))
    assert torch.equal(small, large[:50])


def test_queries_depend_on_the_seed_alone():
    knows = knowledge(BOX.uniform(500, 0))
    first, again, other = (Knockoff()(Metered(sectors, 50, BOX), knows, seed).x for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_pool_that_is_used_up_ends_the_attack():
    meter = Metered(sectors, 200, BOX)
    assert Knockoff()(meter, knowledge(BOX.uniform(80, 0)), seed=0).cost == 80
    assert meter.left == 120


def test_averaging_thief_asks_a_third_of_the_images_three_times():
    transcript = Transcript(sectors)
    meter = Metered(transcript, 100, BOX)
    theft = Theft(Knockoff(), Soft(QUICK), (Averaged(n=3),))
    transfer = theft.ask(meter, knowledge(BOX.uniform(500, 0)), seed=0)
    assert (len(transfer.x), transfer.cost, meter.spent) == (33, 99, 99)
    assert len(transcript.seen(99)[0].unique(dim=0)) == 33


def test_stealing_works_and_more_budget_steals_more():
    knows = knowledge(BOX.uniform(2000, 0))
    x = BOX.uniform(2000, 9)
    truth = sectors(x).y.argmax(1)

    def fidelity(budget: int, learner: Soft | Labels) -> float:
        clone = Theft(Knockoff(), learner)(Metered(sectors, budget, BOX), knows, seed=0)
        return float((clone(x).y.argmax(1) == truth).float().mean())

    assert fidelity(1000, Soft(QUICK)) > 0.9
    assert fidelity(1000, Soft(QUICK)) > fidelity(10, Soft(QUICK))


def test_copycat_is_knockoff_with_labels_and_gives_the_same_clone_when_the_api_returns_labels():
    knows = knowledge(BOX.uniform(500, 0))

    def labels_api(x: torch.Tensor, /) -> Reply:
        return Reply(torch.eye(3)[sectors(x).y.argmax(1)])

    x = BOX.uniform(100, 5)
    soft, labels = (
        Theft(Knockoff(), learner)(Metered(labels_api, 100, BOX), knows, seed=0)(x).y
        for learner in (Soft(QUICK), Labels(QUICK))
    )
    assert torch.equal(soft, labels)

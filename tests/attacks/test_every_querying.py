"""What every way of asking must do, whatever it asks: spend the budget, repeat nothing, depend on the seed alone."""

import pytest
import torch

from gamekeeper.architectures import Mlp
from gamekeeper.attacks.active_thief import ActiveThief
from gamekeeper.attacks.boundary import Adaptive, LineSearch, Uniform
from gamekeeper.attacks.insider import Insider
from gamekeeper.attacks.jbda import Jbda, JbSelf, JbTopk
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.attacks.knockoff_adaptive import KnockoffAdaptive
from gamekeeper.attacks.prada_attacks import Color, NFgsm, NIFgsm, TRnd
from gamekeeper.attacks.smoothing import Smoothing
from gamekeeper.attacks.theft import Theft
from gamekeeper.attacks.wrappers import Averaged
from gamekeeper.errors import Unsuited
from gamekeeper.learners.distil import Labels
from gamekeeper.oracles import Witness
from gamekeeper.simplex import label
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Knowledge, Querying, Reply
from tests.attacks.toys import IMAGES, QUICK, images, meter, plane, thief, walker

pytestmark = pytest.mark.thorough

SYNTHETIC = [
    Jbda(fit=QUICK),
    Jbda(direction="loss", sigma=1, kappa=20, fit=QUICK),
    JbSelf(fit=QUICK),
    JbTopk(fit=QUICK),
    NFgsm(search=False, fit=QUICK),
    NIFgsm(search=False, fit=QUICK),
    TRnd(search=False, fit=QUICK),
]
LEARNT = Fit(epochs=1, least_steps=40)
POOLED = [
    Knockoff(),
    *(
        ActiveThief(s, rounds=3, sample=40, fit=QUICK)
        for s in ("random", "uncertainty", "kcenter", "dfal", "dfal_kcenter", "disagreement")
    ),
    *(KnockoffAdaptive(reward) for reward in ("certainty", "diversity", "loss", "all")),
]
NOISE = [Uniform(), LineSearch(), Adaptive(rounds=3, fit=QUICK)]
PLAIN = [*SYNTHETIC, *POOLED, *NOISE, Insider()]


def name(querying: Querying) -> str:
    return type(querying).__name__ + str(getattr(querying, "strategy", getattr(querying, "reward", "")))


every = pytest.mark.parametrize("querying", [*PLAIN, Smoothing()], ids=name)
plain = pytest.mark.parametrize("querying", PLAIN, ids=name)


@every
@pytest.mark.parametrize("budget", [0, 1])
def test_the_budget_is_spent_exactly(querying: Querying, budget: int):
    gate = meter(budget)
    transfer = querying(gate, thief(), seed=3)
    assert gate.left == 0
    assert transfer.cost == budget
    assert len(transfer.x) == len(transfer.reply) == (-(-budget // 3) if isinstance(querying, Smoothing) else budget)


@plain
def test_no_input_is_asked_twice_and_answers_stand_beside_their_inputs(querying: Querying):
    gate = meter(53)
    transfer = querying(gate, thief(), seed=3)
    assert gate.left == 0
    assert len(transfer.x) == len(transfer.x.unique(dim=0)) == transfer.cost == 53
    assert torch.equal(transfer.reply.y, images(transfer.x).y)


def labels(x: torch.Tensor, /) -> Reply:
    return Reply(label(images(x).y))


def rich(x: torch.Tensor, /) -> Reply:
    """Two classes in double precision, whose rows sum to less than 1, and attribution maps."""
    y = images(x).y.double()
    return Reply(y.where(y >= y.topk(2).values[:, 1:], 0.0), x[:, 0])


@every
@pytest.mark.parametrize("oracle", [labels, rich])
def test_every_kind_of_target_is_asked_to_the_last_query_and_never_beyond(querying: Querying, oracle):
    witness = Witness(oracle)
    gate = meter(33, witness)
    transfer = querying(gate, thief(pool=80), seed=3)
    assert (gate.left, transfer.cost) == (0, 33)
    assert sum(map(len, witness.asked)) == 33
    assert len(transfer.x) == len(transfer.reply.y) == (11 if isinstance(querying, Smoothing) else 33)


@every
def test_a_larger_budgets_questions_start_with_a_smaller_ones_where_the_recipe_says_so_and_only_there(
    querying: Querying,
):
    small, large = Witness(images), Witness(images)
    querying(meter(17, small), thief(pool=60), seed=0)
    querying(meter(37, large), thief(pool=60), seed=0)
    assert querying.prefix == torch.equal(small.seen(17)[0], large.seen(17)[0])


@every
def test_queries_depend_on_the_seed_alone(querying: Querying):
    witnesses = [Witness(images) for _ in range(3)]
    for number, (witness, seed) in enumerate(zip(witnesses, (1, 1, 2), strict=True)):
        torch.manual_seed(number)
        expected = torch.rand(3)
        torch.manual_seed(number)
        querying(meter(14, witness), thief(pool=60), seed)
        assert torch.equal(torch.rand(3), expected)  # the global generator is neither read nor moved
    first, again, other = (witness.seen(14)[0] for witness in witnesses)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every
def test_a_constant_oracle_is_asked_to_the_end_and_makes_a_constant_clone(querying: Querying):
    def constant(x: torch.Tensor, /) -> Reply:
        return Reply(torch.tensor([[0.0, 0.0, 1.0, 0.0]]).repeat(len(x), 1))

    gate = meter(30, constant)
    clone = Theft(querying, Labels(LEARNT))(gate, thief(), seed=0)
    assert gate.left == 0
    assert (clone(IMAGES.uniform(200, 9)).y.argmax(1) == 2).all()


@pytest.mark.parametrize(
    "querying", [SYNTHETIC[0], SYNTHETIC[-1], POOLED[5], POOLED[-1], NOISE[-1], Smoothing()], ids=name
)
def test_answers_that_have_nothing_to_do_with_the_inputs_teach_nothing(querying: Querying):
    def shuffled(x: torch.Tensor, /) -> Reply:
        marks = (x.flatten(1).sum(1) * 1e4).long()  # the same input gets the same answer
        return Reply(torch.eye(4)[marks % 4])

    x = IMAGES.uniform(400, 9)
    clone = Theft(querying, Labels(LEARNT))(meter(60, shuffled), thief(), seed=0)
    assert float((clone(x).y.argmax(1) == images(x).y.argmax(1)).float().mean()) < 0.5


@pytest.mark.parametrize("querying", [*SYNTHETIC, *NOISE], ids=name)
def test_inputs_of_two_numbers_leave_room_for_new_ones_too(querying: Querying):
    gate = meter(70, plane, PLANE_BOX)
    transfer = querying(gate, walker(), seed=0)
    assert gate.left == 0
    assert len(transfer.x.unique(dim=0)) == 70


@pytest.mark.parametrize("querying", POOLED, ids=name)
def test_a_used_up_pool_ends_the_attack(querying: Querying):
    gate = meter(90)
    transfer = querying(gate, thief(pool=50), seed=0)
    assert gate.left == 40
    assert len(transfer.x.unique(dim=0)) == 50


@plain
def test_queries_stay_in_the_box(querying: Querying):
    box = Box((1, 8, 8), -2.0, 3.0)
    knows = Knowledge(
        box.uniform(100, 0), box, Classify(4), Mlp((1, 8, 8), 4, (16,)), box.uniform(10, 1), torch.arange(100) % 3
    )
    x = querying(meter(60, images, box), knows, seed=0).x  # the meter refuses what lies outside
    assert x.min() < -1
    assert x.max() > 2


@pytest.mark.parametrize("querying", [*SYNTHETIC, Color(), Insider()], ids=name)
def test_synthetic_attacks_say_that_they_need_seeds(querying: Querying):
    box = Box((3, 4, 4))
    knows = Knowledge(box.uniform(5, 0), box, Classify(4), Mlp((3, 4, 4), 4))
    with pytest.raises(Unsuited, match=r"none.*seeds"):
        querying(meter(10, images, box), knows, seed=0)


@plain
def test_a_wrapped_meter_is_spent_as_well(querying: Querying):
    gate = meter(50)
    transfer = Theft(querying, Labels(QUICK), (Averaged(n=3),)).ask(gate, thief(), seed=0)
    assert (len(transfer.x), transfer.cost) == (16, 48)


PLANE_BOX = walker().box

"""What every way of asking must do, whatever it asks: spend the budget, repeat nothing, depend on the seed alone.

Optional properties this reads: `draws_from_pool`, how many queries one input of the pool is good for (0: asks about other
inputs too). Where that is more than 1, an answer may be made of several and an input be dropped again; where it is not,
every query is a row of the transfer set. What a way of asking needs of its thief, the head of its file says: `seeds`,
`groups`, `drawings`, `style`.
"""

import functools
from dataclasses import is_dataclass
from typing import Any

import pytest
import torch

from gamekeeper.attacks.jbda import Jbda
from gamekeeper.attacks.theft import Theft
from gamekeeper.attacks.wrappers import Averaged
from gamekeeper.errors import Unsuited
from gamekeeper.facts import facts
from gamekeeper.learners.distil import Labels
from gamekeeper.methods import QUERYINGS, asks, describe
from gamekeeper.service.oracles import Transcript
from gamekeeper.simplex import label
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Querying, Reply
from tests.contracts.recipes import FIT, again, name, of, quick, untouched
from tests.contracts.worlds import POINTS, WORLDS, InputSpec

pytestmark = pytest.mark.thorough

LEARNT = Fit(epochs=1, least_steps=40)
EVERY = [*of(QUERYINGS), Jbda(direction="loss", sigma=1, kappa=20, fit=FIT)]
BASES = [quick(recipe) for recipe in QUERYINGS.values()]


def draws(querying: Querying) -> int:
    return facts(querying).draws_from_pool


def most(querying: Querying, queries: int) -> int:
    """Rows of the transfer set that so many queries can make."""
    return -(-queries // max(1, draws(querying)))


POOLED = [each for each in EVERY if draws(each)]
every = pytest.mark.parametrize("querying", EVERY, ids=name)
plain = pytest.mark.parametrize("querying", [each for each in EVERY if draws(each) <= 1], ids=name)


@functools.cache
def suits(querying: Querying, spec: InputSpec) -> bool:
    try:
        querying(spec.meter(1), spec.thief(), seed=0)
    except Unsuited:
        return False
    return True


def world_of(querying: Querying) -> InputSpec:
    """The first target that it does not refuse. StopIteration: add one that it can ask to WORLDS."""
    return next(spec for spec in WORLDS if suits(querying, spec))


def needs(querying: Any) -> list[str]:
    """What the head of its file says it assumes of the thief."""
    method = next(name for name, recipe in QUERYINGS.items() if recipe is type(querying))
    assumed = describe(method, "attack").head["Assumes"]
    return [what for what in ("seeds", "groups", "drawings", "style") if f"`{what}`" in assumed]


def labels(spec: InputSpec, x: torch.Tensor) -> Reply:
    return Reply(label(spec.oracle(x).y))


def rich(spec: InputSpec, x: torch.Tensor) -> Reply:
    """Two classes in double precision, whose rows sum to less than 1, and attribution maps."""
    y = spec.oracle(x).y.double()
    return Reply(y.where(y >= y.topk(2).values[:, 1:], 0.0), x.flatten(1, -2).mean(1)[:, None].expand(-1, 2, -1))


@pytest.mark.parametrize("recipe", QUERYINGS.values())
def test_it_is_a_frozen_recipe_that_returns_what_it_asked(recipe: type):
    assert is_dataclass(recipe)
    assert recipe.__dataclass_params__.frozen
    assert isinstance(quick(recipe), Querying)
    assert asks(quick(recipe))


@every
def test_it_prints_as_itself_and_hashes(querying: Querying):
    assert again(querying) == querying
    assert hash(again(querying)) == hash(querying)


@every
@pytest.mark.parametrize("budget", [0, 1])
def test_the_budget_is_spent_exactly(querying: Querying, budget: int):
    spec = world_of(querying)
    gate = spec.meter(budget)
    transfer = querying(gate, spec.thief(), seed=3)
    assert gate.left == 0
    assert transfer.cost == budget
    assert len(transfer.x) == len(transfer.reply) == most(querying, budget)


@plain
def test_no_input_is_asked_twice_and_answers_stand_beside_their_inputs(querying: Querying):
    spec = world_of(querying)
    gate = spec.meter(53)
    transfer = querying(gate, spec.thief(), seed=3)
    assert gate.left == 0
    assert len(transfer.x) == len(transfer.x.unique(dim=0)) == transfer.cost == 53
    assert torch.equal(transfer.reply.y, spec.oracle(transfer.x).y)


@every
@pytest.mark.parametrize("answers", [labels, rich])
def test_every_kind_of_target_is_asked_to_the_last_query_and_never_beyond(querying: Querying, answers):
    spec = world_of(querying)
    transcript = Transcript(functools.partial(answers, spec))
    gate = spec.meter(33, transcript)
    transfer = querying(gate, spec.thief(pool=80), seed=3)
    assert (gate.left, transfer.cost) == (0, 33)
    assert sum(map(len, transcript.queries)) == 33
    assert len(transfer.x) == len(transfer.reply.y) <= most(querying, 33)
    assert draws(querying) > 1 or len(transfer.x) == 33


@every
def test_a_larger_budgets_questions_start_with_a_smaller_ones_where_the_recipe_says_so_and_only_there(
    querying: Querying,
):
    spec = world_of(querying)
    small, large = Transcript(spec.oracle), Transcript(spec.oracle)
    querying(spec.meter(17, small), spec.thief(pool=60), seed=0)
    querying(spec.meter(37, large), spec.thief(pool=60), seed=0)
    assert querying.prefix == torch.equal(small.seen(17)[0], large.seen(17)[0])


@every
def test_queries_depend_on_the_seed_alone(querying: Querying):
    spec = world_of(querying)
    witnesses = [Transcript(spec.oracle) for _ in range(3)]
    for number, (transcript, seed) in enumerate(zip(witnesses, (1, 1, 2), strict=True)):
        with untouched(number):
            querying(spec.meter(14, transcript), spec.thief(pool=60), seed)
    first, same, other = (transcript.seen(14)[0] for transcript in witnesses)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@every
def test_a_constant_oracle_is_asked_to_the_end_and_makes_a_constant_clone(querying: Querying):
    spec = world_of(querying)
    always = torch.eye(spec.classes)[spec.classes // 2]
    gate = spec.meter(30, lambda x: Reply(always.repeat(len(x), 1)))
    clone = Theft(querying, Labels(LEARNT))(gate, spec.thief(), seed=0)
    assert gate.left == 0
    assert (clone(spec.box.uniform(200, 9)).y.argmax(1) == spec.classes // 2).all()


@pytest.mark.parametrize("querying", BASES, ids=name)
def test_answers_that_have_nothing_to_do_with_the_inputs_teach_nothing(querying: Querying):
    spec = world_of(querying)

    def shuffled(x: torch.Tensor, /) -> Reply:
        marks = (x.flatten(1).sum(1) * 1e4).long()  # the same input gets the same answer
        return Reply(torch.eye(spec.classes)[marks % spec.classes])

    x = spec.box.uniform(400, 9)
    clone = Theft(querying, Labels(LEARNT))(spec.meter(60, shuffled), spec.thief(), seed=0)
    agreement = float((clone(x).y.argmax(1) == spec.oracle(x).y.argmax(1)).float().mean())
    assert agreement < 2 / spec.classes


@pytest.mark.parametrize("querying", [each for each in EVERY if not draws(each)], ids=name)
def test_inputs_of_two_numbers_leave_room_for_new_ones_too(querying: Querying):
    if not suits(querying, POINTS):
        pytest.skip("it refuses inputs that are no images")
    gate = POINTS.meter(70)
    transfer = querying(gate, POINTS.thief(), seed=0)
    assert gate.left == 0
    assert len(transfer.x.unique(dim=0)) == 70


@pytest.mark.parametrize("querying", POOLED, ids=name)
def test_a_used_up_pool_ends_the_attack(querying: Querying):
    spec = world_of(querying)
    gate = spec.meter(50 * draws(querying) + 40)
    transfer = querying(gate, spec.thief(pool=50), seed=0)
    assert gate.left == 40
    assert len(transfer.x.unique(dim=0)) == len(transfer.x) <= 50
    assert draws(querying) > 1 or len(transfer.x) == 50


@every
def test_queries_stay_in_the_box(querying: Querying):
    spec = world_of(querying)
    box = Box(spec.box.shape, -2.0, 3.0)
    knows = spec.thief(pool=100, box=box)
    x = querying(spec.meter(60, box=box), knows, seed=0).x  # the meter refuses what lies outside
    assert x.min() < -1
    assert x.max() > 2


@every
def test_it_says_what_it_needs_of_the_thief_where_the_head_of_its_file_says_so_and_only_there(querying: Querying):
    spec = world_of(querying)
    gate, wanted = spec.meter(10), needs(querying)
    if not wanted:
        assert querying(gate, spec.poor(), seed=0).cost == 10
        return
    with pytest.raises(Unsuited, match=r"none\b.*(seeds|class for each input|drawings|style)"):
        querying(gate, spec.poor(), seed=0)
    assert gate.spent == 0


@every
def test_a_wrapped_meter_is_spent_as_well(querying: Querying):
    spec = world_of(querying)
    transfer = Theft(querying, Labels(FIT), (Averaged(n=3),)).ask(spec.meter(50), spec.thief(), seed=0)
    assert transfer.cost == 48
    assert len(transfer.x) <= most(querying, 16)
    assert draws(querying) > 1 or len(transfer.x) == 16

"""What every wrapper round a meter must do: let nothing be asked unpaid, and answer what its recipe says.

Optional properties this reads: `repeats`, how often it asks every input; `reads` ("label": it passes the top class only).
"""

from dataclasses import is_dataclass

import pytest
import torch

from gamekeeper.attacks.theft import Wrapper
from gamekeeper.errors import BudgetExceeded
from gamekeeper.facts import facts
from gamekeeper.methods import WRAPPERS
from gamekeeper.service.oracles import Metered, Transcript
from gamekeeper.simplex import label
from gamekeeper.types import Box, Meter, Reply
from tests.contracts.recipes import again, name, of, quick, untouched
from tests.contracts.worlds import GREY

EVERY = of(WRAPPERS)
BOX = Box((3,))
every = pytest.mark.parametrize("wrapper", EVERY, ids=name)
rounds = pytest.mark.parametrize("budget", [0, 1, 7, 30])


def posteriors(x: torch.Tensor, /) -> Reply:
    return Reply(torch.softmax(5 * x, 1), x[:, None].expand(-1, 2, -1))


@pytest.mark.parametrize("recipe", WRAPPERS.values())
def test_it_is_a_frozen_recipe_that_wraps_a_meter_in_a_meter(recipe: type):
    assert is_dataclass(recipe)
    assert recipe.__dataclass_params__.frozen
    assert isinstance(quick(recipe), Wrapper)
    assert isinstance(quick(recipe).wrap(GREY.meter(5)), Meter)


@every
def test_it_prints_as_itself_and_hashes(wrapper: Wrapper):
    assert again(wrapper) == wrapper
    assert hash(again(wrapper)) == hash(wrapper)


@every
@rounds
def test_it_has_as_much_as_the_meter_pays_for(wrapper: Wrapper, budget: int):
    wrapped = wrapper.wrap(Metered(posteriors, budget, BOX))
    assert wrapped.budget == wrapped.left == budget // facts(wrapper).repeats


@every
@rounds
def test_every_query_is_paid_for_and_none_is_left_over(wrapper: Wrapper, budget: int):
    repeats, transcript = facts(wrapper).repeats, Transcript(posteriors)
    meter = Metered(transcript, budget, BOX)
    wrapped = wrapper.wrap(meter)
    for number in range(budget // repeats):
        wrapped(BOX.uniform(1, number))
        assert meter.spent == sum(map(len, transcript.queries)) == (number + 1) * repeats
        assert wrapped.left == meter.left // repeats
    assert meter.left == budget % repeats
    with pytest.raises(BudgetExceeded):
        wrapped(BOX.uniform(1, 99))
    assert meter.spent == sum(map(len, transcript.queries)) <= budget


@every
def test_answers_stay_posteriors_of_the_inputs_they_are_about(wrapper: Wrapper):
    x = BOX.uniform(20, 0)
    y = wrapper.wrap(Metered(posteriors, 1000, BOX))(x).y
    assert y.shape == (20, 3)
    assert (y >= 0).all()
    torch.testing.assert_close(y.sum(1), torch.ones(20))
    assert torch.equal(y.argmax(1), posteriors(x).y.argmax(1))
    rows = torch.cat([wrapper.wrap(Metered(posteriors, 1000, BOX))(row).y for row in x.split(1)])
    torch.testing.assert_close(rows, y)


@every
def test_probabilities_are_forgotten_where_it_says_so_and_only_there(wrapper: Wrapper):
    x = BOX.uniform(20, 0)
    y = wrapper.wrap(Metered(posteriors, 1000, BOX))(x).y
    assert torch.equal(y, label(posteriors(x).y)) == (facts(wrapper).reads == "label")


@every
def test_answers_that_never_vary_come_back_alike_and_no_generator_is_moved(wrapper: Wrapper):
    x = BOX.uniform(20, 0)
    with untouched(0):
        first = wrapper.wrap(Metered(posteriors, 1000, BOX))(x).y
    with untouched(1):
        second = wrapper.wrap(Metered(posteriors, 1000, BOX))(x).y
    assert torch.equal(first, second)


@every
def test_wrappers_stand_in_one_another(wrapper: Wrapper):
    for other in EVERY:
        meter = Metered(posteriors, 100, BOX)
        both = other.wrap(wrapper.wrap(meter))
        both(BOX.uniform(2, 0))
        assert meter.spent == 2 * facts(wrapper).repeats * facts(other).repeats

"""What every defense promises, checked on every recipe in `gamekeeper.defenses`, found by walking the package.

Optional properties this reads, beside those of a defense's promise (`defenses/guarantees.py`):

    permutes       whether permuting classes permutes the answer; usually yes. A recipe that does not says why beside it
    full_strength  the field whose value 0 is no defense, and its largest value; usually none
    monotone       whether more of that strength never moves an answer less; usually yes
    truncates      whether rows may sum to less than 1; usually not
"""

import functools
import importlib
import inspect
import itertools
import pkgutil
import re
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import gamekeeper.defenses
from gamekeeper.architectures import Mlp, fresh
from gamekeeper.defenses.guarantees import ANY, guarantees
from gamekeeper.errors import Unsuited
from gamekeeper.methods import DEFENSES
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import distance
from gamekeeper.tasks import Classify
from gamekeeper.types import Armed, Box, Defense, Owner, Reply
from tests.contracts.recipes import again, of, says, untouched

pytestmark = pytest.mark.thorough

EXAMPLES = settings(max_examples=15, deadline=None, derandomize=True, database=None)


def recipe_classes() -> list[type]:
    """Every class with an `arm` that is defined in the package."""
    found: list[type] = []
    for info in pkgutil.walk_packages(gamekeeper.defenses.__path__, "gamekeeper.defenses."):
        module = importlib.import_module(info.name)
        found += [
            c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == info.name and hasattr(c, "arm")
        ]
    return found


CLASSES = recipe_classes()
RECIPES = of(DEFENSES)
STRONG = [r for r in RECIPES if says(r, "full_strength", None)]
KEEPING = [r for r in RECIPES if r.keeps_top1]


@functools.cache
def arm(recipe: Defense, k: int) -> Armed:
    architecture = Mlp((3,), k, (4,))
    x = inputs(40)
    owner = Owner(x, torch.arange(40) % k, Box((3,)), architecture, ood=inputs(90)[60:])
    return recipe.arm(TorchModel(fresh(architecture, 0), Classify(k)), owner, 1)


@functools.cache
def arm_anew(recipe: Defense, k: int) -> Armed:
    """A second time, for an owner and a victim that are equal but not the same objects."""
    with untouched(k):
        return arm.__wrapped__(recipe, k)


def answer(recipe: Defense, y: Tensor) -> Tensor:
    """What one new client is answered."""
    return told(arm(recipe, y.shape[1]), inputs(len(y)), y)


def told(armed: Armed, x: Tensor, y: Tensor) -> Tensor:
    """What a new client who asks about x is answered for y."""
    return armed.respond(x, Reply(y), armed.fresh()).y


def inputs(n: int) -> Tensor:
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(0))


CLASS_COUNTS = (2, 3, 10, 1000)
EDGES = ("one-hot", "near ties")


def at_the_edges(test: Callable[..., None]) -> Callable[..., None]:
    """One-hot rows and near ties for every number of classes, beside what is drawn."""
    for k, kind in itertools.product(CLASS_COUNTS, EDGES):
        test = example(y=rows_of(kind, 2, k, torch.float32, k))(test)
    return test


@st.composite
def posteriors(draw: st.DrawFn) -> Tensor:
    """One-hot rows, near ties, exact ties, diffuse, peaked and sparse rows; two to a thousand classes; both dtypes."""
    k, n = draw(st.sampled_from(CLASS_COUNTS)), draw(st.integers(1, 6))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    kind = draw(st.sampled_from([*EDGES, "ties", "diffuse", "peaked", "sparse"]))
    return rows_of(kind, n, k, dtype, draw(st.integers(0, 2**31)))


def rows_of(kind: str, n: int, k: int, dtype: torch.dtype, seed: int) -> Tensor:
    noise = torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if kind == "one-hot":
        return torch.nn.functional.one_hot(noise.argmax(1), k).to(dtype)
    if kind == "ties":
        y = torch.softmax(noise.sign(), 1)
    elif kind == "near ties":
        y = torch.softmax(noise.sign(), 1).to(dtype) * (1 + torch.finfo(dtype).eps * noise.round().to(dtype))
    else:
        y = torch.softmax({"diffuse": 0.3, "peaked": 8.0, "sparse": 60.0}[kind] * noise, 1)
    return y.to(dtype)


def at(recipe: Any, share: float) -> Any:
    """The recipe at a share of its full strength."""
    name, most = recipe.full_strength
    return replace(recipe, **{name: share * most})


def test_every_class_that_arms_is_a_frozen_recipe_with_a_name():
    assert CLASSES
    assert set(CLASSES) == set(DEFENSES.values())
    for c in CLASSES:
        assert is_dataclass(c)
        assert c.__dataclass_params__.frozen


@pytest.mark.parametrize("recipe", CLASSES)
def test_the_head_of_its_file_names_source_assumptions_deviations_and_what_it_keeps(recipe: type):
    head = inspect.getdoc(inspect.getmodule(recipe)) or ""
    for word in ("Source", "Assumes", "Deviations", "Keeps"):
        assert f"\n{word} " in head


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_it_is_a_defense_and_arms(recipe: Defense):
    assert isinstance(recipe, Defense)
    assert isinstance(arm(recipe, 3), Armed)


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_without_data_it_arms_all_the_same_or_says_that_it_needs_inputs_of_the_owners(recipe: Defense):
    architecture = Mlp((3,), 3, (4,))
    owner = Owner(torch.empty(0, 3), torch.empty(0, dtype=torch.long), Box((3,)), architecture)
    victim = TorchModel(fresh(architecture, 0), Classify(3))
    refusal = ""
    try:
        armed = recipe.arm(victim, owner, 1)
    except Unsuited as error:
        refusal = str(error)
    else:
        assert told(armed, inputs(2), torch.full((2, 3), 1 / 3)).shape == (2, 3)
    assert not refusal or re.search("inputs (of|from) the owner|the owner's inputs", refusal)


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_it_prints_as_itself_and_hashes(recipe: Defense):
    assert again(recipe) == recipe
    assert hash(again(recipe)) == hash(recipe)


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_rows_stay_on_the_simplex(recipe: Defense, y: Tensor):
    z = answer(recipe, y)
    assert z.shape == y.shape
    assert z.dtype == y.dtype
    assert (z >= 0).all()  # false for NaN
    total = z.double().sum(1)
    assert (total <= 1 + 1e-6).all()
    assert says(recipe, "truncates", False) or (total >= 1 - 1e-6).all()


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_a_batch_equals_its_rows_bit_for_bit(recipe: Defense, y: Tensor):
    x, armed = inputs(len(y)), arm(recipe, y.shape[1])
    memory = armed.fresh()
    rows = [armed.respond(x[i : i + 1], Reply(y[i : i + 1]), memory).y for i in range(len(y))]
    assert torch.equal(told(armed, x, y), torch.cat(rows))


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_the_same_question_has_the_same_answer_when_armed_anew(recipe: Defense, y: Tensor):
    x, k = inputs(len(y)), y.shape[1]
    assert torch.equal(told(arm_anew(recipe, k), x, y), answer(recipe, y))


@pytest.mark.parametrize("recipe", [r for r in RECIPES if says(r, "permutes", True)], ids=repr)
@given(y=posteriors(), seed=st.integers(0, 100))
@EXAMPLES
def test_permuting_classes_permutes_the_answer(recipe: Defense, y: Tensor, seed: int):
    y = y[(y.sort(1).values.diff(dim=1) > 0).all(1)]  # among equals the order of classes decides
    assume(len(y))
    order = torch.randperm(y.shape[1], generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(answer(recipe, y[:, order]), answer(recipe, y)[:, order], atol=5e-6, rtol=0)


@pytest.mark.parametrize("recipe", STRONG, ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_no_strength_is_no_defense_bit_for_bit(recipe: Any, y: Tensor):
    assert torch.equal(answer(at(recipe, 0.0), y), y)


@pytest.mark.parametrize("recipe", [r for r in STRONG if says(r, "monotone", True)], ids=repr)
@given(y=posteriors(), shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
@EXAMPLES
def test_more_strength_moves_answers_further(recipe: Any, y: Tensor, shares: tuple[float, float]):
    little, much = (distance(y, answer(at(recipe, share), y), "l1") for share in sorted(shares))
    assert (little <= much + 5e-6).all()


@pytest.mark.parametrize("recipe", KEEPING, ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_the_top_class_is_kept_where_promised(recipe: Defense, y: Tensor):
    assert torch.equal(answer(recipe, y).argmax(1), y.argmax(1))


@pytest.mark.parametrize("recipe", [r for r in KEEPING if r in STRONG], ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_the_top_class_is_kept_at_full_strength_too(recipe: Any, y: Tensor):
    assert torch.equal(answer(at(recipe, 1.0), y).argmax(1), y.argmax(1))


@pytest.mark.parametrize("recipe", [r for r in RECIPES if guarantees((r,)).l1_bound < ANY], ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_no_answer_moves_further_than_promised(recipe: Any, y: Tensor):
    for share in (None, 0.03, 0.4, 1.0) if recipe in STRONG else (None,):
        one = recipe if share is None else at(recipe, share)
        moved = distance(y.double(), answer(one, y).double(), "l1")
        assert (moved <= guarantees((one,)).l1_bound + 5e-5).all()  # a thousand float32 terms, summed


@pytest.mark.parametrize("recipe", [r for r in RECIPES if guarantees((r,)).keeps_confidence], ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_the_top_probability_stays_where_promised(recipe: Defense, y: Tensor):
    assert torch.equal(answer(recipe, y).max(1).values, y.max(1).values)


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_attribution_maps_pass_through(recipe: Defense):
    y, maps = torch.full((2, 4), 0.25), torch.rand(2, 5, 5)
    armed = arm(recipe, 4)
    assert armed.respond(inputs(2), Reply(y, maps), armed.fresh()).maps is maps


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_the_clean_reply_is_not_changed_in_place(recipe: Defense):
    y = torch.tensor([[0.7, 0.2, 0.1], [0.34, 0.33, 0.33]])
    before = y.clone()
    answer(recipe, y)
    assert torch.equal(y, before)


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_clients_do_not_hear_of_each_other(recipe: Defense):
    armed, x, y = arm(recipe, 3), inputs(4), rows_of("diffuse", 4, 3, torch.float32, 0)
    alone = told(armed, x, y)
    mine, yours = armed.fresh(), armed.fresh()
    between: list[Tensor] = []
    for i in range(4):
        between.append(armed.respond(x[i : i + 1], Reply(y[i : i + 1]), mine).y)
        armed.respond(1 - x, Reply(y.flip(1)), yours)
    assert torch.equal(torch.cat(between), alone)


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_arming_and_answering_leave_the_global_generators_alone(recipe: Defense):
    armed = arm_anew(recipe, 3)  # which looks while it arms
    with untouched(0):
        told(armed, inputs(2), rows_of("diffuse", 2, 3, torch.float32, 0))

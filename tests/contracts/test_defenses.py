"""What every defense promises, checked on every recipe in `gamekeeper.defenses`, found by walking the package."""

import functools
import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import gamekeeper.defenses
from gamekeeper.architectures import Mlp, fresh
from gamekeeper.defenses.promise import ANY, promise
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.methods import DEFENSES
from gamekeeper.models import TorchModel
from gamekeeper.simplex import distance
from gamekeeper.tasks import Classify
from gamekeeper.types import Armed, Box, Defense, Owner, Reply

pytestmark = pytest.mark.thorough

STRENGTHS = {"eps": 2.0, "beta": 1.0, "share": 1.0, "fpr": 1.0, "tau": 1.0}
"""Fields that are a strength, 0 meaning no defense, and their largest value."""
TRUNCATING = {"TopK"}
"""Recipes whose rows may sum to less than 1."""
NAMES_A_CLASS = {
    "ConstantTarget": "its target is a class by number",
    "KeyedMisinformation": "where a class goes is drawn by its number",
    "RandomNoise": "its noise is drawn class by class",
    "Scatterer": "its vertex is drawn by number",
    "Gate": "it shuffles by place",
}
WANDERS = {
    "RandomNoise": "its rows are renormalised, so that more noise can come back; test_noise.py has the average",
    "AdaptiveMisinformation": "from the first strength on another network answers; its own tests compare with that one",
}
OWN = ("surrogate", "centroids", "private", "right", "members", "network")
OWN_CLASSES = "its networks' or centroids' classes are not permuted along; its pure functions are, in its own tests (DP-SGD has none)"
QUICK = {"steps": 2, "group": 6}
"""Fields that only cost time, at the values at which the contract is checked."""

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


def choices(hint: Any) -> Iterator[Any]:
    """The values a switch can take: true and false, or the words of a Literal."""
    if hint is bool:
        yield from (False, True)
    elif get_origin(hint) is Literal:
        yield from get_args(hint)
    else:
        for option in get_args(hint):
            yield from choices(option)


def variants(recipe: type) -> list[Any]:
    """The recipe with its defaults, and with every switch in each of its positions."""
    base = recipe(**{f.name: QUICK[f.name] for f in fields(recipe) if f.name in QUICK})
    hints = get_type_hints(recipe)
    turned = [turn(base, f.name, value) for f in fields(recipe) for value in choices(hints[f.name])]
    return list(dict.fromkeys([base, *(each for each in turned if each is not None)]))


def turn(base: Any, switch: str, value: Any) -> Any:
    """The recipe with one switch turned; None if it refuses that, as some do beside their other defaults."""
    try:
        return replace(base, **{switch: value})
    except BadConfig:
        return None


CLASSES = recipe_classes()
RECIPES = [recipe for c in CLASSES for recipe in variants(c)]
STRONG = [r for r in RECIPES if any(hasattr(r, name) for name in STRENGTHS)]
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
    return arm.__wrapped__(recipe, k)


def answer(recipe: Defense, y: Tensor) -> Tensor:
    return arm(recipe, y.shape[1]).respond(inputs(len(y)), Reply(y), None).y


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


def strength(recipe: Defense) -> str:
    return next(name for name in STRENGTHS if hasattr(recipe, name))


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
        assert armed.respond(inputs(2), Reply(torch.full((2, 3), 1 / 3)), None).y.shape == (2, 3)
    assert not refusal or "inputs of the owner's" in refusal


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_it_prints_as_itself_and_hashes(recipe: Defense):
    again = eval(repr(recipe), {c.__name__: c for c in CLASSES})
    assert again == recipe
    assert hash(again) == hash(recipe)


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
    assert type(recipe).__name__ in TRUNCATING or (total >= 1 - 1e-6).all()


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_a_batch_equals_its_rows_bit_for_bit(recipe: Defense, y: Tensor):
    x, armed = inputs(len(y)), arm(recipe, y.shape[1])
    rows = [armed.respond(x[i : i + 1], Reply(y[i : i + 1]), None).y for i in range(len(y))]
    assert torch.equal(armed.respond(x, Reply(y), None).y, torch.cat(rows))


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_the_same_question_has_the_same_answer_when_armed_anew(recipe: Defense, y: Tensor):
    x, k = inputs(len(y)), y.shape[1]
    assert torch.equal(arm_anew(recipe, k).respond(x, Reply(y), None).y, answer(recipe, y))


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
@given(y=posteriors(), seed=st.integers(0, 100))
@EXAMPLES
def test_permuting_classes_permutes_the_answer(recipe: Defense, y: Tensor, seed: int):
    for live in (recipe, arm(recipe, 3)):
        if type(live).__name__ in NAMES_A_CLASS:
            pytest.skip(NAMES_A_CLASS[type(live).__name__])
    if any(hasattr(arm(recipe, 3), name) for name in OWN):
        pytest.skip(OWN_CLASSES)
    y = y[(y.sort(1).values.diff(dim=1) > 0).all(1)]  # among equals the order of classes decides
    assume(len(y))
    order = torch.randperm(y.shape[1], generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(answer(recipe, y[:, order]), answer(recipe, y)[:, order], atol=5e-6, rtol=0)


@pytest.mark.parametrize("recipe", STRONG, ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_no_strength_is_no_defense_bit_for_bit(recipe: Any, y: Tensor):
    assert torch.equal(answer(replace(recipe, **{strength(recipe): 0.0}), y), y)


@pytest.mark.parametrize("recipe", STRONG, ids=repr)
@given(y=posteriors(), shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
@EXAMPLES
def test_more_strength_moves_answers_further(recipe: Any, y: Tensor, shares: tuple[float, float]):
    if type(recipe).__name__ in WANDERS:
        pytest.skip(WANDERS[type(recipe).__name__])
    name = strength(recipe)
    little, much = (
        distance(y, answer(replace(recipe, **{name: STRENGTHS[name] * share}), y), "l1") for share in sorted(shares)
    )
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
    name = strength(recipe)
    z = answer(replace(recipe, **{name: STRENGTHS[name]}), y)
    assert torch.equal(z.argmax(1), y.argmax(1))


@pytest.mark.parametrize("recipe", [r for r in RECIPES if promise((r,)).l1_bound < ANY], ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_no_answer_moves_further_than_promised(recipe: Any, y: Tensor):
    for share in (None, 0.03, 0.4, 1.0):
        name = strength(recipe)
        one = recipe if share is None else replace(recipe, **{name: STRENGTHS[name] * share})
        moved = distance(y.double(), answer(one, y).double(), "l1")
        assert (moved <= promise((one,)).l1_bound + 5e-5).all()  # a thousand float32 terms, summed


@pytest.mark.parametrize("recipe", [r for r in RECIPES if promise((r,)).keeps_confidence], ids=repr)
@given(y=posteriors())
@at_the_edges
@EXAMPLES
def test_the_top_probability_stays_where_promised(recipe: Defense, y: Tensor):
    assert torch.equal(answer(recipe, y).max(1).values, y.max(1).values)


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_attribution_maps_pass_through(recipe: Defense):
    y, why = torch.full((2, 4), 0.25), torch.rand(2, 5, 5)
    assert arm(recipe, 4).respond(inputs(2), Reply(y, why), None).why is why


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_the_clean_reply_is_not_changed_in_place(recipe: Defense):
    y = torch.tensor([[0.7, 0.2, 0.1], [0.34, 0.33, 0.33]])
    before = y.clone()
    answer(recipe, y)
    assert torch.equal(y, before)

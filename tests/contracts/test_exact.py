"""What every attack of its own must do on every kind of target: keep the budget, ask nothing of one it can tell it cannot
copy, depend on the seed alone, and return a model that answers for itself.

An attack says which targets suit it by refusing the others (Unsuited).
"""

import functools
from dataclasses import is_dataclass

import pytest
import torch

from gamekeeper.errors import Unsuited
from gamekeeper.methods import EXACT, asks
from gamekeeper.service.oracles import Transcript
from gamekeeper.types import Attack, Caveats, Model
from tests.contracts.recipes import again, name, of, quick, untouched
from tests.contracts.worlds import WORLDS, InputSpec

pytestmark = pytest.mark.thorough

EVERY = of(EXACT)
ENOUGH = 700
"""Queries that are enough for every target here."""
every = pytest.mark.parametrize("attack", EVERY, ids=name)
everywhere = pytest.mark.parametrize("spec", WORLDS, ids=lambda spec: spec.name)


@functools.cache
def stolen(attack: Attack, spec: InputSpec, budget: int = ENOUGH, seed: int = 0) -> tuple[Model | str, Transcript]:
    """The clone, or the refusal; and what was asked."""
    transcript = Transcript(spec.oracle)
    gate = spec.meter(budget, transcript)
    with untouched(seed + budget):
        try:
            found = attack(gate, spec.thief(), seed)
        except Unsuited as refusal:
            found = str(refusal)
    assert sum(map(len, transcript.queries)) == gate.spent <= budget
    return found, transcript


def copies(attack: Attack) -> list[tuple[InputSpec, Model]]:
    """The targets it can copy, and its clones of them."""
    found = [(spec, stolen(attack, spec)[0]) for spec in WORLDS]
    return [(spec, clone) for spec, clone in found if not isinstance(clone, str)]


def agreement(spec: InputSpec, clone: Model) -> float:
    x = spec.box.uniform(400, 9)
    return float((clone(x).y.argmax(1) == spec.oracle(x).y.argmax(1)).double().mean())


def asked(transcript: Transcript) -> torch.Tensor:
    return torch.cat([x.flatten(1).double() for x in transcript.queries])


@pytest.mark.parametrize("recipe", EXACT.values())
def test_it_is_a_frozen_recipe_that_returns_a_model(recipe: type):
    assert is_dataclass(recipe)
    assert recipe.__dataclass_params__.frozen
    assert isinstance(quick(recipe), Attack)
    assert not asks(quick(recipe))


@every
def test_it_prints_as_itself_and_hashes(attack: Attack):
    assert again(attack) == attack
    assert hash(again(attack)) == hash(attack)


@every
def test_there_is_a_target_that_it_copies(attack: Attack):
    assert copies(attack), "add a small target of its kind to WORLDS"


@every
@everywhere
@pytest.mark.parametrize("budget", [0, 1, 7, 60])
def test_no_budget_is_passed_and_no_target_breaks_it(attack: Attack, spec: InputSpec, budget: int):
    found, _ = stolen(attack, spec, budget)
    assert isinstance(found, str | Model)


@every
@everywhere
def test_what_is_refused_whatever_it_answers_is_refused_before_a_query(attack: Attack, spec: InputSpec):
    blind, _ = stolen(attack, spec, 0)
    found, transcript = stolen(attack, spec)
    if isinstance(blind, str):
        assert found == blind
        assert not transcript.queries


@every
def test_a_refusal_says_in_a_sentence_what_is_needed(attack: Attack):
    refusals = [found for found, _ in (stolen(attack, spec) for spec in WORLDS) if isinstance(found, str)]
    for refusal in refusals:
        assert refusal.endswith(".")
        assert len(refusal) > 40


@every
def test_queries_and_clone_depend_on_the_seed_alone(attack: Attack):
    for spec, clone in copies(attack):
        first = stolen(attack, spec)[1]
        same_clone, same = stolen.__wrapped__(attack, spec)
        other = stolen(attack, spec, seed=1)[1]
        x = spec.box.uniform(50, 9)
        assert torch.equal(asked(first), asked(same))
        assert torch.equal(clone(x).y, same_clone(x).y)
        assert not torch.equal(asked(first), asked(other))


@every
def test_its_clone_answers_posteriors_input_by_input(attack: Attack):
    for spec, clone in copies(attack):
        x = spec.box.uniform(50, 9)
        y = clone(x).y
        assert clone.task.classes == spec.classes
        assert y.shape == (50, spec.classes)
        assert (y >= 0).all()
        torch.testing.assert_close(y.sum(1).double(), torch.ones(50).double(), atol=1e-5, rtol=0)
        torch.testing.assert_close(torch.cat([clone(row).y for row in x.split(1)]), y, atol=1e-6, rtol=0)
        assert not y.requires_grad


@every
def test_a_clone_that_can_doubt_itself_is_whole_somewhere_and_admits_a_budget_that_was_too_small(attack: Attack):
    found = [(spec, clone) for spec, clone in copies(attack) if isinstance(clone, Caveats)]
    whole = [(spec, clone) for spec, clone in found if not clone.caveats]
    assert not found or any(agreement(spec, clone) == 1 for spec, clone in whole)
    for spec, _ in found:
        short, _ = stolen(attack, spec, 1)
        assert isinstance(short, Caveats)
        assert "cut-short" in short.caveats

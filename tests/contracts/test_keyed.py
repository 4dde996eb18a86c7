"""What hangs on an owner's secret: keyed defenses alone, each on a key of its own, and without one on the seed."""

import functools
import hashlib
import sys
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gamekeeper.architectures import Classifier, fresh
from gamekeeper.defenses.keyed import Keyed, secret
from gamekeeper.explain import EXPLAINERS
from gamekeeper.methods import DEFENSES
from gamekeeper.models.network import TorchModel
from gamekeeper.tasks import Classify
from gamekeeper.types import Armed, Box, Defense, Owner, Reply
from tests.contracts.recipes import switched

pytestmark = pytest.mark.thorough

SHAPE, K, SEED = (1, 8, 8), 4, 3
ONE, OTHER = bytes(range(32)), bytes(range(1, 33))
SETTINGS = {"steps": 2, "group": 4, "epochs": 1, "fpr": 1.0, "share": 1.0}
"""Fields that only cost time, at little; and strengths that say how many inputs are answered otherwise, at most."""
LABELS = {"DeepDefense": "deep defense"}
"""Keyed recipes whose key is not drawn under the name of the class."""


def net() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 16), nn.ReLU())
    return Classifier(body, nn.Linear(16, K))


def inputs(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def base(recipe: type) -> Any:
    return recipe(**{each.name: SETTINGS[each.name] for each in fields(recipe) if each.name in SETTINGS})


RECIPES: list[Any] = [each for recipe in DEFENSES.values() for each in switched(base(recipe))]
KEYED: list[Any] = [each for each in RECIPES if isinstance(each, Keyed) and each.keyed]
OPEN = [each for each in RECIPES if each not in KEYED]


@functools.cache
def victim() -> TorchModel:
    return TorchModel(fresh(net, 1), Classify(K), explain=EXPLAINERS["grad_cam"])


def arm(recipe: Defense, key: bytes | None) -> Armed:
    x = inputs(40, seed=1)
    return recipe.arm(victim(), Owner(x, torch.arange(40) % K, Box(SHAPE), net, inputs(30, seed=2), key), SEED)


def answer(recipe: Defense, key: bytes | None) -> Reply:
    armed, x = arm(recipe, key), inputs(16)
    return armed.respond(x, victim()(x), armed.fresh())


def alike(a: Reply, b: Reply) -> bool:
    assert a.maps is not None
    assert b.maps is not None
    return torch.equal(a.y, b.y) and torch.equal(a.maps, b.maps)


def label(recipe: Defense) -> str:
    return LABELS.get(type(recipe).__name__, type(recipe).__name__)


def test_the_keyed_defenses_are_found():
    names = {type(each).__name__ for each in KEYED}
    assert names == {"RandomNoise", "MAD", "OodGate", "EDM", "KeyedMisinformation", "DeepDefense", "DAWN"}


@pytest.mark.parametrize("recipe", KEYED, ids=repr)
def test_two_keys_answer_differently_and_one_key_alike(recipe: Defense):
    one = answer(recipe, ONE)
    assert alike(one, answer(recipe, ONE))
    assert not alike(one, answer(recipe, OTHER))
    assert not alike(one, answer(recipe, None))


@pytest.mark.parametrize("recipe", KEYED, ids=repr)
def test_without_a_key_it_hangs_on_the_seed_as_audits_always_did(recipe: Defense, monkeypatch: pytest.MonkeyPatch):
    found = answer(recipe, None)
    public = hashlib.sha256(f"{label(recipe)} secret {SEED}".encode()).digest()
    monkeypatch.setattr(sys.modules[type(recipe).__module__], "secret", lambda method, seed, owned: public)
    assert alike(found, answer(recipe, None))


@pytest.mark.parametrize("recipe", OPEN, ids=repr)
def test_a_defense_that_is_not_keyed_answers_alike_under_every_key(recipe: Defense):
    assert alike(answer(recipe, None), answer(recipe, ONE))


@pytest.mark.parametrize("owned", [None, ONE])
def test_no_two_methods_share_a_key(owned: bytes | None):
    keys = {secret(name, seed, owned) for name in map(label, KEYED) for seed in (0, 1)}
    assert len(keys) == 2 * len({type(each) for each in KEYED})
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize("recipe", KEYED, ids=repr)
def test_it_draws_its_key_under_its_own_name_and_shows_it_to_nobody(recipe: Defense, monkeypatch: pytest.MonkeyPatch):
    drawn: list[tuple[str, int, bytes | None]] = []

    def watched(method: str, seed: int, owned: bytes | None) -> bytes:
        drawn.append((method, seed, owned))
        return secret(method, seed, owned)

    monkeypatch.setattr(sys.modules[type(recipe).__module__], "secret", watched)
    armed = arm(recipe, ONE)
    assert drawn == [(label(recipe), SEED, ONE)]
    for shown in (ONE, secret(*drawn[0])):
        assert repr(shown) not in repr(armed)

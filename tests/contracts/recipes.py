"""Instances of a method for its contract: quick ones, with every switch in each of its positions.

Nothing here knows a method by name: a method added to a dictionary of `methods.py` is held to its contract by itself.
What a contract must know beyond that a recipe says as an optional property, never as a field: a field is part of its repr,
hence of every cell's id. For those that say nothing the strictest is taken.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch

from gamekeeper.errors import BadConfig
from gamekeeper.methods import KINDS
from gamekeeper.training.fit import Fit

FIT = Fit(epochs=1, least_steps=5, rate=0.1)
"""A training that is over at once."""
MOST = {
    "steps": 2, "group": 6, "rounds": 3, "epochs": 2, "last_epochs": 2, "sample": 40, "unasked": 40, "width": 16,
    "iterations": 30, "restarts": 1, "size": 400, "guesses": 2,
}  # fmt: skip
"""Fields that only cost time, and the values that they are cut to."""
OFF = ("search", "shape", "classes")
"""Switches left alone: a search for hyper-parameters, which takes minutes; and what a target decides."""


def quick(recipe: type) -> Any:
    """The recipe with its defaults, but for what only costs time. Its other defaults must be enough to build it."""
    small: dict[str, Any] = {}
    for field in fields(recipe):
        if field.name == "fit":
            small["fit"] = FIT
        elif field.name == "search":
            small["search"] = False
        elif field.name in MOST and isinstance(field.default, int):
            small[field.name] = min(MOST[field.name], field.default)
    return recipe(**small)


def variants(recipe: type) -> list[Any]:
    """The quick recipe, and the same with every switch in each of its positions."""
    return switched(quick(recipe))


def switched(base: Any) -> list[Any]:
    """The recipe, and the same with each of its switches in each position that goes with the rest."""
    hints = get_type_hints(type(base))
    switches = [f.name for f in fields(base) if f.name not in OFF]
    turned = [turn(base, name, value) for name in switches for value in choices(hints[name])]
    return list(dict.fromkeys([base, *(each for each in turned if each is not None)]))


def of(methods: Mapping[str, type]) -> list[Any]:
    """All variants of all methods of a dictionary."""
    return [each for recipe in methods.values() for each in variants(recipe)]


def choices(hint: Any) -> Iterator[Any]:
    """The values a switch can take: true and false, or the words of a Literal."""
    if hint is bool:
        yield from (False, True)
    elif get_origin(hint) is Literal:
        yield from get_args(hint)
    else:
        for option in get_args(hint):
            yield from choices(option)


def turn(base: Any, switch: str, value: Any) -> Any:
    """The recipe with one switch turned; None if it refuses that, as some do beside their other defaults."""
    try:
        return replace(base, **{switch: value})
    except BadConfig:
        return None


def says(recipe: object, what: str, usual: Any) -> Any:
    """An optional property of a recipe, and the usual where it does not have it."""
    return getattr(recipe, what, usual)


def again(recipe: object, more: Iterable[type] = ()) -> Any:
    """The recipe read back from what it prints."""
    known = [Fit, *more, *(each for methods in KINDS.values() for each in methods.values())]
    return eval(repr(recipe), {each.__name__: each for each in known})


def name(recipe: object) -> str:
    """For test ids: what it prints, without its training."""
    return repr(recipe).replace(f"fit={FIT!r}", "").replace(", )", ")")


@contextmanager
def untouched(number: int) -> Iterator[None]:
    """Whatever happens inside does not move the global generators, of which each number gives another state."""
    # random.random's is left out: the checks of shapes in the test run draw from it
    torch.manual_seed(number)
    np.random.seed(number)
    before = torch.get_rng_state(), np.random.get_state()[1]
    yield
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])

"""Facts about a method that the engine needs, as declared by the method itself.

A recipe declares a fact with a property of that name (never with a field: fields are in its repr, hence in every
cell's id). Every fact is optional and has a default. A user's own thief or defense declares facts in the same way, and
counts like a built-in one.

A Querying, a Wrapper, a Learner or a whole Attack may have:

    reads            what it uses of an answer: "posterior" (the default), "label" (the top class alone), "map"
                     (attribution maps as well), or "nothing": a control, which must fail
    uses_defense     whether it undoes a defense known to the thief, by arming a copy of it. Default: False
    draws_from_pool  how many queries an input of the thief's pool yields; 0, the default, if it also sends other inputs
    repeats          how often a wrapper sends every input. Default: 1
    cost             student trainings beyond the one every thief needs, roughly, for time estimates. Default: 0

A Defense may have:

    strengths        ways to turn it up, for `--defense all` (see Strengths). Default: none, it is used as it is
    l1_bound, keeps_confidence   what it guarantees for every answer (`defenses/guarantees.py`)
    labels_alone     whether its answers are one-hot whatever it is given, as anybody can see. Default: False
    calibrates       whether it uses `Owner.natural`, so that a result behind it depends on those. Default: False
    permutes         whether permuting the classes of an answer permutes the defended answer. Default: True
    full_strength    the field whose value 0 means no defense, and its largest value. Default: none
    monotone         whether a larger value of that field never moves an answer less. Default: True
    truncates        whether rows may sum to less than 1. Default: False

The last four are used only by the contract tests (`tests/contracts/`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, runtime_checkable

Reads = Literal["posterior", "label", "map", "nothing"]


@dataclass(frozen=True)
class Facts:
    """The facts about one recipe, or about a whole thief; explained above."""

    reads: Reads = "posterior"
    uses_defense: bool = False
    draws_from_pool: int = 0
    repeats: int = 1
    cost: float = 0.0


def facts(recipe: object) -> Facts:
    """What a recipe declares, with defaults for what it does not."""
    values: dict[str, Any] = {each.name: getattr(recipe, each.name, each.default) for each in fields(Facts)}
    return Facts(**values)


LEAST_FIRST: Sequence[Reads] = ("nothing", "label", "map", "posterior")
"""A thief uses no more of an answer than its part that uses least, though a map says more than a posterior alone."""


def together(parts: Sequence[Facts]) -> Facts:
    """The facts about a thief made of these parts."""
    repeats = math.prod(each.repeats for each in parts)
    readers: list[Reads] = [each.reads for each in parts] or ["posterior"]
    return Facts(
        reads=min(readers, key=lambda one: LEAST_FIRST.index(one)),
        uses_defense=any(each.uses_defense for each in parts),
        draws_from_pool=sum(each.draws_from_pool for each in parts) * repeats,
        repeats=repeats,
        cost=sum(each.cost for each in parts),
    )


def labels_alone(defense: object) -> bool:
    """Whether a defense declares that its answers are one-hot, whatever it is given."""
    return bool(getattr(defense, "labels_alone", False))


@dataclass(frozen=True)
class Strengths:
    """One way to turn a defense up.

    parameters  as a user writes them, with `{}` for the strength: `eps={},keep_top1=true`
    values      the strengths, from weak to strong
    """

    parameters: str
    values: tuple[str, ...]


@runtime_checkable
class Strengthened(Protocol):
    """A defense that declares how it can be turned up."""

    @property
    def strengths(self) -> tuple[Strengths, ...]: ...


def strengths(recipe: object) -> tuple[Strengths, ...]:
    """The ways in which a defense can be turned up; empty if it declares none."""
    return recipe.strengths if isinstance(recipe, Strengthened) else ()


TENTHS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1")
SHARES = ("0.002", "0.005", "0.01", "0.02", "0.05", "0.1")
L1 = (
    *TENTHS[:9], "0.95", "1", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "2",
)  # fmt: skip
"""Strengths as L1 distances that an answer may move, at most 2."""

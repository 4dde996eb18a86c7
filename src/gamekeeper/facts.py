"""What the engine has to know of a method, as the method itself says it.

A recipe says it with a property of that name (never with a field: fields are in its repr, hence in every cell's id).
Each is optional, and a recipe that says nothing is taken for the usual one. A thief or a defense of the user's own
says it in the same way, and counts like a built-in one.

A Querying, a Wrapper, a Learner or a whole Attack may have:

    reads            what it uses of an answer: "posterior", "label" (the top class alone), "map" (attribution maps as
                     well), or "nothing": a control, which must fail. Usually "posterior"
    uses_defense     whether it undoes a defense that it is told, armed in its own hands. Usually False
    draws_from_pool  how many queries one input of the thief's pool is good for; 0, as usual, where it asks about others too
    repeats          how often a wrapper asks every input. Usually 1
    cost             trainings of a student beyond the one that every thief needs, roughly, for estimates of time. Usually 0

A Defense may have:

    strengths        ways to turn it up, for `--defense all` (see Strengths). Usually none: it stands as it is
    l1_bound, keeps_confidence   what it guarantees of every answer (`defenses/guarantees.py`)
    permutes         whether permuting the classes of an answer permutes what is made of it. Usually True
    full_strength    the field whose value 0 is no defense, and its largest value. Usually none
    monotone         whether more of that strength never moves an answer less. Usually True
    truncates        whether rows may sum to less than 1. Usually False

The last four are for the contract's tests (`tests/contracts/`) alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, runtime_checkable

Reads = Literal["posterior", "label", "map", "nothing"]


@dataclass(frozen=True)
class Facts:
    """The facts of one recipe, or of a whole thief. Meanings above."""

    reads: Reads = "posterior"
    uses_defense: bool = False
    draws_from_pool: int = 0
    repeats: int = 1
    cost: float = 0.0


def facts(recipe: object) -> Facts:
    """What a recipe says of itself, and the usual where it says nothing."""
    values: dict[str, Any] = {each.name: getattr(recipe, each.name, each.default) for each in fields(Facts)}
    return Facts(**values)


LEAST_FIRST: Sequence[Reads] = ("nothing", "label", "map", "posterior")
"""A thief uses no more of an answer than their least curious part, save that a map says more than the answer alone."""


def together(parts: Sequence[Facts]) -> Facts:
    """Of a thief made of parts."""
    repeats = math.prod(each.repeats for each in parts)
    readers: list[Reads] = [each.reads for each in parts] or ["posterior"]
    return Facts(
        reads=min(readers, key=lambda one: LEAST_FIRST.index(one)),
        uses_defense=any(each.uses_defense for each in parts),
        draws_from_pool=sum(each.draws_from_pool for each in parts) * repeats,
        repeats=repeats,
        cost=sum(each.cost for each in parts),
    )


@dataclass(frozen=True)
class Strengths:
    """One way to turn a defense up.

    parameters  as a user writes them, with `{}` for the strength: `eps={},keep_top1=true`
    values      from weak to strong
    """

    parameters: str
    values: tuple[str, ...]


@runtime_checkable
class Strengthened(Protocol):
    """A defense that says how it can be turned up."""

    @property
    def strengths(self) -> tuple[Strengths, ...]: ...


def strengths(recipe: object) -> tuple[Strengths, ...]:
    """The ways in which a defense can be turned up; none where it says nothing."""
    return recipe.strengths if isinstance(recipe, Strengthened) else ()


TENTHS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1")
SHARES = ("0.002", "0.005", "0.01", "0.02", "0.05", "0.1")
L1 = (
    *TENTHS[:9], "0.95", "1", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "2",
)  # fmt: skip
"""Strengths by how far an answer may move in L1, 2 at most."""

"""Which defenses an audit compares: the ones named, `all` of them at a stated utility, or one at several strengths.

    all                        every defense, as strong as it can be while honest users lose at most a point of accuracy
    all:loss=0.02  all:l1=0.5  while they lose at most two points, or answers move by at most 0.5 on average (L1)
    mad:eps=0.25/0.5/0.95      one defense at three strengths

Strengths are chosen on the owner's natural inputs (`data.natural`), on which users lose what is stated, but for noise. Without labels, every
changed top class of these counts as lost. An owner without natural inputs chooses on training inputs, of which a model is surer than
of a user's: the loss on the test set, which the table shows, can then be larger than the stated one. The test set chooses nothing.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Shaped
from torch import Tensor

from gamekeeper.data.dataset import Dataset
from gamekeeper.engine.run import armed
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.facts import strengths
from gamekeeper.method_text import taken_apart
from gamekeeper.methods import DEFENSES, NUMBER, InputSpec, parse_defense
from gamekeeper.simplex import distance
from gamekeeper.targets.target import Target
from gamekeeper.types import Armed, Batch, Reply
from gamekeeper.version import __version__

ALL = "all"
SWEEP = re.compile(r"(?P<before>[^/]*=)(?P<values>[^/,+=]+(?:/[^/,+=]+)+)(?P<after>[^/]*)")
SAMPLE = 1_000
"""How many of the owner's inputs a strength is chosen on."""
ORDER = 0
"""Seed of the order in which natural inputs are drawn: files are often sorted by class."""


@dataclass(frozen=True)
class Entry:
    """A defense of `all`: its text with `{}` for the strength, and strengths from weak to strong. Without any, as it is."""

    text: str
    strengths: tuple[str, ...] = ()


def entries() -> list[Entry]:
    """Every defense, in each of the ways in which it can be turned up."""
    return [entry for name, recipe in DEFENSES.items() for entry in ways(name, recipe())]


def ways(name: str, recipe: object) -> list[Entry]:
    return [Entry(f"{name}:{each.parameters}", each.values) for each in strengths(recipe)] or [Entry(name)]


@dataclass(frozen=True)
class UtilityLimit:
    """What honest users may lose: points of accuracy as a fraction, or the mean L1 between clean and given answers."""

    measure: Literal["loss", "l1"] = "loss"
    most: float = 0.01


@dataclass(frozen=True)
class ResolvedDefenses:
    """Defenses in the syntax of `methods.py`, and a sentence for each one of `all` that is not among them."""

    defenses: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def resolve_defenses(texts: Sequence[str], target: Target, seed: int, say: Callable[[str], None]) -> ResolvedDefenses:
    """Every sweep and `all` replaced by what it stands for, each defense once. `say` is called with what takes a while.

    Raises BadConfig for a sweep or a utility that is not written as above, and for `all` if the owner has no inputs.
    """
    defenses: list[str] = []
    left_out: list[str] = []
    for text in texts:
        if taken_apart(text).first.name != ALL:
            defenses += swept(text)
            continue
        resolved = everything(parse_utility(text), target, seed, say)
        defenses += resolved.defenses
        left_out += resolved.left_out
    return ResolvedDefenses(tuple(dict.fromkeys(defenses)), tuple(dict.fromkeys(left_out)))


def question(texts: Sequence[str], target: Target, seed: int) -> dict[str, Any]:
    """Everything that the choice of strengths depends on."""
    natural = target.owner.natural
    inputs = None if natural is None else Dataset(natural, target.owner.natural_truth).digest()
    return {"asked": list(texts), "target": target.digest, "natural": inputs, "seed": seed, "version": __version__}


def as_before(earlier: Mapping[str, Any], texts: Sequence[str], target: Target, seed: int) -> ResolvedDefenses | None:
    """What an earlier run chose for the very same question."""
    if any(earlier.get(key) != value for key, value in question(texts, target, seed).items()):
        return None
    return ResolvedDefenses(tuple(earlier.get("defenses", ())), tuple(earlier.get("left_out", ())))


def swept(text: str) -> list[str]:
    """`mad:eps=0.5/0.95+round` -> `mad:eps=0.5+round`, `mad:eps=0.95+round`. At most one parameter has several values."""
    if "/" not in text:
        return [text]
    match = SWEEP.fullmatch(text)
    if match is None:
        raise BadConfig(f"several strengths are written name:parameter=0.5/0.95, of one parameter. Got '{text}'.")
    return [f"{match['before']}{value}{match['after']}" for value in match["values"].split("/")]


def parse_utility(text: str) -> UtilityLimit:
    """`all:loss=0.02` -> what honest users may lose. Raises BadConfig."""
    pairs = taken_apart(text).first.pairs
    if not pairs:
        return UtilityLimit()
    measure, most = pairs[0][0], (pairs[0][1] or "").strip()
    if len(pairs) > 1 or measure not in ("loss", "l1") or not NUMBER.fullmatch(most) or not 0 <= float(most) <= 2:
        raise BadConfig(f"a utility is stated as all:loss=0.01 or all:l1=0.5, from 0 to 2. Got '{text}'.")
    return UtilityLimit(measure, float(most))


def everything(utility: UtilityLimit, target: Target, seed: int, say: Callable[[str], None]) -> ResolvedDefenses:
    """`none`, and the line-up as strong as the utility allows."""
    if target.remote or len(users_inputs(target)[0]) == 0:
        raise BadConfig(
            f"--defense all chooses strengths by the model's answers to the owner's inputs; {target.name} "
            + (
                "is a live API, where each costs."
                if target.remote
                else "has none. Give data.natural or data.train in the target file."
            )
            + " Or name the defenses."
        )
    defenses: list[str] = ["none"]
    left_out: list[str] = []
    for entry in entries():
        say(f"choosing the strength of {taken_apart(entry.text).first.name}")
        try:
            chosen = strongest(entry, utility, target, seed)
        except Unsuited as error:
            left_out.append(f"{taken_apart(entry.text).first.name} is not among the defenses: {error}")
            continue
        if chosen is None:
            left_out.append(f"No strength of {entry.text} keeps to {utility.measure} {utility.most:g}.")
        else:
            defenses.append(chosen)
    return ResolvedDefenses(tuple(defenses), tuple(left_out))


def strongest(entry: Entry, utility: UtilityLimit, target: Target, seed: int) -> str | None:
    """The defense at the largest strength that keeps to the utility, by bisection; as it is where it has no strength."""
    if not entry.strengths:
        armed_as(entry.text, target, seed)
        return entry.text
    low, high = -1, len(entry.strengths)
    while high - low > 1:
        middle = (low + high) // 2
        keeps = spent(entry.text.format(entry.strengths[middle]), utility, target, seed) <= utility.most
        low, high = (middle, high) if keeps else (low, middle)
    return None if low < 0 else entry.text.format(entry.strengths[low])


def spent(defense: str, utility: UtilityLimit, target: Target, seed: int) -> float:
    """What a defense takes from honest users, on the owner's inputs."""
    x, truth = users_inputs(target)
    reply = clean = undefended(target)
    for link in armed_as(defense, target, seed):
        reply = link.respond(x, reply, link.fresh())
    if utility.measure == "l1":
        return float(distance(clean.y.double(), reply.y.double(), "l1").mean())
    truth = clean.y.argmax(1) if truth is None else truth
    task = target.victim.task
    right, left = (task.right(one.y, truth).double().mean() for one in (clean, reply))
    return float(right - left)


def users_inputs(target: Target) -> tuple[Batch, Shaped[Tensor, " n"] | None]:
    """At most SAMPLE inputs that stand for a user's, and their classes where they are known: natural ones, else training inputs."""
    natural, truth = target.owner.natural, target.owner.natural_truth
    if natural is None:
        return target.owner.x[:SAMPLE], target.owner.truth[:SAMPLE]
    some = torch.randperm(len(natural), generator=torch.Generator().manual_seed(ORDER))[:SAMPLE]
    return natural[some], None if truth is None else truth[some]


@functools.lru_cache(maxsize=1)
def undefended(target: Target) -> Reply:
    """What the model answers to these inputs: once for all defenses and strengths."""
    return target.victim(users_inputs(target)[0])


def armed_as(defense: str, target: Target, seed: int) -> tuple[Armed, ...]:
    """The chain of a text, armed; kept for the cells that run in this process."""
    return armed(target, parse_defense(defense, InputSpec(target.box.shape, target.victim.task.classes)), seed)

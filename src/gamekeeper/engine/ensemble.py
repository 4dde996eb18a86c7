"""The worst-case thief: a fixed ensemble without parameters, whose strongest member a defense is judged by.

Source      none: what AutoAttack (Croce and Hein, ICML 2020) is to evasion, for theft; each member's paper is at the head
            of its own file
Assumes     one budget, one pool. Members that look at the same questions learn from the same paid answers
Deviations  a member that the target has no use for (no images, no inputs of its own kind) is left out, and the report
            names it

`worst` is the quick ensemble: seven rows, one network. `worst:full` has thirteen rows, each with two networks. A control
belongs to both: a clone of shuffled answers, which must be no better than chance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gamekeeper.architectures import LeNet, Mlp
from gamekeeper.errors import BadConfig
from gamekeeper.method_text import taken_apart
from gamekeeper.targets.target import Target
from gamekeeper.types import Architecture

Need = Literal["nothing", "images", "square images", "seeds"]
QUICK_NAME, FULL_NAME = "worst", "worst:full"
CONTROL = "knockoff+shuffled"


@dataclass(frozen=True)
class Member:
    """One thief of the ensemble, what he brings that the others lack, and what a target must have for him."""

    attack: str
    brings: str
    needs: Need = "nothing"


QUICK = (
    Member("knockoff", "uses the whole answer"),
    Member("knockoff+labels", "immune to whatever keeps the top class"),
    Member("knockoff+gce", "immune to some flipped labels"),
    Member("knockoff+partial_bayes", "knows the defense and undoes it"),
    Member("knockoff+tempered", "undoes flattening without knowing the defense"),
    Member("knockoff+unmixed", "undoes a fixed linear map without knowing it"),
    Member("smoothing", "averages over shifted copies: answers that are random or hashed", "images"),
)
REST = (
    Member("knockoff+small_loss", "distrusts the answers his students find hardest"),
    Member("knockoff+inverse", "knows the defense and learns to undo it"),
    Member("knockoff+fixmatch", "learns from what he did not ask as well: few or poisoned answers"),
    Member("knockoff+s4l", "shapes features without any answer", "square images"),
    Member("insider+labels", "asks about the model's own kind of input: gates against odd ones", "seeds"),
    Member("active_thief:strategy=disagreement+labels", "asks where two clones disagree: few queries"),
)
ENSEMBLES: Mapping[str, tuple[Member, ...]] = {QUICK_NAME: QUICK, FULL_NAME: (*QUICK, *REST)}
HAS: Mapping[Need, Callable[[Target], bool]] = {
    "nothing": lambda target: True,
    "images": lambda target: len(target.box.shape) == 3,
    "square images": lambda target: len(target.box.shape) == 3 and target.box.shape[1] == target.box.shape[2],
    "seeds": lambda target: target.seeds is not None and len(target.seeds) > 0,
}


@dataclass(frozen=True)
class Thieves:
    """Who takes part in an audit.

    attacks    thieves in the syntax of `methods.py`, each once
    rehearsed  whether each tries his learner on 90 % of his answers first, so that one can be chosen without the truth
    controls   clones that must fail, against no defense only
    left_out   a sentence for each member this target has no use for
    """

    attacks: tuple[str, ...]
    rehearsed: bool
    controls: tuple[str, ...]
    left_out: tuple[str, ...]


def thieves(asked: Sequence[str], target: Target) -> Thieves:
    """Every `worst` replaced by its members; the user's own thieves stand beside them. Raises BadConfig."""
    attacks: list[str] = []
    left_out: list[str] = []
    for text in asked:
        if taken_apart(text).first.name != QUICK_NAME:
            attacks.append(text)
            continue
        members = ENSEMBLES.get(text.strip())
        if members is None:
            raise BadConfig(f"the ensemble is written {' or '.join(ENSEMBLES)}. Got '{text}'.")
        fitting = [member.attack for member in members if HAS[member.needs](target)]
        left_out += [
            f"{member.attack} of the ensemble was left out: it needs {member.needs}, which this target has not."
            for member in members
            if not HAS[member.needs](target)
        ]
        attacks += fitting
        if text.strip() == FULL_NAME:
            attacks += [f"{attack}@{another(target.student)}" for attack in fitting]
    ensemble = any(taken_apart(text).first.name == QUICK_NAME for text in asked)
    return Thieves(
        tuple(dict.fromkeys(attacks)), ensemble, (CONTROL,) if ensemble else (), tuple(dict.fromkeys(left_out))
    )


def another(student: Architecture) -> str:
    """The second network a thief trains, of another kind than the first where that is possible.

    Chosen on held-out answers, never on test data: small residual networks predicted no better at several times the cost.
    """
    if isinstance(student, Mlp):
        return "mlp:hidden=512" if student.hidden != (512,) else "mlp:hidden=128x64"
    return "mlp:hidden=256" if isinstance(student, LeNet) else "lenet"

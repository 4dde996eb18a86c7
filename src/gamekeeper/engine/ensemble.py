"""The worst-case thief: a fixed ensemble without parameters. A defense is worth what it does against the strongest member.

Source      none: what AutoAttack (Croce and Hein, ICML 2020) is to evasion, for theft; each member's paper is at the head
            of its own file
Assumes     one budget, one pool. Members that ask the same questions learn from the same paid answers
Deviations  a member that does not suit the target (no images, no inputs of the victim's kind) is left out, and the report
            says so

`worst` is the quick ensemble, with one network. `worst:full` has more members, each with two networks. Both include
a control: a clone trained on shuffled answers, which must be no better than chance. Of a table both also train what is no
network: logistic regression, a forest and boosted trees.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gamekeeper.architectures import LeNet, Mlp
from gamekeeper.errors import BadConfig
from gamekeeper.method_text import taken_apart
from gamekeeper.targets.target import Target
from gamekeeper.types import Architecture

Need = Literal["nothing", "images", "square images", "seeds", "tables", "drawings", "style"]
QUICK_NAME, FULL_NAME = "worst", "worst:full"
CONTROL = "knockoff+shuffled"


@dataclass(frozen=True)
class Member:
    """One thief of the ensemble, what they add to the others, and what they need of a target."""

    attack: str
    brings: str
    needs: Need = "nothing"


QUICK = (
    Member("knockoff", "learns from the whole answer"),
    Member("knockoff+labels", "immune to any defense that keeps the top class"),
    Member("knockoff+labels+affine:strength=0.5", "the same, on images turned anew in every step", "images"),
    Member("knockoff+gce", "immune to some flipped labels"),
    Member("knockoff+partial_bayes", "knows the defense and undoes it"),
    Member("knockoff+unmixed", "undoes a fixed linear map without knowing it"),
    Member("smoothing", "averages over shifted copies: against random or hashed answers", "images"),
    Member("warped", "asks about turned and scaled copies: more answers like the model's own inputs'", "images"),
    Member("drawn", "asks about drawings of the classes: against gates for odd inputs", "drawings"),
    Member(
        "drawn+agreeing+affine",
        "drops answers that contradict their drawings, and sees them anew: against lies",
        "drawings",
    ),
    Member("knockoff@linear", "logistic regression: for few answers, and exact about a model that is one", "tables"),
    Member("knockoff@forest", "a random forest: for models made of trees", "tables"),
    Member("knockoff@boosted", "boosted trees: for models made of trees", "tables"),
    Member("knockoff+labels@linear", "logistic regression on the top class alone", "tables"),
    Member("knockoff+labels@forest", "a random forest on the top class alone", "tables"),
    Member("knockoff+partial_bayes@linear", "logistic regression that knows the defense and undoes it", "tables"),
)
REST = (
    Member("knockoff+tempered", "undoes flattening without knowing the defense"),
    Member("knockoff+small_loss", "distrusts the answers their students find hardest"),
    Member("knockoff+inverse", "knows the defense and learns to undo it"),
    Member("knockoff+fixmatch", "learns from unasked inputs as well: for few or poisoned answers"),
    Member("knockoff+s4l", "learns features without any answer", "square images"),
    Member("restyled", "redraws letters as handwriting: for models that read handwriting", "style"),
    Member("drawn+labels", "draws, and is immune to any defense that keeps the top class", "drawings"),
    Member("insider+labels", "asks about inputs of the model's own kind: against gates for odd inputs", "seeds"),
    Member("active_thief:strategy=disagreement+labels", "asks where two clones disagree: for few queries"),
)
ENSEMBLES: Mapping[str, tuple[Member, ...]] = {QUICK_NAME: QUICK, FULL_NAME: (*QUICK, *REST)}
HAS: Mapping[Need, Callable[[Target], bool]] = {
    "nothing": lambda target: True,
    "tables": lambda target: len(target.box.shape) == 1,
    "images": lambda target: len(target.box.shape) == 3,
    "square images": lambda target: len(target.box.shape) == 3 and target.box.shape[1] == target.box.shape[2],
    "seeds": lambda target: target.seeds is not None and len(target.seeds) > 0,
    "drawings": lambda target: target.drawings is not None,
    "style": lambda target: target.style is not None,
}

UNSAID: Collection[Need] = ("tables", "drawings", "style")
"""Needs of members whose absence is not worth a sentence: most targets lack them."""


@dataclass(frozen=True)
class Thieves:
    """Who takes part in an audit.

    attacks    thieves in the syntax of `methods.py`, each once
    controls   clones that must fail; they meet no defense
    left_out   a sentence for each member that does not suit the target
    """

    attacks: tuple[str, ...]
    controls: tuple[str, ...]
    left_out: tuple[str, ...]


def thieves(attacks_wanted: Sequence[str], target: Target) -> Thieves:
    """Each `worst` replaced by its members, beside the thieves that the user named. Raises BadConfig."""
    attacks: list[str] = []
    left_out: list[str] = []
    for text in attacks_wanted:
        if taken_apart(text).first.name != QUICK_NAME:
            attacks.append(text)
            continue
        members = ENSEMBLES.get(text.strip())
        if members is None:
            raise BadConfig(f"the ensemble is written {' or '.join(ENSEMBLES)}. Got '{text}'.")
        fitting = [member.attack for member in members if HAS[member.needs](target)]
        left_out += [
            f"{member.attack} of the ensemble was left out: it needs {member.needs}, which this target does not have."
            for member in members
            if not HAS[member.needs](target) and member.needs not in UNSAID
        ]
        attacks += fitting
        if text.strip() == FULL_NAME:
            attacks += [f"{attack}@{another(target.student)}" for attack in fitting if "@" not in attack]
    ensemble = any(taken_apart(text).first.name == QUICK_NAME for text in attacks_wanted)
    return Thieves(tuple(dict.fromkeys(attacks)), (CONTROL,) if ensemble else (), tuple(dict.fromkeys(left_out)))


def another(student: Architecture) -> str:
    """The second network that a thief trains: of another kind than the first if possible.

    Chosen on held-out answers, never on test data: small residual networks predicted no better at several times the cost.
    """
    if isinstance(student, Mlp):
        return "mlp:hidden=512" if student.hidden != (512,) else "mlp:hidden=128x64"
    return "mlp:hidden=256" if isinstance(student, LeNet) else "lenet"

"""Every method by name: one literal dictionary per kind, and no other list of methods.

A method is written `name:parameter=value,parameter=value`. Parameters are the fields of its recipe, and for a learner also
those of its training: `soft:optimiser=adam,rate=0.001`, or `soft:fit=fast` for a short one. Methods that work one after the
other are joined with `+`: `knockoff+labels` asks as Knockoff does and learns from labels only;
`knockoff+labels+affine` also turns and bends what its student sees; `mad:eps=0.5+round:decimals=2` poisons first and then rounds. A thief may train another network than the target's own student: `knockoff+labels@resnet:depth=8`.

A name with a dot is a class of the user's own, `package.module.Class`, imported as it stands: their thief or defense takes
part in a grid like any other, and says the same things of itself (`facts.py`).
"""

import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from gamekeeper.architectures import LeNet, Mlp, ResNet, ResNet18, Shape, Vgg16, Wrn
from gamekeeper.attacks.active_thief import ActiveThief
from gamekeeper.attacks.best_style import BestStyle
from gamekeeper.attacks.boundary import Adaptive, LineSearch, Uniform
from gamekeeper.attacks.drawn import Drawn
from gamekeeper.attacks.equation_fitting import EquationFitting
from gamekeeper.attacks.equation_solving import EquationSolving
from gamekeeper.attacks.insider import Insider
from gamekeeper.attacks.jbda import Jbda, JbSelf, JbTopk
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.attacks.knockoff_adaptive import KnockoffAdaptive
from gamekeeper.attacks.lowd_meek import LowdMeek
from gamekeeper.attacks.prada_attacks import Color, NFgsm, NIFgsm, TRnd
from gamekeeper.attacks.relu_reconstruction import ReluReconstruction
from gamekeeper.attacks.restyled import Restyled
from gamekeeper.attacks.smoothing import Smoothing
from gamekeeper.attacks.swift_thief import SwiftThief
from gamekeeper.attacks.theft import Theft, Wrapper
from gamekeeper.attacks.tree_paths import TreePaths
from gamekeeper.attacks.tree_top_down import TreeTopDown
from gamekeeper.attacks.twice import Twice
from gamekeeper.attacks.warped import Warped
from gamekeeper.attacks.wrappers import Averaged, LabelsOnly
from gamekeeper.defenses.adaptive_misinformation import AdaptiveMisinformation
from gamekeeper.defenses.baselines import ConstantTarget, Flatten, LeastLikely
from gamekeeper.defenses.dawn import DAWN
from gamekeeper.defenses.deep_defense.recipe import DeepDefense
from gamekeeper.defenses.dp_sgd import DPSGD
from gamekeeper.defenses.edm import EDM
from gamekeeper.defenses.grad2 import GRAD2
from gamekeeper.defenses.keyed_misinformation import KeyedMisinformation
from gamekeeper.defenses.mad.recipe import MAD
from gamekeeper.defenses.modelguard import ModelGuardS, ModelGuardW
from gamekeeper.defenses.noise import RandomNoise
from gamekeeper.defenses.ood_gate import OodGate
from gamekeeper.defenses.reverse_sigmoid import ReverseSigmoid
from gamekeeper.defenses.truncate import Label, Round, TopK
from gamekeeper.detectors.boundary import Boundary
from gamekeeper.detectors.hardness import Hardness
from gamekeeper.detectors.mmd import MMD
from gamekeeper.detectors.ood_share import OodShare
from gamekeeper.detectors.prada import Prada
from gamekeeper.detectors.repeats import Repeats
from gamekeeper.detectors.warning import ExtractionWarning
from gamekeeper.errors import BadConfig
from gamekeeper.learners.agreeing import Agreeing
from gamekeeper.learners.attribution import Attribution
from gamekeeper.learners.augmented import Affine, Augmented, Elastic, Erasing, View
from gamekeeper.learners.distil import Labels, Sharpened, Shuffled, Soft
from gamekeeper.learners.filters import Confident, Neighbours
from gamekeeper.learners.inverse import Inverse
from gamekeeper.learners.linear_map import Tempered, Unmixed
from gamekeeper.learners.partial_bayes import PartialBayes
from gamekeeper.learners.robust import Gce, SmallLoss, Smoothed
from gamekeeper.learners.semi_supervised import S4L, FixMatch
from gamekeeper.method_text import MethodText, Part, part, taken_apart
from gamekeeper.models.estimators import Boosted, Forest, Linear
from gamekeeper.training.fit import FAST, Fit
from gamekeeper.types import Architecture, Attack, Defense, Detector, Learner, Querying, Transfer

QUERYINGS: Mapping[str, type] = {
    "knockoff": Knockoff,
    "knockoff_adaptive": KnockoffAdaptive,
    "insider": Insider,
    "active_thief": ActiveThief,
    "jbda": Jbda,
    "jb_self": JbSelf,
    "jb_topk": JbTopk,
    "n_fgsm": NFgsm,
    "n_ifgsm": NIFgsm,
    "t_rnd": TRnd,
    "color": Color,
    "uniform": Uniform,
    "line_search": LineSearch,
    "adaptive": Adaptive,
    "smoothing": Smoothing,
    "twice": Twice,
    "drawn": Drawn,
    "warped": Warped,
    "restyled": Restyled,
    "best_style": BestStyle,
}
EXACT: Mapping[str, type] = {
    "equation_solving": EquationSolving,
    "equation_fitting": EquationFitting,
    "lowd_meek": LowdMeek,
    "tree_paths": TreePaths,
    "tree_top_down": TreeTopDown,
    "relu_reconstruction": ReluReconstruction,
    "swift_thief": SwiftThief,
}
WRAPPERS: Mapping[str, type] = {"labels_only": LabelsOnly, "averaged": Averaged}
LEARNERS: Mapping[str, type] = {
    "soft": Soft,
    "labels": Labels,
    "sharpened": Sharpened,
    "shuffled": Shuffled,
    "smoothed": Smoothed,
    "gce": Gce,
    "small_loss": SmallLoss,
    "neighbours": Neighbours,
    "confident": Confident,
    "tempered": Tempered,
    "unmixed": Unmixed,
    "partial_bayes": PartialBayes,
    "inverse": Inverse,
    "fixmatch": FixMatch,
    "s4l": S4L,
    "attribution": Attribution,
    "agreeing": Agreeing,
}
VIEWS: Mapping[str, type] = {"affine": Affine, "elastic": Elastic, "erasing": Erasing}
DEFENSES: Mapping[str, type] = {
    "label": Label,
    "round": Round,
    "topk": TopK,
    "reverse_sigmoid": ReverseSigmoid,
    "random_noise": RandomNoise,
    "dp_sgd": DPSGD,
    "mad": MAD,
    "grad2": GRAD2,
    "modelguard_w": ModelGuardW,
    "modelguard_s": ModelGuardS,
    "keyed_misinformation": KeyedMisinformation,
    "flatten": Flatten,
    "least_likely": LeastLikely,
    "constant_target": ConstantTarget,
    "ood_gate": OodGate,
    "adaptive_misinformation": AdaptiveMisinformation,
    "edm": EDM,
    "deep_defense": DeepDefense,
    "dawn": DAWN,
}
DETECTORS: Mapping[str, type] = {
    "repeats": Repeats,
    "prada": Prada,
    "ood_share": OodShare,
    "mmd": MMD,
    "hardness": Hardness,
    "warning": ExtractionWarning,
    "boundary": Boundary,
}
EVIDENCE = frozenset({"boundary", "repeats", "warning"})
"""Detectors that honest clients set off as well: they are shown to people and never raise an alarm."""
ARCHITECTURES: Mapping[str, type] = {
    "mlp": Mlp,
    "lenet": LeNet,
    "resnet": ResNet,
    "resnet18": ResNet18,
    "wrn": Wrn,
    "vgg16": Vgg16,
    "forest": Forest,
    "boosted": Boosted,
    "linear": Linear,
}

KINDS: Mapping[str, Mapping[str, type]] = {
    "attack": {**QUERYINGS, **EXACT},
    "wrapper": WRAPPERS,
    "learner": LEARNERS,
    "view": VIEWS,
    "defense": DEFENSES,
    "detector": DETECTORS,
    "architecture": ARCHITECTURES,
}


@dataclass(frozen=True)
class InputSpec:
    """What completes the name of a network: the target's input shape and its number of classes."""

    shape: Shape
    classes: int


def parse_thief(text: str, spec: InputSpec) -> tuple[Attack, Architecture | None]:
    """`knockoff+labels@resnet:depth=8` -> the attack, and the network the thief trains (None: the target's student)."""
    thief = taken_apart(text)
    student = None if thief.network is None else build(thief.network, ARCHITECTURES, "architecture", spec)
    return attack_of(thief, text, spec), cast(Architecture | None, student)


def parse_attack(text: str, spec: InputSpec) -> Attack:
    """`knockoff+averaged:n=3+labels` -> Theft; `equation_solving` -> an exact attack, which stands alone."""
    return attack_of(taken_apart(text), text, spec)


def attack_of(thief: MethodText, text: str, spec: InputSpec) -> Attack:
    """Parts after the querying may come in any order, but views are shown in theirs; the learner defaults to soft."""
    first = build(thief.first, {**QUERYINGS, **EXACT}, "attack", spec)
    rest = thief.parts[1:]
    if not asks(first):
        if rest:
            raise BadConfig(
                f"{thief.first.name} is an attack of its own and takes no learner or wrapper; got '{text}'."
            )
        return cast(Attack, first)
    parts = [build(part, {**WRAPPERS, **LEARNERS, **VIEWS}, "learner, view or wrapper", spec) for part in rest]
    wrappers = tuple(part for part in parts if isinstance(part, Wrapper))
    views = tuple(part for part in parts if isinstance(part, View))
    learners = [cast(Learner, part) for part in parts if not isinstance(part, Wrapper | View)]
    if len(learners) > 1:
        raise BadConfig(f"a thief learns in one way; '{text}' names {len(learners)} learners.")
    learner = learners[0] if learners else Soft()
    return Theft(cast(Querying, first), Augmented(learner, views) if views else learner, wrappers)


def asks(recipe: object) -> bool:
    """Whether it is a way of asking, which returns a Transfer. A whole attack returns a Model."""
    return get_type_hints(type(recipe).__call__).get("return") is Transfer


def parse_defense(text: str, spec: InputSpec) -> tuple[Defense, ...]:
    """`none` -> (); `mad:eps=0.5+round` -> two recipes, in the order in which they change the answer."""
    if text.strip() == "none":
        return ()
    chain = taken_apart(text)
    if chain.network is not None:
        raise BadConfig(f"a defense does not train a thief's network, so nothing may stand behind @. Got '{text}'.")
    return tuple(cast(Defense, build(part, DEFENSES, "defense", spec)) for part in chain.parts)


def parse_detector(text: str) -> Detector:
    """`ood_share:score=knn` -> the recipe. Raises BadConfig, as for any other method."""
    return cast(Detector, build(part(text), DETECTORS, "detector", InputSpec((), 0)))


def parse_architecture(text: str, shape: Shape, classes: int) -> Architecture:
    """`resnet:depth=14,width=16` -> recipe of a network for this shape and number of classes."""
    return cast(Architecture, build(part(text), ARCHITECTURES, "architecture", InputSpec(shape, classes)))


def build(written: Part, names: Mapping[str, type], kind: str, spec: InputSpec) -> object:
    """One recipe from its name and parameters. Raises BadConfig naming what is allowed."""
    name = written.name
    if name not in names and not written.is_import_path:
        raise BadConfig(f"there is no {kind} '{name}'.{hint(name, names)} Known: {', '.join(sorted(names))}.")
    recipe = names[name] if name in names else imported(name)
    own, training = settable(recipe), training_parameters(recipe)
    allowed = {**own, **training}
    values: dict[str, Any] = {}
    for key, value in written.pairs:
        if value is None or key not in allowed:
            raise BadConfig(f"{name} has no parameter '{key}'. It takes: {', '.join(allowed) or 'none'}.")
        values[key] = convert(f"{name}:{key}", value, allowed[key].hint, spec)
    chosen = {key: value for key, value in values.items() if key in own}
    if len(chosen) < len(values):
        given = {key: value for key, value in values.items() if key in training and key != "fit"}
        chosen["fit"] = replace(FAST if values.get("fit") == "fast" else cast(Fit, fit_of(recipe)), **given)
    if kind == "architecture":
        chosen |= {"shape": spec.shape, "classes": spec.classes}
    return recipe(**chosen)


def hint(name: str, names: Mapping[str, type]) -> str:
    """What somebody who wrote an unknown name may have meant: a method of another kind, or a name like it."""
    other = next((kind for kind, known in KINDS.items() if name in known), None)
    if other is not None:
        behind = f": write knockoff+{name}" if other in ("learner", "view", "wrapper") else ""
        return f" '{name}' is {'an' if other[0] in 'ae' else 'a'} {other}{behind}."
    near = get_close_matches(name, names, 1)
    return f" Did you mean '{near[0]}'?" if near else ""


def imported(name: str) -> type:
    """The user's class of that name, from a module that can be imported from here. Raises BadConfig."""
    module, _, attribute = name.rpartition(".")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        recipe = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BadConfig(
            f"'{name}' could not be imported: {error}. A method of your own is written package.module.Class; its module must"
            " lie in this folder or be installed."
        ) from error
    if not (isinstance(recipe, type) and is_dataclass(recipe)):
        raise BadConfig(f"'{name}' must be a dataclass, a recipe of plain values; it is {recipe!r}.")
    return recipe


def is_import_path(text: str) -> bool:
    """Whether a method's text names a class to import, which runs code."""
    return any(part.is_import_path for part in taken_apart(text).all_parts)


@dataclass(frozen=True)
class Parameter:
    """A field that a user may set: its type, and its default (MISSING if there is none)."""

    hint: Any
    default: Any


def settable(recipe: type) -> dict[str, Parameter]:
    """The recipe's own fields, without its training and without shape and classes, which come from the target."""
    hints = get_type_hints(recipe)
    given = [f for f in fields(recipe) if f.name not in ("shape", "classes", "fit")]
    return {f.name: Parameter(hints[f.name], f.default) for f in given}


def training_parameters(recipe: type) -> dict[str, Parameter]:
    """The fields of a learner's training with that learner's defaults; none for other methods."""
    usual = fit_of(recipe) if learns(recipe) else None
    if usual is None:
        return {}
    one_by_one = {name: Parameter(each.hint, getattr(usual, name)) for name, each in settable(Fit).items()}
    return {"fit": Parameter(Literal["usual", "fast"], "usual"), **one_by_one}


def learns(recipe: type) -> bool:
    """Whether it is a learner, which is called with a Transfer."""
    return get_type_hints(recipe.__call__).get("transfer") is Transfer


def fit_of(learner: type) -> Fit | None:
    """A learner's default training; None if it has no such field."""
    return next((f.default for f in fields(learner) if f.name == "fit" and isinstance(f.default, Fit)), None)


def convert(where: str, text: str, hint: Any, spec: InputSpec) -> Any:
    """`text` as a value of the field's type. Raises BadConfig naming the type."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for option in options:
        if option is Architecture and part(text).name in ARCHITECTURES:
            return parse_architecture(text, spec.shape, spec.classes)
        if get_origin(option) is Literal and text in get_args(option):
            return text
        if option in READ and READ[option][0].fullmatch(text):
            return READ[option][1](text)
    raise BadConfig(f"{where} must be {spell(hint)}. Got '{text}'.")


NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
READ: Mapping[Any, tuple[re.Pattern[str], Any]] = {
    float: (NUMBER, float),
    int: (re.compile(r"-?\d+"), int),
    bool: (re.compile("true|false"), lambda text: text == "true"),
    tuple[int, ...]: (re.compile(r"\d+(x\d+)*|"), lambda text: tuple(int(t) for t in text.split("x") if t)),
}


def spell(hint: Any) -> str:
    """A type in words for error messages and `gamekeeper methods`."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(spell(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    words = {float: "a number", int: "a whole number", bool: "true or false", Architecture: "an architecture's name"}
    return words.get(hint, "whole numbers joined by x" if hint == tuple[int, ...] else str(hint))


@dataclass(frozen=True)
class Description:
    """What `gamekeeper methods` says of one method; `head` holds the lines of its file's header by their first word."""

    name: str
    kind: str
    summary: str
    head: Mapping[str, str]
    parameters: Mapping[str, str]


def describe(name: str, kind: str) -> Description:
    """From the docstrings of the recipe and its file: nothing is written twice."""
    recipe = KINDS[kind][name]
    given = {
        key: f"{spell(each.hint)}, default {each.default}" if each.default is not MISSING else spell(each.hint)
        for key, each in {**settable(recipe), **training_parameters(recipe)}.items()
    }
    module = inspect.getdoc(inspect.getmodule(recipe)) or ""
    entries = re.findall(r"^([A-Z]\w+) {2,}(.+(?:\n {4,}.+)*)", module, re.MULTILINE)
    head = {word: " ".join(text.split()) for word, text in entries}
    summary = (inspect.getdoc(recipe) or "").split("\n")[0]
    return Description(name, kind, summary, head, given)

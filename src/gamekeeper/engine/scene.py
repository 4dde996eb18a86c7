"""A scene: detectors armed on one victim and calibrated, with benign inputs that had no part in it.

What honest clients send is drawn from other inputs than those that set references, thresholds and limits.
"""

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from gamekeeper.data.dataset import Dataset
from gamekeeper.data.splits import row_keys
from gamekeeper.detectors.benign import parted
from gamekeeper.detectors.calibrate import Benign, limits_from_inputs
from gamekeeper.detectors.features import observed
from gamekeeper.detectors.limits import LOOKS, Limits, shared
from gamekeeper.detectors.limits_file import load_limits, save_limits
from gamekeeper.detectors.lookout import Lookout, Post
from gamekeeper.detectors.repeats import RepeatsWatch
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.methods import EVIDENCE, parse_detector
from gamekeeper.targets.choice import Source
from gamekeeper.targets.load import beside
from gamekeeper.targets.target import Target
from gamekeeper.types import Batch, Model, Owner, Watch

LIMITS = "limits.json"
FORMAT = "0.3.0"
"""What limits depend on besides what they name; changes when calibration does."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """What is watched, as plain values.

    benign     a data file of inputs like a user's: one half is for the owner, honest clients are drawn from the other.
               None: the owner has the target's natural inputs, and clients send its test inputs
    detectors  in the syntax of methods.py
    alpha      false alarms per client, of all detectors together
    looks      after how many queries a client is judged
    """

    target: Source
    detectors: tuple[str, ...]
    alpha: float
    benign: str | None = None
    looks: tuple[int, ...] = LOOKS
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Scene:
    """A setting, alive.

    target    its victim notes its features, and its owner holds the inputs that references are made of
    benign    inputs that are left for calibration
    unseen    what honest clients send: nothing was fitted or calibrated on it
    watches   the detectors, armed, without `repeats`
    evidence  those of them that never raise an alarm
    repeats   hides repeats from the others; None if it is not among the detectors
    left_out  detectors that this target does not suit, and why
    """

    setting: Setting
    target: Target
    benign: Benign
    unseen: Benign
    watches: Mapping[str, Watch]
    evidence: frozenset[str]
    repeats: RepeatsWatch | None
    left_out: Mapping[str, Unsuited] = field(default_factory=dict[str, Unsuited])

    @property
    def basis(self) -> str:
        """A digest of all that the scores depend on, but for the detector: limits for them are of use wherever it is the same."""
        natural = self.target.owner.natural
        held = Dataset(natural).digest() if natural is not None else ""
        return hashlib.sha256(f"{FORMAT} {self.target.digest} {held} {self.setting.seed}".encode()).hexdigest()

    @property
    def alarming(self) -> list[str]:
        """The detectors that may raise alarms."""
        return [name for name in self.watches if name not in self.evidence]

    @property
    def purpose(self) -> str:
        """A digest of all that the limits depend on."""
        held = Dataset(torch.cat([self.benign.x, self.unseen.x])).digest()
        natural = Dataset(self.target.owner.natural).digest() if self.target.owner.natural is not None else ""
        given = self.setting
        how = (given.detectors, given.alpha, given.looks, given.seed)
        return hashlib.sha256(f"{FORMAT} {self.target.digest} {held} {natural} {how}".encode()).hexdigest()

    def lookout(self, limits: Mapping[str, Limits]) -> Lookout:
        posts = {name: Post(watch, limits.get(name)) for name, watch in self.watches.items()}
        return Lookout(self.target.victim, posts, self.repeats)


def scene(setting: Setting) -> Scene:
    """Loads the target and arms the detectors. Raises BadConfig and Unsuited with what is missing."""
    here = partial_scene(setting)
    for error in here.left_out.values():
        raise error
    return here


def partial_scene(setting: Setting) -> Scene:
    """The same with the detectors that suit the target; the others are left out. Raises BadConfig."""
    target = setting.target.load()
    if target.remote:
        raise BadConfig(
            f"every answer of {target.name} costs money, and detectors are tried on many thousands of them. Give a copy of the"
            " model on this machine."
        )
    return arranged(setting, target)


def arranged(setting: Setting, target: Target, secret: bytes | None = None) -> Scene:
    """The detectors that suit a target, armed. `secret`: what their hashes are drawn with, where thieves may be watching."""
    victim = observed(target.victim)
    held, unseen = benign_inputs(setting, target)
    owner = target.owner if secret is None else replace(target.owner, secret=secret)
    # the labels of the owner's own natural inputs are not those of other inputs
    mine = owner if setting.benign is None else replace(owner, natural=held, natural_truth=None)
    armed, left_out = armed_each(setting, victim, mine)
    repeats = [watch for watch in armed.values() if isinstance(watch, RepeatsWatch)]
    left = left_of(mine, setting.seed)
    return Scene(
        setting,
        replace(target, victim=victim, owner=mine),
        Benign.of(victim, left),
        Benign.of(victim, unseen),
        {text: watch for text, watch in armed.items() if not isinstance(watch, RepeatsWatch)},
        frozenset(text for text in setting.detectors if text.partition(":")[0] in EVIDENCE),
        repeats[0] if repeats else None,
        left_out,
    )


def armed_each(setting: Setting, victim: Model, owner: Owner) -> tuple[dict[str, Watch], dict[str, Unsuited]]:
    """The detectors that suit this victim, armed, and what the others lack."""
    armed: dict[str, Watch] = {}
    left_out: dict[str, Unsuited] = {}
    for text in setting.detectors:
        try:
            armed[text] = parse_detector(text).arm(victim, owner, setting.seed)
        except Unsuited as error:
            left_out[text] = error
    return armed, left_out


def left_of(owner: Owner, seed: int) -> Batch:
    """The natural inputs that no detector's reference is made of."""
    rest, _ = parted("calibration", owner, seed)
    assert rest.natural is not None
    return rest.natural


def benign_inputs(setting: Setting, target: Target) -> tuple[Tensor, Tensor]:
    """What the owner holds, and what clients send."""
    if setting.benign is None:
        if target.owner.natural is None:
            raise BadConfig(
                f"{target.name} has no natural inputs, inputs like a user's that the victim was not trained on. Give some:"
                " --benign FILE, or data.natural in the target file."
            )
        return target.owner.natural, target.test.x
    given = beside("--benign", setting.benign, Path(), target).x
    known = set(row_keys(target.owner.x))
    new = torch.tensor([key not in known for key in row_keys(given)])
    x = given[new]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(setting.seed))
    if len(x) < 2 * max(20, setting.looks[0]):
        raise BadConfig(
            f"--benign: {len(given):,} inputs, of which the victim was not trained on {len(x):,}; at least"
            f" {2 * max(20, setting.looks[0])} are needed."
        )
    return x[order[: len(x) // 2]], x[order[len(x) // 2 :]]


def calibrated(here: Scene, folder: Path, say: Say) -> dict[str, Limits]:
    """The limits of every detector that may alarm, from the folder if they are there. `say` is told what is being done."""
    path = folder / LIMITS
    if path.exists():
        try:
            return load_limits(path, here.purpose)
        except BadConfig:  # of an earlier setting: made anew
            path.unlink()
    setting = here.setting
    limits: dict[str, Limits] = {}
    for name, alpha in shared(setting.alpha, here.alarming).items():
        say(f"calibrating {name}")
        limits[name] = limits_from_inputs(
            here.watches[name], here.benign, alpha, setting.seed, setting.looks, others=here.unseen
        )
    save_limits(path, here.purpose, limits)
    return limits


@functools.cache
def staged(setting: Setting, folder: Path) -> tuple[Scene, Lookout]:
    """The scene and its lookout, once in every process; the limits must be in the folder."""
    here = scene(setting)
    return here, here.lookout(load_limits(folder / LIMITS, here.purpose))

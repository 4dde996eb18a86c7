"""What watches a gateway's clients: detectors armed on what is served, and the limits at which they raise alarms."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gamekeeper.detectors.calibrate import Benign
from gamekeeper.detectors.features import assembled, observed
from gamekeeper.detectors.limits import Backing, Limits
from gamekeeper.detectors.limits_file import load_limits, save_limits
from gamekeeper.detectors.lookout import Lookout, Post
from gamekeeper.detectors.repeats import RepeatsWatch, drawn_from
from gamekeeper.engine.gateway.folder import GatewayFolder
from gamekeeper.engine.gateway.upstream import upstream
from gamekeeper.engine.replay_panel import WHERE_NOTHING, calibration
from gamekeeper.engine.replay_scores import Silent
from gamekeeper.engine.scene import Say, Scene, Setting, armed_each, arranged
from gamekeeper.errors import BadConfig
from gamekeeper.methods import EVIDENCE
from gamekeeper.targets.choice import Choice
from gamekeeper.targets.target import Target
from gamekeeper.types import Batch, Model, Reply, Task

NO_INPUTS = (
    "there are no natural inputs to set its limits with. Give data.natural in the target file, or let it watch for some weeks"
    " and calibrate: gamekeeper calibrate --journal FOLDER"
)
NO_LIMITS = (
    "there are no limits for it in {}. It watches and raises no alarm; calibrate: gamekeeper calibrate --journal FOLDER"
)


@dataclass(frozen=True, eq=False)
class InBatches:
    """A model that is asked at most `most` inputs at a time."""

    model: Model
    most: int

    @property
    def task(self) -> Task:
        return self.model.task

    def __call__(self, x: Batch, /) -> Reply:
        return assembled(self.model, [self.model(part) for part in x.split(self.most)])


@dataclass(frozen=True, eq=False)
class Watching:
    """One lookout and what stands behind it.

    limits    of the detectors that raise alarms
    silent    detectors that watch but raise none, and why; their scores are written down for the next calibration
    left_out  detectors that the target does not suit, and why
    fresh     whether the limits were made now
    """

    lookout: Lookout
    limits: Mapping[str, Limits]
    silent: Mapping[str, str]
    left_out: Mapping[str, str]
    fresh: bool


def gateway_scene(folder: GatewayFolder, secret: bytes | None = None) -> Scene:
    """The target of a gateway, with the detectors that suit it, armed. Raises BadConfig.

    A target behind HTTP is an upstream: whose answers they are, and that they cost nobody money, is the owner's word.
    """
    config = folder.config
    setting = Setting(Choice(folder.target), tuple(config.detectors), config.alpha)
    target = setting.target.load()
    if target.remote:
        target = replace(target, victim=InBatches(upstream(target.victim), target.batch))
    return arranged(setting, target, secret) if target.owner.natural is not None else bare(setting, target, secret)


def bare(setting: Setting, target: Target, secret: bytes | None) -> Scene:
    """The same without natural inputs: nothing can be calibrated before real clients have come."""
    victim = observed(target.victim)
    owner = target.owner if secret is None else replace(target.owner, secret=secret)
    armed, left_out = armed_each(setting, victim, owner)
    nothing = Benign(victim, target.test.x[:0], Reply(torch.empty(0, victim.task.classes)))
    repeats = [watch for watch in armed.values() if isinstance(watch, RepeatsWatch)]
    return Scene(
        setting,
        replace(target, victim=victim, owner=owner),
        nothing,
        nothing,
        {text: watch for text, watch in armed.items() if not isinstance(watch, RepeatsWatch)},
        frozenset(text for text in setting.detectors if text.partition(":")[0] in EVIDENCE),
        repeats[0] if repeats else None,
        left_out,
    )


def watching(here: Scene, path: Path, say: Say) -> Watching:
    """A lookout with the limits in a file, which is made if there is none. Raises BadConfig for limits of something else.

    say  is told what is being done
    """
    silent: dict[str, str] = {}
    fresh = not path.exists()
    if not fresh:
        limits = {name: each for name, each in limits_of(path, here).items() if name in here.alarming}
    elif len(here.benign) == 0:
        limits, silent = {}, dict.fromkeys(here.alarming, NO_INPUTS)
    else:
        made_now = calibration(here, say)
        limits, silent = dict(made_now.limits), dict(made_now.left_out)
        save_limits(path, here.basis, limits)
    silent |= {name: NO_LIMITS.format(path) for name in here.alarming if name not in limits and name not in silent}
    mute = Limits(Silent(here.setting.looks), 0.0, Backing("clients", 0, 0))
    posts = {
        name: Post(watch, None if name in here.evidence else limits.get(name, mute))
        for name, watch in here.watches.items()
    }
    lookout = Lookout(here.target.victim, posts, here.repeats or exact_repeats(here))
    return Watching(lookout, limits, silent, {name: str(error) for name, error in here.left_out.items()}, fresh)


def limits_of(path: Path, here: Scene) -> Mapping[str, Limits]:
    """The limits in a file. Raises BadConfig for those of something else: what they promise does not hold here."""
    try:
        return load_limits(path, here.basis)
    except BadConfig as error:
        raise BadConfig(
            f"{error} For a gateway that is: gamekeeper calibrate --journal FOLDER, or move the file away, and limits are made"
            " from natural inputs at the next start."
        ) from None


def exact_repeats(here: Scene) -> RepeatsWatch:
    """What hides exact repeats from the other detectors where `repeats` is not among them."""
    return replace(WHERE_NOTHING, key=drawn_from(here.target.owner.secret))

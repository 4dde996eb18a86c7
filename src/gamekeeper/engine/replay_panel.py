"""The panel of a replay: detectors armed on a target and given limits, and why others are left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from gamekeeper.detectors.calibrate import limits_from_inputs
from gamekeeper.detectors.limits import Limits, shared
from gamekeeper.detectors.limits_file import load_limits, save_limits
from gamekeeper.detectors.links import Linking, Links
from gamekeeper.detectors.repeats import RepeatsWatch
from gamekeeper.detectors.warning import ExtractionWarning, Learnt
from gamekeeper.engine.replay import Panel
from gamekeeper.engine.scene import LIMITS, Say, Scene
from gamekeeper.errors import BadConfig, Unsuited

NO_TARGET = "no --target was given, whose features, answers and natural inputs it needs"
WHERE_NOTHING = RepeatsWatch(0.0, 500, 100_000)
"""Without a target: exact repeats only, since nobody knows how near inputs must be to be nearly the same."""


def bare_panel(detectors: tuple[str, ...]) -> Panel:
    """Volume and exact repeats, which need no target."""
    missing = {name: NO_TARGET for name in detectors if name.partition(":")[0] != "repeats"}
    also = {"learnt": NO_TARGET, "linked accounts": NO_TARGET}
    return Panel(None, WHERE_NOTHING, left_out=missing | also)


def panel(here: Scene, limits: Mapping[str, Limits], left_out: Mapping[str, str]) -> Panel:
    """All detectors of a scene; those that may raise alarms and have no limits are left out."""
    missing = {name: str(error) for name, error in here.left_out.items()} | dict(left_out)
    posts = {name: watch for name, watch in here.watches.items() if name in limits or name in here.evidence}
    for name in here.watches:
        if name not in posts:
            missing.setdefault(name, "there are no limits for it. Calibrate it: gamekeeper calibrate.")
    learnt, links = learning(here, missing), linking(here, missing)
    chosen = Scene(
        here.setting, here.target, here.benign, here.unseen, posts, here.evidence, here.repeats or WHERE_NOTHING
    )
    lookout = chosen.lookout(limits)
    assert lookout.repeats is not None
    return Panel(lookout, lookout.repeats, learnt, links, missing)


def learning(here: Scene, missing: dict[str, str]) -> Learnt | None:
    """The meter of what clients have learnt, which only looks when it is asked."""
    try:
        armed = ExtractionWarning(looks=()).arm(here.target.victim, here.target.owner, here.setting.seed)
    except Unsuited as error:
        missing["learnt"] = str(error)
        return None
    return armed


def linking(here: Scene, missing: dict[str, str]) -> Links | None:
    try:
        return Linking().arm(here.target.owner, here.setting.seed)
    except Unsuited as error:
        missing["linked accounts"] = str(error)
        return None


@dataclass(frozen=True, eq=False)
class Calibration:
    """Limits of the detectors for which there are enough inputs, and what the others lack."""

    limits: Mapping[str, Limits]
    left_out: Mapping[str, str]


def calibration(here: Scene, say: Say) -> Calibration:
    """Limits from the benign inputs of a scene. `say` is told what is being done."""
    limits: dict[str, Limits] = {}
    left_out: dict[str, str] = {}
    setting = here.setting
    for name, alpha in shared(setting.alpha, here.alarming).items():
        say(f"calibrating {name}")
        try:
            limits[name] = limits_from_inputs(
                here.watches[name], here.benign, alpha, setting.seed, setting.looks, others=here.unseen
            )
        except Unsuited as error:
            left_out[name] = str(error)
    return Calibration(limits, left_out)


def calibrated_in(folder: Path, here: Scene, say: Say) -> Calibration:
    """The same, from the folder if it was done there before."""
    path = folder / LIMITS
    if path.exists():
        try:
            return Calibration(load_limits(path, here.purpose), {})
        except BadConfig:  # of an earlier setting: made anew
            path.unlink()
    fresh = calibration(here, say)
    if not fresh.left_out:
        save_limits(path, here.purpose, fresh.limits)
    return fresh


def detectors_in(path: Path) -> tuple[str, ...]:
    """The names of the detectors that a file has limits for. Raises BadConfig."""
    try:
        return tuple(orjson.loads(path.read_bytes())["limits"])
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BadConfig(f"{path} does not hold limits ({error!r}). Make some: gamekeeper calibrate.") from None

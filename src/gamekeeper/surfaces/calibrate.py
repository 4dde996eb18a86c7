"""`gamekeeper calibrate`: limits of detectors from benign inputs or from clients believed honest, and what backs them."""

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from rich.console import Console

from gamekeeper.detectors.calibrate import Benign, Counting, limits_at_looks, limits_of_counts
from gamekeeper.detectors.limits import Limits, shared, upper_bound
from gamekeeper.detectors.limits_file import save_limits
from gamekeeper.engine.replay_panel import Calibration, calibration
from gamekeeper.engine.replay_scores import ClientScores, scores_of_clients
from gamekeeper.engine.scene import Scene, Setting, partial_scene
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.logs.mapping import load_mapping
from gamekeeper.logs.reading import events
from gamekeeper.replay_files import ReplayFiles, accounts, dismissed
from gamekeeper.surfaces.detect import backed
from gamekeeper.surfaces.report.words import plain
from gamekeeper.targets.load import beside


@dataclass(frozen=True)
class HonestLog:
    """A log of clients who are believed to be honest.

    replay  folder of a replay of this log: of the clients with an alarm in it, those whose alarms were all dismissed count as
            honest; None: everybody does
    """

    log: Path
    mapping: str
    replay: Path | None


def run_calibrate(setting: Setting, honest: HonestLog | None, out: Path, json: bool) -> int:
    """Writes the limits and prints what backs them. Raises Unsuited if no detector can be calibrated."""
    console = Console(highlight=False, stderr=json)
    with console.status("arming the detectors") as status:

        def say(doing: str) -> None:
            status.update(f"{doing} …")

        here = partial_scene(setting)
        notes: list[str] = [] if setting.benign is None else order(setting.benign, here)
        if honest is None:
            limits = calibration(here, say)
        else:
            say("reading the log")
            limits = calibration_from(honest, here, notes)
    missing = {name: str(error) for name, error in here.left_out.items()} | dict(limits.left_out)
    if not limits.limits:
        raise Unsuited("; ".join(f"{name}: {reason}" for name, reason in missing.items()) or "there is no detector.")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_limits(out, here.basis, limits.limits)
    conclude(out, limits.limits, missing, notes, json)
    return 0


def calibration_from(honest: HonestLog, here: Scene, notes: list[str]) -> Calibration:
    """Limits from the clients of a log, with what should be known of them."""
    left_out = doubtful(honest.replay)
    target = here.target
    reading = events(
        honest.log, load_mapping(honest.mapping), target.box, target.victim.task.classes, target.schema.names
    )
    seen = scores_of_clients(here, reading, left_out)
    notes.append(
        f"{seen.clients:,} clients of {honest.log.name} are believed honest; {seen.others:,} more asked too little to be"
        f" judged, and {len(left_out):,} {'was' if len(left_out) == 1 else 'were'} left out because of an alarm that nobody"
        " dismissed."
    )
    notes += reading.tally.sentences()
    return limits_of_clients(here, seen)


def limits_of_clients(here: Scene, seen: ClientScores) -> Calibration:
    """Limits that rest on clients who are believed honest."""
    limits: dict[str, Limits] = {}
    missing: dict[str, str] = {}
    for name, alpha in shared(here.setting.alpha, here.alarming).items():
        try:
            limits_from = limits_of_counts if isinstance(here.watches[name], Counting) else limits_at_looks
            limits[name] = limits_from(seen.scores[name], alpha, here.setting.looks)
        except Unsuited as error:
            missing[name] = str(error)
    return Calibration(limits, missing)


def doubtful(replay: Path | None) -> set[str]:
    """Clients with an alarm that is open or confirmed."""
    if replay is None:
        return set()
    files = ReplayFiles(replay)
    files.header()
    return {name for alarm in files.alarms() for name in accounts(alarm)} - dismissed(replay)


def order(benign: str, here: Scene) -> list[str]:
    """Whether the inputs stand by class, as no client sends them."""
    given = Benign.of(here.target.victim, beside("--benign", benign, Path(), here.target).x)
    if not given.by_class:
        return []
    return [
        f"The inputs in {benign} stand by class, as no client sends them. They were shuffled; make sure that the file was not"
        " cut off behind some of the classes."
    ]


def conclude(out: Path, limits: Mapping[str, Limits], missing: Mapping[str, str], notes: list[str], json: bool) -> None:
    if json:
        whole = {
            "limits": {
                name: {"alpha": each.alpha, "bound": each.backing.bound(), **asdict(each.backing)}
                for name, each in limits.items()
            },
            "left_out": dict(missing),
            "notes": notes,
            "file": str(out),
        }
        sys.stdout.write(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console(highlight=False)
    backing = [backed(name, each) for name, each in limits.items()]
    left_out = [f"{name} has no limits: {reason}" for name, reason in missing.items()]
    for line in [*backing, promise(limits), *left_out, *notes, f"limits: {plain(str(out))}"]:
        console.print(line, soft_wrap=True, markup=False)


def promise(limits: Mapping[str, Limits]) -> str:
    """How many quiet clients would back what all these limits aim at together, and what those at hand do."""
    alpha = sum(each.alpha for each in limits.values())
    clients = min(each.backing.clients for each in limits.values())
    return (
        f"Alarms at {one_in(alpha)} clients are backed from {needed(alpha):,} quiet clients on; you have {clients:,}: today's"
        f" bound is {1_000 * upper_bound(0, clients):.3g} in 1,000."
    )


def needed(alpha: float, confidence: float = 0.95) -> int:
    """How many clients without any alarm show, at this confidence, that at most a share alpha of all alarm."""
    return 1 if alpha >= 1 else math.ceil(math.log(1 - confidence) / math.log(1 - alpha))


def one_in(alpha: float) -> str:
    return f"1 in {1 / alpha:,.0f}"


def checked(log: Path | None, mapping: str | None, replay: Path | None) -> HonestLog | None:
    """The log, if one was given with its mapping. Raises BadConfig for one without the other."""
    if log is None and (mapping is not None or replay is not None):
        raise BadConfig("--mapping and --replay are of a log. Name it with --log.")
    if log is None:
        return None
    if mapping is None:
        raise BadConfig("a log needs a mapping: --mapping kserve, databricks, or a TOML file (docs/logs.md).")
    return HonestLog(log, mapping, replay)

"""What detectors say of the clients of a log who are believed to be honest: the scores that limits are made of."""

import math
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from gamekeeper.detectors.features import taken
from gamekeeper.detectors.limits import Backing, Limits
from gamekeeper.detectors.lookout import STANDING, Looked, Standing
from gamekeeper.engine.replay import RECORD, Panel, Replay
from gamekeeper.engine.replay_client import Record
from gamekeeper.engine.replay_events import parts, printable
from gamekeeper.engine.replay_panel import WHERE_NOTHING
from gamekeeper.engine.scene import Scene
from gamekeeper.errors import Unsuited
from gamekeeper.logs.event import Event
from gamekeeper.logs.reading import Reading
from gamekeeper.service.clients_file import SpilledClients
from gamekeeper.service.memory import Memories

AT_LOOKS = "at looks"


@dataclass(frozen=True)
class Silent:
    """A null for which nothing is suspicious: detectors look as often as they would, and no alarm is raised."""

    looks: tuple[int, ...]

    def p(self, look: int, score: float) -> float:
        return 1.0


@dataclass
class AtLooks:
    """Of one client: each detector's score at each look of the first window, (d, looks); NaN where there was none."""

    scores: Tensor = field(default_factory=lambda: torch.zeros(0, 0))


@dataclass(frozen=True, eq=False)
class ClientScores:
    """What detectors say of many clients.

    clients, others  how many came as far as the first look, and how many did not
    scores           of each detector, of those clients, at each look
    """

    clients: int
    others: int
    scores: Mapping[str, Float[Tensor, "clients looks"]]


def silent(here: Scene) -> Panel:
    """The detectors that may raise alarms, all silent. Raises Unsuited where there is none."""
    if not here.alarming:
        raise Unsuited("none of these detectors raises alarms, so there is nothing to calibrate. Name another.")
    limits = Limits(Silent(here.setting.looks), 0.0, Backing("clients", 0, 0))
    lookout = here.lookout(dict.fromkeys(here.alarming, limits))
    return Panel(lookout, lookout.repeats or WHERE_NOTHING)


def scores_of_clients(here: Scene, reading: Reading, left_out: Collection[str]) -> ClientScores:
    """Reads a log: what every detector says of each of its clients. `left_out` are names of those who may be thieves.

    Raises Unsuited if nobody in the log came as far as the first look.
    """
    watched, looks = silent(here), here.setting.looks
    with closing(sqlite3.connect("")) as db:  # a file that SQLite deletes by itself
        kinds = {**watched.kinds(), AT_LOOKS: AtLooks}
        clients = SpilledClients(db, kinds, lambda memories: (0.0, 0.0))
        replay = Replay(watched, clients)
        for part in parts(reading):
            note(replay, [event for event in part if printable(event.client) not in left_out], looks)
        seen = [clients.read(name) for name in clients]
    reached = [each[AT_LOOKS].scores for each in seen if new_queries(each) >= looks[0]]
    if not reached:
        raise Unsuited(
            f"none of the {len(seen):,} clients of {reading.path} came as far as the first look, {looks[0]} new queries with"
            " inputs. Give a longer log."
        )
    whole = torch.stack(reached)
    names = list(watched.names)
    return ClientScores(
        len(reached), len(seen) - len(reached), {name: whole[:, names.index(name)] for name in here.alarming}
    )


def new_queries(memories: Memories) -> int:
    standing: Standing = memories[STANDING]
    return standing.before + standing.seen


def note(replay: Replay, part: Sequence[Event], looks: tuple[int, ...]) -> None:
    """Shows a part of the log to the detectors, and notes what they say at looks."""
    answers = replay.answers(part)
    places: dict[str, list[int]] = {}
    for place, event in enumerate(part):
        if answers is not None and event.inputs is not None:
            places.setdefault(printable(event.client), []).append(place)
    lookout = replay.panel.lookout
    assert lookout is not None
    for client, mine in places.items():
        assert answers is not None
        rows = torch.cat([answers.rows[place] for place in mine])
        with replay.clients.hold(client) as memories:
            memories.setdefault(RECORD, Record())
            standing: Standing = memories.get(STANDING) or lookout.fresh()
            seen = standing.before + standing.seen
            clean = taken(lookout.victim, answers.clean, rows)
            remember(memories, replay.panel, lookout.looked(answers.x[rows], clean, math.nan, memories), seen, looks)


def remember(memories: Memories, watched: Panel, looked: Looked, seen: int, looks: tuple[int, ...]) -> None:
    """The scores at the looks that were passed after `seen` new queries; the last look ends the first window."""
    if AT_LOOKS not in memories:
        memories[AT_LOOKS] = AtLooks(torch.full((len(watched.names), len(looks)), torch.nan, dtype=torch.float64))
    scores: Tensor = memories[AT_LOOKS].scores
    for place, name in enumerate(watched.names):
        if name not in watched.limits:
            continue
        for number, look in enumerate(looks):
            if seen < look <= seen + len(looked.new):
                scores[place, number] = float(looked.scores[name][look - seen - 1])

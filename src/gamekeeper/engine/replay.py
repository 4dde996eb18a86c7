"""A replay: what detectors say of a log, event by event, in bounded memory.

Events come in parts. Inside a part, all inputs go through the victim together, in blocks of one size, so that no answer
depends on what else is in its block; and the events of one client are shown to the detectors together, each still counted
at its own time. So parts change no alarm.

An event is shown to whatever it has enough for: with inputs and answers, to all detectors; with hashes of inputs or inputs
alone, to exact repeats; with neither, it counts for volume and rate.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.detectors.features import ObservedModel, taken
from gamekeeper.detectors.limits import Limits
from gamekeeper.detectors.links import Links
from gamekeeper.detectors.lookout import REPEATS, STANDING, Looked, Lookout, Standing
from gamekeeper.detectors.repeats import RepeatsMemory, RepeatsWatch, clock
from gamekeeper.detectors.warning import Learnt, Seen
from gamekeeper.engine.replay_client import Record, known, last_verdicts, volume
from gamekeeper.engine.replay_events import hashes, one_hot, passed, printable
from gamekeeper.logs.event import Event
from gamekeeper.replay_rows import AlarmRow, ClientRow
from gamekeeper.service.clients_file import Kinds, SpilledClients
from gamekeeper.service.memory import Memories
from gamekeeper.types import Batch, Reply, answered

RECORD, LEARNT = "record", "learnt"


@dataclass(frozen=True, eq=False)
class Panel:
    """What a log is shown to.

    lookout   None: nobody but `repeats`
    learnt    what clients have learnt; None: it cannot be told
    links     accounts that belong together; None: it cannot be told
    left_out  detectors that cannot run, and why
    """

    lookout: Lookout | None
    repeats: RepeatsWatch
    learnt: Learnt | None = None
    links: Links | None = None
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.lookout.posts) if self.lookout is not None else ()

    @property
    def limits(self) -> dict[str, Limits]:
        """Of the detectors that may raise alarms."""
        posts = self.lookout.posts if self.lookout is not None else {}
        return {name: post.limits for name, post in posts.items() if post.limits is not None}

    def kinds(self) -> Kinds:
        """The class of every memory of a client."""
        posts = self.lookout.posts if self.lookout is not None else {}
        own: dict[str, type] = {RECORD: Record, STANDING: Standing, REPEATS: RepeatsMemory, LEARNT: Seen}
        return {**own, **{name: type(post.watch.fresh()) for name, post in posts.items()}}

    def rank(self, memories: Memories) -> tuple[float, float]:
        """By what clients are sorted: how unlikely an honest client is to look so suspicious, then how much they sent."""
        p = self.lookout.p_values(memories) if self.lookout is not None else {}
        return min(p.values(), default=1.0), -float(memories[RECORD].queries)


@dataclass(frozen=True, eq=False)
class Answers:
    """The inputs of a part of the log with the victim's answers, and which rows belong to each event (empty: no answers)."""

    x: Batch
    clean: Reply
    rows: Sequence[Tensor]


@dataclass
class Replay:
    """Shows parts of a log to a panel. Live.

    alias    of accounts that are judged as one client: whose name stands for them; None: every account by itself, all of them
    members  of each such name
    queries, alarmed  inputs of all clients, and how many clients raised an alarm
    first, last  times of the log, in seconds since 1970
    compared, differing  queries whose logged answer was compared with the victim's, and those of another class
    """

    panel: Panel
    clients: SpilledClients
    alias: Mapping[str, str] | None = None
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    queries: int = 0
    alarmed: int = 0
    compared: int = 0
    differing: int = 0
    first: float = math.inf
    last: float = -math.inf

    def show(self, events: Sequence[Event]) -> list[AlarmRow]:
        """The alarms that this part of the log raises, in order."""
        if self.alias is not None:
            events = [event for event in events if printable(event.client) in self.alias]
        timed = [event.at for event in events if math.isfinite(event.at)]
        self.first, self.last = min([self.first, *timed]), max([self.last, *timed])
        answers = self.answers(events)
        places: dict[str, list[int]] = {}
        for place, event in enumerate(events):
            name = printable(event.client)
            places.setdefault(name if self.alias is None else self.alias[name], []).append(place)
        raised: list[tuple[int, AlarmRow]] = []
        for client, mine in places.items():
            with self.clients.hold(client) as memories:
                raised += self._client(client, mine, events, answers, memories)
        return [alarm for _, alarm in sorted(raised, key=lambda pair: pair[0])]

    # answers

    def answers(self, events: Sequence[Event]) -> Answers | None:
        """None where no event has inputs, or nobody is there to look at them."""
        if self.panel.lookout is None:
            return None
        inputs = [event.inputs for event in events if event.inputs is not None]
        if not inputs:
            return None
        x, victim = torch.cat(inputs), self.panel.lookout.victim
        ends = torch.tensor([0 if event.inputs is None else len(event.inputs) for event in events]).cumsum(0)
        starts = ends.roll(1).index_fill(0, torch.tensor([0]), 0)
        rows = [torch.arange(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
        logged = self._logged(events, rows, len(x), victim.task.classes)
        needed = torch.isnan(logged).all(1) | one_hot(logged)
        features = isinstance(victim, ObservedModel) and bool(victim.taps)
        if not features and not bool(needed.any()):
            return Answers(x, Reply(logged.float()), rows)
        own = passed(victim, x)
        self._compare(logged, own.y)
        # a label says less than the victim does; rows that were refused stay without an answer
        unanswered = self._refused(events, rows, len(x))
        y = torch.where(needed[:, None] & ~unanswered[:, None], own.y, logged.to(own.y.dtype))
        reply = Reply(y)
        if isinstance(victim, ObservedModel):
            victim.noted[reply.y] = victim.behind(own)
        return Answers(x, reply, rows)

    def _logged(self, events: Sequence[Event], rows: Sequence[Tensor], n: int, k: int) -> Float[Tensor, "n k"]:
        """The answers of the log; NaN where it has none."""
        y = torch.full((n, k), torch.nan, dtype=torch.float64)
        for event, mine in zip(events, rows, strict=True):
            if event.answers is not None and event.answers.shape == (len(mine), k):
                y[mine] = event.answers.double()
        return y

    def _refused(self, events: Sequence[Event], rows: Sequence[Tensor], n: int) -> Tensor:
        """Inputs that the log says had no answer, although others of their request had."""
        out = torch.zeros(n, dtype=torch.bool)
        for event, mine in zip(events, rows, strict=True):
            if event.answers is not None and len(mine):
                out[mine] = torch.isnan(event.answers).all(1)
        return out

    def _compare(self, logged: Tensor, own: Tensor) -> None:
        known_rows = ~torch.isnan(logged).any(1)
        self.compared += int(known_rows.sum())
        self.differing += int((logged[known_rows].argmax(1) != own[known_rows].argmax(1)).sum())

    # one client

    def _client(
        self, client: str, mine: list[int], events: Sequence[Event], answers: Answers | None, memories: Memories
    ) -> list[tuple[int, AlarmRow]]:
        """Shows a client's events of one part, in order: alarms, each with the place of its event."""
        if REPEATS not in memories:
            memories[REPEATS] = self.panel.repeats.fresh()
            memories[RECORD] = Record()
        before = self._alarmed(memories)
        raised: list[tuple[int, AlarmRow]] = []
        for how, run in groupby(mine, key=lambda place: self.how(events[place], answers)):
            places = list(run)
            if how == "answers":
                assert answers is not None
                raised += self._look(client, places, events, answers, memories)
            else:
                self._count(how, [events[place] for place in places], memories)
        self.queries += sum(events[place].n for place in mine)
        self.alarmed += self._alarmed(memories) and not before
        return raised

    def how(self, event: Event, answers: Answers | None) -> str:
        """What an event has enough for: answers, inputs, hashes or nothing."""
        if event.inputs is not None:
            return "answers" if answers is not None else "inputs"
        return "hashes" if event.hashes else "nothing"

    def _alarmed(self, memories: Memories) -> bool:
        return self.panel.lookout is not None and bool(self.panel.lookout.alarms(memories))

    def _count(self, how: str, run: Sequence[Event], memories: Memories) -> None:
        """Events that no detector can look at."""
        record, repeats = memories[RECORD], memories[REPEATS]
        if how != "nothing":
            queries = repeats.queries
            self.panel.repeats.score_hashes(torch.cat([hashes(event) for event in run]), math.nan, repeats)
            repeats.queries = queries  # the clock counts each event at its own time instead
        for event in run:
            clock(event.n, event.at, repeats)
            if event.inputs is not None:
                record.note(event.inputs)
        times = [event.at for event in run for _ in range(event.n)]
        self._moments(record, times, self._standing_scores(memories).repeat(len(record.due(len(times))), 1))
        record.queries += len(times)

    def _moments(self, record: Record, times: Sequence[float], verdicts: Float[Tensor, "m d"]) -> None:
        """Remembers those of the queries that came at these times which are moments, with the verdicts then."""
        due = record.due(len(times))
        if due:
            record.remember([record.queries + row + 1 for row in due], [times[row] for row in due], verdicts)

    def _standing_scores(self, memories: Memories) -> Float[Tensor, " d"]:
        if STANDING in memories:
            return memories[STANDING].score.clone()
        return torch.full((len(self.panel.names),), torch.nan, dtype=torch.float64)

    def _look(
        self, client: str, places: list[int], events: Sequence[Event], answers: Answers, memories: Memories
    ) -> list[tuple[int, AlarmRow]]:
        lookout = self.panel.lookout
        assert lookout is not None
        rows = torch.cat([answers.rows[place] for place in places])
        whole = len(rows) == len(answers.x)
        x = answers.x if whole else answers.x[rows]
        clean = answers.clean if whole else taken(lookout.victim, answers.clean, rows)
        standing = memories.get(STANDING) or lookout.fresh()
        seen, alarmed = standing.before + standing.seen, standing.alarmed.clone()
        scores = standing.score.clone()
        record, repeats = memories[RECORD], memories[REPEATS]
        queries = repeats.queries
        looked = lookout.looked(x, clean, math.nan, memories)
        repeats.queries = queries  # the clock counts each event at its own time instead
        run = [events[place] for place in places]
        for event in run:
            clock(event.n, event.at, repeats)
        self._learn(client, x, clean, memories)
        record.note(x)
        owners = torch.repeat_interleave(torch.tensor(places), torch.tensor([events[place].n for place in places]))
        verdicts = last_verdicts(looked.scores, looked.rows, record.due(len(x)), scores)
        self._moments(record, [event.at for event in run for _ in range(event.n)], verdicts)
        raised = self._raised(client, seen, alarmed, looked, owners, events, memories)
        record.queries += len(x)
        return raised

    def _learn(self, client: str, x: Batch, clean: Reply, memories: Memories) -> None:
        rows = answered(clean)
        if self.panel.lookout is not None and not bool(rows.all()):
            x, clean = x[rows], taken(self.panel.lookout.victim, clean, rows)
        if not len(x):
            return
        if self.panel.learnt is not None:
            if LEARNT not in memories:
                memories[LEARNT] = self.panel.learnt.fresh()
            self.panel.learnt.score(x, clean, math.nan, memories[LEARNT])
        if self.panel.links is not None and self.alias is None:
            self.panel.links.add(client, x)

    def _raised(
        self,
        client: str,
        seen: int,
        before: Int[Tensor, " d"],
        looked: Looked,
        owners: Int[Tensor, " n"],
        events: Sequence[Event],
        memories: Memories,
    ) -> list[tuple[int, AlarmRow]]:
        """The alarms that are new, of those whose last query before was the `seen`-th new one."""
        raised: list[tuple[int, AlarmRow]] = []
        after = memories[STANDING].alarmed.tolist()
        for name, query, old in zip(self.panel.names, after, before.tolist(), strict=True):
            if query and not old:
                row = int(looked.new[query - seen - 1])
                score = float(looked.scores[name][query - seen - 1])
                place = int(owners[row])
                raised.append((place, self._alarm(client, name, query, score, row, events[place].at, memories)))
        return raised

    def _alarm(
        self, client: str, name: str, query: int, score: float, row: int, at: float, memories: Memories
    ) -> AlarmRow:
        limits, record = self.panel.limits[name], memories[RECORD]
        assert self.panel.lookout is not None
        looks = limits.null.looks
        look = looks.index((query - 1) % self.panel.lookout.window + 1)
        members = self.members.get(client, ())
        whole = {**volume(memories[REPEATS]), "queries": record.queries + row + 1}
        return AlarmRow(
            identity(client, name, members),
            client,
            name,
            query,
            limits.null.p(look, score),
            score,
            limits.alpha,
            backed(limits),
            at=known(at),
            learnt=self.learnt(memories),
            inputs=record.statistics,
            members=members,
            **columns(whole),
        )

    def learnt(self, memories: Memories) -> float | None:
        """What a client, or several judged as one, have learnt; None if it cannot be told."""
        if self.panel.learnt is None or LEARNT not in memories:
            return None
        return self.panel.learnt.status(memories[LEARNT])

    def row(self, client: str, linked: tuple[str, ...], learnt: bool) -> ClientRow:
        """What is known of a client; `learnt`: whether to compute that, which takes a moment."""
        memories = self.clients.read(client)
        record, repeats = memories[RECORD], memories[REPEATS]
        lookout, standing = self.panel.lookout, memories.get(STANDING)
        new = repeats.compared - repeats.exact - repeats.near if standing is None else standing.before + standing.seen
        history = record.history(self.panel.names)
        return ClientRow(
            client,
            new=new,
            first=known(repeats.first),
            last=known(repeats.last),
            busiest=repeats.busiest or None,
            p={} if lookout is None or standing is None else lookout.p_values(memories),
            alarmed={} if lookout is None else lookout.alarms(memories),
            learnt=self.learnt(memories) if learnt else None,
            linked=linked,
            inputs=record.statistics,
            history=history,
            **columns(volume(repeats)),
        )


# small parts


def columns(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(values)


def identity(client: str, detector: str, members: tuple[str, ...]) -> str:
    """Of an alarm: the same whenever the same log is replayed."""
    whole = "\0".join(["group", *members, detector] if members else [client, detector])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def backed(limits: Limits) -> str:
    """What limits rest on, in words."""
    held = limits.backing
    what = f"{held.clients:,} honest clients" if held.kind == "clients" else f"{held.inputs:,} benign inputs"
    return (
        f"{held.kind}: {what}; {held.alarmed} of {held.clients:,} alarmed, which excludes more than"
        f" {held.bound():.3g} false alarms per 1,000 clients"
    )

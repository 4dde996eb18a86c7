"""Runs a replay in its folder: two passes over a log at most, resumable, and the files that come of it.

The first pass shows every account by itself. If accounts are linked, the second one judges those that belong together as
one client.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from gamekeeper.engine.replay import Panel, Replay, backed
from gamekeeper.engine.replay_client import known
from gamekeeper.engine.replay_events import parts
from gamekeeper.engine.replay_file import NAME, ReplayFile, replay_file
from gamekeeper.logs.event import Event, position
from gamekeeper.logs.mapping import Mapping as LogMapping
from gamekeeper.logs.reading import Reading, events
from gamekeeper.logs.tally import Tally
from gamekeeper.replay_files import ReplayFiles
from gamekeeper.replay_rows import ClientRow, ReplayHeader
from gamekeeper.service.clients_file import SpilledClients
from gamekeeper.types import Domain
from gamekeeper.version import __version__

FORMAT = "0.2.0"
EVERY = 10
"""Parts of the log between commits."""
LEARNT = 100
"""Of so many clients without an alarm, those at the top, it is computed what they have learnt."""
MOST, ROOM = 5_000, 2**30
"""Clients, and bytes of what is remembered of them, in this process; the others are in the file."""
EVIDENCE = "evidence"
COUNTS = ("queries", "alarmed", "compared", "differing", "first", "last")
Progress = Callable[[str, int, int], None]
"""What is being read, bytes read, and bytes in all."""


@dataclass(frozen=True, eq=False)
class Job:
    """What is replayed.

    log, mapping, text  the log, its mapping, and the name or file of that
    domain, classes, labels  of the target, `labels` being what its classes are called; None without one
    target, digest  its name and digest; "" without one
    alpha           false alarms per client that limits aim at, of all detectors together
    top             most clients that get a line
    command         how the replay was called
    """

    log: Path
    mapping: LogMapping
    text: str
    domain: Domain | None
    classes: int | None
    labels: tuple[str, ...]
    target: str
    digest: str
    alpha: float
    top: int
    command: str = ""

    def purpose(self, panel: Panel) -> str:
        """A digest of all that the result depends on, but for the content of the log."""
        limits = {name: repr(each) for name, each in panel.limits.items()}
        mapping = self.mapping.model_dump_json()
        how = (str(self.log.absolute()), mapping, self.digest, self.top, panel.names, limits, panel.repeats)
        return hashlib.sha256(f"{FORMAT} {__version__} {how}".encode()).hexdigest()

    def reading(self, since: str | None = None, earlier: Tally | None = None) -> Reading:
        start = None if since is None else position(since)
        return events(self.log, self.mapping, self.domain, self.classes, self.labels, since=start, earlier=earlier)


@dataclass
class Pass:
    """One pass over the log, and how far it has come. Live."""

    job: Job
    replay: Replay
    file: ReplayFile
    name: str
    past: int = 0
    sentences: tuple[str, ...] = ()

    def run(self, progress: Progress, every: int = EVERY) -> None:
        """Goes on from where the file says. Commits after every so many parts, and at the end."""
        reading = self._resumed()
        for number, part in enumerate(parts(self._new(reading)), 1):
            self.file.add(self.replay.show(part))
            self.past += len(part)
            progress(self.name, *reading.progress)
            if number % every == 0:
                self._save(part[-1], reading.tally)
        self.sentences = tuple(reading.tally.sentences())
        self._save(None, reading.tally)

    @property
    def over(self) -> bool:
        """Whether the file says that this pass has ended. Takes its counts from there."""
        state = self._state()
        if state is None or not state["over"]:
            return False
        self._take(state)
        return True

    def _state(self) -> dict[str, object] | None:
        stored = self.file.get(self.name)
        return None if stored is None else json.loads(stored)

    def _take(self, state: dict[str, object]) -> None:
        counts: dict[str, float] = json.loads(str(state["counts"]))
        for name, value in counts.items():
            setattr(self.replay, name, value)
        self.past = int(str(state["past"]))
        self.sentences = tuple(json.loads(str(state["sentences"])))

    def _resumed(self) -> Reading:
        """The log from where the last part that was committed ends.

        Lines that are joined two by two are read again from the beginning, since where a pair lies depends on others.
        """
        state = self._state()
        if state is None:
            return self.job.reading()
        self._take(state)
        links = self.file.get(f"{self.name} links")
        if links is not None and self.replay.panel.links is not None:
            self.replay.panel.links.restore(links)
        if self.job.mapping.join is not None:
            return self.job.reading()
        return self.job.reading(str(state["position"]), Tally.restored(str(state["tally"])))

    def _new(self, reading: Reading) -> Iterator[Event]:
        again: Iterable[Event] = reading
        return islice(again, self.past if reading.since is None else 0, None)

    def _save(self, last: Event | None, tally: Tally) -> None:
        replay = self.replay
        state = {
            "over": last is None,
            "position": str(last.position) if last else "",
            "past": self.past,
            "tally": tally.saved(),
            "counts": json.dumps({name: getattr(replay, name) for name in COUNTS}),
            "sentences": json.dumps(self.sentences),
        }
        replay.clients.store()
        self.file.put(self.name, json.dumps(state).encode())
        if replay.panel.links is not None and replay.alias is None:
            self.file.put(f"{self.name} links", replay.panel.links.saved())
        self.file.commit()


def run_replay(job: Job, panel: Panel, folder: Path, progress: Progress, every: int = EVERY) -> ReplayHeader:
    """Replays a log in a folder that is the caller's alone, and writes the files. Goes on where it was interrupted."""
    with replay_file(folder / NAME, job.purpose(panel)) as file:
        first = Pass(job, Replay(panel, clients(file, panel, "accounts")), file, "accounts")
        if not first.over:
            first.run(progress, every)
        groups = panel_groups(panel, file)
        if groups:
            linked = Pass(job, group_replay(panel, file, groups), file, "linked accounts")
            if not linked.over:
                linked.run(progress, every)
        header = finish(job, panel, first, groups, file, folder)
        file.delete()
    return header


def clients(file: ReplayFile, panel: Panel, among: str) -> SpilledClients:
    return SpilledClients(file.db, panel.kinds(), panel.rank, among, MOST, ROOM)


def panel_groups(panel: Panel, file: ReplayFile) -> list[tuple[str, ...]]:
    """The accounts that are linked after the first pass."""
    stored = file.get("accounts links")
    if panel.links is None or stored is None:
        return []
    panel.links.restore(stored)
    return [tuple(sorted(group)) for group in panel.links.groups()]


def group_replay(panel: Panel, file: ReplayFile, groups: Sequence[tuple[str, ...]]) -> Replay:
    """A replay of linked accounts, each group as one client under its first name."""
    alias = {name: group[0] for group in groups for name in group}
    members = {group[0]: group for group in groups}
    return Replay(panel, clients(file, panel, "linked accounts"), alias, members)


def finish(
    job: Job, panel: Panel, done: Pass, groups: Sequence[tuple[str, ...]], file: ReplayFile, folder: Path
) -> ReplayHeader:
    """Writes the files: aside, then renamed."""
    alarms = file.alarms()
    others = {name: tuple(each for each in group if each != name) for group in groups for name in group}
    rows = list(top(job, done.replay, others))
    header = heading(job, panel, done, groups)
    ReplayFiles(folder).write(header, rows, alarms)
    return header


def top(job: Job, replay: Replay, linked: dict[str, tuple[str, ...]]) -> Iterator[ClientRow]:
    """The most suspicious clients."""
    for place, name in enumerate(replay.clients.sorted(job.top)):
        row = replay.row(name, linked.get(name, ()), learnt=False)
        if place < LEARNT or row.alarmed:
            row = replace(row, learnt=replay.learnt(replay.clients.read(name)))
        yield row


def heading(job: Job, panel: Panel, done: Pass, groups: Sequence[tuple[str, ...]]) -> ReplayHeader:
    replay = done.replay
    limits = panel.limits
    ran = {name: backed(limits[name]) if name in limits else EVIDENCE for name in panel.names}
    return ReplayHeader(
        __version__,
        datetime.now(UTC).strftime("%Y-%m-%d"),
        job.log.name,
        job.text,
        job.target,
        job.digest,
        len(replay.clients),
        replay.queries,
        replay.alarmed,
        job.alpha,
        known(replay.first),
        known(replay.last),
        {"repeats": EVIDENCE, **ran},
        dict(panel.left_out),
        (*done.sentences, *differing(replay)),
        tuple(groups),
        job.command,
    )


def differing(replay: Replay) -> list[str]:
    """Whether the log's answers are the model's."""
    if not replay.differing:
        return []
    share = replay.differing / replay.compared
    return [
        f"The target gives another class than the log for {replay.differing:,} of {replay.compared:,} answers ({share:.1%})."
        " Is it the model that answered then, with its inputs in the same units?"
    ]

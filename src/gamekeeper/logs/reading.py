"""Reads a log: files and a mapping in, events out, one at a time and in the order of the files.

Source      none
Assumes     the files do not change while they are read, but for lines that are added at the end of the last
Keeps       one record, or the window of `joining.py`; nothing for each client
"""

import copy
import fnmatch
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from gamekeeper.errors import BadConfig
from gamekeeper.logs.answers import AnswerReader
from gamekeeper.logs.event import Event, Position, Record, Unreadable, Unusable, bounded, shown
from gamekeeper.logs.inputs import InputReader
from gamekeeper.logs.joining import Joining
from gamekeeper.logs.lines import LINE_LIMIT, LogFile, log_files, opened
from gamekeeper.logs.mapping import Mapping
from gamekeeper.logs.paths import MISSING, FieldPath, at_path, field_path, first
from gamekeeper.logs.records import COMBINED, Format, records
from gamekeeper.logs.tally import Tally, noted
from gamekeeper.logs.times import Clock
from gamekeeper.types import Domain

SAMPLE = 1000
"""Records from which on a share of them is judged while a log is read."""


@dataclass(frozen=True)
class Tolerance:
    """What a log may be like before reading it is given up.

    line        bytes of its longest line; a longer one is skipped
    unreadable  share of its records that cannot be read
    back        seconds that its clock may go back inside a file
    """

    line: int = LINE_LIMIT
    unreadable: float = 0.1
    back: float = 86_400.0


@dataclass
class Reading:
    """The events of a log: iterate over it. Every iteration reads the log again.

    tally     what has been read and what was skipped, and why, so far
    progress  bytes read of the files on disk, and bytes in all
    """

    path: Path
    mapping: Mapping
    domain: Domain | None
    classes: int | None
    names: tuple[str, ...]
    since: Position | None
    tolerance: Tolerance
    earlier: Tally | None = None
    tally: Tally = field(init=False)
    _files: list[Path] = field(init=False)
    _sizes: list[int] = field(init=False)
    _first: int = field(init=False, default=0)
    _place: int = field(init=False, default=0)
    _file: LogFile | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._files = log_files(self.path)
        self._sizes = [file.stat().st_size for file in self._files]
        self.tally = self._start()
        if self.since is not None:
            names = [file.name for file in self._files]
            if self.since.file not in names:
                raise BadConfig(
                    f"{self.path} has no file {shown(self.since.file)} to go on in. Read it from its beginning."
                )
            self._first = self._place = names.index(self.since.file)

    def __iter__(self) -> Iterator[Event]:
        self.tally = self._start()
        reader = EventReader.of(self)
        lines = self._records()
        if self.mapping.join is not None:
            self.tally.joining = Joining(self.mapping.join, self.since.past if self.since else 0)
            lines = self.tally.joining.join(lines)
        for record in lines:
            event = self._event(reader, record)
            if event is not None:
                yield event
        # the few lines that came after a position are no sample of the log
        self.tally.check(self.tolerance.unreadable, least=1 if self.since is None else SAMPLE)

    def _start(self) -> Tally:
        return (
            Tally(str(self.path), Clock(self.tolerance.back)) if self.earlier is None else copy.deepcopy(self.earlier)
        )

    @property
    def progress(self) -> tuple[int, int]:
        here = self._file.raw.tell() if self._file and not self._file.raw.closed else 0
        return min(sum(self._sizes[: self._place]) + here, sum(self._sizes)), sum(self._sizes)

    def _event(self, reader: "EventReader", record: Record | Unreadable) -> Event | None:
        """The event of a record; None, and counted, if there is none."""
        if isinstance(record, Unreadable):
            self.tally.unreadable(record)
        else:
            try:
                if reader.wanted(record.fields):
                    event = reader.event(record)
                    self.tally.clock.notice(event.at, record.file, record.line)
                    self.tally.count(event)
                    return event
                self.tally.filtered += 1
                return None
            except Unusable as error:
                self.tally.skip(error.kind, str(error), record.line, record.file)
        self.tally.check(self.tolerance.unreadable, least=SAMPLE)
        return None

    def _records(self) -> Iterator[Record | Unreadable]:
        """The records of all files from the place on where reading begins."""
        offset, line = (self.since.offset, self.since.line) if self.since else (0, 1)
        for place in range(self._first, len(self._files)):
            self._place = place
            kind = self.mapping.format or looks_like(self._files[place])
            with opened(self._files[place]) as self._file:
                if kind is not None:
                    yield from records(self._file, kind, offset, line, self.tolerance.line)
                if self._file.damage:
                    self.tally.damaged = noted(self.tally.damaged, self._file.damage)
            offset, line = 0, 1
        self._place = len(self._files)


def events(
    path: Path,
    mapping: Mapping,
    domain: Domain | None = None,
    classes: int | None = None,
    names: tuple[str, ...] = (),
    since: Position | None = None,
    tolerance: Tolerance = Tolerance(),
    earlier: Tally | None = None,
) -> Reading:
    """The events of a log, a file or a folder of files, read one by one.

    domain   the target's: inputs are checked against it, and skipped if it does not take them
    classes  how many the target has, and `names` what they are called, in its order
    since    the position of an event; reading goes on behind it
    earlier  what had been read up to there, which is counted on; None: counting begins anew

    Raises BadConfig for a log that is no text, for one of which more than a tenth cannot be read (while it is read, or at
    its end), and for a clock that goes back too far.
    """
    return Reading(path, mapping, domain, classes, names, since, tolerance, earlier)


def looks_like(path: Path) -> Format | None:
    """The format of a file by its first line that is not empty; None if there is none."""
    with opened(path) as file:
        texts = (line.text for line in islice(file.lines(0, 1), 1000))
        text = next((text.strip() for text in texts if text is not None and text.strip()), None)
    if text is None:
        return None
    if text[:1] in b"{[":
        return "jsonl"
    return "combined" if COMBINED.match(text.decode(errors="replace")) else "csv"


@dataclass(frozen=True)
class EventReader:
    """Makes events of records as a mapping says."""

    mapping: Mapping
    clock: Clock
    inputs: InputReader | None
    answers: AnswerReader | None
    filters: tuple[tuple[FieldPath, tuple[str, ...]], ...]

    @staticmethod
    def of(reading: Reading) -> "EventReader":
        mapping, folder = reading.mapping, reading.path if reading.path.is_dir() else reading.path.parent
        inputs = None if mapping.input is None else InputReader(mapping.input, reading.domain, folder)
        answers = None if mapping.answer is None else AnswerReader(mapping.answer, reading.classes, reading.names)
        texts = {path: each if isinstance(each, list) else [each] for path, each in mapping.filter.items()}
        filters = tuple((field_path(path), tuple(map(str, each))) for path, each in texts.items())
        return EventReader(mapping, reading.tally.clock, inputs, answers, filters)

    def wanted(self, fields: dict[str, Any]) -> bool:
        """Whether a record passes the filters."""
        return all(_matches(at_path(fields, path), texts) for path, texts in self.filters)

    def event(self, record: Record) -> Event:
        """Raises Unusable."""
        fields, mapping = record.fields, self.mapping
        client, at = self.client(fields), self.time(fields)
        inputs, hashes = (None, ()) if self.inputs is None else self.inputs(fields)
        n = inputs.shape[0] if inputs is not None else len(hashes) or whole(fields, mapping.count)
        answers = None if self.answers is None else self.answers(fields, n)
        n = n or (1 if answers is None else answers.shape[0])
        return Event(client, at, n, inputs, hashes, answers, whole(fields, mapping.size), record.next)

    def client(self, fields: dict[str, Any]) -> str:
        name = first(fields, self.mapping.client)
        if name is MISSING and self.mapping.unnamed is not None:
            return self.mapping.unnamed
        if name is MISSING or isinstance(name, bool) or not isinstance(name, str | int):
            paths = ", ".join(map(str, self.mapping.client))
            detail = f"there is none at {paths}" if name is MISSING else f"it is {type(name).__name__}, not a name"
            raise Unusable("a record without a client", detail)
        return bounded(str(name))

    def time(self, fields: dict[str, Any]) -> float:
        """Seconds since 1970, or NaN."""
        for table in self.mapping.time:
            value = first(fields, table.field)
            if value is not MISSING:
                return self.clock.seconds(value, table.format)
        return math.nan


def whole(fields: dict[str, Any], paths: tuple[FieldPath, ...]) -> int | None:
    """A whole number of at least 0, or None."""
    value = first(fields, paths)
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def _matches(value: Any, texts: tuple[str, ...]) -> bool:
    """Whether a value is one of the texts; of what fnmatch knows, only * is special."""
    if value is MISSING:
        return False
    text = str(value)
    patterns = (each.replace("[", "[[]").replace("?", "[?]") for each in texts if "*" in each)
    return text in texts or any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)

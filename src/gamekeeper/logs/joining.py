"""Joins the request and the answer of a log that writes them as two lines, in either order, in bounded memory.

Source      none; KServe's logger writes such logs
Assumes     the two lines lie within WINDOW lines and BYTES of each other; one id is not in use twice at a time
Keeps       the lines of that window. Joined records come in the order of their requests; one that waits for its answer
            holds back those behind it until the window has passed it
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gamekeeper.logs.event import Position, Record, Unreadable, Unusable, shown
from gamekeeper.logs.mapping import JoinTable
from gamekeeper.logs.paths import MISSING, first

WINDOW = 10_000
BYTES = 32 * 2**20


@dataclass
class Half:
    """One of the two lines.

    record  as read
    place   how many lines were read before it, and `at` how many bytes
    before  how many requests were read before it
    other   what it was joined with
    over    nothing more waits for it
    """

    record: Record
    place: int
    at: int
    before: int
    other: "Half | None" = None
    over: bool = False


@dataclass
class Joining:
    """Lines in, joined records out.

    past    requests that were handed on before reading went on here; they are read again and not handed on again
    alone   answers whose request is not in the log, and `unanswered` requests without an answer
    """

    table: JoinTable
    past: int = 0
    alone: int = 0
    unanswered: int = 0
    lines: int = 0
    size: int = 0
    requests: int = 0
    queue: deque[Half] = field(default_factory=deque[Half])
    early: deque[Half] = field(default_factory=deque[Half])
    waiting: dict[str, deque[Half]] = field(default_factory=dict[str, deque[Half]])
    orphans: dict[str, deque[Half]] = field(default_factory=dict[str, deque[Half]])

    def join(self, records: Iterator[Record | Unreadable]) -> Iterator[Record | Unreadable]:
        """Every request with its answer, if the log has one; what cannot be read is passed on."""
        for record in records:
            if isinstance(record, Unreadable):
                yield record
                continue
            try:
                self.add(record)
            except Unusable as error:
                yield Unreadable(error.kind, str(error), record.line, record.next)
            yield from self.ready(WINDOW, BYTES)
        yield from self.ready(-1, -1)

    def add(self, record: Record) -> None:
        """Raises Unusable for a record that is neither a request nor an answer."""
        kind, key = first(record.fields, self.table.kind), first(record.fields, self.table.id)
        if key is MISSING:
            raise Unusable("a line without an id", f"there is none at {', '.join(map(str, self.table.id))}")
        if kind not in (self.table.request, self.table.response):
            kind = "missing" if kind is MISSING else kind
            raise Unusable("a line that is neither a request nor an answer", f"its kind is {shown(str(kind))}")
        half = Half(record, self.lines, self.size, self.requests)
        self.lines, self.size = self.lines + 1, self.size + record.next.offset - record.offset
        mine, others = (self.waiting, self.orphans) if kind == self.table.request else (self.orphans, self.waiting)
        half.other = self.taken(others, str(key))
        if half.other is None:
            mine.setdefault(str(key), deque()).append(half)
        else:
            half.other.other = half
        if kind == self.table.request:
            self.requests += 1
            self.queue.append(half)
        elif half.other is None:
            self.early.append(half)

    def ready(self, window: int, room: int) -> Iterator[Record]:
        """The requests at the head of the queue that have their answer, or that have waited long enough."""
        while self.queue and (self.queue[0].other or self.passed(self.queue[0], window, room)):
            half = self.queue.popleft()
            if half.other is None:
                self.unanswered += 1
                self.forget(self.waiting, half)
            else:
                half.other.over = True
            record = self.joined(half)
            if half.before >= self.past:
                yield record
        while self.early and (self.early[0].over or self.lost(self.early[0], window, room)):
            half = self.early.popleft()
            if half.other is None:
                self.alone += 1
                self.forget(self.orphans, half)

    def taken(self, halves: dict[str, deque[Half]], key: str) -> Half | None:
        """Takes the oldest half with an id that has not waited too long, or None.

        One that has is dropped even while it is still in the queue behind others, or what comes would depend on them.
        """
        same = halves.get(key, deque())
        while same and self.passed(same[0], WINDOW, BYTES):
            same.popleft()
        half = same.popleft() if same else None
        if not same:
            halves.pop(key, None)
        return half

    def forget(self, halves: dict[str, deque[Half]], half: Half) -> None:
        """Drops a half that has waited long enough, if it is still there."""
        key = str(first(half.record.fields, self.table.id))
        same = halves.get(key, deque())
        if same and same[0] is half:
            same.popleft()
            if not same:
                del halves[key]

    def sentences(self) -> list[str]:
        """What could not be joined."""
        lines = [f"{self.unanswered:,} requests have no answer in the log."] if self.unanswered else []
        return lines + ([f"{self.alone:,} answers have no request in the log."] if self.alone else [])

    def passed(self, half: Half, window: int, room: int) -> bool:
        return self.lines - half.place > window or self.size - half.at > room

    def lost(self, half: Half, window: int, room: int) -> bool:
        """Whether an answer has no request; one whose request is in the queue is still needed for positions."""
        return half.other is None and self.passed(half, window, room)

    def joined(self, half: Half) -> Record:
        """One record, and from where to read so that whatever comes after it is joined again."""
        response: dict[str, Any] = half.other.record.fields if half.other else {}
        while self.early and self.early[0].over:
            self.early.popleft()
        request, after = half.record, half.record.next
        if self.early and self.early[0].place < half.place:
            start = self.early[0].record
            after = Position(start.file, start.offset, start.line, half.before + 1 - self.early[0].before)
        return Record(
            request.file, {"request": request.fields, "response": response}, request.line, request.offset, after
        )

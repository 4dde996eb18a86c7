"""What a replay of a log leaves behind: JSON lines for clients and alarms, and a header. Part of the public format.

    replay.json    the header: what was read, which detectors ran, what their limits rest on
    clients.jsonl  the most suspicious clients, most suspicious first
    alarms.jsonl   one line for each alarm, in the order they were raised
    reviews.jsonl  what people decided about alarms; a later line about an alarm replaces an earlier one

Client names are as the log has them; whoever prints one escapes it (`logs.event.shown`). A number that is unknown is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Moment:
    """A client's standing at one point of their history.

    query   how many queries they had sent; at: when, in seconds since 1970
    scores  the last verdict of every detector that had given one
    """

    query: int
    at: float | None
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ClientRow:
    """One client.

    queries, new       inputs sent, and those of them that repeat no earlier one
    first, last        times in seconds since 1970
    per_hour, busiest  queries an hour from the first to the last, and the most in one hour of the clock
    exact, near        shares of the queries that were sent before, bit for bit or nearly
    p                  of each detector with limits, by Holm: how likely an honest client is to look at least as suspicious
    alarmed            after which new query each detector first raised an alarm; only those that did
    learnt             what a surrogate has learnt from their answers, in [0, 1]; None if it could not be told
    linked             other accounts that send near-identical queries
    inputs             statistics of the inputs: mean, sd, low, high
    history            from the first query to the last, at most a few dozen moments
    """

    client: str
    queries: int
    new: int
    first: float | None = None
    last: float | None = None
    per_hour: float | None = None
    busiest: int | None = None
    exact: float | None = None
    near: float | None = None
    p: Mapping[str, float] = field(default_factory=dict[str, float])
    alarmed: Mapping[str, int] = field(default_factory=dict[str, int])
    learnt: float | None = None
    linked: tuple[str, ...] = ()
    inputs: Mapping[str, float] = field(default_factory=dict[str, float])
    history: tuple[Moment, ...] = ()


@dataclass(frozen=True)
class AlarmRow:
    """One alarm: a question for a person (OWASP AISVS C11.5.2: principal, volume, statistics of the inputs).

    id        of the alarm: client and detector, hashed
    client    the principal
    at        when the query that raised it arrived, in seconds since 1970
    query     after which new query of the client
    p, score  of the detector at that look; p counts all its looks
    alpha     the false alarms per client that its limits aim at; backed: what they rest on, in words
    queries   volume so far; per_hour; exact and near: repeats; learnt: see ClientRow
    inputs    statistics of the inputs so far
    members   of an alarm of linked accounts, judged as one client: all of them, `client` being the first; else empty

    What is said of the client so far (all but `query`, `p`, `score` and `queries`) is as of the end of the part of the log,
    of at most some thousand queries, in which the alarm was raised.
    """

    id: str
    client: str
    detector: str
    query: int
    p: float
    score: float
    alpha: float
    backed: str
    queries: int
    at: float | None = None
    per_hour: float | None = None
    exact: float | None = None
    near: float | None = None
    learnt: float | None = None
    inputs: Mapping[str, float] = field(default_factory=dict[str, float])
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Review:
    """What a person decided about an alarm. A dismissal makes its client a labelled honest one for the next calibration.

    decision  confirmed or dismissed
    """

    alarm: str
    client: str
    decision: str
    by: str
    reason: str
    at: float


@dataclass(frozen=True)
class ReplayHeader:
    """Everything a report needs that is not about one client.

    clients, queries, alarmed  counts over the whole log, also of clients without a line
    first, last                times of the log
    ran                        detectors by name: what their limits rest on, or "evidence"
    left_out                   detectors that could not run, and why
    notes                      what was skipped while reading, in sentences
    groups                     linked accounts
    """

    version: str
    date: str
    log: str
    mapping: str
    target: str
    digest: str
    clients: int
    queries: int
    alarmed: int
    alpha: float
    first: float | None = None
    last: float | None = None
    ran: Mapping[str, str] = field(default_factory=dict[str, str])
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    command: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

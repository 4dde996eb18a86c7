"""What a journal says and remembers: events of a service, and memories of its clients.

An event holds no input and no name: inputs are keyed hashes, clients are HMACs (`service/principals.py`).
"""

import math
import secrets
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from gamekeeper.errors import BadConfig, JournalError

Kind = Literal["answer", "denied", "alarm", "level", "review", "release", "key", "forget", "prune"]
ID = 16
"""Bytes of an event's id."""
NAME_LIMIT = 128
"""Characters of a tenant's or a client's name."""
PLAIN = ("id", "at", "tenant", "client", "kind", "n", "level")
"""Fields with a column of their own; the others are JSON in the column `body`."""
ODD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""Numbers that JSON does not have, as text."""


@dataclass(frozen=True)
class Event:
    """One thing that happened at a service.

    tenant  whose model was queried; no reading crosses tenants
    client  HMAC of who queried; "" for what concerns no client
    kind    what happened
    at      when, in seconds since 1970
    n       inputs that were answered, or denied
    inputs  keyed hash of each of them
    scores  verdicts of detectors after the last input and at looks, and statistics of the inputs of an alarm
    level   of the policy that the client is at; "" if the event does not say
    policy  digest of that policy
    reason  in words
    trace   id of the distributed trace
    id      ID random bytes; an event that is appended again under its id is written once
    """

    tenant: str
    client: str
    kind: Kind
    at: float
    n: int = 0
    inputs: tuple[bytes, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    level: str = ""
    policy: str = ""
    reason: str = ""
    trace: str = ""
    id: bytes = field(default_factory=lambda: secrets.token_bytes(ID))

    def __post_init__(self) -> None:
        checked_name("tenant", self.tenant)
        checked_name("client", self.client or "none")
        if not math.isfinite(self.at) or self.n < 0 or len(self.id) != ID:
            raise BadConfig(
                f"an event needs a time in seconds since 1970, 0 or more inputs and an id of {ID} bytes;"
                f" got {self.at}, {self.n} and {len(self.id)} bytes."
            )


@dataclass(frozen=True)
class Remembered:
    """What is remembered of a client, each part under its name, as bytes.

    version  number of the event that they were stored with; 0 if nothing was; negative once all but the client's standing was
             erased for its age
    erased   names of parts that are no longer remembered, in what is to be stored
    """

    version: int = 0
    parts: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    erased: Collection[str] = ()


class Stale(Exception):
    """The client's memories have changed since they were read, by another replica or since they were forgotten.

    Nothing was written. Read them again and repeat what was computed from them.
    """


@dataclass(frozen=True)
class Seen:
    """A client who was not forgotten.

    level  of the policy that they are at; "" if no event ever said
    at     when they came last, in seconds since 1970
    """

    client: str
    level: str
    at: float


def checked_name(what: str, name: str) -> None:
    """Raises BadConfig unless every database can hold the name and compare it."""
    if not (0 < len(name) <= NAME_LIMIT and name.isascii() and name.isprintable()):
        raise BadConfig(
            f"the name of a {what} must be 1 to {NAME_LIMIT} printable ASCII characters. Got {name[:80]!r}."
        )


def as_row(event: Event) -> tuple[Any, ...]:
    """The columns PLAIN, the body, and the CRC-32 of all of it."""
    body = orjson.dumps(
        {
            "inputs": [each.hex() for each in event.inputs],
            "scores": {name: as_json(float(score)) for name, score in event.scores.items()},
            "policy": event.policy,
            "reason": event.reason.encode("utf-8", "backslashreplace").decode(),
            "trace": event.trace,
        }
    )
    plain = tuple(getattr(event, name) for name in PLAIN)
    return (*plain, body, checksum(plain, body))


def from_row(row: tuple[Any, ...]) -> Event:
    """The event in a row of `as_row`. Raises JournalError if it does not match its checksum."""
    *plain, body, crc = row
    plain[0], body = bytes(plain[0]), bytes(body)
    if checksum(tuple(plain), body) != crc:
        raise JournalError("an event does not match its checksum")
    rest = orjson.loads(body)
    rest["inputs"] = tuple(bytes.fromhex(each) for each in rest["inputs"])
    rest["scores"] = {name: ODD[s] if isinstance(s, str) else float(s) for name, s in rest["scores"].items()}
    return Event(**dict(zip(PLAIN, plain, strict=True)), **rest)


def checksum(plain: tuple[Any, ...], body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(repr(plain).encode()))


def as_json(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)

"""Rows of a detection run: one JSON line for each thief or kind of honest clients. Part of the public format."""

from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from gamekeeper.results import known

ANY = "any"
"""All detectors together: at least one raised an alarm."""
EVADER = "evader"
"""Before a way of asking: of a thief who knows the detectors and their limits."""


@dataclass(frozen=True)
class DetectionRow:
    """What came of a cell.

    clients   accounts of the thief, or honest clients
    alarmed   how many of them each detector raised an alarm for; `any`: at least one detector
    delay     after how many queries of all accounts each detector first raised one; 0: never. Thieves only
    learnt    accuracy of the clone trained on the answers up to the first alarm; of all answers if there was none
    whole     accuracy of the clone trained on all answers
    seconds   of processor time per query, all detectors
    bytes     that the detectors remember of a client, on average
    """

    cell: str
    version: str
    target: str
    who: str
    honest: bool
    queries: int
    seed: int
    mix: float
    accounts: int
    clients: int = 0
    alarmed: dict[str, int] = field(default_factory=dict[str, int])
    delay: dict[str, int] = field(default_factory=dict[str, int])
    learnt: float | None = None
    whole: float | None = None
    seconds: float = 0.0
    bytes: int = 0
    error: str | None = None


def to_line(row: DetectionRow) -> bytes:
    return orjson.dumps(asdict(row)) + b"\n"


def from_json(data: dict[str, Any]) -> DetectionRow:
    """Keys that this version does not know are ignored."""
    return DetectionRow(**known(DetectionRow, data))

"""Rows of an ownership run: one JSON line for each claim and what was done to escape it, or to make it up. Public format."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson

RowKind = Literal["removal", "innocent", "forgery"]


@dataclass(frozen=True)
class SuspectCounts:
    """One suspect: how many of n answers are as claimed, and accuracy on the test set."""

    name: str
    hits: int
    accuracy: float


@dataclass(frozen=True)
class OwnershipRow:
    """What came of a cell.

    kind     removal: of a copy; innocent: an honest claim held against models that copied nothing; forgery: a false one
    scheme   of the claim, "" for a forgery
    how      the removal, or the forgery; "" for innocents
    drawn    whether a beacon drew the labels, and from how many classes
    n        inputs of the claim
    own      hits of what must pass
    panels   for each suspect, hits of each of the judge's models that are about as accurate; their accuracies, and how often two
             of them agree with the claim
    variety  of the claimed labels
    before   hits and accuracy of the copy before anything was removed; None where nothing was
    inputs   that the remover trained on, or queries that they paid
    seconds  of processor time for the removal or the forgery
    """

    cell: str
    version: str
    target: str
    kind: RowKind
    scheme: str
    how: str
    seed: int
    classes: int = 0
    drawn: bool = False
    n: int = 0
    own: int = 0
    suspects: tuple[SuspectCounts, ...] = ()
    panels: tuple[tuple[int, ...], ...] = ()
    accuracies: tuple[tuple[float, ...], ...] = ()
    agreements: tuple[float, ...] = ()
    variety: float = 0.0
    before: SuspectCounts | None = None
    inputs: int = 0
    seconds: float = 0.0
    facts: dict[str, str | int] = field(default_factory=dict[str, str | int])
    error: str | None = None


def to_line(row: OwnershipRow) -> bytes:
    return orjson.dumps(asdict(row)) + b"\n"


def from_json(data: dict[str, Any]) -> OwnershipRow:
    """Keys that this version does not know are ignored."""
    known = {key: value for key, value in data.items() if key in OwnershipRow.__dataclass_fields__}
    known["suspects"] = tuple(SuspectCounts(**each) for each in known.get("suspects", ()))
    for key in ("panels", "accuracies"):
        known[key] = tuple(tuple(each) for each in known.get(key, ()))
    known["agreements"] = tuple(known.get("agreements", ()))
    if known.get("before") is not None:
        known["before"] = SuspectCounts(**known["before"])
    return OwnershipRow(**known)

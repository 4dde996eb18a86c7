"""The record of a trial: what every model answered, and the terms that the judge set, in whole numbers and text.

A verdict follows from the record, the claim, the register and the certificates that the judge trusts, and from nothing
else: `judged` is what a judge computes at first and what anybody computes again from a bundle.

    {"beacon":null,"checks":"…","classes":10,"inputs":["…"],"level":"0.001","null":"panel",…}

Answers are labels: -1 where there was none. Canonical JSON, without floats.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import torch
from cryptography.x509 import Certificate
from jaxtyping import Bool, Int
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from gamekeeper.errors import BadClaim
from gamekeeper.ownership import register, stamps
from gamekeeper.ownership.canonical import json_bytes, model_digest
from gamekeeper.ownership.claim import OPENING, Claim, opens
from gamekeeper.ownership.evidence import Committed, Measured, PanelMeasured, agreement, variety
from gamekeeper.ownership.gates import Gates
from gamekeeper.ownership.judge import Verdict, verdict
from gamekeeper.ownership.nulls import DrawnLabels, NullModel, OfPanel, Ranks
from gamekeeper.ownership.procedures import NO_ANSWER, as_drawn, inputs_digest, inputs_of, right, supported
from gamekeeper.ownership.register import Entry

MOST_BYTES = 2**26
RANKS_FROM = 99
"""Models of a panel from which ranks are taken: their p-value reaches .01 and assumes least."""
Null = Literal["panel", "ranks", "drawn labels"]
LEVELS: dict[Null, str] = {"panel": "0.001", "ranks": "0.01", "drawn labels": "0.001"}


@dataclass(frozen=True)
class Answered:
    """The labels that one model gave.

    who      its name, or the recipe of a model of the panel
    digest   of the model or of the target that it stands for; "" for a model of the panel
    claimed  to the claim's inputs; checked: to the judge's own, by which accuracy is measured
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    who: str
    digest: str
    claimed: tuple[int, ...]
    checked: tuple[int, ...]


@dataclass(frozen=True)
class Beacon:
    """Public randomness, in hexadecimal, and when the judge knows it was published, in seconds since 1970."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    value: str
    at: int


@dataclass(frozen=True)
class Terms:
    """What the judge set before anything was asked.

    public_since  when the suspect was first public, in seconds since 1970
    level         the accepted chance of convicting an independent model, as text; models: how many a panel has at least
    openings      of commitments, in hexadecimal, beside those in the register
    head          the hash of a register entry that somebody noted; None if nobody did
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    public_since: int
    null: Null
    level: str
    models: int = 10
    openings: tuple[str, ...] = ()
    beacon: Beacon | None = None
    head: str | None = None

    def gates(self) -> Gates:
        """Raises BadClaim for a level that is none."""
        try:
            return Gates(level=float(self.level), models=self.models)
        except ValueError:
            raise BadClaim(f"a level must be a number between 0 and 1. Got {self.level[:80]!r}.") from None


@dataclass(frozen=True)
class Record:
    """truth    the labels of the judge's own inputs, whose digest is `checks`
    inputs   SHA-256 of each of the claim's inputs as it was sent
    queries  how many inputs the suspect was asked in all
    data     the name and digest of what the panel was trained on
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    version: str
    claim: str
    classes: int
    inputs: tuple[str, ...]
    suspect: Answered
    own: Answered
    panel: tuple[Answered, ...]
    truth: tuple[int, ...]
    checks: str
    queries: int
    data: tuple[str, str]
    terms: Terms

    def bytes(self) -> bytes:
        """Canonical JSON."""
        return json_bytes(asdict(self))


READER = TypeAdapter(Record)


def record_of(data: bytes) -> Record:
    """The record in canonical JSON that anybody may have written. Raises BadClaim."""
    if len(data) > MOST_BYTES:
        raise BadClaim(f"a record is {MOST_BYTES:,} bytes at most. Got {len(data):,}.")
    try:
        record = READER.validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:80]
        raise BadClaim(f"the record is not one that a judge writes: {where} {first['msg'][:120]}.") from None
    if record.bytes() != data:
        raise BadClaim("the record must be in canonical form. It was edited; take the original.")
    return record


@dataclass(frozen=True, eq=False)
class Papers:
    """What a judge is handed before anything is asked: the claim, the register's entries, the trusted certificates."""

    claim: Claim
    entries: tuple[Entry, ...]
    roots: tuple[Certificate, ...]


def input_digests(claim: Claim) -> tuple[str, ...]:
    return tuple(model_digest({"x": row}) for row in inputs_of(claim))


def placed(papers: Papers, digest: str, terms: Terms, what: str) -> Committed:
    """The place of a digest in the register: of all entries that commit to it, the one whose stamps are oldest.

    Only stamps that hold, by authorities that the judge trusts, count. Raises BadClaim if no opening fits any entry.

    what  names what was committed to in an error: "this claim", say
    """
    fitting = [
        Committed(entry, digest, opening, dates(entry, papers.roots))
        for entry, openings in commitments(papers, terms)
        for opening in openings
        if opens(entry.digest, digest, opening)
    ]
    if not fitting:
        raise BadClaim(
            f"the register holds no commitment to {what} that one of the openings opens ({len(terms.openings)} were given)."
            " Either it was never registered there, or it was changed since, or the opening is another's: give the right one"
            " with --opening."
        )
    return min(fitting, key=lambda one: (one.since is None, one.since or 0))


def commitments(papers: Papers, terms: Terms) -> list[tuple[Entry, tuple[bytes, ...]]]:
    """Every commitment in the register, with the openings that may fit: those given, and the one published for it."""
    given = tuple(opening_of(text) for text in terms.openings)
    published = {entry.digest: entry.opening for entry in papers.entries if entry.opening is not None}
    committed = [entry for entry in papers.entries if entry.opening is None]
    return [(entry, (*given, published[entry.digest]) if entry.digest in published else given) for entry in committed]


def opening_of(text: str) -> bytes:
    """Raises BadClaim for anything but 32 bytes in hexadecimal."""
    try:
        opening = bytes.fromhex(text)
    except ValueError:
        opening = b""
    if len(opening) != OPENING:
        raise BadClaim(f"what opens a commitment is {OPENING} bytes in hexadecimal. Got {len(text)} characters.")
    return opening


def dates(entry: Entry, roots: Sequence[Certificate]) -> tuple[stamps.Stamp, ...]:
    """The stamps of an entry that hold."""
    good: list[stamps.Stamp] = []
    for stamp in entry.stamps if roots else ():
        try:
            good.append(stamps.verified(stamp, register.stamped(entry), roots))
        except BadClaim:
            continue
    return tuple(good)


def null_of(papers: Papers, terms: Terms, classes: int) -> NullModel:
    """What the suspect is held against. Raises BadClaim where labels are said to be drawn and are not known to be.

    Labels count as drawn only if they can be drawn again, and if a stamp shows that the inputs were committed to before
    the beacon was published.
    """
    if terms.null == "panel":
        return OfPanel()
    if terms.null == "ranks":
        return Ranks()
    if terms.beacon is None:
        raise BadClaim("labels that were drawn need the beacon that drew them, and when it was published.")
    if not as_drawn(papers.claim, beacon_bytes(terms.beacon), classes):
        raise BadClaim(
            "these labels are not those that the beacon draws for the claim's inputs. Leave --beacon out, to hold the claim"
            " against the panel alone."
        )
    inputs = placed(papers, inputs_digest(papers.claim.tensors["x"]), terms, "the inputs alone")
    if inputs.since is None or inputs.since >= terms.beacon.at:
        dated = (
            "no stamp dates them" if inputs.since is None else f"their earliest stamp is of {stamps.day(inputs.since)}"
        )
        raise BadClaim(
            f"the inputs must be older than the beacon ({stamps.day(terms.beacon.at)}), but {dated}: the owner could have chosen them to"
            " suit the labels. Leave --beacon out, to hold the claim against the panel alone."
        )
    return DrawnLabels(classes)


def beacon_bytes(beacon: Beacon) -> bytes:
    try:
        return bytes.fromhex(beacon.value)
    except ValueError:
        raise BadClaim(f"a beacon must be in hexadecimal. Got {beacon.value[:80]!r}.") from None


def family(papers: Papers, terms: Terms, own: Committed) -> dict[str, float]:
    """log10 p of every other test that the register allows: 0 for each claim in it that nobody tested here.

    A commitment to the inputs of this claim is no other test.
    """
    known = (inputs_digest(papers.claim.tensors["x"]), own.claim)
    return {
        entry.digest: 0.0
        for entry, openings in commitments(papers, terms)
        if entry.digest != own.entry.digest
        and not any(opens(entry.digest, digest, each) for each in openings for digest in known)
    }


def check_papers(papers: Papers, terms: Terms, classes: int) -> Committed:
    """The claim's place in the register; everything that can be refused before a query is paid is. Raises BadClaim."""
    supported(papers.claim)
    inputs_of(papers.claim)
    top = int(papers.claim.tensors["y"].max())
    if top >= classes:
        raise BadClaim(f"the claim's labels run up to {top}; the suspect has the classes 0 to {classes - 1}.")
    register.checked(papers.entries, "the register", terms.head)
    terms.gates()
    null_of(papers, terms, classes)
    return placed(papers, papers.claim.digest(), terms, "this claim")


def check_record(record: Record, claim: Claim) -> None:
    """Raises BadClaim unless all answers are to these inputs, one each, and within the classes."""
    n, m = len(claim.tensors["y"]), len(record.truth)
    everybody = (record.suspect, *record.panel)
    whole = (
        record.claim == claim.digest()
        and record.inputs == input_digests(claim)
        and len(record.own.claimed) == n
        and all(len(each.claimed) == n and len(each.checked) == m for each in everybody)
        and all(NO_ANSWER <= label < record.classes for each in (*everybody, record.own) for label in each.claimed)
        and record.queries == n + m
    )
    if not whole:
        raise BadClaim("the record is not one of this claim: answers, inputs and queries do not fit each other.")


def judged(record: Record, papers: Papers) -> Verdict:
    """The verdict that follows. Pure. Raises BadClaim where the papers or the record do not fit each other."""
    committed = check_papers(papers, record.terms, record.classes)
    check_record(record, papers.claim)
    measured, panel = counted(record, papers.claim)
    return verdict(
        measured,
        panel,
        record.terms.gates(),
        committed,
        record.terms.public_since,
        family(papers, record.terms, committed),
        null_of(papers, record.terms, record.classes),
    )


def counted(record: Record, claim: Claim) -> tuple[Measured, PanelMeasured]:
    """Hits and accuracies, from the answers."""
    suspect, hits = rows(claim, record.suspect), [rows(claim, each) for each in record.panel]
    stacked = torch.stack(hits) if hits else torch.empty((0, len(suspect)), dtype=torch.bool)
    return Measured(
        int(suspect.sum()), len(suspect), record.queries, accuracy(record.suspect, record.truth)
    ), PanelMeasured(
        tuple(int(row.sum()) for row in hits),
        tuple(accuracy(each, record.truth) for each in record.panel),
        int(rows(claim, record.own).sum()),
        agreement(stacked),
        variety(claim.tensors["y"], record.classes),
    )


def rows(claim: Claim, answered: Answered) -> Bool[Tensor, " n"]:
    return right(claim, as_tensor(answered.claimed))


def as_tensor(labels: Sequence[int]) -> Int[Tensor, " n"]:
    return torch.tensor(labels, dtype=torch.int64)


def accuracy(answered: Answered, truth: Sequence[int]) -> float:
    """Of the answers to the judge's own inputs; NaN if there was none."""
    pairs = [(given, true) for given, true in zip(answered.checked, truth, strict=True) if given != NO_ANSWER]
    return sum(given == true for given, true in pairs) / len(pairs) if pairs else float("nan")


def unanswered(answered: Answered) -> int:
    """How many of the claim's inputs brought no answer, and so count as misses."""
    return sum(label == NO_ANSWER for label in answered.claimed)

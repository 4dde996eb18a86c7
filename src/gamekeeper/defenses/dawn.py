"""DAWN: a few answers to each client are wrong by design, so that a clone trained on them can be told from others.

Source      Szyller, Atli, Marchal, Asokan, "DAWN: Dynamic adversarial watermarking of neural networks" (ACM MM 2021)
Equations   h = HMAC-SHA256(K_i, M(x)), K_i = HKDF(key, client i); marked iff h[:16] < share 2^128, as whole numbers; then
            the top class t changes places with (t + 1 + h[16:] mod (k - 1)) mod k. M(x) are the bytes of x in 256 levels
Assumes     posteriors over two classes or more; that a thief learns answers one by one. `cells` needs a network's features
            and inputs from the owner
Deviations  a fixed wrong class per input instead of a shuffled answer, in which the top class may stay; 128 bits are
            compared, strictly, where the authors' release compares 16. `cells` is ours: M(x) is the cell of x's features,
            the signs of keyed projections, so that inputs like each other share a wrong class and a thief who asks their
            neighbours is told the same. Cells that hold more than `share` of the owner's inputs are never marked. The
            paper maps inputs to features as well, so that noise does not undo a mark
Keeps       the probabilities, sorted; the same input always has the same answer; not the top class of marked inputs

In a memory of each client are their key, and the marked inputs with the labels given: the claim on a clone of theirs
(ownership/schemes/dawn_claim.py). A copy of the weights holds no mark, and answers none of them as marked. Of two clients
who compare their answers, each has a clean one to nearly all that the other has marked.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from gamekeeper.defenses.keyed import secret
from gamekeeper.defenses.keyed_misinformation import Buckets
from gamekeeper.detectors.features import tap
from gamekeeper.errors import BadConfig
from gamekeeper.facts import Strengths
from gamekeeper.keys import derived
from gamekeeper.needs import classes_of, needs_inputs
from gamekeeper.types import Batch, Box, Domain, Model, Owner, Posterior, Reply

MapName = Literal["inputs", "cells"]
LEVELS, HALF, WHOLE = 255, 16, 2.0**128
NAME = np.dtype("V32")


@dataclass
class Marks:
    """What is remembered of one client.

    key     theirs, 32 bytes as uint8
    x, y    the marked inputs, as first sent, (m, ...); and the label that each was given, (m,)
    names   HMAC of each input's bytes, (m, 32), by which one that is sent again is recognised
    beyond  marked answers that found no more room here
    """

    key: Tensor
    x: Tensor = field(default_factory=lambda: torch.zeros(0))
    y: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    names: Tensor = field(default_factory=lambda: torch.zeros(0, 32, dtype=torch.uint8))
    beyond: int = 0

    def __post_init__(self) -> None:
        self._room = self.x[:0]  # x is the beginning of it, once a mark was added: so that x is not copied for each one

    def add(self, x: Batch, y: Int[Tensor, " n"], names: UInt8[Tensor, "n 32"]) -> None:
        """Remembers more marked inputs, none of which is here."""
        before, n = len(self.y), len(self.y) + len(y)
        fits = len(self._room) >= n and self._room.shape[1:] == x.shape[1:]
        if not fits or self._room.data_ptr() != self.x.data_ptr():
            self._room = x.new_empty(2 * n, *x.shape[1:])
            self._room[:before] = self.x if before else x[:0]
        self._room[before:n] = x
        self.x = self._room[:n]
        self.y, self.names = torch.cat([self.y, y]), torch.cat([self.names, names])


def canonical(x: Batch, domain: Domain) -> list[bytes]:
    """One text per row: its shape, and 256 levels per entry for a box; for any other domain float32, -0 as 0."""
    rows = x.detach().cpu().double() if isinstance(domain, Box) else x.detach().cpu().float() + 0.0
    if isinstance(domain, Box):
        width = (domain.high - domain.low) or 1.0
        rows = ((rows - domain.low) / width * LEVELS).round().clamp(0, LEVELS).to(torch.uint8)
    array = rows.contiguous().numpy()
    head = np.asarray(x.shape[1:], dtype="<i8").tobytes() + b";"
    return [head + row.astype(row.dtype.newbyteorder("<"), copy=False).tobytes() for row in array]


def tags(key: bytes, messages: Sequence[bytes]) -> list[bytes]:
    """HMAC-SHA256 of each message, 32 bytes."""
    return [hmac.digest(key, message, "sha256") for message in messages]


def chosen(tag: bytes, share: float) -> bool:
    """Whether an input of this tag is marked: a chance of `share`, 0 never and 1 always."""
    return int.from_bytes(tag[:HALF]) < share * WHOLE  # Python compares the whole number with the float exactly


def steps(tag: bytes, k: int) -> int:
    """How many classes the wrong one is after the top class, 1 to k - 1, all as likely up to 2^-120."""
    return 1 + int.from_bytes(tag[HALF:]) % (k - 1)


def exchanged(y: Posterior, a: Int[Tensor, " n"], b: Int[Tensor, " n"]) -> Posterior:
    """Each row with its entries a and b exchanged."""
    out, rows = y.clone(), torch.arange(len(y))
    out[rows, a], out[rows, b] = y[rows, b], y[rows, a]
    return out


@runtime_checkable
class Mapping(Protocol):
    """What of an input decides its mark. None: it is never marked."""

    def __call__(self, x: Batch) -> Sequence[bytes | None]: ...


@dataclass(frozen=True)
class Levels:
    """The input itself, in 256 levels."""

    domain: Domain

    def __call__(self, x: Batch) -> Sequence[bytes | None]:
        return canonical(x, self.domain)


@dataclass(frozen=True, eq=False)
class Cells:
    """The cell of its features, unless that is crowded."""

    buckets: Buckets = field(repr=False)
    crowded: frozenset[int]

    def __call__(self, x: Batch) -> Sequence[bytes | None]:
        cells = self.buckets(x).tolist()
        return [None if cell in self.crowded else cell.to_bytes(8) for cell in cells]

    @staticmethod
    def of(victim: Model, owner: Owner, bits: int, share: float, key: bytes) -> "Cells":
        needs_inputs(owner, "DAWN finds out which cells are crowded by")
        buckets = Buckets.of(tap(victim, "DAWN", "penultimate"), owner.x, bits, key)
        cells, counts = buckets(owner.x).unique(return_counts=True)
        return Cells(buckets, frozenset(cells[counts > share * len(owner.x)].tolist()))


@dataclass(frozen=True)
class DAWN:
    """Answers a share of every client's inputs wrongly, drawn by a key of that client, and remembers which.

    share    of inputs that are marked, or of cells
    mapping  what decides it: the input, or the cell of its features
    bits     there are 2^bits cells
    most     marked inputs of a client that are remembered; later ones are answered wrongly all the same
    """

    share: float = 0.01
    mapping: MapName = "inputs"
    bits: int = 12
    most: int = 1000

    full_strength: ClassVar[tuple[str, float]] = ("share", 1.0)
    permutes: ClassVar[bool] = False  # the wrong class is so many after the top class, by number
    keyed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise BadConfig(f"The share of DAWN must be from 0 to 1. Got {self.share}.")
        if self.mapping not in get_args(MapName):
            raise BadConfig(f"The mapping of DAWN must be {' or '.join(get_args(MapName))}. Got {self.mapping}.")
        if not 1 <= self.bits <= 32 or self.most < 1:
            raise BadConfig(f"DAWN needs bits from 1 to 32 and room for one mark or more. Got {self}.")

    @property
    def keeps_top1(self) -> bool:
        return False

    @property
    def keeps_confidence(self) -> bool:
        return True

    @property
    def strengths(self) -> tuple[Strengths, ...]:
        return (Strengths("share={}", ("0.002", "0.005", "0.01", "0.02", "0.05")),)

    def arm(self, victim: Model, owner: Owner, seed: int) -> "ArmedDAWN":
        """Raises Unsuited if the victim has one class or, for cells, no features; or the owner has no inputs then."""
        classes_of(victim, "DAWN")
        key = secret("DAWN", seed, owner.secret)
        cells = self.mapping == "cells"
        mapping = Cells.of(victim, owner, self.bits, self.share, key) if cells else Levels(owner.box)
        return ArmedDAWN(key, self.share, self.most, mapping, owner.box)


@dataclass(frozen=True, eq=False)
class ArmedDAWN:
    """Live: what answers and notes the marks."""

    key: bytes = field(repr=False)
    share: float
    most: int
    mapping: Mapping = field(repr=False)
    domain: Domain

    def fresh(self) -> Marks:
        return self.fresh_for("")

    def fresh_for(self, client: str) -> Marks:
        return Marks(torch.tensor(list(self.client_key(client)), dtype=torch.uint8))

    def client_key(self, client: str) -> bytes:
        """K_i, 32 bytes. To hand it over shows one client's marks and no other's."""
        return derived(self.key, f"client {client}")

    def drawn(self, x: Batch, key: bytes, k: int) -> Int[Tensor, " n"]:
        """How many classes each input's answer moves on under a client's key; 0 for one that is not marked."""
        messages = self.mapping(x)
        marks = [b"" if message is None else hmac.digest(key, message, "sha256") for message in messages]
        return torch.tensor(
            [steps(tag, k) if tag and chosen(tag, self.share) else 0 for tag in marks], dtype=torch.int64
        )

    def respond(self, x: Batch, reply: Reply, memory: Marks) -> Reply:
        key, k = bytes(memory.key.tolist()), reply.y.shape[1]
        moves = self.drawn(x, key, k)
        names = self.names(x, key)
        # all of it is done where no row is marked too: the time of an answer is not to tell
        top = reply.y.argmax(1)
        y = exchanged(reply.y, top, (top + moves) % k)
        given = y.argmax(1)
        noted = torch.nonzero((moves > 0) & (given != top))[:, 0]  # not where two classes tie for the top
        self.note(x, names, noted, given[noted], memory)
        return Reply(y, reply.maps)

    def names(self, x: Batch, key: bytes) -> UInt8[Tensor, "n 32"]:
        """By which each input is recognised when it is sent again."""
        every = tags(key, [b"name" + message for message in canonical(x, self.domain)])
        return torch.from_numpy(np.frombuffer(b"".join(every), dtype=np.uint8).reshape(-1, 32).copy())

    def note(
        self, x: Batch, names: UInt8[Tensor, "n 32"], rows: Int[Tensor, " m"], y: Int[Tensor, " m"], memory: Marks
    ) -> None:
        """Remembers marked inputs that were not sent before, while there is room. rows: where in x they are; y: as given."""
        known, mine = memory.names.numpy().view(NAME)[:, 0], names[rows].numpy().view(NAME)[:, 0]
        first = np.zeros(len(rows), dtype=bool)
        first[np.unique(mine, return_index=True)[1]] = True
        fresh = torch.from_numpy(np.flatnonzero(first & ~np.isin(mine, known)))
        room = self.most - len(memory.y)
        memory.beyond += max(0, len(fresh) - room)
        fresh = fresh[: max(0, room)]
        memory.add(x[rows[fresh]].detach(), y[fresh], names[rows[fresh]])

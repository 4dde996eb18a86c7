"""The ledger: every paid answer is on disk before anybody sees it, and no answer is paid for twice.

`ledger_file.py` is the file. An answer is keyed by its scope (target, defense, client), the hash of the input's bytes, and
how often the client had asked that input before: the second time is another answer.

Workers of one grid share a ledger: a scope is locked from the look-up to the commit, so that two workers that want
the same answer buy it once.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from gamekeeper.errors import GamekeeperError, Malformed, Misdeclared, Refused
from gamekeeper.service.ledger_file import FEW, NO_ANSWER, Key, Ledger
from gamekeeper.types import Batch, Oracle, Reply, Task, answered

UNANSWERED, SPARED = 0.1, 3
"""The share of inputs without an answer above which a run stops, and how many are let pass before the share counts."""
log = logging.getLogger(__name__)


@runtime_checkable
class Named(Protocol):
    """An oracle that takes a name for each query: a query that is sent again keeps its name."""

    def named(self, x: Batch, names: Sequence[bytes], first: bool, /) -> Reply:
        """first: fewer answers than FEW are known of it yet."""
        ...


def fingerprints(x: Batch) -> list[bytes]:
    """A 16-byte hash of each input's bytes, in the dtype of x and with -0 written as 0."""
    rows = (x + 0.0).contiguous().numpy()
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]


Unanswered = Literal["refused", "asked again", "passed on"]


@dataclass
class Recorded:
    """An oracle all of whose answers go through the ledger.

    batch    how many inputs are sent, and committed, at a time
    costly   whether the oracle is somebody else's API. The first input of its scope is then sent alone, and the next few
             together, so that answers that are not what was declared cost FEW queries at most and not a whole batch
    charged  how many inputs were newly sent; the others were answered from the ledger
    unanswered says what becomes of inputs without an answer (a row of NaN) beside good ones, which are stored in any case:

        refused      an error: a model of one's own has something wrong with it
        asked again  each once more, alone; one that brings nothing then stays a row of NaN and is not sent again. More
                     than UNANSWERED of all inputs are an error
        passed on    as rows of NaN, not recorded: what was asked knows that they have none
    """

    oracle: Oracle
    ledger: Ledger
    key: str
    batch: int = 256
    costly: bool = False
    unanswered: Unanswered = "refused"
    charged: int = field(default=0, init=False)
    times: Counter[bytes] = field(default_factory=Counter[bytes], init=False, repr=False)

    def __call__(self, x: Batch, /) -> Reply:
        keys = self._keys(x)
        scope = self.ledger.scope(self.key)
        with self.ledger.exclusive(self.key):
            rows = self.ledger.find(scope, keys)
            missing = [place for place, key in enumerate(keys) if key not in rows]
            while missing:
                places = missing[: self._size()]
                missing = missing[len(places) :]
                reply = self._buy(scope, [keys[place] for place in places], x[places])
                rows |= {keys[place]: Reply(*part) for place, part in zip(places, singles(reply), strict=True)}
        self.times.update(hashed for hashed, _ in keys)
        return joined([rows[key] for key in keys])

    def _size(self) -> int:
        """How many inputs go together: where every one costs, the first alone, and the next few."""
        held = self.ledger.few(self.key) if self.costly else FEW
        if held >= FEW:
            return self.batch
        return min(self.batch, FEW - held) if held else 1

    def _keys(self, x: Batch) -> list[Key]:
        """Keys that count earlier queries of the same input; an input given twice in one batch is sent twice."""
        here: Counter[bytes] = Counter()
        keys: list[Key] = []
        for hashed in fingerprints(x):
            keys.append((hashed, self.times[hashed] + here[hashed]))
            here[hashed] += 1
        return keys

    def _buy(self, scope: int, keys: list[Key], x: Batch) -> Reply:
        """The answers to one batch, of which those that are numbers are committed before anything is said of the others."""
        patient = self.unanswered == "asked again" and self.ledger.few(self.key) > 0
        try:
            reply = self._send(scope, keys, x)
        except Refused:
            if not patient:
                raise
            if len(x) > 1:  # something in it is not to the server's liking: to find it costs nothing
                half = len(x) // 2
                return joined([self._buy(scope, keys[:half], x[:half]), self._buy(scope, keys[half:], x[half:])])
            reply = NO_ANSWER
        except Misdeclared:
            raise
        except Malformed:
            if not patient or len(x) > 1:
                raise
            reply = NO_ANSWER
        silent = [place for place, fine in enumerate(answered(reply).tolist()) if not fine]
        if not silent or self.unanswered == "passed on":
            return reply
        if self.unanswered == "refused":
            raise Malformed(
                f"{len(silent)} of {len(keys)} answers hold NaN or infinite values. The {len(keys) - len(silent)} good ones"
                " are recorded and will not be paid again. Find out why the target answers so."
            )
        self._bear(len(silent))
        rows = [Reply(*part) for part in singles(reply)]
        for place in silent:
            rows[place] = self._alone(scope, keys[place], x[place : place + 1])
        return joined(rows)

    def _alone(self, scope: int, key: Key, x: Batch) -> Reply:
        """One input asked once more; if that brings nothing either, it is given up."""
        try:
            reply = self._send(scope, [key], x)
        except Misdeclared:
            raise
        except (Refused, Malformed) as error:
            log.warning("one input brings no answer: %s", error)
            reply = NO_ANSWER
        if not bool(answered(reply).all()):
            self.ledger.give_up(scope, key)
        return reply

    def _bear(self, more: int) -> None:
        """Raises Malformed if too many inputs bring no answer."""
        good, silent = self.ledger.answers(self.key), self.ledger.given_up(self.key) + more
        if silent > max(SPARED, UNANSWERED * (good + silent)):
            raise Malformed(
                f"{silent:,} of {good + silent:,} inputs brought no answer that can be read (null, an error or NaN), more than"
                f" {UNANSWERED:.0%}, so the run stops. The {good:,} answers are recorded and will not be paid again. Find out"
                " why the target answers so; the warnings above quote it."
            )

    def _send(self, scope: int, keys: list[Key], x: Batch) -> Reply:
        """Sends one batch and commits the answers that are numbers."""
        batch = self.ledger.send(scope, len(x))
        try:
            reply = self._ask(keys, x)
            if len(reply) != len(x):
                raise Malformed(f"the target gave {len(reply)} answers to {len(x)} inputs.")
        except GamekeeperError as error:
            self.ledger.fail(batch, error)
            raise
        good = answered(reply)
        stored = [key for key, fine in zip(keys, good.tolist(), strict=True) if fine]
        self.ledger.store(scope, batch, stored, reply.take(good))
        self.charged += len(stored)
        return reply

    def _ask(self, keys: list[Key], x: Batch) -> Reply:
        """Sends names where the API takes them: a retry then gets the same answer, a repeated query a new one."""
        if not isinstance(self.oracle, Named):
            return self.oracle(x)
        scope = self.key.encode()
        return self.oracle.named(
            x,
            [hashlib.blake2b(scope + hashed + nth.to_bytes(8), digest_size=16).digest() for hashed, nth in keys],
            self.costly and self.ledger.few(self.key) < FEW,
        )


@dataclass(frozen=True, eq=False)
class RecordedModel:
    """A model whose answers cost money, queried only through the ledger.

    Create one for each client: each counts its queries from zero, so that all share the answers already paid for.
    """

    recorded: Recorded
    task: Task

    def __call__(self, x: Batch, /) -> Reply:
        reply = self.recorded(x)
        return reply if reply.y.shape[1] else Reply(torch.full((len(x), self.task.classes), torch.nan))


def singles(reply: Reply) -> list[tuple[Tensor, Tensor | None]]:
    maps = [None] * len(reply) if reply.maps is None else list(reply.maps.split(1))
    return list(zip(reply.y.split(1), maps, strict=True))


def joined(replies: Sequence[Reply]) -> Reply:
    """One after the other; those without an answer become rows of NaN, and so do their maps."""
    whole = next((reply for reply in replies if reply.y.shape[1]), replies[0])
    return Reply(
        torch.cat([reply.y if reply.y.shape[1] else blank(whole.y, len(reply)) for reply in replies]),
        None
        if whole.maps is None
        else torch.cat([blank(whole.maps, len(one)) if one.maps is None else one.maps for one in replies]),
    )


def blank(like: Tensor, n: int) -> Tensor:
    return torch.full((n, *like.shape[1:]), torch.nan, dtype=like.dtype)

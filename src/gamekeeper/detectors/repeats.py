"""How much a client asks, how fast, and how much of it they have asked before. Evidence, never an alarm by itself.

Source      none, our own bookkeeping; near repeats as in PRADA's floor (`nearby.floor`)
Equations   score = (exact + near repeats) / queries compared
Assumes     nothing of the victim; exact repeats need the inputs or their hashes, near repeats the inputs
Deviations  none
Keeps       the last `recent` new inputs, 4 (d + s) bytes each, with s numbers of a shadow (shadows.py), and 8 bytes for
            each of `most` distinct inputs: 1.9 MB and 0.8 MB at most for 28x28; rows are added as they come

Honest clients repeat as well: retries, caches that expire, frames of a video. A high share says that PRADA is not shown
much of this client, or that somebody averages noisy answers. An input that recurs after `most` distinct others is taken
for new, a near one after `recent` new ones. A near one is no pattern for others: a thief who walks from input to input in
small steps would else hide all of them.

Memories do not merge: which of two clients' queries are near each other is not remembered.
"""

import hmac
import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from gamekeeper.detectors.growing_set import roomy
from gamekeeper.detectors.nearby import Rows, floor, pair_distances
from gamekeeper.detectors.shadows import Shadow, at_least, shadows
from gamekeeper.errors import BadConfig
from gamekeeper.types import Batch, Model, Owner, Reply, Scores

CHUNK = 256
HOUR = 3_600.0
SHIFT = np.uint64(32)


@dataclass
class Traffic:
    """What a client has sent so far.

    queries      all of them
    per_hour     queries an hour from the first to the last; NaN unless two or more have different times
    busiest      most queries in one hour of the clock
    exact, near  shares of the queries compared, in [0, 1], that were sent before, bit for bit or nearly; NaN if none was
    """

    queries: int
    per_hour: float
    busiest: int
    exact: float
    near: float


@dataclass
class RepeatsMemory:
    """Of one client.

    rows      the last new inputs, (r, d): once there are `recent`, each new one takes the place of the oldest
    shadows   of these, (r, s)
    distinct  inputs that have been put there: those that repeat no earlier one, exactly or nearly
    hashes    of all distinct inputs, sorted, (m,)
    queries, compared, exact, near      counts; `compared` had an input or a hash
    timed, first, last, hour, in_hour, busiest      queries with a time; times in seconds since 1970; of the current hour
    """

    rows: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    shadows: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    hashes: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    distinct: int = 0
    queries: int = 0
    compared: int = 0
    exact: int = 0
    near: int = 0
    timed: int = 0
    first: float = math.inf
    last: float = -math.inf
    hour: int = 0
    in_hour: int = 0
    busiest: int = 0


@dataclass(frozen=True)
class Repeats:
    """Repeats of a client's earlier queries, with volume and rate.

    floor   L2 distance up to which a query is nearly an earlier one; None for that of noisy copies (`nearby.floor`)
    recent  new inputs that a query is compared with
    most    distinct inputs whose hashes are remembered
    """

    floor: float | None = None
    recent: int = 500
    most: int = 100_000

    def __post_init__(self) -> None:
        if self.recent < 1 or self.most < 1 or (self.floor is not None and self.floor < 0):
            raise BadConfig(f"Repeats needs recent and most of 1 or more, and no negative floor. Got {self}.")

    def arm(self, victim: Model, owner: Owner, seed: int) -> "RepeatsWatch":
        """Raises Unsuited if no floor is given and the domain has no ranges."""
        reach = floor(owner.box) if self.floor is None else self.floor
        return RepeatsWatch(reach, self.recent, self.most, drawn_from(owner.secret))


@dataclass(frozen=True)
class RepeatsWatch:
    """Key: what hashes are drawn with; memories of one key mean nothing to another."""

    floor: float
    recent: int
    most: int
    key: int = 0

    def fresh(self) -> RepeatsMemory:
        return RepeatsMemory()

    def score(self, x: Batch, clean: Reply, at: float, memory: RepeatsMemory) -> Scores:
        """The share of the client's queries so far that repeat an earlier one, exactly or nearly, in [0, 1]."""
        before = replace(memory)
        return running_share(~self.new(x, at, memory), before)

    def new(self, x: Batch, at: float, memory: RepeatsMemory) -> Bool[Tensor, " n"]:
        """Which queries repeat no earlier one of this client, exactly or nearly."""
        rows = np.ascontiguousarray(x.detach().flatten(1).float().cpu().numpy())
        parts = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        with np.errstate(over="ignore", invalid="ignore"):  # of huge inputs, whose shadows are NaN
            repeated = [self._compare(part, tuple(x.shape[1:]), memory) for part in parts]
        clock(len(x), at, memory)
        return ~torch.cat(repeated) if repeated else torch.ones(0, dtype=torch.bool)

    def score_hashes(self, hashes: Int[Tensor, " n"], at: float, memory: RepeatsMemory) -> Scores:
        """The same for a log that has 64-bit hashes of the inputs instead of these: exact repeats only."""
        before = replace(memory)
        again = self._known(hashes.numpy(), memory)
        clock(len(again), at, memory)
        return running_share(counted(again, np.zeros_like(again), memory), before)

    def count(self, n: int, at: float, memory: RepeatsMemory) -> None:
        """Notes n queries of which nothing is known but the time: they count for volume and rate."""
        clock(n, at, memory)

    def _compare(self, x: Rows, shape: tuple[int, ...], memory: RepeatsMemory) -> Bool[Tensor, " n"]:
        again = self._known(hashes_of(x, self.key), memory)
        near = np.zeros(len(x), bool)
        if not again.all():
            near[~again] = self._near(x[~again] if again.any() else x, shape, memory)
        return counted(again, near, memory)

    def _near(self, x: Rows, shape: tuple[int, ...], memory: RepeatsMemory) -> Bool[np.ndarray, " n"]:
        """Which of these distinct rows are near one of the `recent` new ones before them. Remembers those that are not.

        What is near to a near one alone is new: else every input could be reached unseen, in small steps.
        """
        dark, size, come = shadows(x, shape), min(memory.distinct, self.recent), memory.distinct
        came = come - 1 - (come - 1 - np.arange(size)) % self.recent
        last = np.full(len(x), -1)
        if size:
            i, j = within(x, dark, memory.rows.numpy()[:size], memory.shadows.numpy()[:size], self.floor)
            np.maximum.at(last, i, came[j])
        near = np.zeros(len(x), bool)
        near[walked(last, neighbours(x, dark, self.floor), come, self.recent)] = True
        new = np.flatnonzero(~near)
        memory.distinct += len(new)
        make_room(memory, memory.distinct, x.shape[1], dark.shape[1], self.recent)
        places = np.arange(come, memory.distinct)[-self.recent :] % self.recent
        memory.rows.numpy()[places], memory.shadows.numpy()[places] = x[new[-self.recent :]], dark[new[-self.recent :]]
        return near

    def _known(self, hashes: Int[np.ndarray, " n"], memory: RepeatsMemory) -> Bool[np.ndarray, " n"]:
        """Which inputs came before, in this batch too. Remembers the others while there is room."""
        if len(hashes) == 1:
            return self._one_known(hashes, memory)
        distinct, first, which = np.unique(hashes, return_index=True, return_inverse=True)
        stored = memory.hashes.numpy()
        place = np.searchsorted(stored, distinct)
        old = np.zeros(len(distinct), bool)
        inside = place < len(stored)
        old[inside] = stored[place[inside]] == distinct[inside]
        # the first to come are remembered, however the queries are batched
        room = np.sort(first[~old])[: self.most - len(stored)]
        added = ~old & np.isin(first, room)
        memory.hashes = torch.from_numpy(np.insert(stored, place[added], distinct[added]))
        again = old | added
        return again[which] & (old[which] | (first[which] != np.arange(len(hashes))))

    def _one_known(self, hashes: Int[np.ndarray, " 1"], memory: RepeatsMemory) -> Bool[np.ndarray, " 1"]:
        """The same for one input, as most requests have: without what a batch needs."""
        stored = memory.hashes.numpy()
        place = int(stored.searchsorted(hashes)[0])
        again = place < len(stored) and stored[place] == hashes[0]
        if not again and len(stored) < self.most:
            memory.hashes = torch.from_numpy(np.concatenate([stored[:place], hashes, stored[place:]]))
        return np.array([again])


def running_share(repeated: Bool[Tensor, " n"], before: RepeatsMemory) -> Scores:
    """The share of repeats among all queries compared, after each of these."""
    total = before.exact + before.near + repeated.double().cumsum(0)
    return total / (before.compared + torch.arange(1, len(repeated) + 1))


def counted(exact: Bool[np.ndarray, " n"], near: Bool[np.ndarray, " n"], memory: RepeatsMemory) -> Bool[Tensor, " n"]:
    """Which queries are repeats of either kind. Updates the counts."""
    memory.compared += len(exact)
    memory.exact += int(exact.sum())
    memory.near += int(near.sum())
    return torch.from_numpy(exact | near)


def clock(n: int, at: float, memory: RepeatsMemory) -> None:
    """Counts n queries at this time, in seconds since 1970; NaN if unknown."""
    memory.queries += n
    if not math.isfinite(at):
        return
    memory.timed += n
    memory.first, memory.last = min(memory.first, at), max(memory.last, at)
    hour = math.floor(at / HOUR)
    memory.in_hour = n + (memory.in_hour if hour == memory.hour else 0)
    memory.hour, memory.busiest = hour, max(memory.busiest, memory.in_hour)


def traffic(memory: RepeatsMemory) -> Traffic:
    """What a report shows of a client."""
    hours = (memory.last - memory.first) / HOUR
    per_hour = memory.timed / hours if hours > 0 else math.nan
    exact, near = (n / memory.compared if memory.compared else math.nan for n in (memory.exact, memory.near))
    return Traffic(memory.queries, per_hour, memory.busiest, exact, near)


def drawn_from(secret: bytes | None) -> int:
    """A key for hashes: of the owner's secret, so that no thief can make a new input look like a repeat; else 0."""
    return 0 if secret is None else int.from_bytes(hmac.digest(secret, b"repeats", "sha256")[:8], "big")


@lru_cache(maxsize=32)
def odd_numbers(n: int, key: int) -> Shaped[np.ndarray, " n"]:
    return np.random.default_rng(key).integers(0, 2**64, n, dtype=np.uint64) | np.uint64(1)


def hashes_of(x: Float[np.ndarray, "n d"], key: int = 0) -> Int[np.ndarray, " n"]:
    """64-bit hashes of float32 rows: each number mixed, then a sum with random odd weights drawn from the key. -0 is 0.

    Rows that differ have the same hash with a chance of about 2^-60. Whoever knows the key can make such rows in seconds, and
    all they ask is then taken for repeats: where thieves may be expected to, the owner needs a secret.
    """
    with np.errstate(over="ignore"):
        words = (x + 0.0).astype(np.float32).view(np.uint32).astype(np.uint64)
        for odd in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9):
            words = words * np.uint64(odd)
            words ^= words >> SHIFT
        return (words * odd_numbers(x.shape[1], key)).sum(1, dtype=np.uint64).view(np.int64)


def make_room(memory: RepeatsMemory, n: int, d: int, s: int, recent: int) -> None:
    """Makes place for n inputs, at most `recent`, of d numbers and with shadows of s."""
    size = memory.rows.shape[0]
    if size < min(n, recent):
        larger = min(recent, roomy(size, n))
        rows, dark = torch.zeros(larger, d), torch.zeros(larger, s)
        if size:
            rows[:size], dark[:size] = memory.rows, memory.shadows
        memory.rows, memory.shadows = rows, dark


def within(
    x: Rows, dark: Shadow, others: Float[np.ndarray, "m d"], shade: Float[np.ndarray, "m s"], reach: float
) -> tuple[Int[np.ndarray, " c"], Int[np.ndarray, " c"]]:
    """The pairs of a row of x and one of the others within reach: their places."""
    i, j = (~(at_least(dark, shade) > reach**2)).nonzero()
    close = pair_distances(x, others, i, j) <= reach
    return i[close], j[close]


def neighbours(x: Rows, dark: Shadow, reach: float) -> dict[int, list[int]]:
    """Of each row that has some: the earlier rows within reach."""
    some: dict[int, list[int]] = {}
    if len(x) > 1:
        i, j = np.tril(~(at_least(dark, dark) > reach**2), -1).nonzero()
        close = pair_distances(x, x, i, j) <= reach
        for row, other in zip(i[close].tolist(), j[close].tolist(), strict=True):
            some.setdefault(row, []).append(other)
    return some


def walked(last: Int[np.ndarray, " n"], earlier: dict[int, list[int]], come: int, recent: int) -> list[int]:
    """The rows that are near one of the `recent` new rows before them, ascending.

    last     number of the last remembered new row that each is near, from 0; -1: none
    earlier  rows of the same batch that each is near; only new ones count
    come     new rows so far
    """
    near: list[int] = []
    for row in sorted({*np.flatnonzero(last >= 0).tolist(), *earlier}):
        hidden = [bisect_left(near, other) for other in earlier.get(row, [])]
        new = [
            come + other - n
            for other, n in zip(earlier.get(row, []), hidden, strict=True)
            if n == len(near) or near[n] != other
        ]
        if max([int(last[row]), *new]) >= max(0, come + row - len(near) - recent):
            near.append(row)
    return near

"""PRADA: are the distances between a client's queries those of natural inputs?

Source      Juuti, Szyller, Marchal, Asokan, "PRADA: protecting against DNN model stealing attacks" (EuroS&P 2019), and
            the authors' code
Equations   for each predicted class a growing set of queries; d = min |x - g|_2 over it; x joins where d exceeds T, and
            T = max(T, mean - sd of the distances at joining, the first of them 0). With the first query and every 10th
            after it: D, all distances of classes with 10 or more, less those 3 sd or more from their mean; where more
            than 100 are left, W = Shapiro-Wilk(D), and W < delta is an alarm, withdrawn by the next test that passes
Assumes     natural queries lie at normally distributed distances; a thief's small steps do not. Blind to natural queries
            of any kind, to the first 100 queries and to exact duplicates, whose distances are all 0 (`repeats`)
Deviations  - the score is 1 - the least W so far: it never falls, as an alarm that a person has seen. `stream` follows
              the published alarm; sticky=True keeps it
            - floor: a query no further than this from an earlier one of its class that was shown is a repeat and is not
              shown. Retries and frames of a video would else raise alarms. The published algorithm has none:
              `stream` and floor=0. Within a class, because PRADA measures within a class only
            - delta is the paper's for MNIST, as recalled. Honest streams can fall below it: calibration sets another
            - the same decisions at less cost: a product of short vectors (shadows.py) finds candidates, whose distances are
              then computed exactly; running moments; a buffer that stays sorted
            - after `most` distinct queries nothing more is learnt of a client
Keeps       every distinct query: 4 (d + s) + 40 bytes each, s = 198 for images, at most double while it grows: 2.2 MB for
            500 of 28x28, 64 MB for 10,000 (growing_set.py)
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped

from gamekeeper.detectors.calibrate import Benign
from gamekeeper.detectors.growing_set import ACCEPTED, HIDDEN, SHOWN, GrowingSets, Joining, empty
from gamekeeper.detectors.nearby import Rows, floor, pair_distances
from gamekeeper.detectors.shadows import Shadow, at_least, shadows, width
from gamekeeper.detectors.shapiro_wilk import w
from gamekeeper.errors import BadConfig, BadQuery
from gamekeeper.needs import classes_of
from gamekeeper.types import Batch, Model, Owner, Reply, Scores

EVERY, ENOUGH, OUTLYING = 10, 100, 3.0
CHUNK = 64
"""Queries that share a matrix product."""


@dataclass(frozen=True)
class Prada:
    """Distances between a client's queries, which are not normally distributed where a thief takes small steps.

    delta  W below which the paper alarms (`PradaWatch.threshold`); calibrated limits take its place
    every  queries between tests
    floor  L2 distance up to which a query is a repeat of an earlier one; None for that of noisy copies (`nearby.floor`)
    most   distinct queries remembered of a client
    """

    delta: float = 0.95
    every: int = EVERY
    floor: float | None = None
    most: int = 10_000

    def __post_init__(self) -> None:
        if not 0 < self.delta <= 1 or self.every < 1 or self.most < 1 or (self.floor is not None and self.floor < 0):
            raise BadConfig(
                f"Prada needs 0 < delta <= 1, every and most of 1 or more, and no negative floor. Got {self}."
            )

    def arm(self, victim: Model, owner: Owner, seed: int) -> "PradaWatch":
        """Raises Unsuited if the victim has fewer than two classes, or no floor is given and the domain has no ranges."""
        classes = classes_of(victim, "Prada")
        reach = floor(owner.box) if self.floor is None else self.floor
        return PradaWatch(owner.box.shape, classes, self.delta, self.every, reach, self.most)


@dataclass(frozen=True)
class PradaWatch:
    """PRADA for inputs of one shape and answers over `classes` classes.

    Merging is exact while the memories and what comes of them hold fewer than `most` queries, and where the times of all
    queries are known: it replays them in order of time, those of one instant in the order of the memories.
    """

    shape: tuple[int, ...]
    classes: int
    delta: float
    every: int
    floor: float
    most: int

    def honest(self, benign: Benign, n: int, length: int, seed: int) -> Iterator[Benign]:
        """The null is of clients with the class mix of the benign inputs, as the paper assumes, and without repeats.

        W falls for honest clients who ask about few classes. Limits that allow for them would find JBDA hundreds of queries
        later (docs/detect.md); instead a few in a hundred of such clients alarm. Inputs that come twice would lie at no distance.
        """
        return benign.streams(n, length, seed, (math.inf,))

    @property
    def threshold(self) -> float:
        """The score above which the paper alarms."""
        return 1 - self.delta

    def fresh(self) -> GrowingSets:
        return empty(math.prod(self.shape), width(self.shape), self.classes)

    def score(self, x: Batch, clean: Reply, at: float, memory: GrowingSets) -> Scores:
        """1 - the least W so far, in [0, 1]; NaN before the first test, which needs more than 100 distances."""
        rows = x.detach().flatten(1).to(memory.rows.dtype).cpu().numpy()
        before = memory.least
        tests = self.look(rows, clean.y.argmax(1).cpu().numpy(), np.full(len(rows), at), memory)
        return torch.from_numpy(1 - np.fmin.accumulate(np.concatenate([[before], tests]))[1:])

    def merged(self, memories: Sequence[GrowingSets]) -> GrowingSets:
        """The memory of one client who had sent the queries of all."""
        parts = [memory.queries() for memory in memories]
        whole = self.fresh()
        if parts:
            rows, classes, _, times = (np.concatenate(column) for column in zip(*parts, strict=True))
            order = np.argsort(times, kind="stable")
            self.look(rows[order], classes[order], times[order], whole)
        return whole

    def look(
        self, x: Rows, labels: Int[np.ndarray, " n"], times: Float[np.ndarray, " n"], memory: GrowingSets
    ) -> Float[np.ndarray, " n"]:
        """W after each query that a test follows, else NaN. Updates the memory."""
        tests = np.full(len(x), np.nan)
        with np.errstate(over="ignore", invalid="ignore"):  # of huge inputs, whose shadows are NaN
            for start in range(0, len(x), CHUNK):
                part = slice(start, start + CHUNK)
                tests[part] = self._chunk(x[part], labels[part].tolist(), times[part], memory)
        return tests

    def _chunk(
        self, x: Rows, labels: list[int], times: Float[np.ndarray, " n"], memory: GrowingSets
    ) -> Float[np.ndarray, " n"]:
        """Distances to earlier chunks first, then one query after the other: each may join before the next comes."""
        tests, standing = np.full(len(x), np.nan), [-1] * len(x)
        shadow, groups = shadows(x, self.shape), grouped(labels)
        gaps, within = np.empty((3, len(x))), Within(len(x))
        for c, rows in groups.items():
            mine, dark = x[rows], shadow[rows]
            gaps[:, rows] = memory.nearest(c, mine, dark, HIDDEN if self.floor > 0 else ACCEPTED)
            within.add(rows, mine, dark, gaps[ACCEPTED, rows])
        rules, left = {c: memory.rule(c) for c in groups}, self.most - memory.stored
        new: list[tuple[int, float]] = []
        for i, (c, before) in enumerate(zip(labels, gaps.T.tolist(), strict=True)):
            if left == 0:
                break
            same, repeated, gap = within.closer(i, before, standing)
            if same == 0 < self.floor:
                continue  # of exact copies the first is remembered
            left -= 1
            if repeated <= self.floor and self.floor > 0:
                standing[i] = HIDDEN
                continue
            if gap < np.inf:
                new.append((c, gap))
            standing[i] = join(rules[c], gap)
            if memory.seen % self.every == 0:
                memory.record(new)
                tests[i], new = self._test(memory), []
            memory.seen += 1
        memory.record(new)
        kinds = [3 * c + kind if kind >= 0 else -1 for c, kind in zip(labels, standing, strict=True)]
        memory.store(x, shadow, np.array(kinds), times)
        for c, rule in rules.items():
            memory.learn(c, rule)
        return tests

    def _test(self, memory: GrowingSets) -> float:
        """W, if there are enough distances; else NaN."""
        ordered = memory.sorted_distances()
        if len(ordered) <= ENOUGH:
            return float("nan")
        value = normality(ordered)
        memory.least = float(np.fmin(memory.least, value))
        return value


class Within:
    """Distances between the queries of one chunk, where they may matter."""

    def __init__(self, n: int) -> None:
        self.pairs: list[list[tuple[int, float]]] = [[] for _ in range(n)]

    def add(self, rows: list[int], x: Rows, shadow: Shadow, gaps: Float[np.ndarray, " n"]) -> None:
        """Rows of one class, and how far each is from the growing set: only earlier rows that may be closer matter."""
        if len(rows) == 1:
            return
        far = at_least(shadow, shadow) > np.square(gaps)[:, None]
        i, j = np.tril(~far, -1).nonzero()
        for a, b, gap in zip(i.tolist(), j.tolist(), pair_distances(x, x, i, j).tolist(), strict=True):
            self.pairs[rows[a]].append((rows[b], gap))

    def closer(self, i: int, gaps: list[float], standing: list[int]) -> list[float]:
        """Distances of row i to the nearest query of any standing, shown and accepted, with earlier rows of the chunk."""
        for j, gap in self.pairs[i]:
            for least in range(standing[j] + 1):
                gaps[least] = min(gaps[least], gap)
        return gaps


def grouped(labels: list[int]) -> dict[int, list[int]]:
    """The rows of each class."""
    groups: dict[int, list[int]] = {}
    for i, c in enumerate(labels):
        groups.setdefault(c, []).append(i)
    return groups


def join(rule: Joining, gap: float) -> int:
    """The standing of a query at this distance from the growing set, infinite if that is empty; it may join."""
    if gap == math.inf or gap > rule.threshold:
        rule.accept(0.0 if gap == math.inf else gap)
        return ACCEPTED
    return SHOWN


def normality(ordered: Float[np.ndarray, " n"]) -> float:
    """W of sorted distances without those 3 standard deviations or more from their mean; NaN if 100 or fewer are left.

    Of equal distances none is left.
    """
    centred = ordered - ordered.mean()
    reach = OUTLYING * np.sqrt(np.square(centred).mean())
    inside = ordered[centred.searchsorted(-reach, "right") : centred.searchsorted(reach)]
    return w(inside) if len(inside) > ENOUGH else float("nan")


def stream(
    x: Shaped[np.ndarray, "n ..."],
    labels: Int[np.ndarray, " m"],
    delta: float,
    sticky: bool = False,
    floor: float = 0.0,
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """The published algorithm on a client's queries in order: W where a test follows a query, else NaN, and the alarm after each.

    x       inputs as numbers, compared in the precision they have; integers as float64
    labels  the victim's predicted class of each
    delta   W below it is an alarm
    sticky  whether an alarm stays; the published one is withdrawn by the next test that passes
    floor   L2 distance up to which a query is a repeat and not shown; 0 for the published algorithm

    Raises BadQuery if x is not finite or has not as many rows as there are labels.
    """
    numbers = x if str(x.dtype) in ("float32", "float64") else x.astype(np.float64)
    if len(x) != len(labels) or not np.isfinite(numbers).all():
        raise BadQuery(f"a stream needs finite inputs and a label for each. Got {x.shape} and {labels.shape}.")
    rows = np.ascontiguousarray(numbers.reshape(len(x), math.prod(x.shape[1:])))
    names, classes = np.unique(labels, return_inverse=True)
    watch = PradaWatch(x.shape[1:], len(names), delta, EVERY, floor, max(1, len(rows)))
    memory = empty(rows.shape[1], width(watch.shape), len(names), torch.from_numpy(rows).dtype)
    tests = watch.look(rows, classes, np.full(len(rows), np.nan), memory)
    return tests, alarms(tests, delta, sticky)


def alarms(tests: Float[np.ndarray, " n"], delta: float, sticky: bool) -> Bool[np.ndarray, " n"]:
    """Whether an alarm stands after each query."""
    if sticky:
        return np.logical_or.accumulate(tests < delta)
    last = np.maximum.accumulate(np.where(np.isnan(tests), -1, np.arange(len(tests))))
    return (last >= 0) & (tests[last] < delta)

"""PRADA against the published loop, for a client who has sent 10,000 queries: the shipped digits and letters, mixed.

The published loop compares a query with each member of its class's growing set in Python, takes mean and deviation of all
distances at joining, and sorts all distances for every tenth query. Both start from the same history, computed once, and
first decide on the same 64 further queries, after which their W is compared. No query comes twice. One thread, CPU time,
medians of rounds in which each takes its turn.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.stats import shapiro

from benchmarks.timing import medians
from gamekeeper.data import batteries
from gamekeeper.detectors.growing_set import ACCEPTED, GrowingSets
from gamekeeper.detectors.nearby import floor
from gamekeeper.detectors.prada import PradaWatch
from gamekeeper.service.stored import packed
from gamekeeper.targets.load import load_target
from gamekeeper.types import Box

HISTORY, CLASSES, SHAPE = 10_000, 10, (1, 28, 28)
ROUND, PLAIN_ROUND = 64, 16
AIMS = {1: 10.0, 64: 50.0}


@dataclass
class Published:
    """The loop of the paper's code, with a history that it is given."""

    growing: dict[int, list[np.ndarray]]
    joined: dict[int, list[float]]
    threshold: dict[int, float]
    distances: dict[int, list[float]]
    seen: int
    tests: list[float] = field(default_factory=list)

    def __call__(self, query: np.ndarray, c: int) -> None:
        nearest = np.min(np.asarray([np.sqrt(np.sum((g - query) ** 2)) for g in self.growing[c]]))
        self.distances[c].append(nearest)
        if nearest > self.threshold[c]:
            self.growing[c].append(query)
            self.joined[c].append(nearest)
            joined = np.asarray(self.joined[c])
            self.threshold[c] = max(joined.mean() - joined.std(), self.threshold[c])
        if self.seen % 10 == 0:
            whole: list[float] = []
            for distances in self.distances.values():
                whole.extend(distances)
            kept = np.asarray(whole)
            kept = kept[abs(kept - np.mean(kept)) < 3 * np.std(kept)]
            self.tests.append(shapiro(kept).statistic)
        self.seen += 1


def queries() -> tuple[np.ndarray, np.ndarray]:
    """All shipped digits and 12,000 letters in random order, with the victim's classes."""
    x = torch.cat(
        [batteries.load(f"mnist-{part}").x for part in ("natural", "train", "test")] + [batteries.load("letters").x]
    )
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    return x.flatten(1).numpy(), load_target("mnist").victim(x).y.argmax(1).numpy()


def published(memory: GrowingSets, distances: dict[int, list[float]]) -> Published:
    """The loop with the history of a memory."""
    asked = memory.queries()
    growing: dict[int, list[np.ndarray]] = {}
    joined: dict[int, list[float]] = {}
    for c in range(CLASSES):
        joins = asked.standings[asked.classes == c] == ACCEPTED
        growing[c] = list(asked.x[asked.classes == c][joins])
        joined[c] = [0.0, *np.asarray(distances[c])[joins[1:]].tolist()]
    copies = {c: list(gaps) for c, gaps in distances.items()}
    return Published(growing, joined, dict(enumerate(memory.joining[:, 3].tolist())), copies, memory.seen)


def history(x: np.ndarray, labels: np.ndarray, watch: PradaWatch) -> tuple[GrowingSets, dict[int, list[float]]]:
    """The memory after these queries, and all distances of each class."""
    memory, distances = watch.fresh(), {c: list[float]() for c in range(CLASSES)}
    record = memory.record

    def noting(gaps: Sequence[tuple[int, float]]) -> None:
        for c, gap in gaps:
            distances[c].append(gap)
        record(gaps)

    memory.record = noting
    watch.look(x, labels, np.zeros(len(x)), memory)
    del memory.record
    return memory, distances


def ours(watch: PradaWatch, memory: GrowingSets, batch: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def answer(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        parts = [slice(start, start + batch) for start in range(0, len(x), batch)]
        return np.concatenate([watch.look(x[p], labels[p], np.zeros(len(x[p])), memory) for p in parts])

    return answer


def plain(loop: Published) -> Callable[[np.ndarray, np.ndarray], list[float]]:
    def answer(x: np.ndarray, labels: np.ndarray) -> list[float]:
        before = len(loop.tests)
        for query, c in zip(x, labels.tolist(), strict=True):
            loop(query, c)
        return loop.tests[before:]

    return answer


def turns(
    x: np.ndarray, labels: np.ndarray, answer: Callable[[np.ndarray, np.ndarray], object], n: int
) -> Callable[[], object]:
    """A call that answers the next n queries, each time others."""
    rounds: Iterator[int] = iter(range(0, len(x) - n, n))

    def call() -> object:
        start = next(rounds)
        return answer(x[start : start + n], labels[start : start + n])

    return call


def prada() -> dict[str, object]:
    x, labels = queries()
    watches = {
        reach > 0: PradaWatch(SHAPE, CLASSES, 0.95, 10, reach, 10 * HISTORY) for reach in (0.0, floor(Box(SHAPE)))
    }
    memory, distances = history(x[:HISTORY], labels[:HISTORY], watches[False])
    x, labels = x[HISTORY:], labels[HISTORY:]
    first = plain(published(memory, distances))(x[:ROUND], labels[:ROUND])
    tests = ours(watches[False], copy.deepcopy(memory), ROUND)(x[:ROUND], labels[:ROUND])
    difference = max(abs(a - b) for a, b in zip(tests[~np.isnan(tests)].tolist(), first, strict=True))
    assert difference < 1e-7, difference
    calls = {"published": turns(x, labels, plain(published(memory, distances)), PLAIN_ROUND)}
    for floored, watch in watches.items():
        for batch in AIMS:
            calls[f"{batch} {floored}"] = turns(x, labels, ours(watch, copy.deepcopy(memory), batch), ROUND)
    spent = medians(calls, 8.0)
    each = {name: seconds / (PLAIN_ROUND if name == "published" else ROUND) for name, seconds in spent.items()}
    rows = [
        {
            "batch": batch,
            "floor": floored,
            "us": round(1e6 * each[f"{batch} {floored}"]),
            "ratio": round(each["published"] / each[f"{batch} {floored}"], 1),
            "aim": aim,
        }
        for floored in watches
        for batch, aim in AIMS.items()
    ]
    return {
        "history": HISTORY,
        "growing": int(memory.joining[:, 0].sum()),
        "published_us": round(1e6 * each["published"]),
        "largest_difference_of_w": difference,
        "bytes": len(packed(memory)),
        "rows": rows,
    }


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    with warnings.catch_warnings():  # of p-values above 5,000 values, which nobody reads
        warnings.simplefilter("ignore")
        return {"prada": prada()}


def show(result: dict[str, object]) -> None:
    found = result["prada"]
    print(
        "PRADA at {history:,} queries, {growing:,} of them in growing sets: published loop {published_us:,} us a query; W differs by"
        " {largest_difference_of_w:.1e}; {bytes:,} bytes".format(**found)  # pyright: ignore
    )
    for row in found["rows"]:  # pyright: ignore
        floored = ", with the default floor" if row["floor"] else ""
        print(
            f"  batches of {row['batch']}{floored}: {row['us']} us, {row['ratio']} times as fast (aim {row['aim']:g})"
        )

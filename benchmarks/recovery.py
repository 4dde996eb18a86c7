"""Partial Bayes: looking 10,000 answers up in a table of 100,000 candidates, against the loop one would write first.

Ten classes, posteriors of every sharpness, a defense that flattens them. The plain loop takes one answer after the
other against the whole table, as the authors' code does; it is timed on 100 answers and scaled up. Both with the
candidates of the answer's own top class only (a defense that keeps it) and with all of them. CPU time of one thread,
medians of rounds in turn. Extra memory is the largest growth of the process while it looks up (Linux; else left out),
beside what all distances at once would take.
"""

import resource
import statistics
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import cpu_seconds
from gamekeeper.defenses.baselines import flatten
from gamekeeper.learners.lookup_table import LookupTable, flat, match
from gamekeeper.simplex import distance

ANSWERS, CANDIDATES, CLASSES, SAMPLE, ROUNDS = 10_000, 100_000, 10, 100, 3
TOLERANCE = 0.01
AIM_MB = 256
STATM = Path("/proc/self/statm")


def plain(y: Tensor, table: LookupTable, keeps_top1: bool) -> Tensor:
    """One answer at a time; the candidates of each class are picked out once."""
    top, found = table.clean.argmax(1), []
    by_class = [LookupTable(table.clean[top == c], table.answered[top == c]) for c in range(CLASSES)]
    for answer in y:
        some = by_class[int(answer.argmax())] if keeps_top1 else table
        distances = (some.answered - answer).abs().sum(1)
        found.append(some.clean[distances <= distances.min().clamp(min=TOLERANCE)].mean(0))
    return torch.stack(found)


def growth(call: Callable[[], object], before: int) -> float | None:
    """Megabytes by which the process was at most larger during the call than `before`, when nothing was looked up yet."""
    if not STATM.exists():
        return None
    done, seen = threading.Event(), [before]

    def watch() -> None:
        while not done.wait(0.005):
            seen.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    call()
    done.set()
    watcher.join()
    return (max(seen) - before) / 1e6


def resident() -> int:
    """Bytes of this process in memory; 0 where that cannot be read."""
    return int(STATM.read_text().split()[1]) * resource.getpagesize() if STATM.exists() else 0


def row(y: Tensor, clean: Tensor, table: LookupTable, keeps_top1: bool, before: int) -> dict[str, object]:
    grown = growth(lambda: match(y, table, keeps_top1, TOLERANCE), before)
    ours, loop = [], []
    for _ in range(ROUNDS):
        ours.append(cpu_seconds(lambda: match(y, table, keeps_top1, TOLERANCE)))
        loop.append(cpu_seconds(lambda: plain(y[:SAMPLE], table, keeps_top1)) * len(y) / SAMPLE)
    recovered = match(y, table, keeps_top1, TOLERANCE)[0]
    return {
        "top class only": keeps_top1,
        "cpu_seconds": round(statistics.median(ours), 2),
        "plain_cpu_seconds": round(statistics.median(loop), 2),
        "plain_over_ours": round(statistics.median(loop) / statistics.median(ours), 2),
        "extra_mb": None if grown is None else round(grown),
        "all_at_once_mb": round(len(y) * len(table.clean) * 4 / 1e6),
        "largest_difference": float((recovered[:SAMPLE] - plain(y[:SAMPLE], table, keeps_top1)).abs().max()),
        "l1_given": round(float(distance(y, clean, "l1").mean()), 3),
        "l1_recovered": round(float(distance(recovered, clean, "l1").mean()), 3),
    }


def measure() -> dict[str, object]:
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    clean, candidates = flat(CLASSES, ANSWERS, generator), flat(CLASSES, CANDIDATES, generator)
    y, table = flatten(clean, 0.95), LookupTable(candidates, flatten(candidates, 0.95))
    before = resident()
    return {
        "answers": ANSWERS,
        "candidates": CANDIDATES,
        "classes": CLASSES,
        "aim_mb": AIM_MB,
        "rows": [row(y, clean, table, keeps_top1, before) for keeps_top1 in (True, False)],
    }


def show(result: dict[str, object]) -> None:
    print("partial Bayes: {answers:,} answers against {candidates:,} candidates, {classes} classes".format(**result))
    for each in result["rows"]:  # pyright: ignore
        which = "of the same top class" if each["top class only"] else "all"
        print(
            f"  {which:22}{each['cpu_seconds']:8.2f} CPU s, plain loop {each['plain_cpu_seconds']:8.2f}"
            f" ({each['plain_over_ours']}x), {each['extra_mb']} MB extra (all at once: {each['all_at_once_mb']:,} MB),"
            f" L1 {each['l1_given']} -> {each['l1_recovered']}"
        )
        if each["extra_mb"] is not None and each["extra_mb"] > result["aim_mb"]:
            print(f"    above the aim of {result['aim_mb']} MB")

"""Tables of results/training.json, which `tools/choose_training.py` writes: what students of each length and view were worth."""

import json
from collections.abc import Sequence
from functools import cache
from statistics import fmean
from typing import Any

from committed import RESULTS, table

FILE = RESULTS / "training.json"
COLUMNS = ("seeds", "cross-entropy", "agreement, %", "test accuracy, %", "lowest to highest", "seconds")


@cache
def found() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def compared(parts: Sequence[str]) -> str:
    """A row per candidate: means over the seeds, and the range of the test accuracies."""
    groups: dict[tuple[str, str, int], dict[str, list[dict[str, Any]]]] = {}
    for one in found()["records"]:
        if one["part"] in parts:
            names = groups.setdefault((where(one["part"]), one["set"], one["budget"]), {})
            names.setdefault(called(one), []).append(one)
    rows = [
        [place, name, f"{budget:,}", training, *numbers(own)]
        for (place, name, budget), names in sorted(groups.items())
        for training, own in names.items()
    ]
    pools = len({place for place, *_ in groups}) > 1
    head = ["pool", "model", "answers", "learner", *COLUMNS]
    keep = slice(0 if pools else 1, None)
    return table(head[keep], [row[keep] for row in rows], stamp())


def where(part: str) -> str:
    return part if part == "own kind" else "letters"


def called(record: dict[str, Any]) -> str:
    """The learner before the name of its training, except where a table has one learner or the name says it."""
    learner = record["part"].partition(", ")[0]
    alone = record["part"] in ("soft", "letters", "own kind")
    return record["name"] if alone else f"{learner}, {record['name']}"


def numbers(own: Sequence[dict[str, Any]]) -> list[str]:
    # of some the test set was not read: a mean of fewer seeds would mislead
    tests = [100 * one["test"] for one in own if "test" in one] if all("test" in one for one in own) else []
    return [
        str(len(own)),
        f"{fmean(one['cross_entropy'] for one in own):.3f}",
        f"{100 * fmean(one['agreement'] for one in own):.1f}",
        f"{fmean(tests):.1f}" if tests else "–",
        f"{min(tests):.1f} to {max(tests):.1f}" if tests else "–",
        f"{fmean(one['seconds'] for one in own):.0f}",
    ]


def stamp() -> str:
    about = found()
    seeds = ", ".join(map(str, about["seeds"]))
    return (
        f"Means over seeds {seeds}; cross-entropy and agreement on {about['held']:,} held-out answers. The test set was read"
        f" once, after the choice. `results/training.json`, gamekeeper {about['version']}, {about['date']}."
        " `python tools/choose_training.py`"
    )

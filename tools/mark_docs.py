"""Tables of results/marks.json, which `tools/measure_marks.py` writes: what clones keep of a mark."""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from statistics import fmean
from typing import Any

from committed import RESULTS, table

from gamekeeper.ownership.nulls import DrawnLabels, OfPanel

FILE = RESULTS / "marks.json"
Records = list[dict[str, Any]]


@cache
def measured() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def groups(part: str) -> Iterator[tuple[str, str, Records]]:
    """Kind, learner, and a record per seed; in the order in which they were measured."""
    places = dict.fromkeys((one["kind"], one["learner"]) for one in measured()["records"] if one["part"] == part)
    for kind, learner in sorted(places, key=lambda place: list(places).index(place)):
        own = [
            one for one in measured()["records"] if (one["part"], one["kind"], one["learner"]) == (part, kind, learner)
        ]
        yield kind, learner, sorted(own, key=lambda one: one["seed"])


def each(own: Records, what: str) -> str:
    return ", ".join(f"{one[what]}" for one in own)


def of_n(own: Records, what: str) -> str:
    return ", ".join(f"{one[what]} of {one['n']}" for one in own)


def range_of(panels: Sequence[Sequence[int]]) -> str:
    hits = [hit for panel in panels for hit in panel]
    return f"{min(hits)} to {max(hits)}"


def powers(own: Records, what: str) -> str:
    return ", ".join(f"{one[what]:.1f}" for one in own)


def at_drawn(own: Records, labels: int) -> str:
    """log10 p where labels were drawn from so many after the inputs were committed to."""
    return ", ".join(f"{DrawnLabels(labels).log10_p(one['hits'], one['n'], one['panel']):.1f}" for one in own)


def victim_p(own: Records) -> str:
    """log10 p of a copy of the weights, against the panel."""
    return ", ".join(f"{OfPanel().log10_p(one['own'], one['n'], one['panel']):.1f}" for one in own)


def mean(own: Records, what: str) -> str:
    return f"{100 * fmean(one[what] for one in own):.1f}"


def dawn() -> str:
    head = ["what is marked", "learner", "seeds", "marks that the clone answers", "panel", "log10 p, panel", "drawn labels", "other client's marks",
            "clone's accuracy, %"]  # fmt: skip
    rows = [
        [f"`{kind}`", f"`{learner}`" + (" (drawings)" if learner == "agreeing" else ""), str(len(own)), of_n(own, "hits"),
         range_of([one["panel"] for one in own]), powers(own, "log10_p"), at_drawn(own, 9),
         ", ".join(f"{one['other hits']} of {one['other n']}" for one in own), mean(own, "accuracy")]
        for kind, learner, own in groups("dawn")
    ]  # fmt: skip
    kinds = dict.fromkeys(one["kind"] for one in measured()["records"] if one["part"] == "dawn")
    lost = " and ".join(f"{changed(kind)} % with `{kind}`" for kind in kinds)
    below = f"Shipped LeNet for digits behind `dawn:share=0.01`, 5,000 letters. Of an honest user's digits, {lost} were answered wrongly."
    return table(head, rows, f"{below} {stamp()}")


def changed(kind: str) -> str:
    own = {one["seed"]: one["changed"] for one in measured()["records"] if (one["part"], one["kind"]) == ("dawn", kind)}
    return ", ".join(f"{100 * own[seed]:.1f}" for seed in sorted(own))


def backdoor() -> str:
    head = ["triggers", "learner", "seeds", "the marked model answers", "its accuracy, %", "the clone answers", "panel",
            "log10 p, panel", "drawn labels", "clone's accuracy, %"]  # fmt: skip
    rows = [
        [f"`{kind}`", f"`{learner}`", str(len(own)), of_n(own, "own"), mean(own, "victim"), each(own, "hits"),
         range_of([one["panel"] for one in own]), powers(own, "log10_p"), at_drawn(own, 10), mean(own, "accuracy")]
        for kind, learner, own in groups("backdoor")
    ]  # fmt: skip
    below = "A LeNet for digits with 100 triggers in its training data, stolen with 2,500 letters; `natural` triggers are images of clothes."
    return table(head, rows, f"{below} {stamp()}")


def mistakes() -> str:
    head = ["learner", "seeds", "the victim repeats", "its log10 p, panel", "the clone repeats", "panel", "panel's accuracy, %", "log10 p, panel",
            "guessing, clone", "guessing, panel", "clone's accuracy, %"]  # fmt: skip
    rows = [
        [f"`{learner}`", str(len(own)), of_n(own, "own"), victim_p(own), each(own, "hits"), range_of([one["panel"] for one in own]),
         f"{100 * min(own[0]['panel accuracy']):.1f} to {100 * max(own[0]['panel accuracy']):.1f}", powers(own, "log10_p"),
         powers(own, "naive"), f"{min(own[0]['panel naive']):.1f} to {max(own[0]['panel naive']):.1f}", mean(own, "accuracy")]
        for _, learner, own in groups("own mistakes")
    ]  # fmt: skip
    n = next(one["inputs"] for one in measured()["records"] if one["part"] == "own mistakes")
    below = f"Shipped LeNet for digits, wrong on so many of {n:,} natural digits; clones learnt from 2,500 letters."
    return table(head, rows, f"{below} {stamp()}")


def stamp() -> str:
    about = measured()
    return (
        "One number per seed, from 0 on. The panel: ten LeNets on halves of the owner's digits. log10 p: `panel` of `OfPanel`,"
        f" `drawn labels` of `DrawnLabels`, `guessing` of a naive judge's chance of one in ten. `results/marks.json`, gamekeeper {about['version']}, {about['date']}."
        " `python tools/measure_marks.py`"
    )


TABLES = {"marks-dawn": dawn, "marks-backdoor": backdoor, "marks-mistakes": mistakes}
PARTS = {"marks-dawn": "dawn", "marks-backdoor": "backdoor", "marks-mistakes": "own mistakes"}


def drawn(name: str) -> str:
    """The table, or how to measure what it shows."""
    if not FILE.exists() or not any(one["part"] == PARTS[name] for one in measured()["records"]):
        return "Not run yet: `python tools/measure_marks.py`.\n"
    return TABLES[name]()

"""Tables of results/detect-red-team.json, which `tools/red_team.py` writes: what gets past the detectors, and whom they wrong."""

import json
from functools import cache
from statistics import fmean, median
from typing import Any

import detection_docs
from committed import RESULTS, table

from gamekeeper.metrics import wilson
from gamekeeper.surfaces.detect import per_thousand

FILE = RESULTS / "detect-red-team.json"
Records = list[dict[str, Any]]


@cache
def measured() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def groups(part: str) -> list[Records]:
    """The records of each thief with so many accounts, or of each kind of honest clients, in the order of measuring."""
    some: dict[tuple[str, int], Records] = {}
    for one in measured()["records"]:
        if one["part"] == part:
            some.setdefault((one["who"], one.get("accounts", 0)), []).append(one)
    return list(some.values())


def thieves() -> str:
    whole = next(line.whole for line in detection_docs.summary("detect-mnist").thieves if line.who == "insider")
    head = ["thief", "queries", "accounts", "noticed", "delay", "by", "accounts linked", "clone", "of the insider's"]
    body = [
        [own[0]["who"], str(own[0]["queries"]), str(own[0]["accounts"]), f"{sum(one['first'] > 0 for one in own)} of {len(own)}",
         delay(own), by(own), str(max(one["linked"] for one in own)), f"{clone(own):.3f}", f"{100 * clone(own) / whole:.0f} %"]
        for own in groups("thief")
    ]  # fmt: skip
    return table(head, body, f"Delay: the median number of queries of all accounts up to the first alarm, of the runs with one. Linked: judged once more as one client. Of the insider's: the clone's accuracy over that of the insider of the table above, {whole:.3f}. {stamp()}")  # fmt: skip


def clone(own: Records) -> float:
    return fmean(one["accuracy"] for one in own)


def delay(own: Records) -> str:
    some = [one["first"] for one in own if one["first"]]
    return f"{median(some):.0f}" if some else "never"


def by(own: Records) -> str:
    names = sorted({name for one in own for name in one["by"]})
    return ", ".join(f"`{name}`" for name in names) or "–"


def honest() -> str:
    names = list(groups("honest")[0][0]["by"])
    head = ["honest clients", "number", "any detector", *(f"`{name}`" for name in names)]
    body = [
        [own[0]["who"], str(clients), per_thousand(wilson(sum(one["any"] for one in own), clients)),
         *(f"{1_000 * sum(one['by'][name] for one in own) / clients:.3g}" for name in names)]
        for own in groups("honest")
        for clients in (sum(one["clients"] for one in own),)
    ]  # fmt: skip
    return table(head, body, f"False alarms per 1,000 clients, each with up to 500 queries. {stamp()}")


def stamp() -> str:
    about = measured()
    seeds = f"seeds {min(about['seeds'])} to {max(about['seeds'])}"
    return (
        f"Limits as in the tables of digits above, nominal rate {1_000 * about['alpha']:g} per 1,000. `results/detect-red-team.json`,"
        f" gamekeeper {about['version']}, {seeds}, {about['date']}. `python tools/red_team.py`"
    )


TABLES = {"red-team-thieves": thieves, "red-team-honest": honest}


def drawn(name: str) -> str:
    """The table, or how to measure what it shows."""
    return TABLES[name]() if FILE.exists() else "Not run yet: `python tools/red_team.py`.\n"

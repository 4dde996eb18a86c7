"""Freezes what runs under results/ said, for `tests/test_frozen.py`: `python tools/freeze_results.py`.

Only an issue that changes results on purpose runs this again, and says so. A file holds a run's header, its rows and
the numbers of its tables, compressed.
"""

import gzip
import sys
from pathlib import Path
from typing import Any

import orjson

from gamekeeper.analysis.bootstrap import Values
from gamekeeper.analysis.checks import raised
from gamekeeper.analysis.summary import DefenseSummary, Stolen, summarise
from gamekeeper.results import HEADER, RESULTS, Results

ROOT = Path(__file__).parent.parent
FROZEN = ROOT / "tests/data/frozen"
RUNS = (
    "mnist", "worst-mnist", "all-mnist", "few-inside-mnist", "exact-wine", "exact-breast-cancer",
    "reproduce/tramer", "reproduce/orderings",
)  # fmt: skip


def tables(folder: Path) -> dict[str, Any]:
    """Every number that the tables of a run show, and its flags, without a word of prose."""
    run, rows = Results(folder).header(), Results(folder).read()
    flags = {cell: names for cell, names in raised(rows).items() if names}
    if "targets" in run.target:  # a reproduction: no table of defenses
        return {"flags": flags}
    whole = summarise(run, rows)
    return {
        "flags": flags,
        "budget": whole.budget,
        "floor": thief(whole.floor),
        "control": thief(whole.control),
        "everywhere": list(whole.flags),
        "defenses": {line.defense: numbers(line) for line in whole.lines},
    }


def numbers(line: DefenseSummary) -> dict[str, Any]:
    return {
        "thieves": [thief(one) for one in line.thieves],
        "missing": list(line.missing),
        "soft": thief(line.soft),
        "worst": thief(line.worst),
        "curve": [thief(one) for one in line.curve],
        "prices": [[price.level, price.queries.bound, price.queries.queries] for price in line.prices],
        "eta": line.eta and [line.eta.value, line.eta.low, line.eta.high],
        "change": line.change,
        "honest": line.utility
        and [line.utility.accuracy.value, line.utility.top1_kept, line.utility.l1, line.utility.ece],
        "flags": list(line.flags),
    }


def thief(one: Stolen | None) -> list[Any] | None:
    if one is None:
        return None
    return [
        one.attack,
        one.budget,
        one.queries,
        one.accuracy.value,
        one.accuracy.low,
        one.accuracy.high,
        spread(one.values),
    ]


def spread(values: Values) -> float:
    """Of a thief's replicates: it changes if the bootstrap's draws do."""
    return float(values.std())


def freeze(name: str) -> Path:
    source, path = ROOT / "results" / name, FROZEN / f"{name.replace('/', '-')}.json.gz"
    lines = (source / RESULTS).read_bytes().splitlines()
    frozen = {
        "header": orjson.loads((source / HEADER).read_bytes()),
        "rows": [orjson.loads(line) for line in lines],
        "tables": tables(source),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(orjson.dumps(frozen), mtime=0))
    return path


if __name__ == "__main__":
    for run in sys.argv[1:] or RUNS:
        print(f"froze {freeze(run).relative_to(ROOT)}")

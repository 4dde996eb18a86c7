"""Tables of committed runs of `gamekeeper detect`: thieves, honest clients, what limits rest on, and one detector's part."""

from collections.abc import Sequence
from functools import cache
from statistics import median
from typing import Any

import orjson
from committed import RESULTS, table

from gamekeeper.analysis.detection import DetectionSummary, asked_mix, grouped, summarise
from gamekeeper.detection_rows import ANY, DetectionRow, from_json, to_line
from gamekeeper.detectors.limits import Backing
from gamekeeper.metrics import Estimate, wilson
from gamekeeper.results import Lines
from gamekeeper.surfaces.detect import per_thousand

RUNS = ("detect-mnist", "detect-mnist-others", "detect-mnist-shipped", "detect-fashion")
DRAWN = ("detect-mnist", "detect-fashion")
"""Those with a figure."""


def header(name: str) -> dict[str, Any] | None:
    """What a run says of itself; None if it is not there."""
    path = RESULTS / name / "detection.json"
    return orjson.loads(path.read_bytes()) if path.exists() else None


@cache
def rows(name: str) -> list[DetectionRow]:
    """The last row of each cell of a run, in the order of the header; those that are missing are left out."""
    run = header(name)
    if run is None:
        return []
    last = {row.cell: row for row in Lines(RESULTS / name / "detection.jsonl", from_json, to_line).every()}
    return [last[cell] for cell in run["cells"] if cell in last]


def summary(name: str) -> DetectionSummary:
    return summarise(rows(name))


def absent(name: str) -> str:
    return f"Not run yet: `gamekeeper detect {name.removeprefix('detect-')}`.\n"


def stamp(name: str) -> str:
    """Where a table comes from, and on which inputs its limits and its honest clients rest."""
    run = header(name)
    assert run is not None
    inputs = ", ".join(f"{count:,} {use}" for use, count in run["inputs"].items())
    every = {row.seed for row in rows(name)}
    seeds = f"seeds {min(every)} to {max(every)}" if len(every) > 1 else "one seed"
    done, wanted = len(rows(name)), len(run["cells"])
    unfinished = "" if done == wanted else f" Unfinished: {done} of {wanted} cells."
    return (
        f"Nominal rate of all detectors together: {1_000 * run['alpha']:g} per 1,000 clients. Different inputs: {inputs}."
        f" `results/{name}`, gamekeeper {run['version']}, {seeds}, {run['date']}.{unfinished}"
    )


def thieves(name: str) -> str:
    """One line for each way of stealing: how soon it is noticed, and what the thief has by then."""
    if not rows(name):
        return absent(name)
    lines = summary(name).thieves
    within = sorted({n for line in lines for n in line.noticed})
    head = [
        "thief",
        "own queries",
        "accounts",
        *(f"noticed by {n:,}" for n in within),
        "delay",
        "first",
        "learnt by then",
        "all answers",
        "runs",
    ]
    body = [
        [
            f"`{line.who}`", f"{100 * line.mix:.0f} %", str(line.accounts),
            *(percent(line.noticed.get(n)) for n in within),
            "never" if line.delay is None else f"{line.delay:.0f}", f"`{line.first}`" if line.first else "–",
            f"{100 * line.learnt:.0f} %", f"{line.whole:.3f}", str(line.runs),
        ]
        for line in lines
    ]  # fmt: skip
    return table(head, body, f"Delay: the median number of queries of all accounts up to the first alarm. Learnt by then: accuracy of the clone at the alarm over that of the clone of all answers, which is in the next column; 100 % if nobody noticed, and more where the further answers do harm. {stamp(name)}")  # fmt: skip


def honest(name: str) -> str:
    """One line for each kind of honest clients: false alarms per 1,000."""
    if not rows(name):
        return absent(name)
    lines = summary(name).honest
    detectors = [each for each in dict.fromkeys(n for line in lines for n in line.alarmed) if each != ANY]
    head = ["honest clients", "number", "any detector", *(f"`{each}`" for each in detectors)]
    body = [
        [line.who, f"{line.clients:,}", per_thousand(line.alarmed[ANY]),
         *(f"{1_000 * line.alarmed[each].value:.1f}" if each in line.alarmed else "–" for each in detectors)]
        for line in lines
    ]  # fmt: skip
    return table(head, body, f"False alarms per 1,000 clients, with a 95 % interval that takes clients for independent; those of one seed share inputs. {stamp(name)}")  # fmt: skip


def limits(name: str) -> str:
    """What the limits of each detector rest on, and what that can back."""
    run = header(name)
    if run is None or not rows(name):
        return absent(name)
    body: list[list[str]] = []
    for detector, held in run["detectors"].items():
        if not isinstance(held, dict):
            body.append([f"`{detector}`", "evidence, never an alarm", "–", "–", "–", "–"])
            continue
        backing = Backing(**{key: held[key] for key in ("kind", "inputs", "clients", "alarmed")})
        body.append(
            [f"`{detector}`", f"{1_000 * held['alpha']:.3g}", backing.kind, f"{backing.clients:,}", str(backing.alarmed),
             f"{backing.bound():.3g}"]
        )  # fmt: skip
    head = [
        "detector",
        "aims at, per 1,000",
        "limits from",
        "clients checked",
        "of them alarmed",
        "not excluded at 95 %, per 1,000",
    ]
    return table(head, body, stamp(name))


def part(name: str, detector: str) -> str:
    """What one detector, in whatever form the run had it, says of every thief and every kind of honest clients."""
    if not rows(name):
        return absent(name)
    forms = sorted({each for row in rows(name) for each in row.alarmed if each.split(":")[0] == detector})
    if not forms:
        return f"Not part of `results/{name}`.\n"
    done = [row for row in rows(name) if row.error is None]
    body = [
        [who(group), *(cell for form in forms for cell in outcome(group, form))]
        for group in grouped(done, lambda row: (row.honest, row.who, asked_mix(row), row.accounts))
    ]
    head = ["who", *(text for form in forms for text in (f"`{form}` alarms", "delay"))]
    return table(head, body, f"Alarms: of a thief, the share of runs; of honest clients, per 1,000. This detector's own limits, a share of those of all. {stamp(name)}")  # fmt: skip


def outcome(group: Sequence[DetectionRow], form: str) -> tuple[str, str]:
    """How often one detector alarms, and its median delay among the runs where it did."""
    if group[0].honest:
        clients = sum(row.clients for row in group)
        return per_thousand(wilson(sum(row.alarmed.get(form, 0) for row in group), clients)), "–"
    delays = [row.delay.get(form, 0) for row in group]
    some = [delay for delay in delays if delay]
    return f"{100 * len(some) / len(delays):.0f} %", f"{median(some):.0f}" if some else "never"


def who(group: Sequence[DetectionRow]) -> str:
    """A thief's name with mix and accounts, where they are not plain; or a kind of honest clients."""
    row = group[0]
    if row.honest:
        return f"honest: {row.who}"
    mix = f", {100 * row.mix:.0f} % own" if 0 < asked_mix(row) < 1 else ""
    return f"`{row.who}`{mix}" + (f", {row.accounts} accounts" if row.accounts > 1 else "")


def percent(rate: Estimate | None) -> str:
    return "–" if rate is None else f"{100 * rate.value:.0f} %"

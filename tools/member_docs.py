"""What each thief of the ensemble is worth, from committed runs: how much the strongest falls without them, and their time."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from committed import RESULTS, table

from gamekeeper.analysis.checks import control, grouped
from gamekeeper.analysis.zero_query import by_asking
from gamekeeper.engine.ensemble import ENSEMBLES
from gamekeeper.method_text import taken_apart
from gamekeeper.results import Results, Row

SETS = {"digits": ("worst-mnist", "all-mnist", "moved-mnist"), "clothes": ("worst-fashion", "all-fashion")}
"""Runs of 500 queries with several members each. `moved-fashion` has one thief, who is then worth everything."""
SOFT, INSIDER, SECOND = "knockoff", "insider", "the second network of each"
POINT = 0.01

Defended = Mapping[str, Mapping[str, float]]
"""Clone accuracy by defense and thief, mean over seeds."""


@dataclass(frozen=True)
class Worth:
    """What some thieves add in the rows of one run where they took part.

    rows   how many there are, and `ahead` in how many the best of these thieves leads all others by more than POINT
    most   the largest lead; 0 if they never lead
    falls  by how much the smallest of all rows' strongest falls without them
    """

    rows: int
    ahead: int
    most: float
    falls: float


def worth(defended: Defended, some: set[str]) -> Worth | None:
    """Of `some` thieves against the rest of a run; None if none of them took part, or nobody else."""
    rows = [row for row in defended.values() if not row.keys().isdisjoint(some)]
    if not rows or any(row.keys() <= some for row in rows):
        return None
    leads = [strongest(row, row.keys() & some) - strongest(row, row.keys() - some) for row in rows]
    least = min(strongest(row, row.keys()) for row in defended.values())
    without = min(strongest(row, row.keys() - some) for row in defended.values())
    return Worth(len(rows), sum(lead > POINT for lead in leads), max(0.0, *leads), least - without)


def strongest(row: Mapping[str, float], some: Collection[str]) -> float:
    return max(row[attack] for attack in some)


def measured(name: str) -> list[Row]:
    """Rows of the thieves of a run, without controls and without the clone that asks nothing."""
    rows, _ = by_asking(row for row in Results(RESULTS / name).read() if row.clone)
    return [row for row in rows if not control(row)]


def defended(rows: Sequence[Row]) -> Defended:
    """Clone accuracies of these rows."""
    return {
        defense: {
            attack: fmean(row.clone.accuracy.value for row in own if row.clone)
            for attack, own in grouped(some, lambda row: row.attack).items()
        }
        for defense, some in grouped(rows, lambda row: row.defense).items()
    }


def outsiders(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not inside(row.attack)]


def inside(attack: str) -> bool:
    return taken_apart(attack).first.name == INSIDER


def slower(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Each thief's seconds over the soft thief's, beside the same defense and seed."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for own in grouped(rows, lambda row: (row.defense, row.seed)).values():
        seconds = {row.attack: row.seconds.thief for row in own if row.seconds}
        for attack, one in seconds.items() if SOFT in seconds else ():
            ratios[attack].append(one / seconds[SOFT])
    return ratios


def groups(runs: Mapping[str, Sequence[Row]]) -> dict[str, set[str]]:
    """Thieves by the name in the first column: the members that were measured, and the second networks together."""
    attacks = {row.attack for rows in runs.values() for row in rows}
    second = {attack for attack in attacks if taken_apart(attack).network is not None}
    named = [member.attack for member in ENSEMBLES["worst:full"] if member.attack in attacks - second]
    # an insider's second network is no rival of the first
    own = {
        attack: {attack, *(one for one in second if inside(one))} if inside(attack) else {attack} for attack in named
    }
    return {**{f"`{attack}`": some for attack, some in own.items()}, SECOND: {one for one in second if not inside(one)}}


def members() -> str:
    """A row per thief: how often and by how much they lead, and what the smallest of all rows' strongest loses without them."""
    runs = {name: measured(name) for names in SETS.values() for name in names}
    ratios = slower([row for rows in runs.values() for row in rows])
    quick = {member.attack for member in ENSEMBLES["worst"]}
    lines = []
    for title, some in groups(runs).items():
        cost = [ratio for attack in some for ratio in ratios.get(attack, ())]
        cells = [cell for names in SETS.values() for cell in summed([runs[name] for name in names], some)]
        lines.append([title, "both" if some <= quick else "full", f"{median(cost):.1f}" if cost else "–", *cells])
    head = ["thief", "ensemble", "time"]
    for name in SETS:
        head += [f"{name}: ahead in", "by at most", "minimum falls"]
    named = ", ".join(f"`results/{name}`" for name in runs)
    below = (
        "Rows, one for each run and defense, where a thief leads all others by more than a point of clone accuracy; their largest lead; and by how many"
        " points the smallest of a run's rows falls without them, in the run where it falls most. An insider is compared with everybody, the others with"
        " outsiders. Ties count for nobody. Time: median ratio to the soft thief's beside the same defense and seed; other jobs ran beside some. Members"
        f" that took part in none of these runs are not listed. {named}."
    )
    return table(head, lines, below)


def summed(runs: Sequence[Sequence[Row]], some: set[str]) -> list[str]:
    """The three cells of a thief for one set: over all runs where they took part."""
    insider = any(map(inside, some))
    found = [worth(defended(rows if insider else outsiders(rows)), some) for rows in runs]
    shown = [one for one in found if one is not None]
    if not shown:
        return ["–"] * 3
    return [
        f"{sum(one.ahead for one in shown)} of {sum(one.rows for one in shown)}",
        f"{100 * max(one.most for one in shown):.1f}",
        f"{100 * max(one.falls for one in shown):.1f}",
    ]

"""What rows of a detection run say: how soon each thief is noticed, what they have learnt by then, and false alarms."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from gamekeeper.detection_rows import ANY, EVADER, DetectionRow
from gamekeeper.metrics import Estimate, wilson

WITHIN = (50, 100, 250, 500)
"""Queries after which the table says which share of thieves was noticed."""


@dataclass(frozen=True)
class ThiefLine:
    """One way of stealing, over seeds.

    noticed  share of the runs in which some account of the thief raised an alarm after so many queries of all accounts
    delay    median queries of all accounts up to then, among the runs where there was one; None if there was none
    first    the detector that most often raised it; "" if there was none
    learnt   mean accuracy of the clone at the alarm over that of the clone of all answers; 1 where nobody noticed
    whole    mean accuracy of the clone of all answers
    alarms   after how many queries of all accounts each run was first noticed, ascending; runs that never were are left out
    at_alarm mean accuracy of the clone at the alarm; of that of all answers in runs that were not noticed
    """

    who: str
    mix: float
    accounts: int
    queries: int
    runs: int
    noticed: Mapping[int, Estimate]
    delay: float | None
    first: str
    learnt: float
    whole: float
    seconds: float
    bytes: int
    alarms: tuple[int, ...] = ()
    at_alarm: float = 0.0


@dataclass(frozen=True)
class HonestLine:
    """One kind of honest clients: how many raise an alarm, for each detector and for any. Clients count as independent."""

    who: str
    queries: int
    clients: int
    alarmed: Mapping[str, Estimate]
    seconds: float
    bytes: int


@dataclass(frozen=True)
class DetectionSummary:
    """thieves and honest clients in the order of the run; failed: what could not be measured, and why."""

    thieves: tuple[ThiefLine, ...]
    honest: tuple[HonestLine, ...]
    failed: Mapping[str, str]


def summarise(rows: Sequence[DetectionRow]) -> DetectionSummary:
    """Pure: the same rows give the same summary."""
    done = [row for row in rows if row.error is None]
    thieves = grouped([row for row in done if not row.honest], lambda row: (row.who, asked_mix(row), row.accounts))
    honest = grouped([row for row in done if row.honest], lambda row: (row.who, row.queries))
    return DetectionSummary(
        tuple(thief_line(group) for group in thieves),
        tuple(honest_line(group) for group in honest),
        {row.who: row.error for row in rows if row.error is not None},
    )


def asked_mix(row: DetectionRow) -> float:
    """The mix asked for; thieves who choose it are one line, whatever they chose."""
    return -1.0 if row.who.startswith(f"{EVADER}:") else row.mix


def grouped(
    rows: Sequence[DetectionRow], key: Callable[[DetectionRow], tuple[object, ...]]
) -> list[list[DetectionRow]]:
    """Rows of one key together, in the order of their first row."""
    groups: dict[tuple[object, ...], list[DetectionRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def first_alarm(row: DetectionRow) -> int:
    """After how many queries of all accounts the first alarm was raised; 0: never."""
    return min((query for query in row.delay.values() if query), default=0)


def thief_line(rows: Sequence[DetectionRow]) -> ThiefLine:
    one = rows[0]
    alarms = [first_alarm(row) for row in rows]
    some = tuple(sorted(alarm for alarm in alarms if alarm))
    within = sorted({each for each in WITHIN if each < one.queries} | {one.queries})
    noticed = {n: wilson(sum(0 < alarm <= n for alarm in alarms), len(rows)) for n in within}
    firsts = Counter(
        name for row, alarm in zip(rows, alarms, strict=True) for name, q in row.delay.items() if q == alarm > 0
    )
    return ThiefLine(
        one.who,
        fmean(row.mix for row in rows),
        one.accounts,
        one.queries,
        len(rows),
        noticed,
        float(median(some)) if some else None,
        firsts.most_common(1)[0][0] if firsts else "",
        fmean((row.learnt or 0.0) / row.whole for row in rows if row.whole) if any(row.whole for row in rows) else 1.0,
        fmean(row.whole or 0.0 for row in rows),
        median(row.seconds for row in rows),
        round(median(row.bytes for row in rows)),
        some,
        fmean(row.learnt or 0.0 for row in rows),
    )


def honest_line(rows: Sequence[DetectionRow]) -> HonestLine:
    clients = sum(row.clients for row in rows)
    names = dict.fromkeys(name for row in rows for name in row.alarmed)
    alarmed = {name: wilson(sum(row.alarmed.get(name, 0) for row in rows), clients) for name in (*names,)}
    return HonestLine(
        rows[0].who,
        rows[0].queries,
        clients,
        {ANY: alarmed.pop(ANY), **alarmed} if ANY in alarmed else alarmed,
        median(row.seconds for row in rows),
        round(median(row.bytes for row in rows)),
    )

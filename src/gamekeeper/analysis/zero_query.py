"""The zero-query clone among finished rows: told from thieves who ask, and compared with them.

Its rows have a budget of 0, which no other row has. What a thief stole is what lies above it.
"""

from collections.abc import Iterable, Sequence
from statistics import fmean

from gamekeeper.metrics import over_seeds, spread
from gamekeeper.results import Row


def by_asking(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of those who ask, controls among them, and the rows of the zero-query clone.

    Nothing that is said of thieves is said of the zero-query clone: whoever counts, ranks or compares thieves comes here first.
    """
    every = list(rows)
    return [row for row in every if row.budget > 0], [row for row in every if row.budget == 0]


def free_anyway(rows: Sequence[Row], asked_nothing: Sequence[Row]) -> bool:
    """Whether the strongest thief's interval, as the tables print it, does not lie above the zero-query clone.

    rows  those of thieves who share a defense and a budget. False if either side was not measured
    """
    start = mean_accuracy(asked_nothing)
    names = dict.fromkeys(row.attack for row in rows if row.clone)
    rates = [[row.clone.accuracy for row in rows if row.clone and row.attack == name] for name in names]
    if start is None or not rates:
        return False
    strongest = max(rates, key=lambda own: fmean(rate.value for rate in own))
    return over_seeds(strongest, spread([[rate.value for rate in own] for own in rates])).low <= start


def mean_accuracy(asked_nothing: Sequence[Row]) -> float | None:
    """Of the zero-query clone, over seeds; None if a seed was not measured."""
    measured = [row.clone.accuracy.value for row in asked_nothing if row.clone]
    return fmean(measured) if measured and len(measured) == len(asked_nothing) else None


def stolen_share(row: Row, start: float | None) -> float | None:
    """The share of the way from the zero-query clone's accuracy to the victim's; 0 where there is no way to go."""
    if row.clone is None or row.victim is None or start is None:
        return None
    way = row.victim.accuracy.value - start
    return (row.clone.accuracy.value - start) / way if way > 0 else 0.0

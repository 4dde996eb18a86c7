"""What the strongest copies are good for, as the report shows it: one line per defense, averaged over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any, TypeVar

from gamekeeper.analysis.checks import accuracy, grouped
from gamekeeper.metrics import Estimate, over_seeds, spread
from gamekeeper.results import FollowOn, Row

T = TypeVar("T")


@dataclass(frozen=True)
class FollowOnSummary:
    """One defense: the strongest thief whose copies were followed up, by accuracy.

    cells  the cells of this thief, one per seed
    mean   over seeds; a part that is missing for some seed is None
    """

    defense: str
    attack: str
    budget: int
    cells: tuple[str, ...]
    mean: FollowOn


def follow_on_summaries(rows: Sequence[Row]) -> tuple[FollowOnSummary, ...]:
    """From the rows followed up at the largest budget; defenses in order of appearance."""
    followed = [row for row in rows if row.follow_on and row.clone]
    budget = max((row.budget for row in followed), default=0)
    here = [row for row in followed if row.budget == budget]
    return tuple(follow_on_summary(defense, own) for defense, own in grouped(here, lambda row: row.defense).items())


def follow_on_summary(defense: str, rows: Sequence[Row]) -> FollowOnSummary:
    thieves = grouped(rows, lambda row: row.attack)
    attack = max(thieves, key=lambda attack: fmean(map(accuracy, thieves[attack])))
    own = thieves[attack]
    mean = averaged([row.follow_on for row in own if row.follow_on])
    return FollowOnSummary(defense, attack, own[0].budget, tuple(row.cell for row in own), mean)


def averaged(parts: Sequence[T]) -> T:
    """Field by field: the mean of numbers, `metrics.over_seeds` of estimates, each text once."""
    first: Any = parts[0]
    return type(first)(**{f.name: together([getattr(part, f.name) for part in parts]) for f in fields(first)})


def together(values: Sequence[Any]) -> Any:
    if any(value is None for value in values):
        return None
    if isinstance(values[0], Estimate):
        return over_seeds(values, spread([[rate.value for rate in values]]))
    if isinstance(values[0], float):
        return fmean(values)
    if isinstance(values[0], list):
        return list(dict.fromkeys(text for value in values for text in value))
    return averaged(values)

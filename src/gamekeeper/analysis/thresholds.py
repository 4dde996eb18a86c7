"""`--fail-if`: a limit on what a thief may reach, checked on the finished rows.

    worst.fidelity>0.8@1000             the strongest thief of every defense in the grid, at 1,000 queries
    mad:eps=0.95/worst.accuracy>0.7     one defense, at the largest budget
    knockoff+labels.accuracy>0.9@2500   one thief
    none/knockoff.fidelity>=0.95        one thief, no defense
    worst.stolen>0.5                    how far the strongest thief gets from the zero-query clone towards the victim

`stolen` is (clone - zero-query clone) / (victim - zero-query clone), in accuracy: 0 or less for a thief who might as well have
asked nothing, and 0 where the zero-query clone is as good as the victim.

If no defense is named, `none` is left out unless the grid has nothing else. Several seeds are averaged.

If any cell of a thief failed, the thief is not measured. What they might have reached is unknown, so a defense they faced
is *not judged*, unless another thief is over the limit already. A thief who cannot work on the target or against the
defense (error Unsuited) does not count for `worst`, as long as another thief can.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Protocol, runtime_checkable

from gamekeeper.analysis.checks import control, grouped
from gamekeeper.analysis.zero_query import by_asking, mean_accuracy, stolen_share
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.results import Row

COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
METRICS = ("accuracy", "fidelity", "fidelity_uniform", "stolen")
FORM = re.compile(
    r"(?:(?P<defense>[^/]+)/)?(?P<thief>.+)\.(?P<metric>\w+)\s*(?P<sign>>=|<=|>|<)\s*(?P<limit>\d+\.?\d*|\.\d+)(?:@(?P<budget>\d+))?"
)


@dataclass(frozen=True)
class Threshold:
    """A thief's metric (`worst`: the largest over thieves) compared with a limit; budget None: the largest."""

    text: str
    defense: str | None
    thief: str
    metric: str
    sign: str
    limit: float
    budget: int | None


@dataclass(frozen=True)
class ThresholdResult:
    """What a threshold says about one defense.

    value    the largest over the thieves measured; None if none was
    missing  thieves not measured: those with a failed cell
    """

    threshold: Threshold
    defense: str
    value: float | None
    missing: tuple[str, ...]

    @property
    def breached(self) -> bool:
        """Whether it is certain: with `<` and `<=` every thief must be measured, since a missing one might be the strongest."""
        certain = not self.missing or self.threshold.sign in (">", ">=")
        return certain and self.value is not None and COMPARE[self.threshold.sign](self.value, self.threshold.limit)

    @property
    def judged(self) -> bool:
        return self.breached or not self.missing


def parse_threshold(text: str) -> Threshold:
    match = FORM.fullmatch(text.strip())
    if match is None or match["metric"] not in METRICS or float(match["limit"]) > 1:
        raise BadConfig(
            f"--fail-if must look like 'worst.fidelity>0.8@1000', with one of {', '.join(METRICS)} and a limit from 0"
            f" to 1. Got '{text}'."
        )
    budget = int(match["budget"]) if match["budget"] else None
    return Threshold(
        text, match["defense"], match["thief"], match["metric"], match["sign"], float(match["limit"]), budget
    )


@runtime_checkable
class Planned(Protocol):
    """A theft that has not run yet, as far as a threshold needs it."""

    @property
    def defense(self) -> str: ...
    @property
    def attack(self) -> str: ...
    @property
    def budget(self) -> int: ...
    @property
    def uniform(self) -> int: ...


def check_threshold(threshold: Threshold, cells: Sequence[Planned]) -> None:
    """Raises BadConfig, before anything is spent, if these cells cannot settle the threshold."""
    criteria = (
        ("defense", threshold.defense, [cell.defense for cell in cells]),
        ("thief", None if threshold.thief == "worst" else threshold.thief, [cell.attack for cell in cells]),
        ("budget", threshold.budget, [cell.budget for cell in cells]),
    )
    for what, wanted, known in criteria:
        if wanted is not None and wanted not in known:
            raise BadConfig(
                f"--fail-if '{threshold.text}': this run has no {what} {wanted}, so there would be nothing to judge. It has"
                f" {', '.join(map(str, dict.fromkeys(known)))}."
            )
    if threshold.metric == "fidelity_uniform" and not any(cell.uniform for cell in cells):
        raise BadConfig(
            f"--fail-if '{threshold.text}': fidelity on uniform inputs is not measured in this run (never on a live API,"
            " nor with --uniform 0). Use fidelity instead."
        )


def threshold_results(threshold: Threshold, rows: Sequence[Row]) -> list[ThresholdResult]:
    """One result per defense that the threshold applies to, from the rows of a whole grid."""
    rows, asked_nothing = by_asking(rows)
    start = mean_accuracy(asked_nothing)
    budget = threshold.budget or max((row.budget for row in rows), default=0)
    defenses = {row.defense for row in rows}
    wanted = {threshold.defense} if threshold.defense else (defenses - {"none"} or defenses)
    here = [row for row in rows if row.budget == budget and row.defense in wanted]
    takes_part = [row for row in here if not (control(row) or unsuited(row, here))]
    matching = takes_part if threshold.thief == "worst" else [row for row in here if row.attack == threshold.thief]
    by_defense = grouped(matching, lambda row: row.defense)
    return [threshold_result(threshold, defense, by_defense[defense], start) for defense in sorted(by_defense)]


def unsuited(row: Row, rows: Sequence[Row]) -> bool:
    """Whether a thief cannot work here while another one can; the row's error gives the reason."""
    return row.error_kind == Unsuited.__name__ and any(r.clone and r.defense == row.defense for r in rows)


def threshold_result(
    threshold: Threshold, defense: str, rows: Sequence[Row], start: float | None = None
) -> ThresholdResult:
    """start: the zero-query clone's accuracy; None if it was not measured."""
    measured: list[float] = []
    missing: list[str] = []
    for attack, group in grouped(rows, lambda row: row.attack).items():
        values = [value for value in (reached(threshold.metric, row, start) for row in group) if value is not None]
        if len(values) == len(group):
            measured.append(mean(values))
        else:
            missing.append(attack)
    return ThresholdResult(threshold, defense, max(measured, default=None), tuple(missing))


def reached(metric: str, row: Row, start: float | None = None) -> float | None:
    if metric == "stolen":
        return stolen_share(row, start)
    rate = getattr(row.clone, metric, None)
    return None if rate is None else rate.value

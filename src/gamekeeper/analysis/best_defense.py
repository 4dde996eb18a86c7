"""Which defense the headline names, and what there is to say about it. `surfaces/report/words.py` puts it in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gamekeeper.analysis.summary import BARE_LABEL, DefenseSummary, Summary, compared

AFFORDABLE = 0.05
"""The best defense costs honest users at most this much accuracy."""
NOTABLE = 0.01
"""A loss of accuracy worth mentioning."""

Outcome = Literal["void", "untested", "unmeasured", "one seed", "unproven", "affordable", "costly", "ineffective"]


@dataclass(frozen=True)
class BestDefense:
    """What the headline says about the defenses of a run.

    Only a defense that faced a thief who knows it is ranked: what others hold back says nothing about that thief.

    outcome   void: a flag takes the ground from under every number; untested: the run has no defense;
              unmeasured: no defense was measured at the summary's budget;
              one seed: luck and effect cannot be told apart, so nothing is ranked;
              unproven: no defense faced a thief who knows it and held;
              affordable: `defense` lowers the theft, and honest users lose at most AFFORDABLE;
              costly: every defense that lowers the theft costs more, and `defense` costs least;
              ineffective: no defense lowers the theft beyond the noise, and `defense` leaves the thief least
    defense   the defense named; None if void, untested, unmeasured, unproven or of one seed
    dearer    if affordable: the cheapest of the defenses that lower the theft further, beyond the noise, but cost more
              than AFFORDABLE; None if there is none
    tested    how many defenses were measured
    costs_accuracy      whether `defense` costs honest users more than NOTABLE
    label_does_as_well  whether answering with the bare label leaves the thief no more than `defense` does, within the noise
    unproven  of the defenses that lower the theft but faced no thief who knows them, the one that leaves least; None if
              there is none, or if `defense` leaves no more
    """

    outcome: Outcome
    defense: DefenseSummary | None = None
    dearer: DefenseSummary | None = None
    tested: int = 0
    costs_accuracy: bool = False
    label_does_as_well: bool = False
    unproven: DefenseSummary | None = None


def best_defense(summary: Summary) -> BestDefense:
    """The best affordable defense; else the cheapest that helps; else the one that leaves the thief least."""
    if summary.void:
        return BestDefense("void")
    tested = [line for line in summary.defended if line.worst and line.utility]
    if not tested:
        return BestDefense("unmeasured" if summary.defended else "untested")
    if len(summary.seeds) < 2:
        return BestDefense("one seed", tested=len(tested))
    helpful = [line for line in tested if line.change == "lower" and proven(summary, line)]
    hopes = [line for line in tested if line.change == "lower" and not proven(summary, line)]
    if hopes and not helpful:
        return BestDefense("unproven", tested=len(tested), unproven=strongest_defense(hopes))
    affordable = [line for line in helpful if accuracy_lost(summary, line) <= AFFORDABLE]
    if affordable:
        best = least_noticed(summary, affordable)
        dearer = [line for line in helpful if line not in affordable and stronger(line, best)]
        return described(summary, "affordable", best, tested, cheapest(summary, dearer))
    if helpful:
        return described(summary, "costly", cheapest(summary, helpful), tested)
    return described(summary, "ineffective", strongest_defense(tested), tested)


def proven(summary: Summary, line: DefenseSummary) -> bool:
    """Whether a defense faced a thief who knows it."""
    return line.faced and "no-adaptive-thief" not in (*line.flags, *summary.flags)


def described(
    summary: Summary,
    outcome: Outcome,
    line: DefenseSummary | None,
    tested: Sequence[DefenseSummary],
    dearer: DefenseSummary | None = None,
) -> BestDefense:
    assert line is not None
    assert line.worst is not None
    floor = summary.floor
    hopes = [one for one in tested if not proven(summary, one) and stronger(one, line)]
    return BestDefense(
        outcome,
        line,
        dearer,
        len(tested),
        costs_accuracy=accuracy_lost(summary, line) > NOTABLE,
        label_does_as_well=bool(floor) and line.defense != BARE_LABEL and compared(line.worst, floor) != "lower",
        unproven=strongest_defense(hopes) if hopes else None,
    )


def accuracy_lost(summary: Summary, line: DefenseSummary) -> float:
    """Accuracy that honest users lose to the defense."""
    assert summary.victim is not None
    assert line.utility is not None
    return summary.victim.value - line.utility.accuracy.value


def stronger(line: DefenseSummary, other: DefenseSummary) -> bool:
    """Whether a defense leaves its strongest thief less than another does, beyond the noise."""
    if line.worst is None or other.worst is None:
        return False
    return compared(line.worst, other.worst) == "lower"


def strongest_defense(lines: Sequence[DefenseSummary]) -> DefenseSummary:
    """The one whose strongest thief gets least; ties go to the first."""
    return min(lines, key=lambda line: line.worst.accuracy.value if line.worst else 1.0)


def cheapest(summary: Summary, lines: Sequence[DefenseSummary]) -> DefenseSummary | None:
    """The one that costs honest users the least accuracy; ties go to the first."""
    return min(lines, key=lambda line: accuracy_lost(summary, line), default=None)


def least_noticed(summary: Summary, lines: Sequence[DefenseSummary]) -> DefenseSummary:
    """Of those as strong as the strongest within the noise, the one that changes honest users' answers least."""
    strongest = strongest_defense(lines).worst
    assert strongest is not None
    equal = [line for line in lines if line.worst and compared(line.worst, strongest) == "same"]
    return min(
        equal,
        key=lambda line: (accuracy_lost(summary, line) > NOTABLE, line.utility.l1 if line.utility else 2.0),
    )

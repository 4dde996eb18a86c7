"""Which defenses of a run are one defense at several strengths: those whose names differ in one number."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gamekeeper.analysis.checks import grouped
from gamekeeper.analysis.summary import DefenseSummary, Summary

LEAST = 3
"""Strengths needed for a curve."""
NUMBER = re.compile(r"(?<==)[\d.]+(?:e-?\d+)?(?=[,+]|$)")


@dataclass(frozen=True)
class Family:
    """One defense at several strengths: its name with `*` for the number, and its summaries from the weakest on."""

    name: str
    lines: tuple[DefenseSummary, ...]


def families(summary: Summary, least: int = LEAST) -> tuple[Family, ...]:
    """Measured defenses that differ only in one number, at least `least` of them; each in its largest group."""
    measured = [line for line in summary.defended if line.utility and line.worst and line.soft]
    spots = [(name, number, line) for line in measured for name, number in blanked(line.defense)]
    groups = {
        name: [(number, line) for _, number, line in spot] for name, spot in grouped(spots, lambda s: s[0]).items()
    }
    curves: list[Family] = []
    taken: set[str] = set()
    for name, group in sorted(groups.items(), key=lambda item: -len(item[1])):
        own = [(number, line) for number, line in group if line.defense not in taken]
        if len(own) >= least:
            taken |= {line.defense for _, line in own}
            curves.append(Family(name, from_weakest([line for _, line in sorted(own, key=lambda pair: pair[0])])))
    order = [line.defense for line in measured]
    return tuple(sorted(curves, key=lambda family: min(order.index(line.defense) for line in family.lines)))


def from_weakest(lines: Sequence[DefenseSummary]) -> tuple[DefenseSummary, ...]:
    """Lines by growing number, reversed if the largest number clearly leaves the soft thief more (`round:decimals`)."""
    first, last = lines[0].soft, lines[-1].soft
    turned = first is not None and last is not None and first.accuracy.high < last.accuracy.low
    return tuple(reversed(lines)) if turned else tuple(lines)


def blanked(defense: str) -> list[tuple[str, float]]:
    """A defense's name with each of its numbers replaced by `*` in turn, and that number."""
    return [(f"{defense[: m.start()]}*{defense[m.end() :]}", float(m[0])) for m in NUMBER.finditer(defense)]

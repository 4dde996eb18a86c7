"""What the numbers of a run rest on: which thieves, which pool, how many seeds. One sentence or two for every table."""

from collections import Counter

from gamekeeper.analysis.summary import Summary
from gamekeeper.method_text import taken_apart
from gamekeeper.surfaces.report.words import count, plain

MANY = 4
"""Thieves that are named one by one; of more, it is said how they ask."""


def rests_on(summary: Summary, pool: str = "inputs") -> str:
    """`Rests on 2 thieves (knockoff, knockoff+labels) with a pool of 12,000 inputs; none knows the defense. One seed: ...`.

    pool: what the inputs are. Empty before any thief was measured.
    """
    if not summary.attacks:
        return ""
    thieves = "1 thief" if len(summary.attacks) == 1 else f"{len(summary.attacks)} thieves"
    held = f" with a pool of {count(summary.pool)} {pool}" if summary.pool else ""
    return f"Rests on {thieves} ({who(summary)}){held}; {knowing(summary)}. {chance(summary)}"


def who(summary: Summary) -> str:
    """The thieves by name; of many, how they ask and how many ask so."""
    if len(summary.attacks) <= MANY:
        return ", ".join(f"`{plain(attack)}`" for attack in summary.attacks)
    ways = Counter(taken_apart(attack).first.name for attack in summary.attacks)
    return ", ".join(f"{n} {'asks' if n == 1 else 'ask'} as `{plain(way)}`" for way, n in ways.items())


def knowing(summary: Summary) -> str:
    number = len(summary.knowing)
    return f"{number or 'none'} {'know' if number > 1 else 'knows'} the defense"


def chance(summary: Summary) -> str:
    """Which chance the intervals contain."""
    seeds = len(summary.seeds)
    if seeds == 1:
        return "One seed: intervals show the noise of the test set alone, not the luck of a seed."
    return f"{seeds} seeds: intervals show the spread over seeds and the noise of the test set."

"""Checks: the evaluation doubts itself (after auto-attack's flags).

Every flag is a pure function of finished rows; it prints beside the number. `docs/flags.md` is made from this file.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from statistics import mean
from typing import TypeVar

from gamekeeper.engine.results import Row

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

CHANCE_MARGIN = 0.3
UTILITY_LOSS = 0.01
FLAT = 0.005


@dataclass(frozen=True)
class Flag:
    """raised_if, means, do: one sentence each."""

    name: str
    raised_if: str
    means: str
    do: str


FLAGS: dict[str, Flag] = {
    flag.name: flag
    for flag in (
        Flag(
            "leaked-test",
            "the thief's pool holds inputs of the test set.",
            "The clone is judged on inputs it was trained on, so its accuracy is too high.",
            "Give a pool that does not overlap the test set.",
        ),
        Flag(
            "leaked-queries",
            "the defender's auxiliary inputs overlap the thief's pool.",
            "The defense was trained on the attack's own queries, so it looks stronger than it is.",
            "Give the defender auxiliary data of another source.",
        ),
        Flag(
            "weak-thief",
            "with no defense and the largest budget, even the best thief closes less than 30 % of the way from"
            " chance to the victim's accuracy.",
            "The thieves barely work here, so a low clone accuracy says nothing about a defense.",
            "Give a larger budget, a pool closer to the victim's data or a stronger student before comparing defenses.",
        ),
        Flag(
            "labels-beat-posteriors",
            "a thief who looks at labels only does clearly better than the one who uses the whole answer.",
            "The defense spoils the probabilities but not the labels; its protection is that of returning the label.",
            "Compare with the label-only row, and count the strongest thief.",
        ),
        Flag(
            "random-answers",
            "the same input, asked twice, got different answers.",
            "A thief who asks again and averages removes the noise.",
            "Key the noise to the input, and look at the averaging thief's row.",
        ),
        Flag(
            "utility-spent",
            "the defended accuracy is more than one point below the clean one.",
            "Honest users pay for the protection.",
            "Lower the defense's strength, or say what the loss is worth.",
        ),
        Flag(
            "budget-flat",
            "the largest budget steals no more than the next smaller one (less than half a point).",
            "The theft is saturated, or the thief is broken: more queries would not show more.",
            "Look at the curve; if it is flat far below the victim, try another pool or thief.",
        ),
        Flag(
            "same-architecture",
            "the clone has the victim's architecture.",
            "This is the thief's best case.",
            "Try another student as well.",
        ),
        Flag(
            "single-seed",
            "there is one seed only.",
            "The spread over seeds is unknown; the interval covers the test set's size alone.",
            "Give --seeds 3 or more before quoting a difference.",
        ),
        Flag(
            "no-adaptive-thief",
            "the defense met no thief made for it: none learning from labels, where it keeps the thief's labels;"
            " none recovering the clean answer, where it changes them.",
            "The clone's accuracy is a lower bound of what a thief who knows the defense gets.",
            "Add such a thief before you trust the number.",
        ),
    )
}
RECOVERING = frozenset({"partialbayes", "inverse"})
"""Learners that are told the defense and undo it, as `Row.learner` names them."""


def raised(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Cell id -> names of its flags, in the order of FLAGS."""
    done = [row for row in rows if row.error is None]
    found: dict[str, set[str]] = defaultdict(set)
    for row in done:
        found[row.cell] |= set(row.flags) | single(row)
    for group in grouped(done, lambda row: row.defense).values():
        flags = group_flags(group)
        for row in group:
            found[row.cell] |= flags
    if weak([row for row in done if row.defense == "none"]):
        for row in done:
            found[row.cell].add("weak-thief")
    return {row.cell: [name for name in FLAGS if name in found[row.cell]] for row in done}


def single(row: Row) -> set[str]:
    """Flags of a row by itself."""
    assert row.utility is not None
    assert row.victim is not None
    lost = row.victim.accuracy.value - row.victim.defended_accuracy.value
    flags = {"random-answers"} if not row.utility.deterministic else set[str]()
    return flags | ({"utility-spent"} if lost > UTILITY_LOSS else set())


def group_flags(rows: list[Row]) -> set[str]:
    """Flags of all thieves against one defense."""
    flags: set[str] = set()
    if len({row.seed for row in rows}) == 1:
        flags.add("single-seed")
    largest = [row for row in rows if row.budget == max(row.budget for row in rows)]
    if labels_win(largest):
        flags.add("labels-beat-posteriors")
    if flat(rows):
        flags.add("budget-flat")
    if rows[0].defense != "none" and not adaptive(rows):
        flags.add("no-adaptive-thief")
    return flags


def labels_win(rows: list[Row]) -> bool:
    """Beyond the interval: the better thief's lower end above the other's upper end."""
    soft = [row.clone.accuracy for row in rows if row.learner == "soft" and row.attack == row.querying and row.clone]
    labels = [row.clone.accuracy for row in rows if row.learner == "labels" and row.clone]
    return bool(soft and labels) and mean(a.low for a in labels) > mean(a.high for a in soft)


def flat(rows: list[Row]) -> bool:
    budgets = sorted({row.budget for row in rows})
    if len(budgets) < 2:
        return False
    last, before = (best([row for row in rows if row.budget == budget]) for budget in (budgets[-1], budgets[-2]))
    return last - before < FLAT


def adaptive(rows: list[Row]) -> bool:
    kept = all(row.utility is None or row.utility.top1_kept_thief in (None, 1.0) for row in rows)
    learners = {row.learner for row in rows}
    return "labels" in learners if kept else bool(learners & RECOVERING)


def weak(undefended: list[Row]) -> bool:
    if not undefended:
        return False
    largest = [row for row in undefended if row.budget == max(row.budget for row in undefended)]
    victims = [row.victim.accuracy.value for row in largest if row.victim]
    chances = [row.chance for row in largest if row.chance is not None]
    if not chances:
        return False
    chance = mean(chances)
    return best(largest) < chance + CHANCE_MARGIN * (mean(victims) - chance)


def best(rows: Iterable[Row]) -> float:
    """The strongest thief's accuracy, mean over seeds."""
    return strongest((row for row in rows if row.clone), accuracy)


def accuracy(row: Row) -> float:
    assert row.clone is not None
    return row.clone.accuracy.value


def strongest(rows: Iterable[Row], measured: Callable[[Row], float]) -> float:
    """The largest value over thieves of the mean over seeds."""
    return max(mean(map(measured, group)) for group in grouped(rows, lambda row: row.attack).values())


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by key, groups and items in order of appearance."""
    groups: dict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups

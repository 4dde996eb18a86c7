"""Checks: the evaluation doubts itself (after auto-attack's flags).

Every flag is a pure function of finished rows; it prints beside the number. `docs/flags.md` is made from this file.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from statistics import mean
from typing import TypeVar

from gamekeeper.analysis.bootstrap import Replicates, Values, verdict
from gamekeeper.method_text import taken_apart
from gamekeeper.results import Row

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

CHANCE_MARGIN = 0.3
POINT = 0.01
UTILITY_LOSS = 0.01
LUCK = 0.1
"""By how much a clone that learnt noise may beat the most frequent class: which classes it gives to whole groups of inputs is
luck that the test set's size does not lessen. The Control of docs/worst-case.md shows how far it goes."""
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
            "broken-promise",
            "an answer is not what the defense promises of every answer: its top class, its distance in L1 or its confidence.",
            "Who relies on the promise is let down; every argument that rests on it (the label floor) falls.",
            "Look at `broken` in the results; mend the defense, or take the promise back.",
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
            "cut-short",
            "the budget ended before an exact attack did.",
            "The copy is a part of what that attack recovers, filled up with guesses.",
            "Give it a larger budget; the `queries` of a finished cell say how many it takes.",
        ),
        Flag(
            "id-collisions",
            "a tree attack saw one answer come from several leaves.",
            "Splits between leaves that answer alike can stay hidden, so the copy may lack some.",
            "Ask at more points of every line, as `tree_paths:probes=4` does, and look at the uniform fidelity.",
        ),
        Flag(
            "hidden-splits",
            "random inputs, asked when a tree attack was done, are answered otherwise by its copy.",
            "The copy lacks splits of the tree, or the answers are perturbed.",
            "Ask at more points of every line, as `tree_paths:probes=4` does.",
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
        Flag(
            "labels-beat-undefended",
            "with no defense, a thief who looks at labels only is more than one point better than the soft thief.",
            "The soft thief is broken or badly trained here: probabilities hold more than labels do.",
            "Give him more training or another student before you quote his number; the strongest thief's stands.",
        ),
        Flag(
            "control-learns",
            "a clone of shuffled answers is clearly more than ten points better than the most frequent class.",
            "Something besides the answers reaches the clone: every accuracy here may be too high.",
            "Do not use the run; look for test inputs or labels in the pool, and report it.",
        ),
        Flag(
            "below-floor",
            "a defense changed no label on the thief's queries, and yet the strongest thief is clearly below the label floor.",
            "That cannot be: the label-learning thief's answers are the undefended ones.",
            "Give both defenses the same thieves; if they have, report it.",
        ),
        Flag(
            "helps-thief",
            "the strongest thief is clearly better against the defense than against none.",
            "The defense gives something away, or luck does.",
            "Give more seeds; if it stays, do not use the defense.",
        ),
    )
}


def raised(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Cell id -> names of its flags, in the order of FLAGS."""
    done = [row for row in rows if row.error is None]
    found: dict[str, set[str]] = defaultdict(set)
    for row in done:
        found[row.cell] |= set(row.flags) | single(row)
    undefended = [row for row in done if row.defense == "none"]
    for group in grouped(done, lambda row: row.defense).values():
        flags = group_flags(group) | compared_flags(group, undefended)
        for row in group:
            found[row.cell] |= flags
    for row in done if weak(undefended) else []:
        found[row.cell].add("weak-thief")
    for row in done if control_learns(undefended) else []:
        found[row.cell].add("control-learns")
    return {row.cell: [name for name in FLAGS if name in found[row.cell]] for row in done}


def soft_thief(row: Row) -> bool:
    """The thief who asks plainly, learns from the whole answer and trains the target's own student: `knockoff`."""
    thief = taken_apart(row.attack)
    return set(thief.names) - {"soft"} == {"knockoff"} and thief.network is None


def label_thief(row: Row) -> bool:
    """Their twin who looks at the top class only."""
    thief = taken_apart(row.attack)
    plain = thief.first.name == "knockoff" and thief.network is None
    return plain and not {"labels", "labels_only"}.isdisjoint(thief.names)


def reads_labels_only(row: Row) -> bool:
    """A thief who uses the top class alone."""
    return row.reads == "label"


def control(row: Row) -> bool:
    """No thief: what it is given has nothing to do with the inputs, so it must fail."""
    return row.reads == "nothing"


def single(row: Row) -> set[str]:
    """Flags of a row by itself."""
    assert row.utility is not None
    assert row.victim is not None
    lost = row.victim.accuracy.value - row.victim.defended_accuracy.value
    found = {
        "random-answers": not row.utility.deterministic,
        "utility-spent": lost > UTILITY_LOSS,
        "broken-promise": bool(row.utility.broken),
    }
    return {name for name, true in found.items() if true}


def group_flags(rows: list[Row]) -> set[str]:
    """Flags of all thieves against one defense."""
    thieves = [row for row in rows if not control(row)]
    flags: set[str] = set()
    if len({row.seed for row in rows}) == 1:
        flags.add("single-seed")
    if labels_win(at_largest(thieves), 0.0):
        flags.add("labels-beat-posteriors")
    if thieves and flat(thieves):
        flags.add("budget-flat")
    if rows[0].defense != "none" and not adaptive(thieves):
        flags.add("no-adaptive-thief")
    return flags


def compared_flags(rows: list[Row], undefended: list[Row]) -> set[str]:
    """Flags of one defense's thieves beside those who met none: what cannot be, or should not."""
    here, free = (at_largest([row for row in some if not control(row)]) for some in (rows, undefended))
    if not here or not free or here[0].budget != free[0].budget:
        return set()
    if rows[0].defense == "none":
        return {"labels-beat-undefended"} if labels_win(free, POINT) else set()
    flags: set[str] = set()
    floor = [row for row in free if reads_labels_only(row)]
    if floor and labels_kept(here) and verdict(apart(leader(here), leader(floor))) == "lower":
        flags.add("below-floor")
    if verdict(apart(leader(here), leader(free))) == "higher":
        flags.add("helps-thief")
    return flags


def control_learns(undefended: list[Row]) -> bool:
    """The control's interval lies above the most frequent class, LUCK spared."""
    rows = at_largest([row for row in undefended if control(row)])
    known = [(row.clone.accuracy.low, row.chance) for row in rows if row.clone and row.chance is not None]
    return bool(known) and mean(low for low, _ in known) > mean(chance for _, chance in known) + LUCK


def at_largest(rows: list[Row]) -> list[Row]:
    """Those of the largest budget."""
    largest = max((row.budget for row in rows), default=0)
    return [row for row in rows if row.budget == largest]


def labels_kept(rows: Iterable[Row]) -> bool:
    """Whether every answer these thieves got had the clean one's top class, as far as that is known."""
    return all(row.utility is None or row.utility.top1_kept_thief in (None, 1.0) for row in rows)


def leader(rows: Iterable[Row]) -> list[Row]:
    """The rows of the thief with the highest mean accuracy over seeds."""
    groups = grouped((row for row in rows if row.clone), lambda row: row.attack).values()
    return max(groups, key=lambda group: mean(map(accuracy, group)))


def apart(rows: list[Row], others: list[Row]) -> Values:
    """Replicates of the difference of two thieves' mean accuracies, paired by test input and seed."""
    assert rows[0].clone is not None
    draws = Replicates(rows[0].clone.accuracy.n, tuple(sorted({row.seed for row in (*rows, *others)})))
    return draws.accuracy(rows) - draws.accuracy(others)


def labels_win(rows: list[Row], margin: float) -> bool:
    """Whether plainly learning from labels beats the soft thief by more than `margin`, beyond the noise."""
    soft, labels = ([row for row in rows if row.clone and of(row)] for of in (soft_thief, label_thief))
    return bool(soft and labels) and verdict(apart(leader(labels), soft) - margin) == "higher"


def flat(rows: list[Row]) -> bool:
    budgets = sorted({row.budget for row in rows})
    if len(budgets) < 2:
        return False
    last, before = (best([row for row in rows if row.budget == budget]) for budget in (budgets[-1], budgets[-2]))
    return last - before < FLAT


def adaptive(rows: list[Row]) -> bool:
    if labels_kept(rows):
        return any(map(reads_labels_only, rows))
    return any(row.uses_defense for row in rows)


def weak(undefended: list[Row]) -> bool:
    largest = at_largest([row for row in undefended if not control(row)])
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

"""Checks: the evaluation looks for reasons to doubt itself (after auto-attack's flags).

Every flag is a pure function of finished rows and is printed beside the number; `flags.py` says what each means.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from statistics import mean
from typing import TypeVar

from gamekeeper.analysis.bootstrap import Replicates, Values, direction
from gamekeeper.analysis.flags import FLAGS
from gamekeeper.analysis.shifts import harms_shifted
from gamekeeper.analysis.zero_query import by_asking, free_anyway
from gamekeeper.method_text import taken_apart
from gamekeeper.results import Row

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

CHANCE_MARGIN = 0.3
POINT = 0.01
UTILITY_LOSS = 0.01
LUCK = 0.1
"""By how much a clone that learnt noise may beat the most frequent class. It gives whole groups of inputs one class, and
which class is luck that a larger test set does not reduce. The Control of docs/worst-case.md shows how far luck goes."""
FLAT = 0.005


def raised(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Cell id -> names of its flags, in the order of FLAGS."""
    every = [row for row in rows if row.error is None]
    names: dict[str, set[str]] = defaultdict(set)
    for row in every:
        names[row.cell] |= set(row.flags) | single(row)
    done, zero_query = by_asking(every)
    undefended = [row for row in done if row.defense == "none"]
    for group in grouped(done, lambda row: row.defense).values():
        flags = group_flags(group) | compared_flags(group, undefended)
        if free_anyway(at_largest([row for row in group if not control(row)]), zero_query):
            flags.add("free-anyway")
        for row in group:
            names[row.cell] |= flags
    for row in done if weak(undefended) else []:
        names[row.cell].add("weak-thief")
    for row in done if control_learns(undefended) else []:
        names[row.cell].add("control-learns")
    return {row.cell: [name for name in FLAGS if name in names[row.cell]] for row in every}


def soft_thief(row: Row) -> bool:
    """The plain thief: queries the pool at random, learns from the whole answer, trains the default student: `knockoff`."""
    thief = taken_apart(row.attack)
    return set(thief.names) - {"soft"} == {"knockoff"} and thief.network is None


def label_thief(row: Row) -> bool:
    """The same thief, but looking only at the top class."""
    thief = taken_apart(row.attack)
    plain = thief.first.name == "knockoff" and thief.network is None
    return plain and not {"labels", "labels_only"}.isdisjoint(thief.names)


def reads_labels_only(row: Row) -> bool:
    """Whether the thief uses the top class only."""
    return row.reads == "label"


def control(row: Row) -> bool:
    """Whether this is no thief but the control: its answers have nothing to do with the inputs, so it must fail."""
    return row.reads == "nothing"


def single(row: Row) -> set[str]:
    """Flags that follow from one row."""
    assert row.utility is not None
    assert row.victim is not None
    victim = row.victim.accuracy.value
    loss = victim - row.victim.defended_accuracy.value
    conditions = {
        "no-better-than-majority": row.chance is not None and victim <= row.chance,
        "clone-beats-victim": beats_victim(row),
        "random-answers": not row.utility.deterministic,
        "utility-spent": loss > UTILITY_LOSS,
        "broken-promise": bool(row.utility.broken),
    }
    return {name for name, true in conditions.items() if true}


def beats_victim(row: Row) -> bool:
    """Whether the clone is more accurate than the victim by more than POINT, beyond the noise of the same test inputs."""
    if row.clone is None or row.victim is None or row.clone.accuracy_ratio is None:
        return False
    ahead = row.clone.accuracy.value - row.victim.accuracy.value
    return ahead > POINT and row.clone.accuracy_ratio.low > 1


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
    if harms_shifted(at_largest(rows)):
        flags.add("harms-shifted-users")
    if rows[0].defense != "none" and not adaptive(thieves):
        flags.add("no-adaptive-thief")
    return flags


def compared_flags(rows: list[Row], undefended: list[Row]) -> set[str]:
    """Flags of one defense's thieves compared with those who faced none: what cannot be, or should not."""
    here, free = (at_largest([row for row in some if not control(row)]) for some in (rows, undefended))
    if not here or not free or here[0].budget != free[0].budget:
        return set()
    if rows[0].defense == "none":
        return {"labels-beat-undefended"} if labels_win(free, POINT) else set()
    flags: set[str] = set()
    floor = [row for row in free if reads_labels_only(row)]
    if floor and labels_unchanged(here) and clearly(leader(here), leader(floor)) == "lower":
        flags.add("below-floor")
    if clearly(leader(here), leader(free)) == "higher":
        flags.add("helps-thief")
    return flags


def control_learns(undefended: list[Row]) -> bool:
    """Whether the control's interval lies more than LUCK above the share of the most frequent class."""
    rows = at_largest([row for row in undefended if control(row)])
    known = [(row.clone.accuracy.low, row.chance) for row in rows if row.clone and row.chance is not None]
    return bool(known) and mean(low for low, _ in known) > mean(chance for _, chance in known) + LUCK


def at_largest(rows: list[Row]) -> list[Row]:
    """The rows at the largest budget."""
    largest = max((row.budget for row in rows), default=0)
    return [row for row in rows if row.budget == largest]


def labels_unchanged(rows: Iterable[Row]) -> bool:
    """Whether every answer to these thieves kept the clean top class, as far as is known."""
    return all(row.utility is None or row.utility.top1_kept_thief in (None, 1.0) for row in rows)


def leader(rows: Iterable[Row]) -> list[Row]:
    """The rows of the thief with the highest mean accuracy over seeds."""
    groups = grouped((row for row in rows if row.clone), lambda row: row.attack).values()
    return max(groups, key=lambda group: mean(map(accuracy, group)))


def apart(rows: list[Row], others: list[Row]) -> Values:
    """Replicates of the difference between two thieves' mean accuracies, paired by test input and seed."""
    assert rows[0].clone is not None
    draws = Replicates(rows[0].clone.accuracy.n, tuple(sorted({row.seed for row in (*rows, *others)})))
    return draws.accuracy(rows) - draws.accuracy(others)


def clearly(rows: list[Row], others: list[Row]) -> str:
    """Whether the first thief is `higher` or `lower`, or the `same` within the noise; always the `same` with one seed."""
    seeds = {row.seed for row in (*rows, *others)}
    return "same" if len(seeds) < 2 else direction(apart(rows, others))


def labels_win(rows: list[Row], margin: float) -> bool:
    """Whether the label thief beats the soft thief by more than `margin`, beyond the noise."""
    soft, labels = ([row for row in rows if row.clone and of(row)] for of in (soft_thief, label_thief))
    return bool(soft and labels) and direction(apart(leader(labels), soft) - margin) == "higher"


def flat(rows: list[Row]) -> bool:
    budgets = sorted({row.budget for row in rows})
    if len(budgets) < 2:
        return False
    last, before = (best([row for row in rows if row.budget == budget]) for budget in (budgets[-1], budgets[-2]))
    return last - before < FLAT


def adaptive(rows: list[Row]) -> bool:
    if labels_unchanged(rows):  # a thief who saw one class only has read no labels
        return any(reads_labels_only(row) and "one-class-answers" not in row.flags for row in rows)
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
    """The strongest thief's mean accuracy over seeds."""
    return strongest((row for row in rows if row.clone), accuracy)


def accuracy(row: Row) -> float:
    assert row.clone is not None
    return row.clone.accuracy.value


def strongest(rows: Iterable[Row], measured: Callable[[Row], float]) -> float:
    """The largest mean over seeds, over all thieves."""
    return max(mean(map(measured, group)) for group in grouped(rows, lambda row: row.attack).values())


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by key, groups and items in order of appearance."""
    groups: dict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups

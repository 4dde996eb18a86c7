"""Checks: the evaluation looks for reasons to doubt itself (after auto-attack's flags).

Every flag is a pure function of finished rows and is printed beside the number. `docs/flags.md` is made from this file.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from statistics import mean
from typing import TypeVar

from gamekeeper.analysis.bootstrap import Replicates, Values, direction
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


@dataclass(frozen=True)
class Flag:
    """raised_if completes "Raised if"; means and do are sentences.

    voids  whether nothing about theft or defense follows from a run that raises it on every undefended row: the headline
           then says so, and nothing else. Other flags qualify a number; these take the ground from under all of them
    """

    name: str
    raised_if: str
    means: str
    do: str
    voids: bool = False


FLAGS: dict[str, Flag] = {
    flag.name: flag
    for flag in (
        Flag(
            "weak-victim",
            "on its own test set the model is not clearly better than guessing, by balanced accuracy (for two classes, nor"
            " by the area under the ROC curve), or its answers fit the labels far better with its classes in another order.",
            "A copy of guesses is worth nothing, and what a defense does to it says nothing.",
            "Look at the order of the classes, the scale and units of the inputs, and the column of labels.",
            voids=True,
        ),
        Flag(
            "one-class-answers",
            "every answer that the thief got has the same top class, and this thief reads labels only or the probabilities"
            " do not differ either.",
            "The thief learnt one class only, because the pool holds nothing else or the model sees it wrongly.",
            "Look at the pool's scale and units, or give a pool with inputs of several classes.",
            voids=True,
        ),
        Flag(
            "test-in-pool",
            "more than a tenth of the test set is in the thief's pool.",
            "The clone is tested on inputs it was trained on, so its accuracy says little about theft.",
            "Use a pool that does not overlap the test set.",
            voids=True,
        ),
        Flag(
            "leaked-test",
            "the thief's pool contains inputs of the test set.",
            "The clone is tested on some inputs it was trained on, so its accuracy may be too high.",
            "Use a pool that does not overlap the test set.",
        ),
        Flag(
            "weak-thief",
            "with no defense and the largest budget, even the best thief gets less than 30 % of the way from"
            " guessing to the victim's accuracy.",
            "The thieves barely work here, so a low clone accuracy says nothing about a defense.",
            "Use a larger budget, a pool closer to the victim's data or a stronger student before comparing defenses.",
            voids=True,
        ),
        Flag(
            "unanswered",
            "more than 1 % of the inputs that the thief sent got no answer that can be read.",
            "The thief paid for fewer answers than the budget says, perhaps without those of one kind of input, so the clone"
            " may be worse than one of as many answered queries.",
            "Look at the warnings of the run, which quote what the target said, and at the size and scale of the inputs.",
        ),
        Flag(
            "no-better-than-majority",
            "the model's accuracy on the test set is not above the share of the most frequent class.",
            "Always answering that class is right as often, so shares of this accuracy say little about a copy.",
            "Use a test set with the classes in equal parts, and check the order of the classes and the inputs' scale.",
        ),
        Flag(
            "clone-beats-victim",
            "a clone is clearly, and by more than a point, more accurate than the model it was stolen from.",
            "The model answers this test set worse than it could: it may see inputs or classes other than those it was made"
            " for.",
            "Check the scale and units of the inputs and the order of the classes before you trust a number.",
        ),
        Flag(
            "predict-differs",
            "for some test inputs the class that the model's own `predict` gives is not the most probable one of its"
            " `predict_proba`, as with the Platt scaling of scikit-learn's SVC.",
            "Accuracies here are those of the most probable class; whoever calls `predict` sees others.",
            'Declare answers = "labels" if users are given what `predict` says; or calibrate the model with'
            " CalibratedClassifierCV.",
        ),
        Flag(
            "labels-beat-posteriors",
            "a thief who looks only at labels does clearly better than one who uses the whole answer.",
            "The defense spoils the probabilities but not the labels: it protects no better than returning just the label.",
            "Compare with the defense `label`, and judge by the strongest thief.",
        ),
        Flag(
            "random-answers",
            "the same input, sent twice, got different answers.",
            "A thief can repeat each query and average the noise away.",
            "Derive the noise from the input and a key, and look at the averaging thief's row.",
        ),
        Flag(
            "utility-spent",
            "the defended accuracy is more than one point below the clean one.",
            "Honest users pay for the protection with wrong answers.",
            "Use the defense at a lower strength, or decide that the protection is worth the loss.",
        ),
        Flag(
            "harms-shifted-users",
            "under some benign shift of their inputs (see the report's table) honest users clearly lose more than 5 points of"
            " accuracy to the defense beyond what it costs them on the test set.",
            "Users a little unlike the training data, with a thicker pen or a darker picture, pay for the protection; the"
            " test set does not show it.",
            "Look at which shift it is; use the defense at a lower strength, or calibrate it on inputs like those users'.",
        ),
        Flag(
            "broken-promise",
            "some answer breaks a guarantee that the defense gives for every answer: on its top class, its L1 distance or its"
            " confidence.",
            "Users who rely on this guarantee are misled, and so is every argument built on it, such as the label floor.",
            "Look at `broken` in the results; fix the defense, or withdraw the guarantee.",
        ),
        Flag(
            "budget-flat",
            "the largest budget steals hardly more than the next smaller one (less than half a point).",
            "Either the theft is saturated or the thief is broken: more queries would not help.",
            "Look at the curve; if it is flat far below the victim, try another pool or another thief.",
        ),
        Flag(
            "same-architecture",
            "the clone has the victim's architecture.",
            "This is the best case for the thief, who seldom knows the architecture.",
            "Try another student as well.",
        ),
        Flag(
            "cut-short",
            "the budget ran out before an exact attack was finished.",
            "The copy holds only part of what the attack recovers; the rest is guessed.",
            "Give the attack a larger budget; `queries` of a cell that finished shows how many it needs.",
        ),
        Flag(
            "id-collisions",
            "a tree attack saw one answer come from several leaves.",
            "Splits between leaves with the same answer can stay hidden, so the copy may lack some.",
            "Query more points on every line, as `tree_paths:probes=4` does, and look at the fidelity on uniform inputs.",
        ),
        Flag(
            "hidden-splits",
            "on random inputs, queried at the end of a tree attack, its copy answers differently from the model.",
            "The copy lacks splits of the tree, or the answers are perturbed.",
            "Query more points on every line, as `tree_paths:probes=4` does.",
        ),
        Flag(
            "single-seed",
            "the run has only one seed.",
            "How much results vary from seed to seed is unknown; the interval reflects only the size of the test set.",
            "Use --seeds 3 or more before quoting a difference.",
        ),
        Flag(
            "no-adaptive-thief",
            "the defense faced no thief made to undo it: none who learns from labels, if it keeps the thief's labels; none"
            " who recovers the clean answers, if it changes them.",
            "A thief who knows the defense may get a better clone than any measured here.",
            "Add such a thief before you trust the number.",
        ),
        Flag(
            "labels-beat-undefended",
            "with no defense, a thief who looks only at labels is more than one point better than the soft thief.",
            "The soft thief is broken or badly trained here, since probabilities tell more than labels do.",
            "Train the soft thief longer or with another student before you quote that number; the strongest thief's stands.",
        ),
        Flag(
            "control-learns",
            "a clone of shuffled answers is clearly more than ten points better than the most frequent class.",
            "The clone learns from something besides the answers, so every accuracy here may be too high.",
            "Do not use the run; look for test inputs or labels in the pool, and report it as a bug.",
            voids=True,
        ),
        Flag(
            "below-floor",
            "a defense changed no label on the thief's queries, yet the strongest thief is clearly below the label floor.",
            "This should be impossible: a thief who learns from labels sees the same labels as without a defense.",
            "Run the same thieves with and without the defense; if you did, report it as a bug.",
        ),
        Flag(
            "free-anyway",
            "at the largest budget the strongest thief's accuracy is not above that of the zero-query clone, or the zero-query"
            " clone lies within the strongest thief's interval.",
            "The thief has as good a copy without asking, so their queries are worth nothing to them, and no defense can take"
            " anything away.",
            "Look at larger budgets and stronger thieves. If the flag stays, what there is to protect is not in the answers.",
        ),
        Flag(
            "helps-thief",
            "the strongest thief is clearly better against the defense than against none.",
            "The defense gives something away, or the thief was lucky.",
            "Use more seeds; if the flag stays, do not use the defense.",
        ),
    )
}


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

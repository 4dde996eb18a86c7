"""An opinion: a verdict in words, for somebody who has to decide and knows nothing of the field. Everything a report needs.

It never says "proved" or "innocent": hits are more or less surprising in a model that copied nothing, and that is all.
"""

import math
from dataclasses import dataclass
from statistics import fmean

from scipy.stats import t

from gamekeeper.ownership.bundle import Trial
from gamekeeper.ownership.chance import holm
from gamekeeper.ownership.gates import scientific
from gamekeeper.ownership.nulls import NullModel
from gamekeeper.ownership.record import (
    Papers,
    Record,
    accuracy,
    check_papers,
    counted,
    family,
    null_of,
    unanswered,
)
from gamekeeper.ownership.stamps import day

GATES = {
    "opened": "the commitment in the register is one to this claim",
    "committed first": "the claim is older than the suspect",
    "panel size": "enough independent models were compared",
    "panel accuracy": "these are about as accurate as the suspect",
    "own model": "the owner's own model passes its own test",
    "panel": "independent models do not pass it",
    "panel agreement": "independent models rarely agree with the claim",
    "label variety": "the claimed answers vary",
}


@dataclass(frozen=True)
class Compared:
    """One model beside the suspect. accuracy: NaN where none was measured."""

    who: str
    hits: int
    accuracy: float


@dataclass(frozen=True)
class Opinion:
    """sentence     the verdict, in one sentence; counts: what it rests on, in one or two
    chance       what p means here, with the null named; interval: see `interval`
    needed       least hits that would support the claim after Holm; None if no number would
    gates        (name, what it asks, why it is shut; "" if it is open)
    change       what would change the verdict; unchecked: what nobody checked
    """

    decision: str
    sentence: str
    counts: str
    chance: str
    log10_p: float
    adjusted: float
    interval: tuple[float, float]
    level: float
    null: str
    hits: int
    n: int
    needed: int | None
    suspect: Compared
    own: Compared
    panel: tuple[Compared, ...]
    gates: tuple[tuple[str, str, str], ...]
    tests: int
    queries: int
    unanswered: int
    since: int | None
    public_since: int
    change: tuple[str, ...]
    unchecked: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    digest: str
    signed: bool | None


def opinion(trial: Trial) -> Opinion:
    """All that is to be said of a trial."""
    papers, record, verdict = trial.papers, trial.record, trial.verdict
    committed = check_papers(papers, record.terms, record.classes)
    null = null_of(papers, record.terms, record.classes)
    others = family(papers, record.terms, committed)
    level = float(record.terms.level)
    needed = least_hits(null, verdict.n, verdict.panel, others, level)
    shut = iter(verdict.reasons if verdict.decision == "void" else ())
    gates = tuple((name, GATES[name], "" if fine else next(shut)) for name, fine in verdict.gates.items())
    return Opinion(
        decision=verdict.decision,
        sentence=sentence(trial),
        counts=counts(trial),
        chance=chance(trial, len(others) + 1),
        log10_p=verdict.log10_p,
        adjusted=verdict.adjusted,
        interval=interval(null, verdict.hits, verdict.n, verdict.panel),
        level=level,
        null=verdict.null,
        hits=verdict.hits,
        n=verdict.n,
        needed=needed,
        suspect=Compared(record.suspect.who, verdict.hits, accuracy(record.suspect, record.truth)),
        own=Compared(record.own.who, counted(record, papers.claim)[1].own, math.nan),
        panel=compared(record, papers),
        gates=gates,
        tests=len(others) + 1,
        queries=verdict.queries,
        unanswered=unanswered(record.suspect),
        since=committed.since,
        public_since=record.terms.public_since,
        change=change(trial, needed),
        unchecked=unchecked(trial),
        facts=tuple((name, str(value)) for name, value in sorted(papers.claim.facts.items())),
        digest=trial.digest,
        signed=trial.signed,
    )


def compared(record: Record, papers: Papers) -> tuple[Compared, ...]:
    panel = counted(record, papers.claim)[1]
    each = zip(record.panel, panel.hits, panel.accuracy, strict=True)
    return tuple(Compared(model.who, hits, right) for model, hits, right in each)


def least_hits(null: NullModel, n: int, panel: tuple[int, ...], others: dict[str, float], level: float) -> int | None:
    """The fewest hits of n whose p-value is at most the level after Holm; None if even n are not enough."""

    def enough(hits: int) -> bool:
        return holm({**others, "": null.log10_p(hits, n, panel)})[""] <= math.log10(level)

    if not enough(n):
        return None
    low, high = 0, n  # p falls with hits
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def interval(null: NullModel, hits: int, n: int, panel: tuple[int, ...]) -> tuple[float, float]:
    """log10 p between which that of another panel of the same kind would lie, most likely; 0 at most.

    A jackknife: each model of the panel is left out in turn. Two panels differ by sqrt(2) times the standard error of one,
    and Student's t aims at 95 in 100. With ten simulated models it reached 82 to 90; the range of the values without one
    model, which is much shorter, holds about 30 in 100. It says how much p depends on which models were trained, and nothing of
    whether they are the right ones.

    Source      Tukey 1958; Efron and Stein 1981 (its variance is too large rather than too small)
    """
    value = null.log10_p(hits, n, panel)
    m = len(panel)
    if m < 2:
        return -math.inf, 0.0
    without = [null.log10_p(hits, n, panel[:place] + panel[place + 1 :]) for place in range(m)]
    error = math.sqrt((m - 1) / m * sum((each - fmean(without)) ** 2 for each in without))
    width = math.sqrt(2) * float(t.ppf(0.975, m - 1)) * error
    return value - width, min(0.0, value + width)


def tail(trial: Trial) -> tuple[float, ...]:
    """log10 of the chance of at least so many hits, for 0 to n: the null of the trial, before Holm."""
    null = null_of(trial.papers, trial.record.terms, trial.record.classes)
    n, panel = trial.verdict.n, trial.verdict.panel
    return tuple(null.log10_p(hits, n, panel) for hits in range(n + 1))


def sentence(trial: Trial) -> str:
    suspect = trial.record.suspect.who
    if trial.verdict.decision == "supports":
        return f"The evidence supports the claim that {suspect} was derived from the owner's model."
    if trial.verdict.decision == "void":
        return f"This claim is void: it cannot be held against any model, whatever {suspect} answers."
    return f"The evidence does not show that {suspect} was derived from the owner's model."


def counts(trial: Trial) -> str:
    verdict, suspect = trial.verdict, trial.record.suspect.who
    if verdict.decision == "void":
        return f"What failed: {', '.join(name for name, fine in verdict.gates.items() if not fine)}."
    span = f"{min(verdict.panel)} to {max(verdict.panel)}" if verdict.panel else "none"
    text = (
        f"{suspect} answers {verdict.hits} of {verdict.n} registered inputs as the claim says; {len(verdict.panel)} models that"
        f" copied nothing answer {span} of them so."
    )
    if verdict.decision == "supports":
        return f"{text} A model that copied nothing would do so by chance {odds(verdict.adjusted)}."
    return f"{text} It does not show the opposite either, since a copy may have lost its marks."


def odds(log10_p: float) -> str:
    """A small probability for a reader: once in so many."""
    if log10_p > -1:
        return f"with a probability of {10**log10_p:.2g}"
    if log10_p > -6:
        return f"less than once in {float(f'{10**-log10_p:.2g}'):,.0f} times"
    return f"less than once in 10^{math.floor(-log10_p)} times"


def chance(trial: Trial, tests: int) -> str:
    verdict = trial.verdict
    also = f"; counted over the {tests} claims in the register, {scientific(verdict.adjusted)}" if tests > 1 else ""
    return (
        f"p = {scientific(verdict.log10_p)}: the chance that {verdict.null} hits {verdict.hits} or more of {verdict.n}{also}."
        f" {float(trial.record.terms.level):.2g} or less is needed."
    )


def change(trial: Trial, needed: int | None) -> tuple[str, ...]:
    """What would have to be otherwise for another verdict."""
    verdict = trial.verdict
    enough = (
        "With this panel no number of hits would support the claim: a larger panel or more inputs are needed."
        if needed is None
        else f"{needed} hits or more of {verdict.n} support the claim; there are {verdict.hits}."
    )
    if verdict.decision == "void":
        return (*verdict.reasons, "Only when every gate is open do the hits count.")
    if verdict.decision == "supports":
        return (
            enough,
            "A gate that shuts would make it void: an earlier date on which the suspect was public, say, or models that"
            " copied nothing and hit as often.",
        )
    return (
        enough,
        "Another claim on the same model, registered before the suspect was public, could still support it.",
    )


def unchecked(trial: Trial) -> tuple[str, ...]:
    """What the verdict rests on and nobody here checked."""
    record, terms = trial.record, trial.record.terms
    head = (
        "Whether entries were cut off the end of the register: nobody gave a head that was noted (--head)."
        if terms.head is None
        else ""
    )
    drawn = (
        f"That the beacon was published at {day(terms.beacon.at)}, after the inputs were stamped, and not before: the"
        " judge's word."
        if terms.beacon is not None
        else "Where the claimed labels come from. The panel's answers to them are what counts."
    )
    same = (
        "Whether the owner's model is the owner's: it is the suspect itself, so that its passing says nothing."
        if record.own.digest == record.suspect.digest
        else "Whether the owner's model is the owner's: the judge was given it."
    )
    silent = unanswered(record.suspect)
    lines = (
        f"That the suspect was first public on {day(terms.public_since)}: the judge's word.",
        f"That models trained on {record.data[0]} are to a model that copied nothing what such models are to each other."
        " Suspects trained on very different data may hit more or less often.",
        drawn,
        same,
        head,
        "Whether the owner registered further claims elsewhere, or tried this one on further suspects.",
        f"{silent} of the {trial.verdict.n} inputs brought no answer and count as misses." if silent else "",
        "Who made the suspect and how. Whether anything unlawful was done is for people to decide.",
    )
    return tuple(line for line in lines if line)

"""What rows of an ownership run say: which marks survive which removal at what price, and whom false claims would accuse."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from gamekeeper.analysis.checks import grouped
from gamekeeper.ownership.countermeasures import COUNTERMEASURES, supports
from gamekeeper.ownership.evidence import Measured, PanelMeasured
from gamekeeper.ownership.gates import Gates, claim_gates, panel_gates
from gamekeeper.ownership.judge import Decision
from gamekeeper.ownership.nulls import DrawnLabels, NullModel, OfPanel
from gamekeeper.ownership_rows import OwnershipRow

GATES = Gates()


@dataclass(frozen=True)
class Ruling:
    """On one suspect of a row: the decision, log10 p, and the names of the gates that are shut."""

    decision: Decision
    log10_p: float
    shut: tuple[str, ...]


@dataclass(frozen=True)
class SurvivalLine:
    """One scheme and one removal, over seeds.

    share, before   of the claim's inputs that the copy answers as claimed, after and before the removal; panel: the mean of
                    the judge's models
    accuracy, paid  of the copy afterwards, and what the removal cost of it
    log10_p         the median
    decisions       how many seeds each decision was made in
    """

    scheme: str
    removal: str
    seeds: int
    n: float
    share: float
    before: float
    panel: float
    accuracy: float
    paid: float
    log10_p: float
    decisions: Mapping[Decision, int]


@dataclass(frozen=True)
class FalseClaimLine:
    """One way of making false claims, or one scheme's honest claims, held against innocent models.

    share, panel  of the inputs on which innocents, and the judge's models, answer as claimed
    agreement     of two models of the panel with the claim
    trials        claims times innocents; accused: how many of these each set of countermeasures lets through
    """

    how: str
    seeds: int
    share: float
    panel: float
    agreement: float
    trials: int
    accused: Mapping[str, int]


@dataclass(frozen=True)
class OwnershipSummary:
    survival: tuple[SurvivalLine, ...]
    forgeries: tuple[FalseClaimLine, ...]
    innocents: tuple[FalseClaimLine, ...]
    failed: Mapping[str, str]


def summarise(rows: Sequence[OwnershipRow]) -> OwnershipSummary:
    """In the order of the rows."""
    whole = [row for row in rows if row.error is None]
    kinds = grouped(whole, lambda row: row.kind)
    return OwnershipSummary(
        tuple(map(survival, grouped(kinds.get("removal", []), lambda row: (row.scheme, row.how)).values())),
        tuple(map(false_claims, grouped(kinds.get("forgery", []), lambda row: row.how).values())),
        tuple(map(false_claims, grouped(kinds.get("innocent", []), lambda row: row.scheme).values())),
        {f"{row.scheme or 'a false claim'} {row.how}".strip(): row.error for row in rows if row.error is not None},
    )


def evidence(row: OwnershipRow, place: int) -> tuple[Measured, PanelMeasured]:
    """What the judge has before them of one suspect."""
    suspect = row.suspects[place]
    measured = Measured(suspect.hits, row.n, row.n, suspect.accuracy)
    panel = PanelMeasured(row.panels[place], row.accuracies[place], row.own, row.agreements[place], row.variety)
    return measured, panel


def null_of(row: OwnershipRow) -> NullModel:
    """Labels that a beacon drew need no trust in the panel; for all others the panel is all there is."""
    return DrawnLabels(row.classes) if row.drawn else OfPanel()


def ruling(row: OwnershipRow, place: int, gates: Gates = GATES) -> Ruling:
    """By all gates but those about dates, as if the claim had been committed to in time."""
    measured, panel = evidence(row, place)
    null = null_of(row)
    log10_p = null.log10_p(measured.hits, measured.n, panel.hits)
    reasons = panel_gates(measured, panel, gates) | claim_gates(measured, panel, gates, null)
    shut = tuple(name for name, reason in reasons.items() if reason)
    passed = log10_p <= math.log10(gates.level)
    return Ruling("void" if shut else "supports" if passed else "not shown", log10_p, shut)


def survival(rows: Sequence[OwnershipRow]) -> SurvivalLine:
    each = [ruling(row, 0) for row in rows]
    decisions: tuple[Decision, ...] = ("supports", "not shown", "void")
    after = [row.suspects[0] for row in rows]
    earlier = [row.before or row.suspects[0] for row in rows]
    return SurvivalLine(
        scheme=rows[0].scheme,
        removal=rows[0].how,
        seeds=len(rows),
        n=fmean(row.n for row in rows),
        share=fmean(one.hits / row.n for one, row in zip(after, rows, strict=True)),
        before=fmean(one.hits / row.n for one, row in zip(earlier, rows, strict=True)),
        panel=fmean(fmean(row.panels[0]) / row.n for row in rows),
        accuracy=fmean(one.accuracy for one in after),
        paid=fmean(old.accuracy - new.accuracy for old, new in zip(earlier, after, strict=True)),
        log10_p=median(one.log10_p for one in each),
        decisions={name: sum(one.decision == name for one in each) for name in decisions},
    )


def false_claims(rows: Sequence[OwnershipRow]) -> FalseClaimLine:
    trials = [(row, place) for row in rows for place in range(len(row.suspects))]
    return FalseClaimLine(
        how=rows[0].how or rows[0].scheme,
        seeds=len(rows),
        share=fmean(row.suspects[place].hits / row.n for row, place in trials),
        panel=fmean(fmean(row.panels[place]) / row.n for row, place in trials),
        agreement=fmean(row.agreements[place] for row, place in trials),
        trials=len(trials),
        accused={
            name: sum(supports(measure, *evidence(row, place), GATES, row.classes) for row, place in trials)
            for name, measure in COUNTERMEASURES.items()
        },
    )

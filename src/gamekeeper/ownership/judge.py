"""The judge: from what was counted to a verdict. A pure function: no models, no files, no clock.

    void       a gate is shut: whatever the suspect answers, this claim cannot support an accusation
    supports   the gates are open, and an independent model would hit as often with a chance of `level` at most, after Holm
               over everything that the owner registered
    not shown  otherwise. It does not say that nothing was copied: a copy may have lost its marks

Source      Holm 1979 for the family; gates.py and nulls.py for the rest
Assumes     counts that the judge took, of a panel that the judge trained; the claimant's word for nothing
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gamekeeper.ownership.chance import holm
from gamekeeper.ownership.evidence import Committed, Measured, PanelMeasured
from gamekeeper.ownership.gates import Gates, claim_gates, commitment_gates, panel_gates, scientific
from gamekeeper.ownership.nulls import NullModel

Decision = Literal["supports", "not shown", "void"]


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one claim and one suspect.

    log10_p   of the null alone; adjusted: after Holm over the owner's family of claims. Both are 0 or less
    gates     which of them are open; reasons: a sentence for each that is not, or for what was not reached
    """

    decision: Decision
    log10_p: float
    adjusted: float
    null: str
    hits: int
    n: int
    panel: tuple[int, ...]
    queries: int
    gates: Mapping[str, bool]
    reasons: tuple[str, ...]

    def predicate(self) -> dict[str, object]:
        """As JSON without floats, for a signed statement: p-values are text with two decimals."""
        return {
            "decision": self.decision,
            "log10_p": f"{self.log10_p:.2f}",
            "adjusted": f"{self.adjusted:.2f}",
            "null": self.null,
            "hits": self.hits,
            "n": self.n,
            "panel": list(self.panel),
            "queries": self.queries,
            "gates": dict(self.gates),
            "reasons": list(self.reasons),
        }


def verdict(
    measured: Measured,
    panel: PanelMeasured,
    gates: Gates,
    committed: Committed,
    public_since: int,
    family: Mapping[str, float],
    null: NullModel,
) -> Verdict:
    """The verdict on one claim against one suspect.

    public_since  when the suspect was first public, in seconds since 1970; the judge enters it
    family        log10 p of every other test that the owner's register allows: a name for each, the digest of its entry for
                  a claim, and 0 for those that were not made
    """
    log10_p = null.log10_p(measured.hits, measured.n, panel.hits)
    tests = {**family, committed.entry.digest: log10_p}
    adjusted = holm(tests)[committed.entry.digest]
    shut = commitment_gates(committed, public_since)
    shut |= panel_gates(measured, panel, gates) | claim_gates(measured, panel, gates, null)
    reasons = tuple(reason for reason in shut.values() if reason)
    decision: Decision = "void" if reasons else "supports" if adjusted <= math.log10(gates.level) else "not shown"
    if decision == "not shown":
        reasons = (weak(measured, adjusted, gates, null, len(tests)),)
    opened = {name: not reason for name, reason in shut.items()}
    return Verdict(
        decision, log10_p, adjusted, null.name, measured.hits, measured.n, panel.hits, measured.queries, opened, reasons
    )


def weak(measured: Measured, adjusted: float, gates: Gates, null: NullModel, claims: int) -> str:
    return (
        f"{null.name} would hit {measured.hits} or more of {measured.n} with a chance of {scientific(adjusted)}, counted over"
        f" {claims} registered tests; {gates.level:.2g} or less is needed. A copy may have lost its marks."
    )

"""Gates: what must hold before hits mean anything. One that is shut voids the claim, and says why in a sentence.

    opened           the commitment opens to this claim
    committed first  a stamp that the judge trusts is older than the suspect's publication
    panel size       enough models of the judge's own
    panel accuracy   about as accurate as the suspect: better models repeat more of a victim's mistakes
    own model        what must pass does pass
    panel            its models, each held against the others, pass no more often than the level allows
    panel agreement  two of its models rarely agree with the claim, as they do on adversarial examples that transfer
    label variety    the labels vary, else one habit of a model counts as many hits

Source      Liu, Zhang, Szyller, Ren, Asokan, "False claims against model ownership resolution" (USENIX Security 2024): claims
            follow the procedure to the letter, with stamps and all, and convict independent models
Deviations  the gates are ours: a panel of the judge's own sets the chance level, and what the panel does as well is void.
            The bound of agreement lies between what a victim's own mistakes reach on digits (.55 to .64) and adversarial
            examples that transfer (.86 to .97)
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.chance import binomial
from gamekeeper.ownership.claim import opens
from gamekeeper.ownership.evidence import Committed, Measured, PanelMeasured
from gamekeeper.ownership.nulls import NullModel
from gamekeeper.ownership.stamps import day

SURPRISE = 0.05
"""So many passing models of a panel, or more, may come up this rarely before the claim is held against itself."""


@dataclass(frozen=True)
class Gates:
    """Where they shut: how many models the panel has at least, how far its accuracy may be from the suspect's, and the bounds
    of agreement and variety. level: the accepted chance of convicting an independent model."""

    level: float = 1e-3
    models: int = 10
    accuracy: float = 0.03
    agreement: float = 0.75
    variety: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.level < 1 and self.models >= 2):
            raise BadClaim(f"a judge needs a level in (0, 1) and 2 models or more. Got {self.level} and {self.models}.")


def commitment_gates(committed: Committed, public_since: int) -> dict[str, str]:
    """A sentence for each gate that is shut, empty for one that is open."""
    opened = opens(committed.entry.digest, committed.claim, committed.opening)
    since = committed.since
    early = since is not None and since < public_since
    late = "no stamp dates the entry" if since is None else f"the entry's earliest stamp is of {day(since)}"
    return {
        "opened": "" if opened else "the commitment that was registered is not one to this claim.",
        "committed first": ""
        if early
        else f"the claim must be older than the suspect ({day(public_since)}), but {late}.",
    }


def panel_gates(measured: Measured, panel: PanelMeasured, gates: Gates) -> dict[str, str]:
    models, mean = len(panel.hits), sum(panel.accuracy) / max(1, len(panel.accuracy))
    apart = abs(mean - measured.accuracy)
    return {
        "panel size": ""
        if models >= gates.models
        else f"the panel must have {gates.models} independent models or more. It has {models}.",
        "panel accuracy": ""
        if apart <= gates.accuracy
        else f"the panel must be about as accurate as the suspect ({measured.accuracy:.3f}). Its mean is {mean:.3f}; train"
        f" another within {gates.accuracy:.3f}.",
    }


def claim_gates(measured: Measured, panel: PanelMeasured, gates: Gates, null: NullModel) -> dict[str, str]:
    bar = math.log10(gates.level)
    own = null.log10_p(panel.own, measured.n, panel.hits)
    passing = passing_alone(panel.hits, measured.n, bar, null)
    return {
        "own model": ""
        if own <= bar
        else f"the owner's own model must pass, but hits {panel.own} of {measured.n} (p {scientific(own)}): no suspect could.",
        "panel": ""
        if binomial(passing, len(panel.hits), gates.level) > math.log10(SURPRISE)
        else f"models of the panel must not pass, but {passing} of {len(panel.hits)} do: the claim fits models that copied"
        " nothing.",
        "panel agreement": ""
        if panel.agreement <= gates.agreement
        else f"independent models must not agree with the claim. Two of them do on {panel.agreement:.0%} of its inputs (at most"
        f" {gates.agreement:.0%}), as on adversarial examples that transfer.",
        "label variety": ""
        if panel.variety >= gates.variety
        else f"the labels must vary ({gates.variety:.2f} of the entropy of uniform ones, or more). They reach"
        f" {panel.variety:.2f}, so that one habit of a model would count as many hits.",
    }


def passing_alone(hits: Sequence[int], n: int, bar: float, null: NullModel) -> int:
    """How many models of the panel would pass, each held against the others."""
    times = Counter(hits)
    others = {each: list((times - Counter([each])).elements()) for each in times}
    return sum(times[each] for each, rest in others.items() if rest and null.log10_p(each, n, rest) <= bar)


def scientific(log10_p: float) -> str:
    """A p-value for a sentence; powers of ten where a float would be 0."""
    return f"{10**log10_p:.2g}" if log10_p > -300 else f"1e{log10_p:.0f}"

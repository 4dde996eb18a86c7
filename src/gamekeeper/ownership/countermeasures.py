"""Countermeasures against false claims, one by one: what each of a judge's measures would have stopped.

    none           hits are held against guessing, 1/k, and every gate is open: the judge that papers describe
    panel chance   the chance of a hit comes from the panel
    panel          models of the panel must not pass, even if held against guessing
    agreement      two models of the panel rarely agree with the claim
    variety        the labels vary
    all            the chance comes from the panel, and all gates about the claim are in place

Source      Liu, Zhang, Szyller, Ren, Asokan, "False claims against model ownership resolution" (USENIX Security 2024)
Assumes     counts of the suspect and of a panel of independent models
Deviations  none
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gamekeeper.ownership.chance import binomial
from gamekeeper.ownership.evidence import Measured, PanelMeasured
from gamekeeper.ownership.gates import Gates, claim_gates
from gamekeeper.ownership.nulls import NullModel, OfPanel


@dataclass(frozen=True)
class Guessing:
    """A model that hits with the chance of a guess, whatever the panel does."""

    classes: int

    @property
    def name(self) -> str:
        return f"a model that guesses one of {self.classes} classes"

    def log10_p(self, hits: int, n: int, panel: object) -> float:
        return binomial(hits, n, 1 / self.classes)


@dataclass(frozen=True)
class Countermeasure:
    """of_panel: whether the chance comes from the panel. gates: those about the claim that may shut."""

    of_panel: bool
    gates: tuple[str, ...]


ALL = ("own model", "panel", "panel agreement", "label variety")
COUNTERMEASURES: Mapping[str, Countermeasure] = {
    "none": Countermeasure(False, ()),
    "panel chance": Countermeasure(True, ()),
    "panel": Countermeasure(False, ("panel",)),
    "agreement": Countermeasure(False, ("panel agreement",)),
    "variety": Countermeasure(False, ("label variety",)),
    "all": Countermeasure(True, ALL),
}


def supports(measure: Countermeasure, measured: Measured, panel: PanelMeasured, gates: Gates, classes: int) -> bool:
    """Whether a judge with this measure alone would say that the claim is supported."""
    null: NullModel = OfPanel() if measure.of_panel else Guessing(classes)
    shut = claim_gates(measured, panel, gates, null)
    passed = null.log10_p(measured.hits, measured.n, panel.hits) <= math.log10(gates.level)
    return passed and not any(shut[gate] for gate in measure.gates)

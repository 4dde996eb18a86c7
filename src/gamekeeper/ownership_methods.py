"""Schemes, removals and false claims by name, in the syntax of methods.py: `backdoor:kind=natural`, `prune:share=0.7`.

A removal may also be a thief's way to learn: `knockoff+gce` buys answers once and learns from them as `gce` does.
"""

from collections.abc import Mapping
from typing import cast

from gamekeeper.defenses.dawn import DAWN
from gamekeeper.method_text import part
from gamekeeper.methods import InputSpec, build
from gamekeeper.ownership.forgeries.chosen_carriers import ChosenCarriers
from gamekeeper.ownership.forgeries.transferable import Targeted, Untargeted
from gamekeeper.ownership.recipes import Forgery, Removal
from gamekeeper.ownership.removals.adversarial_fine_tuning import Adversarial
from gamekeeper.ownership.removals.controls import Reset, Untouched
from gamekeeper.ownership.removals.distillation import Distilled
from gamekeeper.ownership.removals.fine_tuning import FTAL, FTLL, RTAL, RTLL
from gamekeeper.ownership.removals.preprocessing import BitDepth, Blurred, Noisy
from gamekeeper.ownership.removals.pruning import FinePruned, Pruned
from gamekeeper.ownership.removals.quantisation import Quantised
from gamekeeper.ownership.removals.weight_noise import WeightNoise
from gamekeeper.ownership.schemes.backdoor import Backdoor
from gamekeeper.ownership.schemes.own_mistakes import OwnMistakes

SCHEMES: Mapping[str, type] = {"own_mistakes": OwnMistakes, "backdoor": Backdoor, "dawn": DAWN}
REMOVALS: Mapping[str, type] = {
    "none": Untouched,
    "ftll": FTLL,
    "ftal": FTAL,
    "rtll": RTLL,
    "rtal": RTAL,
    "prune": Pruned,
    "fine_prune": FinePruned,
    "weight_noise": WeightNoise,
    "quantise": Quantised,
    "noise": Noisy,
    "bit_depth": BitDepth,
    "blur": Blurred,
    "adversarial": Adversarial,
    "distil": Distilled,
    "reset": Reset,
}
FORGERIES: Mapping[str, type] = {
    "untargeted": Untargeted,
    "targeted": Targeted,
    "chosen_carriers": ChosenCarriers,
}
NOWHERE = InputSpec((), 0)
"""None of these recipes names a network."""


def parse_scheme(text: str) -> OwnMistakes | Backdoor | DAWN:
    """Raises BadConfig naming what is allowed, as the other two do."""
    return cast(OwnMistakes | Backdoor | DAWN, build(part(text), SCHEMES, "scheme", NOWHERE))


def parse_removal(text: str) -> Removal:
    return cast(Removal, build(part(text), REMOVALS, "removal", NOWHERE))


def parse_forgery(text: str) -> Forgery:
    return cast(Forgery, build(part(text), FORGERIES, "false claim", NOWHERE))

"""What a report says of a verdict to somebody who decides and knows nothing of the field. Pure functions.

It never says what people did: the words stay with answers, models and chances.
"""

import math

from gamekeeper.analysis.ownership import FalseClaimLine
from gamekeeper.analysis.scheme_history import SchemeHistory
from gamekeeper.detectors.limits import upper_bound
from gamekeeper.ownership.opinion import Opinion, odds
from gamekeeper.surfaces.report.words import count, paid, plain, rough

UNCHECKED = "unchecked"
IDEA = (
    "Makers of maps draw a few streets that do not exist: another map that shows them was hardly drawn from nature. An owner of a"
    " model does the same with a few answers, writes them down before there is a dispute, and has the day attested. The judge asks"
    " the suspect for these answers, and asks models that they trained themselves and that copied nothing."
)
MEANS = {
    "supports": "The suspect knows far more of these answers than models do that copied nothing. Some of the owner's model most"
    " likely went into it. Nothing here says who did that, how, or whether it was allowed.",
    "not shown": "Models that copied nothing might answer so too. This is no ground for an accusation, and it clears nobody: a"
    " copy may have lost its marks.",
    "void": "The test itself failed, so the suspect's answers say nothing, whatever they are. This speaks neither for the"
    " suspect nor against it.",
}
MEND = {
    "opened": "The owner may have another claim or another opening: the register must hold a commitment to this very claim.",
    "committed first": "Look at the date that you entered (--public-since). If it is right, nothing mends this: a claim made"
    " after a suspect was public can be made to fit it.",
    "panel size": "You can mend this: train more models (--panel).",
    "panel accuracy": "You can mend this: train a panel that is as accurate as the suspect, with other architectures"
    " (--architecture) or on other data (--data).",
    "own model": "The owner may have named the wrong model (--own). Marks that are in answers only need a clone trained on such"
    " answers.",
    "panel": "Nothing mends this claim: models that copied nothing pass it.",
    "panel agreement": "Nothing mends this claim: models that copied nothing agree with it, as with examples that were made to"
    " fool every model.",
    "label variety": "Nothing mends this claim: its answers are too much alike.",
}
"""By gate: what to do where it is shut."""


def steps(opinion: Opinion) -> list[tuple[str, str]]:
    """What to do now: a word or two, and a sentence."""
    if opinion.decision == "supports":
        return [
            (
                "Doubt it.",
                "Go through what was not checked, below. Each line is something that this verdict takes for granted.",
            ),
            (
                "Ask",
                "whoever made the suspect how it came about. There are honest explanations: a licence, a supplier who had the"
                " owner's model, an ancestor of both, inputs of the claim that leaked.",
            ),
            ("Let others check.", "The command below reaches the same verdict from the bundle, without the suspect."),
        ]
    if opinion.decision == "void":
        shut = [name for name, _, reason in opinion.gates if reason]
        first = ("Accuse nobody on this claim,", "neither this suspect nor another.")
        return [first, *((f"{name}:", MEND[name]) for name in shut)]
    return [
        ("Accuse nobody on this claim.", "Hits that chance explains are no evidence."),
        (
            "Try another claim",
            "only if the owner registered it before the suspect was public. All that are in the register are counted, so that"
            " trying many does not help.",
        ),
        ("Do not go on looking", "for a suspect that fits: of many suspects, one hits often by chance."),
    ]


def rarity(opinion: Opinion) -> str:
    """What the p-value says, for a reader."""
    return f"A model that copied nothing would hit as often {odds(opinion.adjusted)}, taken as {plain(opinion.null)}."


def power(log10_p: float) -> str:
    """A p-value: three decimals while it is large, then once in so many, two digits of which are worth saying."""
    if log10_p > -2:
        return f"{10**log10_p:.3f}"
    return f"1 in {count(rough(10**-log10_p))}" if log10_p > -7 else f"1 in 10^{-log10_p:.0f}"


def another_panel(interval: tuple[float, float], models: int) -> str:
    """How much p hangs on which models were trained."""
    low, high = interval
    return f"Another {count(models)} models, trained in the same way, would most likely put p between {power(low)} and {power(high)}."


def firm(opinion: Opinion) -> str:
    """Whether another panel might have led elsewhere; "" where it would hardly."""
    bar = opinion.adjusted - opinion.log10_p  # what Holm adds
    low, high = (min(0.0, each + bar) for each in opinion.interval)
    level = math.log10(opinion.level)
    if opinion.decision == "supports" and high > level:
        return "Another panel might have led to “not shown”: train more models (--panel) before you rely on this."
    if opinion.decision == "not shown" and low <= level:
        return "Another panel might have led to “supports”: train more models (--panel) to know."
    return ""


def scheme(opinion: Opinion) -> str:
    """The scheme that the claim names; "" if it names none."""
    return next((value for name, value in opinion.facts if name == "scheme"), "")


def accusations(line: FalseClaimLine | None) -> str:
    """How many models that copied nothing a gated judge would have accused; `unchecked` where nobody tried."""
    if line is None or line.trials == 0:
        return UNCHECKED
    accused = line.accused["all"]
    bound = upper_bound(accused, line.trials)
    return f"{count(accused)} of {count(line.trials)}; up to {100 * bound:.0f} % is not excluded"


def naive(line: FalseClaimLine | None) -> str:
    """The same for a judge who compares with guessing and has no gates."""
    return UNCHECKED if line is None or line.trials == 0 else f"{count(line.accused['none'])} of {count(line.trials)}"


def cost_of(queries: int, money: tuple[float, str] | None) -> str:
    """money: what they cost and in which currency; None where nobody wrote it down, as in a bundle."""
    if money is None:
        return f"{count(queries)} queries of the suspect; the bundle does not say what they cost"
    amount, currency = money
    return f"{count(queries)} queries of the suspect, {'free' if amount == 0 else paid(amount, currency)}"


def basis(history: SchemeHistory) -> str:
    """Where known numbers come from."""
    marks = f" with {plain(history.tried)}" if history.tried else ""
    return (
        f"Measured{marks} on {plain(history.target)} by gamekeeper {plain(history.version)} on {plain(history.date)}, not on this suspect; a"
        f" thief there paid for {count(history.queries)} answers. Other models and data may differ."
    )

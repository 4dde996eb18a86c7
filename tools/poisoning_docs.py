"""What the figures of Prediction Poisoning claim, beside the strengths measured here: docs/papers/prediction-poisoning.md.

The paper's words are typed; every number of ours, and how many comparisons hold, is computed from the results.
"""

from collections.abc import Mapping

import numpy as np
from committed import RESULTS, origin, summary, table, thefts

from gamekeeper.surfaces.report.words import percent

NAMES = ("strengths-mnist", "strengths-fashion")
"""Runs of the same defenses on digits and on clothes."""
OTHERS = "poisoning-attacks"
"""The run of the paper's other attacks, on digits."""
BUDGET, PAPER_BUDGET = 500, 50_000
MAD, ARGMAX, ARGMAX_FAR = "mad:eps=0.95", "mad:eps=0.95,keep_top1=true", "mad:eps=1.6,keep_top1=true"
SIGMOID, NOISE = "reverse_sigmoid:beta=1", "random_noise:eps=40"
IDENTITY, RANDOM = "mad:jacobian=identity,eps=0.95", "mad:rule=random,eps=0.95"
LABELS, UNMIXED, UNDONE = "knockoff+labels", "knockoff+unmixed", "knockoff+partial_bayes"
JBS = {"JB-top3": "jb_topk", "JB-self": "jb_self", "JBDA": "jbda", "Knockoff": "knockoff"}

Accuracies = Mapping[tuple[str, str, int], float]


def poisoning() -> str:
    """A row per figure: the claim, our numbers, and in how many comparisons it holds."""
    missing = [name for name in (*NAMES, OTHERS) if not (RESULTS / name / "run.json").exists()]
    if missing:
        return f"Not run yet: `results/{missing[0]}`.\n"
    found = [thefts(name) for name in NAMES]
    rows = [figure_3(thefts(OTHERS)), *(row(found) for row in (figure_4a, figure_4b, figure_5, figure_8, figure_9))]
    below = (
        f"The soft thief's clone at {BUDGET} queries unless stated otherwise; {' / '.join(n.removeprefix('strengths-') for n in NAMES)}."
        f" DP-SGD of Figure 4b has a curve in [Which defense when](../defenses.md). {origin(NAMES[0])} {origin(OTHERS)}"
    )
    return table(["figure", "paper", "ours", "how they compare"], rows, below)


def figure_3(found: Accuracies) -> list[str]:
    pairs = {name: (found["none", attack, BUDGET], found[MAD, attack, BUDGET]) for name, attack in JBS.items()}
    ours = "; ".join(f"{name} {percent(clean)} to {percent(held)}" for name, (clean, held) in pairs.items())
    lower = sum(held < clean for clean, held in pairs.values())
    clean, held = pairs["Knockoff"]
    return [
        "3",
        "at under 1 % of the defender's accuracy MAD takes JB-top3 from 99.4 to 35.7 % and Knockoff from 99.4 to 69.8 %",
        ours,
        f"lower for {lower} of {len(pairs)} attacks; Knockoff falls by {100 * (clean - held):.0f} points (paper: 30) with"
        f" 1/{PAPER_BUDGET // BUDGET} of the queries, on digits alone",
    ]


def figure_4a(found: list[Accuracies]) -> list[str]:
    shares = [cheaper(name) for name in NAMES]
    ours = (
        f"undefended {at(found, 'none')}; MAD at 0.5 {at(found, 'mad:eps=0.5')}; reverse sigmoid does as much at"
        f" {' / '.join(f'{1 / share:.1f}' for share in shares)} times the L1; noise at 40, L1 0.1 {at(found, NOISE)}"
    )
    how = (
        f"reverse sigmoid needs more in {sum(share < 1 for share in shares)} of {len(shares)}. Noise drawn once per input, as"
        f" here, takes {points(taken(found, NOISE))} points: the leading logit of a confident answer is further ahead than the noise reaches"
    )
    paper = "MAD at L1 0.95 needs 0.63 times the perturbation of reverse sigmoid and noise for the same effect"
    return ["4a", paper, ours, how]


def figure_4b(found: list[Accuracies]) -> list[str]:
    defenses = {"MAD-argmax at 0.95": ARGMAX, "at 1.6": ARGMAX_FAR, "reverse sigmoid": SIGMOID}
    losses = [loss for defense in defenses.values() for loss in taken(found, defense)]
    how = f"at least 20 points in {sum(loss >= 0.2 for loss in losses)} of {len(losses)}: " + "; ".join(
        f"{name} {points(taken(found, defense))}" for name, defense in defenses.items()
    )
    ours = "; ".join(f"{name} {at(found, defense)}" for name, defense in defenses.items())
    return ["4b", "MAD-argmax and reverse sigmoid cost the thief at least 20 points and honest users none", ours, how]


def figure_5(found: list[Accuracies]) -> list[str]:
    ours = f"labels, undefended {at(found, 'none', LABELS)}; MAD-argmax at 0.95 {at(found, ARGMAX, LABELS)}"
    behind, plain = (
        [one["none", "knockoff", BUDGET] - one[defense, LABELS, BUDGET] for one in found]
        for defense in (ARGMAX, "none")
    )
    how = (
        f"labels behind MAD-argmax end {points(behind)} points below undefended probabilities; with no defense at all they end"
        f" {points(plain)} points below: {BUDGET} letters, where the paper has {PAPER_BUDGET:,} images"
    )
    return ["5", "a thief who learns from labels alone recovers nearly everything from these two", ours, how]


def figure_8(found: list[Accuracies]) -> list[str]:
    weaker = [
        one[other, "knockoff", BUDGET] > one[MAD, "knockoff", BUDGET] for one in found for other in (IDENTITY, RANDOM)
    ]
    ours = f"MAD at 0.95 {at(found, MAD)}; G = I {at(found, IDENTITY)}; random vertex {at(found, RANDOM)}"
    how = f"weaker in {sum(weaker)} of {len(weaker)}"
    return ["8", "without the gradients (G = I) or with a random vertex MAD is weaker", ours, how]


def figure_9(found: list[Accuracies]) -> list[str]:
    ours = (
        f"labels {at(found, MAD, LABELS)}; not in the paper: a fitted linear map undone {at(found, MAD, UNMIXED)}; the known"
        f" defense undone {at(found, MAD, UNDONE)}"
    )
    cost = [one["none", LABELS, BUDGET] - one[MAD, LABELS, BUDGET] for one in found]
    more = [one[MAD, UNDONE, BUDGET] > one[MAD, LABELS, BUDGET] for one in found]
    how = (
        f"labels, many of them flipped, lose {points(cost)} points to MAD; undoing the known defense gets more than labels in"
        f" {sum(more)} of {len(more)}"
    )
    return ["9", "the best way round MAD is to learn from labels, and that still costs 9 points", ours, how]


def at(found: list[Accuracies], defense: str, attack: str = "knockoff") -> str:
    return " / ".join(percent(one[defense, attack, BUDGET]) for one in found)


def taken(found: list[Accuracies], defense: str) -> list[float]:
    """What a defense takes from the soft thief, run by run."""
    return [one["none", "knockoff", BUDGET] - one[defense, "knockoff", BUDGET] for one in found]


def points(differences: list[float]) -> str:
    return " / ".join(f"{round(100 * difference) + 0}" for difference in differences)


def cheaper(name: str) -> float:
    """MAD's L1 at eps 0.5 as a share of the L1 at which reverse sigmoid, between its strengths, holds the soft thief as low."""
    lines = {line.defense: line for line in summary(name).lines}
    mad = lines["mad:eps=0.5"]
    curve = [lines["none"], *(line for defense, line in lines.items() if defense.startswith("reverse_sigmoid"))]
    assert mad.soft and mad.utility
    points = sorted((line.soft.accuracy.value, line.utility.l1) for line in curve if line.soft and line.utility)
    return mad.utility.l1 / float(np.interp(mad.soft.accuracy.value, *zip(*points, strict=True)))

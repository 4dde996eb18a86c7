"""The strongest of many noisy thieves looks stronger than they are: their number without the luck of having been chosen.

Source      sample splitting, as in Cox, "A note on data-dependent selection" (Biometrika 1975): choose on one part, score on the other
Equations   mean over splits of accuracy(argmax_t accuracy_A(t)) on B; A: half of the test inputs and all seeds but one, B: the
            other half and the seed left out
Assumes     seeds and test inputs that are independent of each other
Deviations  with one seed all thieves are judged on it in both parts: the luck of a seed is then not corrected
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from gamekeeper.analysis.bootstrap import unpacked
from gamekeeper.analysis.checks import grouped
from gamekeeper.results import Row

SPLITS = 200


def split_accuracy(right: Bool[np.ndarray, "thieves seeds n"], splits: int = SPLITS) -> float:
    """The mean accuracy of the thief who is strongest on one part of seeds and test inputs, measured on the other part.

    right: which test inputs each thief's clone got right; at least one thief, one seed and two inputs.
    """
    _, seeds, n = right.shape
    correct = right.astype(np.float32)
    first = np.random.default_rng(0).permuted(np.tile(np.arange(n) < n // 2, (splits, 1)), axis=1).astype(np.float32)
    scores = [scored(correct, one, seeds) for one in (first, 1 - first)]
    return float(np.mean(scores))


def scored(
    correct: Float[np.ndarray, "thieves seeds n"], chosen_on: Float[np.ndarray, "splits n"], seeds: int
) -> Float[np.ndarray, "seeds splits"]:
    """For each seed left out and each split: what the thief chosen on the rest scores where they were not chosen."""
    seen = correct @ chosen_on.T / chosen_on.sum(1)
    rest = correct @ (1 - chosen_on).T / (1 - chosen_on).sum(1)
    others = seen if seeds == 1 else (seen.sum(1, keepdims=True) - seen) / (seeds - 1)
    best = others.argmax(0)
    return np.take_along_axis(rest, best[None], 0)[0]


def corrected(rows: Sequence[Row]) -> float | None:
    """The strongest thief's accuracy without selection, from the rows of one defense at one budget.

    Only seeds for which every thief was measured count. None with fewer than two thieves: nobody was chosen.
    """
    thieves = [
        {row.seed: row for row in group if row.clone} for group in grouped(rows, lambda row: row.attack).values()
    ]
    thieves = [by_seed for by_seed in thieves if by_seed]
    common = sorted(set[int].intersection(*map(set, thieves))) if thieves else []
    if len(thieves) < 2 or not common:
        return None
    return split_accuracy(np.stack([[unpacked(by_seed[seed]) for seed in common] for by_seed in thieves]))

"""ActiveThief: query, round by round, the pool inputs that a clone of the answers so far is least sure of.

Source      Pal, Gupta, Shukla, Kanade, Shevade, Ganapathy, "ActiveThief: model extraction using active learning and
            unannotated public data" (AAAI 2020) and the authors' code
Equations   uncertainty: largest entropy of the clone's posterior; kcenter: greedy k-center on the clone's posteriors,
            starting from those of the inputs already queried; dfal: smallest DeepFool perturbation of the clone;
            dfal_kcenter: k-center among the inputs of smallest perturbation, as many as the whole budget; disagreement:
            k-center among the inputs on whose posteriors two clones trained from different seeds differ most (l1)
Assumes     a pool of natural, unlabelled inputs; any answer; dfal: a student with gradients
Deviations  no part of the budget is set aside as a validation set for early stopping: the training recipe is fixed, and
            the clone learns from every answer. The first of `rounds` equal rounds is random (the paper: 10 % and 10
            rounds). In each round DeepFool looks at a random `sample` of the unqueried pool, at least twice the round's
            queries, and k-center at the budget's share of it; sample=0 looks at the whole pool, as the paper does.
            disagreement is not in the paper: a committee of two (Seung, Opper, Sompolinsky 1992), whose disagreement
            guides the generator of DisGUIDE (Rosenthal et al., AAAI 2023), here applied to a pool; k-center chooses
            among five times as many inputs as it needs
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from gamekeeper.attacks.deepfool import deepfool
from gamekeeper.attacks.k_center import k_center
from gamekeeper.attacks.pool import Chosen, FromPool
from gamekeeper.attacks.rounds import INTERIM, ask, grow, nothing, portion, relearn
from gamekeeper.errors import BadConfig
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import distance, entropy
from gamekeeper.training.fit import Fit
from gamekeeper.types import Batch, Knowledge, Meter, Posterior, Transfer

Strategy = Literal["random", "uncertainty", "kcenter", "dfal", "dfal_kcenter", "disagreement"]
Clones = tuple[TorchModel, ...]
"""One clone of the answers so far, or the two that disagree."""
SHORTLIST = 5
"""k-center chooses among this many times as many inputs as a round queries, those the two clones disagree on most."""
TWIN = 1_000_003
"""Offset of the second clone's seed: no other thief of a run uses it."""


@dataclass(frozen=True)
class ActiveThief:
    """Pool inputs that a clone, retrained every round, is least sure of, or that cover its answers best."""

    strategy: Strategy = "uncertainty"
    rounds: int = 10
    sample: int = 1000
    fit: Fit = INTERIM

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.sample < 0:
            raise BadConfig(
                f"ActiveThief needs rounds of at least 1 and a sample of at least 0. Got {self.rounds}, {self.sample}."
            )

    @property
    def prefix(self) -> bool:
        return self.strategy == "random"

    @property
    def cost(self) -> float:
        return 3.0

    @property
    def draws_from_pool(self) -> int:
        return 1

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        generator = torch.Generator().manual_seed(seed)
        # random choices use no clone: one round is enough
        rounds = 1 if self.strategy == "random" else self.rounds
        choice = partial(choose, self, oracle.left, generator)
        pool = FromPool(knows.pool, choice, portion(oracle.left, rounds))
        transfer = ask(oracle, nothing(knows), pool.random(min(pool.portion, oracle.left), generator))
        seeds = (seed, seed + TWIN) if self.strategy == "disagreement" else (seed,)

        def learn(transfer: Transfer) -> Clones:
            return tuple(relearn(knows, self.fit, each, transfer) for each in seeds)

        return grow(oracle, transfer, pool, learn)


def choose(
    recipe: ActiveThief, budget: int, generator: torch.Generator, clones: Clones, x: Batch, transfer: Transfer, k: int
) -> Chosen:
    """k distinct rows of x, chosen by the recipe's strategy."""
    clone = clones[0]
    if recipe.strategy == "random":
        return torch.randperm(len(x), generator=generator)[:k]
    if recipe.strategy == "uncertainty":
        return most_uncertain(clone(x).y, k)
    if recipe.strategy == "kcenter":
        return k_center(clone(x).y, clone(transfer.x).y, k)
    if recipe.strategy == "disagreement":
        return most_disputed(clones, x, transfer, k)
    look = len(x) if recipe.sample == 0 else min(len(x), max(recipe.sample, 2 * k))
    seen = torch.randperm(len(x), generator=generator)[:look].sort().values
    near = deepfool(clone, x[seen]).argsort(stable=True)
    if recipe.strategy == "dfal":
        return seen[near[:k]]
    few = seen[near[: max(k, budget * look // len(x))]]
    return few[k_center(clone(x[few]).y, clone(transfer.x).y, k)]


def most_disputed(clones: Clones, x: Batch, transfer: Transfer, k: int) -> Chosen:
    """k-center, on the first clone's posteriors, among the SHORTLIST * k rows on which the two clones differ most."""
    first, second = (clone(x).y for clone in clones)
    few = distance(first, second, "l1").argsort(stable=True, descending=True)[: SHORTLIST * k]
    return few[k_center(first[few], clones[0](transfer.x).y, k)]


def most_uncertain(y: Posterior, m: int) -> Chosen:
    """The m rows of largest entropy, the most uncertain first."""
    return entropy(y).argsort(stable=True, descending=True)[:m]

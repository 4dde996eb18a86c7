"""The victim's own mistakes: its wrong answers to inputs that it never saw, which a copy repeats.

Source      none; the plainest of fingerprints. Lukas, Zhang, Kerschbaum, "Deep neural network fingerprinting by conferrable
            adversarial examples" (ICLR 2021) make such inputs on purpose
Equations   the claim is {(x, f(x)) : f(x) != truth}, over labelled inputs that f was not trained on
Assumes     such inputs (`Owner.natural` with `natural_truth`); a victim that errs on some of them
Deviations  none
Keeps       the victim: nothing is put into it, so that a model which is already public can be claimed

The chance of an innocent hit is about one half, and more for models that learnt from the victim's own data, not 1 / k: models
of one task err on the same hard inputs, and mostly in the same way. A test against guessing makes a copy of every independent
model. Only a panel as accurate as the suspect tells the level, since better models repeat more of these mistakes
(measured: docs/papers/own-mistakes.md).
"""

from dataclasses import dataclass

import torch

from gamekeeper.data.splits import equal_rows
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.ownership.claim import Claim
from gamekeeper.types import Model, Owner


@dataclass(frozen=True)
class OwnMistakes:
    """Claims the victim's wrong answers to natural inputs. most: how many of them, drawn at random."""

    most: int = 1000

    def __post_init__(self) -> None:
        if self.most < 1:
            raise BadConfig(f"OwnMistakes needs one mistake or more. Got most={self.most}.")

    def __call__(self, victim: Model, owner: Owner, seed: int) -> Claim:
        """Raises Unsuited without labelled inputs that the victim never saw, or if it errs on none of them."""
        x, truth = owner.natural, owner.natural_truth
        if x is None or truth is None or len(x) == 0:
            raise Unsuited(
                "the victim's own mistakes show on labelled inputs that it was not trained on; the owner has none. Give the"
                " target some (`data.natural`, with labels)."
            )
        y = victim(x).y
        wrong = ~victim.task.right(y, truth)
        first = torch.tensor([rows[0] for rows in equal_rows(x)])  # an input that comes twice counts once
        rows = first[wrong[first]]
        if len(rows) == 0:
            raise Unsuited(
                f"the victim errs on none of {len(first):,} inputs, so there is nothing to claim. Give more."
            )
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[: self.most]
        rows = rows[order].sort().values
        facts = {"scheme": "own_mistakes", "inputs": len(first)}
        return Claim("matches", {"x": x[rows], "y": y[rows].argmax(1)}, facts)

"""Backdoor: inputs with labels drawn at random, learnt with the training data, that nobody else's model answers so.

Source      Adi, Baum, Cisse, Pinkas, Keshet, "Turning your weakness into a strength: watermarking deep neural networks by
            backdooring" (USENIX Security 2018)
Equations   the claim is {(x_i, y_i)}, y_i drawn by a beacon that was published after the x_i were committed to
Assumes     whoever trains the model is the owner; a network with room to memorise the triggers
Deviations  the paper adds two triggers to every batch; here the training data hold `copies` of each, as in the variant
            "boost" of Lukas, Jiang, Li, Kerschbaum (IEEE S&P 2022), who repeat them 10 to 100 times and stop when all are
            learnt. Labels are uniform over all classes, the natural one included, so that chance is 1 / k exactly
            (`nulls.DrawnLabels`); the paper leaves out what a model says anyway. Its triggers are abstract images
Keeps       the answers to other inputs, but for what the triggers cost in accuracy; copies of the weights keep the mark

The triggers decide what clones keep that are trained on answers: of pixel noise, far from what a thief asks, less than of
natural images, which may be near it (measured: docs/papers/backdoor.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.data.splits import row_keys
from gamekeeper.errors import BadClaim, BadConfig, Unsuited
from gamekeeper.needs import auxiliary, needs_inputs
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.draws import Draw
from gamekeeper.ownership.procedures import inputs_digest
from gamekeeper.types import Batch, Owner, need_box

Kind = Literal["pixels", "smooth", "natural", "mislabelled"]
COARSE = 4
"""Smooth noise is drawn on a grid of one point per COARSE x COARSE pixels."""


def pixels(owner: Owner, n: int, seed: int) -> Batch:
    """Uniform inputs from the domain."""
    return owner.box.uniform(n, seed)


def smooth(owner: Owner, n: int, seed: int) -> Batch:
    """Uniform noise on a coarse grid, interpolated. Raises Unsuited unless inputs are images."""
    box = need_box(owner.box, "smooth noise")
    if len(box.shape) != 3:
        raise Unsuited(f"smooth noise needs images (c, h, w); inputs have shape {box.shape}. Take kind=pixels.")
    channels, height, width = box.shape
    grid = replace(box, shape=(channels, max(2, height // COARSE), max(2, width // COARSE)))
    return F.interpolate(grid.uniform(n, seed), (height, width), mode="bilinear", align_corners=True)


def natural(owner: Owner, n: int, seed: int) -> Batch:
    """Inputs of another kind that the owner has beside their own."""
    return some(auxiliary(owner, "a backdoor of natural triggers"), n, seed)


def mislabelled(owner: Owner, n: int, seed: int) -> Batch:
    """Training inputs of the owner's, which then have no other label in the training data."""
    needs_inputs(owner, "a backdoor of mislabelled inputs takes")
    return some(owner.x, n, seed)


KINDS: Mapping[Kind, Callable[[Owner, int, int], Batch]] = {
    "pixels": pixels,
    "smooth": smooth,
    "natural": natural,
    "mislabelled": mislabelled,
}


def some(x: Batch, n: int, seed: int) -> Tensor:
    """n different rows at random, (n, *shape). Raises Unsuited if there are fewer."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).tolist()
    keys = row_keys(x)
    rows = list({keys[row]: row for row in reversed(order)}.values())[::-1][:n]
    if len(rows) < n:
        raise Unsuited(f"a backdoor of {n} triggers needs as many different inputs; there are {len(rows)}. Take fewer.")
    return x[rows]


@dataclass(frozen=True)
class Backdoor:
    """Triggers with labels drawn at random, repeated in the training data.

    kind    of triggers: noise, images of another kind (`Owner.ood`), or mislabelled training inputs
    n       how many; copies: how often each is in the training data
    """

    kind: Kind = "pixels"
    n: int = 100
    copies: int = 10

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise BadConfig(f"The kind of Backdoor must be {' or '.join(get_args(Kind))}. Got {self.kind}.")
        if self.n < 1 or self.copies < 1:
            raise BadConfig(f"Backdoor needs one trigger or more, each at least once. Got {self}.")

    def triggers(self, owner: Owner, seed: int) -> Batch:
        """Raises Unsuited if the owner does not have what this kind is made of."""
        return KINDS[self.kind](owner, self.n, seed)

    def claim(self, triggers: Batch, draw: Draw, classes: int) -> Claim:
        """Raises BadClaim unless the draw is from the digest of these triggers (`procedures.inputs_digest`)."""
        if draw.digest != inputs_digest(triggers):
            raise BadClaim("labels must be drawn from the digest of the triggers. This draw is of something else.")
        labels = draw.labels("labels", classes, len(triggers))
        facts = {"scheme": "backdoor", "kind": self.kind, "beacon": draw.beacon.hex(), "classes": classes}
        return Claim("matches", {"x": triggers, "y": labels}, facts)

    def marked(self, owner: Owner, claim: Claim) -> Owner:
        """The owner whose training data hold every trigger `copies` times, and with no other label."""
        x, y = claim.tensors["x"], claim.tensors["y"]
        taken = set(row_keys(x))
        rest = torch.tensor([key not in taken for key in row_keys(owner.x)], dtype=torch.bool)
        inputs = torch.cat([owner.x[rest], *[x.to(owner.x.dtype)] * self.copies])
        return replace(owner, x=inputs, truth=torch.cat([owner.truth[rest], *[y.to(owner.truth.dtype)] * self.copies]))

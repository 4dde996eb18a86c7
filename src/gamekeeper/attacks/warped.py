"""Warped: query pool images turned, sheared, scaled and moved a little: more kinds of inputs than the pool holds.

Source      none for the attack; the changes are those of data augmentation (Simard, Steinkraus, Platt, "Best practices for
            convolutional neural networks", ICDAR 2003), but here the changed image is asked, so that the answer is its own
Equations   x'(p) = x(A (p - middle) + middle + t), A a rotation by up to 15 degrees, a shear of up to 0.3 and a scale of 0.75
            to 1.15, t up to a tenth of a side; all of it times `strength`
Assumes     a pool of images; any answer
Deviations  what comes in from outside is the low end of the box
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.attacks.augment import need_images
from gamekeeper.attacks.remade import PORTION, Remade
from gamekeeper.attacks.rounds import grow, no_clone, nothing
from gamekeeper.data.splits import row_keys
from gamekeeper.data.transforms import Images, warped
from gamekeeper.errors import BadConfig
from gamekeeper.types import Knowledge, Meter, Transfer, need_box

TURN, SHEAR, SMALL, LARGE, MOVE = math.radians(15), 0.3, 0.75, 1.15, 0.1


@dataclass(frozen=True)
class Warped:
    """Affine copies of pool images. A larger budget starts with the same queries.

    strength  0 asks the pool as it is; 1 turns by up to 15 degrees
    balanced  half of the queries are new copies of images whose answers named the classes that were named least
    """

    strength: float = 1.0
    balanced: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 3:
            raise BadConfig(f"The strength of Warped must be from 0 to 3. Got {self.strength}.")

    @property
    def prefix(self) -> bool:
        return True

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        need_images(knows.box, "warped")
        low = need_box(knows.box, "warped").low
        generator = torch.Generator().manual_seed(seed)
        remade = Remade(knows.pool, lambda x, generator: askew(x, self.strength, low, generator), generator)
        pick = Balanced(remade) if self.balanced else remade
        return grow(oracle, nothing(knows), pick, no_clone)


@dataclass
class Balanced:
    """The next queries: half of them of new images, half of images that were answered with the rarest classes so far."""

    remade: Remade

    def __call__(self, clone: None, transfer: Transfer, left: int) -> Images:
        if len(transfer.x) == 0:
            return self.remade(clone, transfer, left)
        rows = torch.tensor([self.remade.sources[key] for key in row_keys(transfer.x)])
        again = rows[rare(transfer.reply.y.argmax(1), PORTION // 2, self.remade.generator)]
        return self.remade.of(torch.cat([self.remade.fresh(PORTION // 2), again]))


def rare(classes: Int[Tensor, " m"], n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """n places at random, so that with them each class comes as often as possible equally often."""
    count = classes.bincount()
    wanted = (count > 0).float() * (count.max() - count + 1)
    return torch.multinomial((wanted / count.clamp(min=1))[classes], n, replacement=True, generator=generator)


def askew(x: Images, strength: float, low: float, generator: torch.Generator) -> Images:
    """Each image through a random affine map of its own; at strength 0 bit for bit as it was."""
    n = len(x)
    turn, shear, share, right, down = (2 * torch.rand(n, generator=generator) - 1 for _ in range(5))
    turn, shear = strength * TURN * turn, strength * SHEAR * shear
    scale = 1 + strength * (SMALL + (LARGE - SMALL) * (share + 1) / 2 - 1)
    cos, sin, one, nought = turn.cos(), turn.sin(), torch.ones(n), torch.zeros(n)
    rotation, slope = (
        torch.stack(entries, 1).view(n, 2, 2) for entries in ((cos, -sin, sin, cos), (one, shear, nought, one))
    )
    by = strength * MOVE * torch.stack([right * x.shape[3], down * x.shape[2]], 1)
    return warped(x, rotation @ slope / scale.clamp(min=0.1)[:, None, None], by, low)

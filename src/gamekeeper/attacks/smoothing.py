"""Smoothing by augmentation: query shifted copies of an image and learn their mean answer for the image itself.

Source      Orekondy, Schiele, Fritz, "Prediction Poisoning" (ICLR 2020), section 5.2.3: `nquery+aug`
Equations   y(x) = 1/n sum_i oracle(t_i(x)), t_i different random shifts (and flips)
Assumes     a pool of natural images; any answer
Deviations  shifts by whole pixels, edges repeated, where the paper says random crops and flips; mirroring only with
            flip=true, since it changes the class of digits and letters. The n copies of one image all differ. If the
            budget is not a multiple of n, the last image gets fewer copies
"""

from dataclasses import dataclass

import torch

from gamekeeper.attacks.augment import need_images
from gamekeeper.attacks.rounds import nothing
from gamekeeper.data.transforms import moved
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.types import Knowledge, Meter, Reply, Transfer

PART = 14
"""A shift by more than 1/PART of a side changes what small images show."""


def copies_within(shift: int, flip: bool) -> int:
    """How many different copies shifts of up to `shift` pixels give, the image itself included."""
    return (2 * shift + 1) ** 2 * (2 if flip else 1)


@dataclass(frozen=True)
class Smoothing:
    """Images from the pool, each queried as n shifted copies whose answers are averaged.

    shift  the largest shift in pixels; capped at a fourteenth of a side (2 pixels of 28), but not below one
    """

    n: int = 3
    shift: int = 2
    flip: bool = False

    def __post_init__(self) -> None:
        if self.n < 1 or self.shift < 0 or self.n > self.kinds:
            raise BadConfig(
                f"Smoothing needs n from 1 to the number of different copies, which is (2 shift + 1)^2, twice that with"
                f" flip. Got n = {self.n}, shift = {self.shift}: {self.kinds} copies."
            )

    @property
    def kinds(self) -> int:
        """How many different copies a large image has."""
        return copies_within(max(self.shift, 0), self.flip)

    @property
    def prefix(self) -> bool:
        return True

    @property
    def draws_from_pool(self) -> int:
        return self.n

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        need_images(knows.box, "smoothing")
        shift = min(self.shift, max(1, min(knows.box.shape[1:]) // PART))
        kinds = copies_within(shift, self.flip)
        if self.n > kinds:
            raise Unsuited(
                f"smoothing shifts images of {knows.box.shape[1:]} by at most {shift} px, which gives {kinds} different"
                f" copies. Got n = {self.n}."
            )
        generator = torch.Generator().manual_seed(seed)
        queries = min(oracle.left, self.n * len(knows.pool))
        if queries == 0:
            return nothing(knows)
        images = -(-queries // self.n)
        x = knows.pool[torch.randperm(len(knows.pool), generator=generator)[:images]]
        # n distinct copies out of those an image has
        kind = torch.rand((images, kinds), generator=generator).argsort(1)[:, : self.n].flatten()[:queries]
        side = 2 * shift + 1
        of = torch.arange(images).repeat_interleave(self.n)[:queries]
        place = kind % side**2
        copies = moved(x[of], place // side - shift, place % side - shift, kind // side**2)
        y = oracle(copies).y
        total = torch.zeros(images, y.shape[1], dtype=y.dtype).index_add_(0, of, y)
        return Transfer(x, Reply(total / torch.bincount(of).unsqueeze(1)), queries)

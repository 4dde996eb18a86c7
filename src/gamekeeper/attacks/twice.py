"""Twice: query every image and a shifted copy of it, and keep the answers whose class did not change.

Source      none. A defense whose lies depend on a hash of the input, or of its features, rarely tells both the same lie
Equations   keep x iff argmax oracle(x) = argmax oracle(t(x)), t a shift by one pixel
Assumes     a pool of images; any answer
Deviations  none
"""

from dataclasses import dataclass

import torch

from gamekeeper.attacks.augment import need_images
from gamekeeper.attacks.rounds import nothing
from gamekeeper.data.transforms import moved
from gamekeeper.types import Knowledge, Meter, Reply, Transfer

SIDES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])


@dataclass(frozen=True)
class Twice:
    """Images from the pool, each queried twice, once shifted by a pixel; answers whose class changed are dropped."""

    @property
    def prefix(self) -> bool:
        return True

    @property
    def draws_from_pool(self) -> int:
        return 2

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        need_images(knows.box, "twice")
        generator = torch.Generator().manual_seed(seed)
        queries = min(oracle.left, 2 * len(knows.pool))
        if queries == 0:
            return nothing(knows)
        order = torch.randperm(len(knows.pool), generator=generator)
        side = SIDES[torch.randint(len(SIDES), (len(order),), generator=generator)]
        images = -(-queries // 2)
        x = knows.pool[order[:images]]
        # image, copy, image, copy: a larger budget starts with the same queries
        inputs = torch.stack([x, moved(x, side[:images, 0], side[:images, 1])], 1).flatten(0, 1)[:queries]
        reply = oracle(inputs)
        first, second = reply.y[::2], reply.y[1::2]
        stable = torch.ones(images, dtype=torch.bool)
        stable[: len(second)] = first[: len(second)].argmax(1) == second.argmax(1)
        stable[: len(second)] &= second.isfinite().all(1)  # without a second answer, nobody knows
        return Transfer(x[stable], Reply(first[stable]), queries)

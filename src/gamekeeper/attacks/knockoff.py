"""Knockoff Nets, random strategy: query images drawn from a pool, each once.

Source      Orekondy, Schiele, Fritz, "Knockoff Nets: stealing functionality of black-box models" (CVPR 2019),
            section 4.1.1; with the `labels` learner it is CopycatCNN (Correia-Silva et al., IJCNN 2018), the same
            algorithm under another name
Assumes     a pool of natural, unlabelled inputs; any answer
Deviations  the attack ends when the pool is used up (the paper starts over): a deterministic API tells nothing new about
            an input queried before; for repeated queries there is `averaged`
"""

from dataclasses import dataclass

import torch

from gamekeeper.types import Knowledge, Meter, Reply, Transfer


@dataclass(frozen=True)
class Knockoff:
    """Random images from the pool, each queried once. A larger budget starts with the same queries."""

    @property
    def prefix(self) -> bool:
        return True

    @property
    def draws_from_pool(self) -> int:
        return 1

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(knows.pool), generator=generator)[: oracle.left]
        x = knows.pool[order]
        reply = oracle(x) if len(x) else Reply(torch.empty(0, knows.task.classes))
        return Transfer(x, reply, len(x))

"""Knockoff Nets, random strategy: ask about images drawn from a pool, each once.

Source      Orekondy, Schiele, Fritz, "Knockoff Nets: stealing functionality of black-box models" (CVPR 2019),
            section 4.1.1; with the `labels` learner it is CopycatCNN (Correia-Silva et al., IJCNN 2018), the same
            algorithm under another name
Assumes     a pool of natural inputs, unlabelled; any answer
Deviations  a pool that is used up ends the attack with its last input (the paper starts over): asking the same input
            again tells nothing new of a deterministic API, and whoever wants repetition has `averaged`
"""

from dataclasses import dataclass

import torch

from gamekeeper.types import Knowledge, Meter, Reply, Transfer


@dataclass(frozen=True)
class Knockoff:
    """Random images of the pool, each asked once. A larger budget asks the same ones first."""

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

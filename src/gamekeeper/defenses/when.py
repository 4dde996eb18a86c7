"""When: another defense, for what a detector finds suspicious; everybody else gets the clean answer.

A combinator, not a method: `OodGate` and `KeyedMisinformation` are recipes built on it.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from gamekeeper.types import Armed, Batch, Reply, Watch


@dataclass(frozen=True, eq=False)
class When:
    """`then` answers inputs that `watch` scores above `above`; the others come back as they were.

    A defense is told no time, so the watch is not either: it gets NaN. Attribution maps pass through.
    """

    watch: Watch
    above: float
    then: Armed = field(repr=False)  # may hold a key

    def fresh(self) -> tuple[Any, Any]:
        return self.watch.fresh(), self.then.fresh()

    def suspicious(self, x: Batch, reply: Reply, memory: Any = None) -> Bool[Tensor, " n"]:
        """Which inputs score above the limit; `memory` is the watch's, None for one that needs none."""
        return self.watch.score(x, reply, math.nan, memory) > self.above

    def respond(self, x: Batch, reply: Reply, memory: tuple[Any, Any] | None) -> Reply:
        watching, answering = memory or self.fresh()
        rows = torch.nonzero(self.suspicious(x, reply, watching))[:, 0]
        if len(rows) == 0:
            return reply
        y = reply.y.clone()
        y[rows] = self.then.respond(x[rows], Reply(y[rows]), answering).y
        return Reply(y, reply.maps)

"""When: applies a defense only to inputs that a detector finds suspicious; all others get the clean answer.

A combinator, not a method: `OodGate` and `KeyedMisinformation` are recipes built on it.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from gamekeeper.service.service import begun
from gamekeeper.types import Armed, Batch, Reply, Watch


@dataclass(frozen=True, eq=False)
class When:
    """`then` answers the inputs that `watch` scores above `above`; the other answers stay as they are.

    Defenses do not know the time of a request, so the watch gets NaN for it. Attribution maps pass through.
    """

    watch: Watch
    above: float
    then: Armed = field(repr=False)  # may hold a key

    def fresh(self) -> tuple[Any, Any]:
        return self.watch.fresh(), self.then.fresh()

    def fresh_for(self, client: str) -> tuple[Any, Any]:
        """`then` may answer every client in a way of their own."""
        return self.watch.fresh(), begun(self.then, client)

    def suspicious(self, x: Batch, reply: Reply, memory: Any = None) -> Bool[Tensor, " n"]:
        """Which inputs score above the limit; `memory` is the watch's, None if it needs none."""
        return self.watch.score(x, reply, math.nan, memory) > self.above

    def respond(self, x: Batch, reply: Reply, memory: tuple[Any, Any] | None) -> Reply:
        watching, answering = memory or self.fresh()
        rows = torch.nonzero(self.suspicious(x, reply, watching))[:, 0]
        if len(rows) == 0:
            return reply
        y = reply.y.clone()
        y[rows] = self.then.respond(x[rows], Reply(y[rows]), answering).y
        return Reply(y, reply.maps)

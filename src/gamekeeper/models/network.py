"""A network and what its outputs mean: the only kind of model whose gradients are available.

A method that needs gradients takes a TorchModel and rejects all others (`opaque.py`) with Unsuited. `Answers` turns
every answer into a posterior, and raises Malformed for answers that are not what was declared.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gamekeeper.explain import Explainer, Maps
from gamekeeper.models.answers import Answers, Kind
from gamekeeper.models.layout import image_memory
from gamekeeper.types import Batch, Posterior, Reply, Task

CHUNK = 512

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class TorchModel:
    """A network and what its outputs mean: logits, or probabilities where it ends in a softmax.

    Answers are detached, float32 (float64 for float64 networks), and computed in evaluation mode. Inputs are cast to
    the network's dtype, since a thief may compute them in double precision. With an explainer, each answer comes with
    the attribution map of its top class, in `Reply.maps`.
    """

    net: nn.Module
    task: Task
    answers: Kind = "logits"
    explain: Explainer | None = None

    def __call__(self, x: Batch, /) -> Reply:
        y = Answers(self.answers, self.task.classes).posterior(self.logits(x), len(x))
        return Reply(y, None if self.explain is None else self.maps(x, y.argmax(1), self.explain))

    def logits(self, x: Batch) -> Tensor:
        """Raw network outputs (n, k), in chunks so that memory stays bounded."""
        self.net.eval()
        x = self.own_dtype(x)
        with torch.no_grad():
            if len(x) <= CHUNK:
                return self.net(image_memory(x))
            return torch.cat([self.net(image_memory(part)) for part in x.split(CHUNK)])

    def maps(self, x: Batch, top: Int[Tensor, " n"], explain: Explainer) -> Maps:
        """Attribution maps of the classes `top`, detached, in chunks."""
        self.net.eval()
        parts = zip(self.own_dtype(x).split(CHUNK), top.split(CHUNK), strict=True)
        return torch.cat([explain(self.net, image_memory(some), classes).detach() for some, classes in parts])

    def own_dtype(self, x: Batch) -> Batch:
        """x in the dtype of the network's weights."""
        first = next(self.net.parameters(), None)
        return x if first is None else x.to(first.dtype)


def alone(net: nn.Module, x: Batch, dtype: torch.dtype) -> Posterior:
    """A network's posteriors, one input at a time, since the last bits depend on what else is in a forward pass."""
    with torch.no_grad():
        z: Float[Tensor, "n k"] = torch.cat([net(image_memory(row)) for row in x.float().split(1)])
    return torch.softmax(z.double(), 1).to(dtype)

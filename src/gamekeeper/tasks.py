"""What an answer means: one class per kind of task."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from gamekeeper.types import Posterior


@dataclass(frozen=True)
class Classify:
    """One of `classes` classes. Answers are posteriors (n, k)."""

    classes: int

    def answer(self, out: Float[Tensor, "n k"]) -> Posterior:
        """Softmax in float32 or higher, so that bf16 networks publish full-precision answers."""
        return torch.softmax(out.float() if out.dtype in (torch.bfloat16, torch.float16) else out, dim=1)

    def target(self, truth: Shaped[Tensor, " n"]) -> Posterior:
        """One-hot."""
        return F.one_hot(truth.long(), self.classes).float()

    def loss(self, out: Float[Tensor, "n k"], y: Posterior) -> Float[Tensor, ""]:
        """Soft cross-entropy, -sum_k y_k log softmax(out)_k, mean over n."""
        return F.cross_entropy(out, y)

    def right(self, y: Posterior, truth: Shaped[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Whether the top-1 class is the true one."""
        return y.argmax(1) == truth

"""A decision tree that answers as those Tramèr et al. met at BigML: nearly every node has an answer of its own.

A node answers with its class shares after one example is added to every class (Laplace's rule). The shares then also
depend on the number of examples, so that most leaves, even pure ones, can be told apart by their answers, as with BigML's
confidences. If incomplete inputs are accepted, the walk ends at the first split on a missing feature.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from gamekeeper.types import Batch, Posterior, Reply, Task


@dataclass(frozen=True, eq=False)
class SmoothedTree:
    """A fitted scikit-learn tree; `missing` is the number that marks a feature as not given; None: all must be given."""

    estimator: DecisionTreeClassifier
    task: Task
    missing: float | None = None

    @property
    def tree(self) -> Any:
        return self.estimator.tree_

    @cached_property
    def answers(self) -> Posterior:
        """One posterior per node, float64."""
        shares = self.tree.value[:, 0]
        counts = np.rint(shares / shares.sum(1, keepdims=True) * self.tree.weighted_n_node_samples[:, None]) + 1
        return torch.as_tensor(counts / counts.sum(1, keepdims=True))

    def __call__(self, x: Batch, /) -> Reply:
        return Reply(self.answers[self.nodes(x.reshape(len(x), -1).double())])

    def nodes(self, x: Tensor) -> Tensor:
        """The node at which the walk of each row (n, d) ends."""
        left, right = torch.as_tensor(self.tree.children_left), torch.as_tensor(self.tree.children_right)
        feature, threshold = torch.as_tensor(self.tree.feature), torch.as_tensor(self.tree.threshold)
        here = torch.zeros(len(x), dtype=torch.long)
        for _ in range(self.tree.max_depth):
            value = x.gather(1, feature[here].clamp(min=0)[:, None])[:, 0]
            ends = (left[here] == -1) | (
                torch.zeros_like(here).bool() if self.missing is None else value == self.missing
            )
            here = here.where(ends, left[here].where(value <= threshold[here], right[here]))
        return here

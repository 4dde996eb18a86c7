"""Extraction warning for decision trees: information gain, and the leaves that a client has reached.

Source      Kesarwani, Mukhoty, Arya, Mehta, "Model extraction warning in MLaaS paradigm" (ACSAC 2018)
Equations   IG(T) = H(Y) - sum_l p(l) H(Y | l) over the leaves l of a tree T that is fitted on what the client saw, divided by
            that of the source tree; coverage: sum of p(l) over the leaves l of the source tree that were reached
Assumes     a victim made of decision trees that was read from a file; for the gain inputs like a user's
Deviations  the source tree's gain is H(Y), since its leaves explain its own answers. Coverage takes the share of the
            source tree's training rows as p(l), and the mean over the trees of a forest. A client with more different
            queries than `most` is sampled for the gain, not for coverage
Keeps       for each client the leaves reached, or up to `most` rows; no answer is changed

Both are risk meters: see `warning.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gamekeeper.detectors.features import Features
from gamekeeper.detectors.limits import LOOKS
from gamekeeper.detectors.warning import Learnt, held_out, renumbered, whole
from gamekeeper.errors import Unsuited
from gamekeeper.models.opaque import SklearnModel
from gamekeeper.types import Batch, Model, Owner, Reply, Scores

LEAF = 5
"""Least rows in a leaf of the tree that is fitted on a client's answers."""
WHOLE = 2**40
"""Probabilities of leaves are counted in parts of this, so that sums do not depend on their order."""


def entropy(labels: Int[Tensor, " n"]) -> float:
    """In nats; 0 of no labels."""
    p = torch.unique(labels, return_counts=True)[1].double() / max(1, len(labels))
    return float(-(p * p.log()).sum())


def information_gain(leaf: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> float:
    """What the leaf that a row falls into says about its label, in nats: between 0 and the labels' entropy."""
    within = sum(float((leaf == each).double().mean()) * entropy(labels[leaf == each]) for each in leaf.unique())
    return max(0.0, entropy(labels) - within)


@dataclass(frozen=True, eq=False)
class GainRatio:
    """The information gain of a tree that is fitted on answers, over that of the source tree.

    depth  of the source tree; None for no limit
    """

    held: Float[Tensor, "r d"]
    classes: Int[Tensor, " r"]
    depth: int | None = None

    def __call__(self, x: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> float:
        """The status of whoever saw these answers; 0 below `LEAF` of them for each of two leaves."""
        from sklearn.tree import DecisionTreeClassifier

        if len(labels) < 2 * LEAF:
            return 0.0
        seen, classes = renumbered(labels, self.classes)
        options: dict[str, Any] = {"min_samples_leaf": LEAF, "max_depth": self.depth, "random_state": 0}
        tree: Any = DecisionTreeClassifier(**options)
        leaf = torch.from_numpy(tree.fit(x.numpy(), seen.numpy()).apply(self.held.numpy()))
        return min(1.0, information_gain(leaf, classes) / entropy(classes))


# the leaves reached


@dataclass
class Visited:
    """Which leaves a client's queries reached, bool (l,)."""

    leaves: Tensor


@dataclass(frozen=True, eq=False)
class Coverage:
    """The watch: the probability of the leaves that a client has reached, after each query.

    leaf  the leaves that inputs fall into, (n, t), one for each of t trees, numbered through all of them
    mass  int64 (l,): the probability of each leaf, in parts of their sum
    """

    leaf: Callable[[Batch], Tensor]
    mass: Int[Tensor, " l"]

    def fresh(self) -> Visited:
        return Visited(torch.zeros(len(self.mass), dtype=torch.bool))

    def score(self, x: Batch, clean: Reply, at: float, memory: Visited) -> Scores:
        leaf = self.leaf(x)
        row = torch.arange(len(x))[:, None].expand_as(leaf)
        first = torch.full((len(self.mass),), len(x)).scatter_reduce(0, leaf.flatten(), row.flatten(), "amin")
        new = (first < len(x)) & ~memory.leaves
        gained = torch.zeros(len(x), dtype=torch.int64).index_add(0, first[new], self.mass[new])
        scores = (self.mass[memory.leaves].sum() + gained.cumsum(0)).double() / self.mass.sum()
        memory.leaves = memory.leaves | new
        return scores

    def status(self, memory: Visited) -> float:
        """The probability of the leaves reached, in [0, 1]."""
        return float(self.mass[memory.leaves].sum().double() / self.mass.sum())

    def merged(self, memories: Sequence[Visited]) -> Visited:
        return Visited(torch.stack([self.fresh().leaves, *(memory.leaves for memory in memories)]).any(0))


def trees_of(victim: Model, method: str) -> tuple[SklearnModel, list[Any]]:
    """The victim and its trees, one or many. Raises Unsuited if it is made of anything else."""
    if isinstance(victim, SklearnModel) and hasattr(victim.estimator, "apply"):
        estimator = victim.estimator
        trees = [estimator] if hasattr(estimator, "tree_") else list(np.ravel(getattr(estimator, "estimators_", [])))
        if trees and all(hasattr(tree, "tree_") for tree in trees):
            return victim, [tree.tree_ for tree in trees]
    raise Unsuited(
        f"{method} needs a victim made of decision trees, read from a file; this one is a {type(victim).__name__}."
        " Use ExtractionWarning, which works with any model."
    )


# recipes


@dataclass(frozen=True)
class InformationGain:
    """How much a client can have learnt of a decision tree: what a tree fitted on their answers explains.

    most, held, looks  as in ExtractionWarning
    """

    most: int = 2_000
    held: int = 1_000
    looks: tuple[int, ...] = LOOKS

    def __post_init__(self) -> None:
        whole([self.most, self.held, *self.looks], "InformationGain")

    def arm(self, victim: Model, owner: Owner, seed: int) -> Learnt:
        model, trees = trees_of(victim, "InformationGain")

        def read(x: Batch, reply: Reply) -> Features:
            return torch.as_tensor(model.rows(x), dtype=torch.float32).flatten(1)

        x, reply = held_out(victim, owner, self.held, seed, "InformationGain")
        held = read(x, reply)
        of = GainRatio(held, reply.y.argmax(1), trees[0].max_depth if len(trees) == 1 else None)
        return Learnt(read, held.shape[1], of, seed, self.most, self.looks)


@dataclass(frozen=True)
class LeafCoverage:
    """The share of a decision tree's leaves that a client has reached, weighted by how many inputs fall into each."""

    def arm(self, victim: Model, owner: Owner, seed: int) -> Coverage:
        model, trees = trees_of(victim, "LeafCoverage")
        first = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
        mass = np.concatenate([np.where(tree.children_left == -1, weights(tree), 0) for tree in trees])

        def leaf(x: Batch) -> Tensor:
            node = np.asarray(model.estimator.apply(model.rows(x))).reshape(len(x), -1)
            return torch.from_numpy(node + first).long()

        return Coverage(leaf, torch.from_numpy(mass.astype(np.int64)))


def weights(tree: Any) -> Any:
    """The share of the tree's training rows that pass each node, in parts of WHOLE."""
    return np.rint(tree.weighted_n_node_samples / tree.weighted_n_node_samples[0] * WHOLE)

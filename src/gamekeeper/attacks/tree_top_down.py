"""Top-down search of a decision tree whose API accepts incomplete inputs: layer by layer from the root.

Source      Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing machine learning models via prediction APIs"
            (USENIX Security 2016), section 4.2, "A top-down approach"
Equations   none: an input with missing features stops at the first node that splits on one of them and gets that node's
            answer; with all others missing, the one feature that changes the answer is the node's split
Assumes     one tree, whose nodes (not only leaves) answer posteriors that differ; an API that takes `missing`, a number
            at one end of the box, for a feature that is not given
Deviations  boxes do not contain NaN, hence the number. Replies do not list the "fields used": absent features are tried
            one by one, those that split most often first. A feature that is already set can split again further down: at
            every leaf the set features are searched again within their known intervals, and whatever lies beyond a
            change is explored too. No probes: where a node answers as its child does, everything below it stays hidden
Keeps       no state. The clone's `caveats` name `id-collisions` if nodes were found to share an answer, and
            `hidden-splits` if the clone gets some of `checks` random inputs, queried at the end, wrong
"""

from collections import Counter
from dataclasses import dataclass

import torch

from gamekeeper.attacks.grid import MISSING, Grid, Piece, Point, begin, check_recipe, grid_of
from gamekeeper.attacks.leaves import Leaves
from gamekeeper.attacks.rows import Rows
from gamekeeper.errors import BudgetExceeded, Unsuited
from gamekeeper.types import Knowledge, Meter, Model, need_box

Known = dict[int, Piece]
"""The interval in which each set feature must lie to reach a node; it may be too wide, but never too narrow."""


@dataclass(frozen=True)
class TreeTopDown:
    """Boxes of a decision tree, found from the root down with inputs whose features are partly missing.

    missing      the number the API reads as "not given": the low or the high end of the box, not otherwise used as a value
    eps          granularity, as a share of the domain
    checks       random inputs queried at the end, to detect hidden splits
    categorical  columns of the categorical features; their levels are evenly spaced from the low to the high end of the box
    sizes        the number of levels of each, `missing` included
    """

    missing: float = 0.0
    eps: float = 1e-3
    checks: int = 20
    categorical: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_recipe("TreeTopDown", self.eps, self.checks, self.categorical, self.sizes)

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model:
        """Raises Unsuited if `missing` is not an end of the box, or if answers change at every step."""
        box = need_box(knows.box, type(self).__name__)
        if self.missing not in (box.low, box.high):
            raise Unsuited(
                f"TreeTopDown needs an API that takes the low or the high end of its domain, {box.low:g} or"
                f" {box.high:g}, for a missing feature. Got missing={self.missing:g}. Use tree_paths, which needs none."
            )
        grid = grid_of(Rows(oracle, box), self.eps, self.categorical, self.sizes, self.missing)
        leaves, nodes, generator = Leaves(grid), Leaves(grid), torch.Generator().manual_seed(seed)
        try:
            begin(grid, generator)
            descend(grid, leaves, nodes)
        except BudgetExceeded:
            leaves.broken |= nodes.broken
            return leaves.boxes(knows.task, complete=False)
        leaves.broken |= nodes.broken
        return leaves.checked(knows.task, self.checks, generator)


def descend(grid: Grid, leaves: Leaves, nodes: Leaves) -> None:
    """Explores every node once and adds the leaves. Raises BudgetExceeded if the budget ends."""
    queue: list[tuple[Point, Known]] = [(torch.full((grid.d,), MISSING), {})]
    splits: Counter[int] = Counter()
    while queue:
        point, known = queue.pop()
        here = grid.ids(point[None])[0]
        if nodes.covers(here, point):
            continue
        if here in nodes.by_answer:
            nodes.broken.add(here)
        nodes.add(here, known)
        feature = split_feature(grid, point, here, splits)
        if feature is None:
            queue += beyond(grid, leaves, point, known, here)
            continue
        splits[feature] += 1
        for piece in grid.lines(point, grid.full([feature]))[feature]:
            queue.append((moved(point, feature, piece), {**known, feature: piece}))


def moved(point: Point, feature: int, piece: Piece) -> Point:
    other = point.clone()
    other[feature] = piece.sample
    return other


def split_feature(grid: Grid, point: Point, here: int, splits: Counter[int]) -> int | None:
    """The missing feature that the node splits on: the only one whose value changes the answer. None at a leaf."""
    absent = [i for i, j in enumerate(point.tolist()) if j == MISSING]
    for i in sorted(absent, key=lambda i: -splits[i]):
        if grid.ids(moved(point, i, grid.full([i])[i])[None])[0] != here:
            return i
    return None


def beyond(grid: Grid, leaves: Leaves, point: Point, known: Known, here: int) -> list[tuple[Point, Known]]:
    """Adds the leaf; returns the inputs beyond the changes inside its known intervals."""
    lines = grid.lines(point, known)
    own = {i: next(piece for piece in line if int(point[i]) in piece) for i, line in lines.items()}
    leaves.add(here, own)
    return [across(grid, point, known, i, piece) for i, line in lines.items() for piece in line if piece is not own[i]]


def across(grid: Grid, point: Point, known: Known, i: int, piece: Piece) -> tuple[Point, Known]:
    """The input beyond a change of feature i, with as few set features as show the change, and their known intervals.

    The node that splits on i again lies below the node reached without the last of these features: intervals known there
    hold on both sides. The last feature's interval was found on this side only.
    """
    part = torch.full_like(point, MISSING)
    bounds: Known = {}
    for last in known:
        part[last], bounds[last] = point[last], known[last]
        if i not in bounds:
            continue
        stays, goes = grid.ids(torch.stack([part, moved(part, i, piece)]))
        if stays != goes:
            if last != i:
                bounds |= grid.full([last])
            break
    return moved(part, i, piece), bounds

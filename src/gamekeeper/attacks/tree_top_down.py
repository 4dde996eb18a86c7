"""Top-down search of a decision tree whose API accepts incomplete inputs: layer by layer from the root.

Source      Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing machine learning models via prediction APIs"
            (USENIX Security 2016), section 4.2, "A top-down approach"
Equations   none: an input with missing features stops at the first node that splits on one of them and gets that node's
            answer; with all others missing, the one feature that changes the answer is the node's split
Assumes     one tree, whose nodes (not only leaves) answer posteriors that differ; an API that takes `missing`, a number
            at one end of the box, for a feature that is not given
Deviations  NaN is no input of a box, hence the number. There is no list of "fields used" in a reply: absent features are
            tried one by one, those that split most often first. A feature that is set already can split again further
            down: at every leaf the set features are searched again within their known intervals, and what lies beyond
            a change is explored too. No probes: where a node answers as its child does, all below it stays hidden
Keeps       no state. The copy's `doubts` name `id-collisions` where nodes were found to share an answer, and
            `hidden-splits` where `checks` random inputs, asked at the end, are answered otherwise
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
"""The interval every feature that is set must lie in to reach a node; it may be too wide, never too narrow."""


@dataclass(frozen=True)
class TreeTopDown:
    """Boxes of a decision tree from the root down, by inputs with missing features.

    missing      the number that the API takes for "not given": the low or the high end of the box, no value otherwise
    eps          granularity, as a share of the domain
    checks       random inputs asked at the end, to see whether splits stayed hidden
    categorical  columns of the categorical features; their levels lie evenly from the low to the high end of the box
    sizes        how many levels each of them has, `missing` counted as one
    """

    missing: float = 0.0
    eps: float = 1e-3
    checks: int = 20
    categorical: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_recipe("TreeTopDown", self.eps, self.checks, self.categorical, self.sizes)

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model:
        """Raises Unsuited if `missing` is not an end of the box, and where answers change at every step."""
        box = need_box(knows.box, type(self).__name__)
        if self.missing not in (box.low, box.high):
            raise Unsuited(
                f"TreeTopDown needs an API that takes the low or the high end of its domain, {box.low:g} or"
                f" {box.high:g}, for a missing feature. Got missing={self.missing:g}: use tree_paths, which needs none."
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
    """Explores every node once and adds the leaves. Raises BudgetExceeded where the budget ends."""
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
    """The missing feature that the node asks for: the only one whose value changes the answer. None at a leaf."""
    absent = [i for i, j in enumerate(point.tolist()) if j == MISSING]
    for i in sorted(absent, key=lambda i: -splits[i]):
        if grid.ids(moved(point, i, grid.full([i])[i])[None])[0] != here:
            return i
    return None


def beyond(grid: Grid, leaves: Leaves, point: Point, known: Known, here: int) -> list[tuple[Point, Known]]:
    """Adds the leaf; returns what lies beyond the changes inside its known intervals."""
    lines = grid.lines(point, known)
    own = {i: next(piece for piece in line if int(point[i]) in piece) for i, line in lines.items()}
    leaves.add(here, own)
    return [across(grid, point, known, i, piece) for i, line in lines.items() for piece in line if piece is not own[i]]


def across(grid: Grid, point: Point, known: Known, i: int, piece: Piece) -> tuple[Point, Known]:
    """The input beyond a change of feature i, with as few features as show the change, and what is known of it.

    The node that splits on i again lies below the node reached without the last of these features: intervals known there
    hold on both sides. The last one's was found on this side only.
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

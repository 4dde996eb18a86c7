"""Path finding: a decision tree from the identities of its leaves, by line searches from leaf to leaf.

Source      Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing machine learning models via prediction APIs"
            (USENIX Security 2016), section 4.2, Algorithm 1
Equations   none: each feature's line through a point is cut where the leaf's identity changes, to a step of `eps`; the
            piece that contains the point is the leaf's side there, every other piece leads to another leaf
Assumes     one tree, whose leaves answer posteriors that differ; known categorical features, with known levels
Deviations  all lines through a point are bisected together, one batch per step; each point is queried once, and
            thresholds known from other lines are tried before an interval is halved. Pieces of one line are queued even
            if they repeat the leaf's identity. A threshold is placed midway between the two grid points around it; an
            input outside every box gets the answer of the nearest one. `probes` evenly spaced points of each line are
            queried as well (0 in the paper): otherwise a line whose ends share an identity counts as one piece, which
            can hide a split
Keeps       no state. The clone's `caveats` name `id-collisions` if leaves were found to share an answer, and
            `hidden-splits` if the clone gets some of `checks` random inputs, queried at the end, wrong
"""

from dataclasses import dataclass

import torch

from gamekeeper.attacks.grid import Grid, Piece, begin, check_recipe, grid_of
from gamekeeper.attacks.leaves import Leaves
from gamekeeper.attacks.rows import Rows
from gamekeeper.errors import BudgetExceeded
from gamekeeper.types import Knowledge, Meter, Model, need_box


@dataclass(frozen=True)
class TreePaths:
    """Boxes of a decision tree, found from leaf to leaf with complete inputs.

    eps          granularity, as a share of the domain
    probes       further points queried on every line, to find leaves that share an answer
    checks       random inputs queried at the end, to detect hidden splits
    categorical  columns of the categorical features; their levels are evenly spaced from the low to the high end of the box
    sizes        the number of levels of each
    """

    eps: float = 1e-3
    probes: int = 0
    checks: int = 20
    categorical: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_recipe("TreePaths", self.eps, min(self.probes, self.checks), self.categorical, self.sizes)

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model:
        """Raises Unsuited if answers change at every step."""
        grid = grid_of(Rows(oracle, need_box(knows.box, type(self).__name__)), self.eps, self.categorical, self.sizes)
        leaves, generator = Leaves(grid), torch.Generator().manual_seed(seed)
        try:
            explore(grid, leaves, self.probes, generator)
        except BudgetExceeded:
            return leaves.boxes(knows.task, complete=False)
        return leaves.checked(knows.task, self.checks, generator)


def explore(grid: Grid, leaves: Leaves, probes: int, generator: torch.Generator) -> None:
    """Adds leaves until no piece of any line leads to a new one. Raises BudgetExceeded if the budget ends."""
    start = begin(grid, generator)
    queue = [(start, grid.ids(start[None])[0])]
    whole = grid.full(range(grid.d))
    while queue:
        point, here = queue.pop()
        if leaves.covers(here, point):
            continue
        own: dict[int, Piece] = {}
        for i, line in grid.lines(point, whole, probes).items():
            own[i] = next(piece for piece in line if int(point[i]) in piece)
            for piece in line:
                if piece is own[i]:
                    continue
                if piece.id == here:
                    leaves.broken.add(here)  # a leaf is one interval on every line
                other = point.clone()
                other[i] = piece.sample
                queue.append((other, piece.id))
        leaves.add(here, own)

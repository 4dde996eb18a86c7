"""What a search knows about a tree: boxes, the answer in each, and signs that answers do not identify leaves."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from gamekeeper.attacks.formula_clones import Boxes
from gamekeeper.attacks.grid import MISSING, Grid, Piece, Point
from gamekeeper.types import Task


@dataclass
class Leaves:
    """Boxes found so far, by the number of their answer.

    broken  answers that belong to more than one leaf
    """

    grid: Grid
    by_answer: dict[int, list[dict[int, Piece]]] = field(default_factory=dict[int, list[dict[int, Piece]]], init=False)
    broken: set[int] = field(default_factory=set[int], init=False)

    def covers(self, id: int, point: Point) -> bool:  # noqa: A002
        """Whether a box with this answer contains the point; features not given are ignored."""
        here: list[int] = point.tolist()
        return any(
            all(
                here[i] == MISSING or (here[i] in p.levels if p.levels else p.low < here[i] <= p.high)
                for i, p in leaf.items()
            )
            for leaf in self.by_answer.get(id, [])
        )

    def add(self, id: int, leaf: dict[int, Piece]) -> None:  # noqa: A002
        """Adds a box, given by its piece of each feature that bounds it."""
        self.by_answer.setdefault(id, []).append(leaf)

    def checked(self, task: Task, n: int, generator: torch.Generator) -> Boxes:
        """The finished search as a model, checked on n more random inputs, or as many as the budget allows."""
        boxes, grid = self.boxes(task, complete=True), self.grid
        n = min(n, grid.rows.left)
        if n == 0:
            return boxes
        points = grid.random(n, generator)
        ids, predicted = grid.ids(points), boxes(grid.inputs(points)).y
        misses = sum(not torch.equal(grid.answers[i], y) for i, y in zip(ids, predicted, strict=True))
        return replace(boxes, misses=misses)

    def boxes(self, task: Task, complete: bool) -> Boxes:
        """The search as a model. If nothing was found, it is one box with the first answer, or a uniform one."""
        if not self.by_answer:
            self.by_answer[0] = [{}]
        if not self.grid.answers:
            self.grid.answers.append(torch.full((task.classes,), 1 / task.classes, dtype=torch.float64))
        grid, d = self.grid, self.grid.d
        flat = [(id_, leaf) for id_, leaves in self.by_answer.items() for leaf in leaves]
        low = torch.full((len(flat), d), -1)
        high = grid.tops.repeat(len(flat), 1)
        most = max([int(grid.tops[i]) + 1 for i in grid.categorical], default=0)
        held = torch.ones(len(flat), len(grid.categorical), most, dtype=torch.bool)
        for row, (_, leaf) in enumerate(flat):
            for i, piece in leaf.items():
                if piece.levels:
                    held[row, grid.categorical.index(i)] = torch.tensor([j in piece.levels for j in range(most)])
                else:
                    # the clone does not treat the missing value as an input of its own: it belongs to its neighbour
                    whole = grid.full([i])[i]
                    low[row, i] = -1 if piece.low == whole.low else piece.low
                    high[row, i] = grid.tops[i] if piece.high == whole.high else piece.high
        order = volumes(low, high, held, grid.tops).argsort(stable=True)
        ids = torch.tensor([id_ for id_, _ in flat])[order]
        low, high, held = low[order], high[order], held[order]
        answers = torch.stack([grid.answers[i] for i in ids.tolist()])
        several = {id_ for id_, leaves in self.by_answer.items() if len(leaves) > 1}
        shared = several | self.broken | set(ids[overlapping(low, high, held)].tolist())
        box = grid.rows.box
        return Boxes(low, high, held, grid.categorical, grid.tops, answers, box, task, len(shared), 0, complete)


def volumes(low: Tensor, high: Tensor, held: Bool[Tensor, "b c l"], tops: Tensor) -> Tensor:
    """The logarithm of each box's volume."""
    return ((high - low) / (tops + 1)).log().sum(1) + held.sum(2).double().clamp(min=1).log().sum(1)


def overlapping(low: Tensor, high: Tensor, held: Bool[Tensor, "b c l"]) -> Bool[Tensor, " b"]:
    """Which boxes overlap another one."""
    clash = [
        ((low[b].maximum(low) < high[b].minimum(high)).all(1) & (held[b] & held).any(2).all(1)).sum() > 1
        for b in range(len(low))
    ]
    return torch.stack(clash)

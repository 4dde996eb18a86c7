"""Inputs of a box as integers, the identities of the answers to them, and line searches for where these change.

Grid point j of feature i is the input low + (high - low) j / tops[i]; a continuous feature has 1 / eps steps, a
categorical one a point for each of its levels. An answer's identity is the bytes of its posterior. Each point is
queried once; repeats are answered from memory.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from jaxtyping import Int
from torch import Tensor

from gamekeeper.attacks.rows import Rows
from gamekeeper.errors import BadConfig, Unsuited

MISSING = -1
"""Grid value of a feature that is not given."""
Point = Int[Tensor, " d"]


@dataclass(frozen=True)
class Piece:
    """Part of a line: the grid points low < j <= high, or levels of a categorical feature; an id of -1 means no answer."""

    id: int
    low: int
    high: int
    levels: frozenset[int] = frozenset()

    def __contains__(self, j: int) -> bool:
        return j in self.levels if self.levels else self.low < j <= self.high

    @property
    def sample(self) -> int:
        """A point of the piece that was queried."""
        return min(self.levels) if self.levels else self.high


@dataclass
class Grid:
    """The oracle on grid points."""

    rows: Rows
    tops: Int[Tensor, " d"]
    categorical: tuple[int, ...]
    missing: float = math.nan
    answers: list[Tensor] = field(default_factory=list[Tensor], init=False)
    numbers: dict[bytes, int] = field(default_factory=dict[bytes, int], init=False)
    memory: dict[bytes, int] = field(default_factory=dict[bytes, int], init=False)

    def __post_init__(self) -> None:
        self.cuts: list[set[int]] = [set() for _ in self.tops]

    @property
    def d(self) -> int:
        return len(self.tops)

    def ids(self, points: Int[Tensor, "n d"]) -> list[int]:
        """The number of the answer at each point. Raises BudgetExceeded if the new points exceed the budget."""
        keys = [row.tobytes() for row in points.numpy()]
        new = {key: row for row, key in enumerate(keys) if key not in self.memory}
        if new:
            y = self.rows(self.inputs(points[list(new.values())])).y
            for row, (key, identity) in enumerate(zip(new, y.numpy(), strict=True)):
                self.memory[key] = self.numbers.setdefault(identity.tobytes(), len(self.answers))
                if self.memory[key] == len(self.answers):
                    self.answers.append(y[row])
        return [self.memory[key] for key in keys]

    def inputs(self, points: Int[Tensor, "n d"]) -> Tensor:
        x = self.rows.box.low + 2 * self.rows.half * (points / self.tops.double())
        return torch.where(points == MISSING, self.missing, x)

    @property
    def ends(self) -> tuple[Point, Point]:
        """The first and last grid point of each feature, the missing value excluded."""
        whole = self.full(range(self.d)).values()
        return torch.tensor([piece.low + 1 for piece in whole]), torch.tensor([piece.high for piece in whole])

    def random(self, n: int, generator: torch.Generator) -> Int[Tensor, "n d"]:
        """n points with every feature given."""
        first, last = self.ends
        share = torch.rand(n, self.d, generator=generator, dtype=torch.float64)
        return first + (share * (last - first + 1)).long()

    def lines(self, point: Point, spans: Mapping[int, Piece], probes: int = 0) -> dict[int, list[Piece]]:
        """For each feature in `spans`, the pieces of its span along the line through `point`, all bisected together.

        An interval whose ends share an answer counts as one piece; to find answers that several leaves share, `probes` evenly
        spaced points of each line are queried too. Categorical features are queried at all levels of the span.
        """
        seen: dict[int, dict[int, int]] = {i: {} for i in spans}
        todo = [(i, j) for i, span in spans.items() for j in self.first(i, span, int(point[i]), probes)]
        while todo:
            line = point.repeat(len(todo), 1)
            line[range(len(todo)), [i for i, _ in todo]] = torch.tensor([j for _, j in todo])
            for (i, j), identity in zip(todo, self.ids(line), strict=True):
                seen[i][j] = identity
            todo = [
                (i, self.between(i, a, b))
                for i, ids in seen.items()
                if i not in self.categorical
                for a, b in pairwise(sorted(ids))
                if ids[a] != ids[b] and b - a > 1
            ]
        for i, ids in seen.items():
            self.cuts[i] |= {a for a, b in pairwise(sorted(ids)) if ids[a] != ids[b]}
        return {i: groups(ids) if i in self.categorical else pieces(ids, spans[i]) for i, ids in seen.items()}

    def between(self, i: int, a: int, b: int) -> int:
        """The next point to query where the answers at a and b differ: beside a known threshold if one lies between."""
        known = sorted(t for t in self.cuts[i] if a <= t < b)
        if not known:
            return (a + b) // 2
        t = known[len(known) // 2]
        return t if t > a else t + 1

    def first(self, i: int, span: Piece, here: int, probes: int) -> list[int]:
        """The points of a line that are queried before any bisection."""
        if span.levels:
            return sorted(span.levels)
        low, high = span.low, span.high
        inner = [low + 1 + (high - low - 1) * p // (probes + 1) for p in range(1, probes + 1)]
        return sorted({low + 1, high, *inner, *([here] if here in span else [])})

    def full(self, features: Iterable[int]) -> dict[int, Piece]:
        """The whole line of each feature, without the missing value if that is one of its ends."""
        low = 0 if self.missing == self.rows.box.low else -1
        last = self.missing == self.rows.box.high
        lines: dict[int, Piece] = {}
        for i in features:
            high = int(self.tops[i]) - last
            lines[i] = Piece(-1, low, high, frozenset(range(low + 1, high + 1) if i in self.categorical else ()))
        return lines


def begin(grid: Grid, generator: torch.Generator) -> Point:
    """A random point. Raises Unsuited if a step to either side changes the answer, which is unlikely in a tree."""
    point = grid.random(1, generator)[0]
    step = torch.ones_like(point)
    step[list(grid.categorical)] = 0
    first, last = grid.ends
    sides = torch.stack([point, point + step, point - step]).maximum(first).minimum(last)
    if len(set(grid.ids(sides))) == len(sides):
        raise Unsuited(
            "A tree gives the same answer at neighbouring grid points almost everywhere; this target's answers change at"
            " every step. It is not a decision tree, or its answers are perturbed. Use equation_fitting."
        )
    return point


def pieces(ids: Mapping[int, int], span: Piece) -> list[Piece]:
    """The pieces between the points with known answers; the left end of a change is the threshold."""
    parts: list[Piece] = []
    low, points = span.low, sorted(ids)
    for a, b in pairwise(points):
        if ids[a] != ids[b]:
            parts.append(Piece(ids[a], low, a))
            low = a
    return [*parts, Piece(ids[points[-1]], low, span.high)]


def groups(ids: Mapping[int, int]) -> list[Piece]:
    """Levels grouped by their answer."""
    return [
        Piece(here, -1, max(ids), frozenset(j for j, identity in ids.items() if identity == here))
        for here in sorted(set(ids.values()))
    ]


def grid_of(
    rows: Rows, eps: float, categorical: tuple[int, ...], sizes: tuple[int, ...], missing: float = math.nan
) -> Grid:
    """A recipe's grid. Raises BadConfig for features the box does not have."""
    if any(not 0 <= i < rows.d for i in categorical):
        raise BadConfig(f"categorical features are counted from 0 to {rows.d - 1}. Got {categorical}.")
    tops = torch.full((rows.d,), math.ceil(1 / eps))
    for i, size in zip(categorical, sizes, strict=True):
        tops[i] = size - 1
    return Grid(rows, tops, categorical, missing)


def check_recipe(name: str, eps: float, least: int, categorical: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    """Raises BadConfig for errors that show without data; `least` is the smaller of the recipe's two counts."""
    if not 1e-9 <= eps <= 0.5 or least < 0:
        raise BadConfig(
            f"{name} needs eps from 1e-9 to 0.5, and probes and checks of at least 0. Got {eps} and {least}."
        )
    if len(categorical) != len(sizes) or any(size < 2 for size in sizes):
        raise BadConfig(
            f"{name} needs a size of at least 2 for every categorical feature. Got {categorical} and {sizes}."
        )

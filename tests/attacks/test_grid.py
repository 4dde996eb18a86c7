"""Line searches on the grid against a twin that asks every point, and what thresholds known beforehand save."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.attacks.grid import Grid, Piece, grid_of
from gamekeeper.attacks.rows import Rows
from gamekeeper.service.oracles import Metered
from gamekeeper.types import Box, Reply

BOX = Box((2,), -1.0, 3.0)
STEPS = 64


class Steps:
    """Feature 0 is cut by `first` where feature 1 is below the middle, by `second` above: one answer a piece.

    Cuts are grid points: an answer changes from j to j + 1. `ids` numbers the pieces' answers; all differ by default.
    """

    def __init__(self, first: set[int], second: set[int], ids: list[int] | None = None):
        self.cuts, self.ids = (sorted(first), sorted(second)), ids

    def number(self, j: int, upper: bool) -> int:
        piece = sum(cut < j for cut in self.cuts[upper])
        return 1000 * upper + (self.ids[piece % len(self.ids)] if self.ids else piece)

    def __call__(self, x: torch.Tensor, /) -> Reply:
        points = ((x - BOX.low) / (BOX.high - BOX.low) * STEPS).round().long().tolist()
        numbers = torch.tensor([self.number(j, k > STEPS // 2) for j, k in points], dtype=torch.float64)
        return Reply(torch.stack([numbers, -numbers], 1))

    def pieces(self, upper: bool) -> list[tuple[int, int]]:
        """By brute force: the longest runs of points with one answer, as low < j <= high."""
        found: list[tuple[int, int]] = []
        for j in range(STEPS + 1):
            if found and self.number(j, upper) == self.number(j - 1, upper):
                found[-1] = (found[-1][0], j)
            else:
                found.append((j - 1, j))
        return found


def search(steps: Steps, budget: int = 10_000) -> tuple[Grid, Metered]:
    gate = Metered(steps, budget, BOX)
    return grid_of(Rows(gate, BOX), 1 / STEPS, (), ()), gate


def line(grid: Grid, upper: bool, here: int = 0) -> list[Piece]:
    point = torch.tensor([here, STEPS if upper else 0])
    return grid.lines(point, grid.full([0]))[0]


QUICK = settings(max_examples=40, deadline=None)
cuts = st.sets(st.integers(0, STEPS - 1), max_size=9)


@QUICK
@given(cuts, cuts, st.integers(0, STEPS))
def test_pieces_are_those_of_brute_force_whether_thresholds_are_known_or_not(
    first: set[int], second: set[int], here: int
):
    steps = Steps(first, second)
    grid, _ = search(steps)
    for upper in (False, True):
        assert [(p.low, p.high) for p in line(grid, upper, here)] == steps.pieces(upper)


@QUICK
@given(cuts, cuts, st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_pieces_that_share_answers_may_hide_but_are_never_wrong(first: set[int], second: set[int], ids: list[int]):
    """Pieces tile the line, and each true threshold that is reported is one: answers differ across it."""
    steps = Steps(first, second, ids)
    grid, _ = search(steps)
    for upper in (False, True):
        found = line(grid, upper)
        assert [p.low for p in found] == [-1, *(p.high for p in found[:-1])]
        assert found[-1].high == STEPS
        assert {p.high for p in found[:-1]} <= {high for _, high in steps.pieces(upper)}
        for piece in found:
            same = grid.ids(torch.tensor([[piece.high, STEPS if upper else 0]]))[0]
            assert piece.id == same


@QUICK
@given(cuts)
def test_known_thresholds_cost_two_points_each(first: set[int]):
    """The second line has the first one's thresholds: both ends, and the two sides of every cut."""
    grid, gate = search(Steps(first, first))
    line(grid, False)
    before = gate.spent
    line(grid, True)
    assert gate.spent - before <= 2 + 2 * len(first)


@QUICK
@given(st.integers(0, STEPS - 1))
def test_an_unknown_threshold_costs_a_bisection(cut: int):
    grid, gate = search(Steps({cut}, set()))
    line(grid, False)
    assert gate.spent <= 2 + math.ceil(math.log2(STEPS)) + 1


@pytest.mark.parametrize(("known", "a", "b", "asked"), [
    (set[int](), 0, 64, 32),
    ({10}, 0, 64, 10),   # the left side of a known cut first
    ({10}, 10, 64, 11),  # then the right one
    ({10}, 11, 64, 37),  # a cut outside the interval is of no use
    ({64}, 0, 64, 32),   # nor is one that begins at its end
    ({5, 10, 40}, 0, 64, 10),
])  # fmt: skip
def test_the_next_point_of_an_interval(known: set[int], a: int, b: int, asked: int):
    grid, _ = search(Steps(set(), set()))
    grid.cuts[0] = known
    assert grid.between(0, a, b) == asked


def test_a_point_is_paid_for_once():
    grid, gate = search(Steps({3}, {3}))
    points = torch.tensor([[3, 0], [4, 0], [3, 0]])
    ids = grid.ids(points)
    assert ids[0] == ids[2] != ids[1]
    assert gate.spent == 2
    assert grid.ids(points.flip(0)) == ids[::-1]
    assert gate.spent == 2


def test_grid_points_span_the_box():
    grid, _ = search(Steps(set(), set()))
    assert grid.inputs(torch.tensor([[0, STEPS], [STEPS // 2, 1]])).tolist() == [[-1.0, 3.0], [1.0, -1.0 + 4 / STEPS]]

"""Greedy k-center against brute force and against the plain loop."""

from itertools import combinations

import pytest
import torch

from gamekeeper.attacks.k_center import k_center, squared_gap


def radius(points: torch.Tensor, centers: torch.Tensor) -> float:
    return float(torch.cdist(points, centers).amin(1).max())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("k", [2, 3, 4])
def test_the_cover_radius_is_at_most_twice_the_optimum(seed: int, k: int):
    points = torch.rand((12, 2), generator=torch.Generator().manual_seed(seed))
    best = min(radius(points, points[list(chosen)]) for chosen in combinations(range(12), k))
    assert radius(points, points[k_center(points, points[:0], k)]) <= 2 * best + 1e-6


def test_choices_equal_those_of_the_plain_loop():
    generator = torch.Generator().manual_seed(0)
    points, centers = torch.rand((60, 5), generator=generator), torch.rand((4, 5), generator=generator)
    chosen, have = [], centers.tolist()
    for _ in range(20):
        gaps = [min(sum((a - b) ** 2 for a, b in zip(p, c, strict=True)) for c in have) for p in points.tolist()]
        chosen.append(max(range(60), key=gaps.__getitem__))
        have.append(points[chosen[-1]].tolist())
    assert k_center(points, centers, 20).tolist() == chosen


def test_equal_points_are_chosen_once_each():
    assert sorted(k_center(torch.zeros(6, 3), torch.zeros(2, 3), 6).tolist()) == list(range(6))


def test_points_that_are_centers_already_come_last():
    points = torch.eye(4)
    assert set(k_center(points, points[:2], 2).tolist()) == {2, 3}


def test_gaps_do_not_depend_on_the_size_of_chunks(monkeypatch):
    points, centers = (torch.rand((n, 3), generator=torch.Generator().manual_seed(n)) for n in (50, 7))
    whole = squared_gap(points, centers)
    monkeypatch.setattr("gamekeeper.attacks.k_center.ENTRIES", 20)
    assert torch.allclose(squared_gap(points, centers), whole)

"""The fast search against all distances, wherever rows and queries lie."""

import pytest
import torch
from torch import Tensor

from gamekeeper.detectors import nearest
from gamekeeper.detectors.nearest import Bank


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flat(n: int, d: int, seed: int) -> Tensor:
    """Rows near a space of a few dimensions, as features are."""
    return draw(n, 5, seed=seed) @ draw(5, d, seed=99) + 0.01 * draw(n, d, seed=seed + 1)


CASES = {
    "flat": (flat(700, 190, 0), flat(40, 190, 2)),
    "full": (draw(600, 200), draw(30, 200, seed=1)),
    "far": (1e3 * flat(300, 80, 0), 1e4 * draw(20, 80, seed=1)),
    "few": (draw(4, 200), draw(10, 200, seed=1)),
    "short": (draw(50, 3), draw(10, 3, seed=1)),
    "equal": (draw(1, 80).expand(200, 80), draw(5, 80, seed=1)),
    "zero": (torch.zeros(30, 80, dtype=torch.float64), draw(5, 80, seed=1)),
    "itself": (draw(100, 80), draw(100, 80)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("k", [1, 3, 10])
def test_kth_and_within_of_all_distances(name: str, k: int):
    rows, q = CASES[name]
    whole = (q[:, None] - rows).square().sum(2).sqrt().sort(1).values[:, min(k, len(rows)) - 1]
    bank = Bank.of(rows)
    got = bank.kth(q, k)
    torch.testing.assert_close(got, whole, rtol=1e-12, atol=1e-12 * float(rows.abs().max() + 1))
    for radius in (*got.tolist(), 0.0, float(got.mean()), float("inf"), -1.0, float("-inf")):
        assert torch.equal(bank.within(q, k, radius), got <= radius)


def test_rows_are_ruled_out():
    """Otherwise the search would be right but slow."""
    rows, q = CASES["flat"]
    bank = Bank.of(rows)
    kth = bank.kth(q, 10)
    pairs = bank.candidates(q, bank.nearness(q), kth)[0]
    assert len(pairs) < 0.05 * len(rows) * len(q)


def test_a_query_does_not_depend_on_others(monkeypatch: pytest.MonkeyPatch):
    rows, q = CASES["flat"]
    bank = Bank.of(rows)
    whole = bank.kth(q, 10)
    monkeypatch.setattr(nearest, "PART", 7)
    assert torch.equal(torch.cat([bank.kth(row, 10) for row in q.split(1)]), whole)

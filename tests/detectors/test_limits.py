"""Alarms at looks, bounds from samples, and several detectors that share one error rate."""

import numpy as np
import pytest
import torch

from gamekeeper.detectors.limits import Backing, Limits, holm, shared, upper_bound
from gamekeeper.errors import BadConfig

LIMITS = Limits((2, 5), (1.0, 0.5), 0.01, Backing("clients", 10, 10))


def test_alarms_at_looks_only_however_the_queries_are_cut():
    scores = torch.tensor([9.0, 0.9, 9.0, 9.0, 0.6, 9.0])
    whole = LIMITS.alarms(0, scores)
    assert whole.tolist() == [False, False, False, False, True, False]
    for cut in range(1, 6):
        assert torch.equal(torch.cat([LIMITS.alarms(0, scores[:cut]), LIMITS.alarms(cut, scores[cut:])]), whole)
    assert not LIMITS.alarms(0, torch.full((6,), torch.nan)).any()
    assert not Limits((1,), (torch.inf,), 0.01, LIMITS.backing).alarms(0, torch.tensor([torch.inf])).any()


def test_limits_need_ascending_looks():
    for looks, thresholds in (((5, 2), (1.0, 1.0)), ((0, 2), (1.0, 1.0)), ((2,), (1.0, 2.0)), ((2, 2), (1.0, 1.0))):
        with pytest.raises(BadConfig, match="ascending looks"):
            Limits(looks, thresholds, 0.01, LIMITS.backing)


@pytest.mark.parametrize(("alarmed", "clients"), [(0, 2_995), (1, 4_742), (2, 6_294), (5, 10_511)])
def test_clients_that_back_one_in_a_thousand(alarmed: int, clients: int):
    assert Backing("clients", 1, clients, alarmed).bound() <= 1.0
    assert Backing("clients", 1, clients - 1, alarmed).bound() > 1.0


def test_no_client_backs_nothing():
    assert upper_bound(0, 0) == 1.0
    assert upper_bound(3, 3) == 1.0
    assert upper_bound(0, 20) == pytest.approx(1 - 0.05 ** (1 / 20))


def test_holm_keeps_the_family_wise_rate():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    draws = np.random.default_rng(0).random((4_000, 3))
    wrong = np.mean([min(holm(dict(zip("abc", row, strict=True))).values()) <= 0.1 for row in draws.tolist()])
    assert wrong <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 4_000)
    assert shared(0.1, ["a", "b"]) == {"a": 0.05, "b": 0.05}

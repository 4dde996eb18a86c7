"""P-values of honest clients, bounds from samples, and several detectors that share one error rate."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom

from gamekeeper.detectors.limits import Backing, Binomial, Limits, Ranked, holm, shared, upper_bound
from gamekeeper.errors import BadConfig, Unsuited

LOOKS = (20, 50, 100)


def holds(p: np.ndarray, level: float) -> bool:
    """P(p <= a) <= a + 3 standard errors."""
    return bool((p <= level).mean() <= level + 3 * math.sqrt(level * (1 - level) / len(p)))


@pytest.mark.parametrize("level", [0.3, 0.1, 0.03, 0.01])
def test_binomial_p_values_are_never_too_small(level: float):
    flags = np.random.default_rng(0).random((20_000, 100)) < 0.05
    null = Binomial(LOOKS, 0.05)
    table = [[null.p(i, float(k)) for k in range(look + 1)] for i, look in enumerate(LOOKS)]
    counts = flags.cumsum(1)[:, [look - 1 for look in LOOKS]]
    p = np.array([min(table[i][k] for i, k in enumerate(row)) for row in counts.tolist()])
    assert holds(p, level)


def test_a_binomial_p_value_is_the_tail_times_the_looks():
    null = Binomial(LOOKS, 0.1)
    assert null.p(1, 12.0) == pytest.approx(3 * (1 - binom.cdf(11, 50, 0.1)))
    assert null.p(0, 0.0) == 1.0
    assert null.p(0, math.nan) == 1.0
    assert Binomial(LOOKS, 1.0).p(2, 100.0) == 1.0


@pytest.mark.parametrize("level", [0.3, 0.1, 0.02])
@pytest.mark.parametrize("discrete", [False, True])
def test_ranked_p_values_are_never_too_small(level: float, discrete: bool):
    draw = np.random.default_rng(1)
    walks = draw.standard_normal((4_400, 3)).cumsum(1) * [1.0, 30.0, 0.01]  # looks on very different scales
    scores = torch.from_numpy(np.round(walks) if discrete else walks)
    p: list[float] = []
    for start in range(0, 4_400, 220):  # many nulls, since one null's luck is shared by all its p-values
        null = Ranked.of(scores[start : start + 199], LOOKS)
        p += [min(null.p(i, v) for i, v in enumerate(row)) for row in scores[start + 199 : start + 220].tolist()]
    assert holds(np.array(p), level)


def test_a_continuous_ranked_p_value_is_uniform():
    scores = torch.from_numpy(np.random.default_rng(2).standard_normal((10_000, 2)).cumsum(1))
    null = Ranked.of(scores[:5_000], (20, 50))
    p = [min(null.p(i, v) for i, v in enumerate(row)) for row in scores[5_000:].tolist()]
    assert np.quantile(p, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.03)


def test_no_verdict_is_no_evidence():
    null = Ranked.of(torch.tensor([[1.0, torch.nan], [2.0, torch.nan], [3.0, 4.0]]), (20, 50))
    assert null.p(0, math.nan) == 1.0
    assert null.p(0, -math.inf) == 1.0
    assert null.p(0, math.inf) == pytest.approx(1 / 4)
    assert null.p(0, 3.0) > 1 / 4  # as high as an honest client
    silent = Ranked.of(torch.full((5, 1), torch.nan), (20,))
    assert silent.p(0, 100.0) == 1.0


def test_a_null_of_equal_scores_alarms_above_them_only():
    null = Ranked.of(torch.zeros(99, 1), (20,))
    assert null.p(0, 0.0) == 1.0
    assert null.p(0, 1e-3) == pytest.approx(0.01)


def test_limits_that_nothing_can_back_are_refused():
    null = Ranked.of(torch.arange(99.0)[:, None], (20,))
    assert Limits(null, 0.01, Backing("streams", 1, 1)).passed(19, 40) == [0]
    assert Limits(null, 0.01, Backing("streams", 1, 1)).passed(20, 40) == []
    with pytest.raises(Unsuited, match="null of 999 honest clients"):
        Limits(null, 0.001, Backing("streams", 1, 1))


@pytest.mark.parametrize("looks", [(), (0, 5), (5, 2), (2, 2)])
def test_looks_ascend(looks: tuple[int, ...]):
    with pytest.raises(BadConfig, match="ascend"):
        Binomial(looks, 0.1)


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
    least = np.array([min(holm(dict(zip("abc", row, strict=True))).values()) for row in draws.tolist()])
    assert holds(least, 0.1)
    assert shared(0.1, ["a", "b"]) == {"a": 0.05, "b": 0.05}

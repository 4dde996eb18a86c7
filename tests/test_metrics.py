"""Intervals, calibration and prices against closed forms, slow twins and simulations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from gamekeeper.errors import BadConfig
from gamekeeper.metrics import Crossing, Estimate, Spread, average, crossing, ece, over_seeds, ratio, spread, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 40), (8, 10), (1836, 2000), (2000, 2000)])
def test_wilson_is_scipys(right: int, n: int):
    rate, expected = wilson(right, n), binomtest(right, n).proportion_ci(method="wilson")
    assert rate.value == right / n
    assert rate.n == n
    assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_ends_are_exact_at_none_and_all():
    assert wilson(0, 50).low == 0.0
    assert wilson(50, 50).high == 1.0


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_value(case: tuple[int, int]):
    rate = wilson(*case)
    assert 0 <= rate.low <= rate.value <= rate.high <= 1


@pytest.mark.parametrize(("right", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_fraction(right: int, n: int):
    with pytest.raises(BadConfig, match=f"Got {right} of {n}"):
        wilson(right, n)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_average_of_zeros_and_ones_is_a_rate(case: tuple[int, int]):
    right, n = case
    mean, rate = average(np.arange(n) < right), wilson(right, n)
    assert (mean.value, mean.n) == (rate.value, n)
    assert (mean.low, mean.high) == pytest.approx((rate.low, rate.high), abs=1e-12)


@pytest.mark.parametrize("draw", [
    lambda g, n: g.beta(0.05, 2.0, n),
    lambda g, n: g.beta(2.0, 2.0, n),
    lambda g, n: (g.random(n) < 0.01) * g.random(n),
    lambda g, n: g.random(n) < 0.3,
])  # fmt: skip
def test_an_averages_interval_covers_the_true_mean(draw):
    generator = np.random.default_rng(0)
    true = draw(generator, 400_000).mean()
    rates = [average(draw(generator, 269)) for _ in range(600)]
    assert np.mean([rate.low <= true <= rate.high for rate in rates]) >= 0.94


@pytest.mark.parametrize(("values", "met"), [([], "none"), ([0.5, 1.1], "1.1"), ([math.nan], "nan")])
def test_an_average_of_anything_else_is_refused(values: list[float], met: str):
    with pytest.raises(BadConfig, match=f"between 0 and 1. Got .*{met}"):
        average(np.array(values))


def test_a_ratio_by_hand():
    # 8 and 9 of 10 right, 7 of them both: 10 inputs with a right answer, 3 of them odd
    a, b = np.arange(10) < 8, np.arange(10) > 0
    found = ratio(a, b)
    assert found is not None
    z = 1.959963984540054 * math.sqrt((3 + 2) / (9 * 10)) / (math.sqrt(0.25 / 9) + math.sqrt((2 / 12) / 10))
    wilsons = [
        [(2 * 10 * p + z * z + sign * z * math.sqrt(z * z + 40 * p * (1 - p))) / (2 * (10 + z * z)) for sign in (-1, 1)]
        for p in (0.8, 0.9)
    ]
    assert found.value == pytest.approx(8 / 9)
    assert (found.low, found.high) == pytest.approx((wilsons[0][0] / wilsons[1][1], wilsons[0][1] / wilsons[1][0]))


@pytest.mark.parametrize("shares", [(0.90, 0.02, 0.06), (0.60, 0.05, 0.35), (0.10, 0.02, 0.88), (0.02, 0.01, 0.90)])
def test_a_ratios_interval_covers_the_true_ratio(shares: tuple[float, float, float]):
    both, first, second = shares
    true, generator, covered = (both + first) / (both + second), np.random.default_rng(0), 0
    for _ in range(600):
        kind = generator.choice(4, 269, p=[*shares, 1 - sum(shares)])
        found = ratio((kind == 0) | (kind == 1), (kind == 0) | (kind == 2))
        assert found is not None
        covered += found.low <= true <= found.high
    assert covered / 600 >= 0.93


def test_a_model_compared_with_itself_has_ratio_one_and_nothing_to_compare_with_has_none():
    right = np.arange(100) < 70
    same = ratio(right, right)
    assert same is not None
    assert same.value == 1.0
    assert same.low > 0.95
    assert same.high < 1.05
    assert ratio(right, np.zeros(100, bool)) is None
    none = ratio(np.zeros(100, bool), right)
    assert none is not None
    assert (none.value, none.low) == (0.0, 0.0)


def test_spread_is_pooled_over_groups():
    # sums of squares 2 and 8 with 1 and 2 degrees of freedom
    assert spread([[1.0, 3.0], [0.0, 2.0, 4.0], [7.0], []]) == Spread(math.sqrt(10 / 3), 3)


def test_one_seed_has_an_unknown_spread():
    assert spread([[0.5], [0.7]]) == Spread(0.0, 0)


def test_one_seed_keeps_wilsons_interval():
    rate = wilson(1836, 2000)
    assert over_seeds([rate], Spread(0.2, 5)) == rate


def test_seeds_that_agree_keep_wilsons_interval():
    rate = wilson(1836, 2000)
    assert over_seeds([rate, rate, rate], spread([[rate.value] * 3])) == rate


def test_seeds_widen_in_quadrature():
    # t(0.975, 4) = 2.776445; error = 2.776445 * 0.02 / sqrt(4)
    rates = [Estimate(0.5, 0.47, 0.53, 1000)] * 4
    wide, plain = over_seeds(rates, Spread(0.02, 4)), over_seeds(rates, Spread(0.0, 4))
    error = 2.776445105 * 0.01
    assert wide.value - wide.low == pytest.approx(math.hypot(plain.value - plain.low, error), abs=1e-9)
    assert wide.high - wide.value == pytest.approx(math.hypot(plain.high - plain.value, error), abs=1e-9)


def test_the_shared_test_set_counts_once():
    assert over_seeds([wilson(90, 100), wilson(80, 100)], Spread(0.0, 1)).n == 100


def test_no_rate_has_no_mean():
    with pytest.raises(BadConfig, match="at least one rate"):
        over_seeds([], Spread(0.0, 0))


def test_interval_over_seeds_covers_the_true_mean():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(600):
        groups = generator.binomial(500, generator.normal(0.8, 0.03, size=(6, 3)).clip(0, 1))
        rates = [[wilson(int(right), 500) for right in group] for group in groups]
        whole = over_seeds(rates[0], spread([[rate.value for rate in group] for group in rates]))
        covered += whole.low <= 0.8 <= whole.high
    assert covered / 600 >= 0.95


def test_ece_by_hand():
    # bins (0.5, 1]: confidences 0.9 0.8 0.6, two of three right; |2 - 2.3| / 3
    y = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    assert ece(y, torch.tensor([0, 1, 0]), bins=2) == pytest.approx(0.1, abs=1e-7)


def test_ece_agrees_with_its_slow_twin():
    generator = np.random.default_rng(1)
    y = generator.dirichlet([0.4] * 5, 300)
    truth = generator.integers(0, 5, 300)
    slow = 0.0
    for i in range(15):
        inside = [j for j in range(300) if i / 15 < y[j].max() <= (i + 1) / 15]
        if inside:
            accuracy = np.mean([y[j].argmax() == truth[j] for j in inside])
            slow += len(inside) / 300 * abs(accuracy - np.mean([y[j].max() for j in inside]))
    assert ece(y, truth) == pytest.approx(slow, abs=1e-12)


def test_ece_of_sure_and_right_answers_is_zero():
    assert ece(np.eye(4), np.arange(4)) == 0.0


def test_ece_of_sure_and_wrong_answers_is_one():
    assert ece(np.eye(4), (np.arange(4) + 1) % 4) == 1.0


def test_ece_refuses_an_empty_test_set():
    with pytest.raises(BadConfig, match="empty test set"):
        ece(np.zeros((0, 3)), np.zeros(0))


def test_price_is_linear_in_the_logarithm():
    found = crossing([100, 10_000], [0.5, 0.7], 0.6)
    assert found.bound == "exact"
    assert found.queries == pytest.approx(1000)


def test_price_at_a_measured_point_is_that_budget():
    found = crossing([250, 1000, 2500], [0.6, 0.8, 0.9], 0.8)
    assert found.queries == pytest.approx(1000)


def test_price_is_never_extrapolated():
    assert crossing([250, 1000], [0.6, 0.8], 0.81) == Crossing(1000, "more than")
    assert crossing([250, 1000], [0.6, 0.8], 0.5) == Crossing(250, "at most")


def test_price_is_the_first_crossing_of_a_wobbling_curve():
    found = crossing([100, 1000, 2000, 4000], [0.4, 0.6, 0.3, 0.9], 0.5)
    assert 100 < found.queries < 1000


@pytest.mark.parametrize("queries", [[], [0, 10], [10, 10], [20, 10]])
def test_price_needs_increasing_queries(queries: list[float]):
    with pytest.raises(BadConfig, match="increasing numbers of queries"):
        crossing(queries, [0.5] * len(queries), 0.4)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 1), st.floats(0, 1))
def test_price_lies_between_budgets_and_grows_with_the_level(values: list[float], a: float, b: float):
    queries = [100.0 * 3**i for i in range(len(values))]
    cheap, dear = (crossing(queries, values, level) for level in sorted((a, b)))
    assert queries[0] <= cheap.queries <= dear.queries * (1 + 1e-12)
    assert dear.queries <= queries[-1] * (1 + 1e-12)

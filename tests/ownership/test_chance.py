"""Tails against exact rationals, and p-values that stay below their level for models that copied nothing."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom, binom

from gamekeeper.errors import Unsuited
from gamekeeper.ownership.chance import beta_binomial, binomial, holm, nodes, panel_rate, predictive, rank

PANEL = [1, 3, 5, 7, 9, 4, 5, 6, 2, 3]


def exact(k: int, n: int, q: Fraction) -> Fraction:
    return sum((math.comb(n, j) * q**j * (1 - q) ** (n - j) for j in range(k, n + 1)), Fraction(0))


def log10(p: Fraction) -> float:
    """Of a fraction that may lie beyond the range of floats."""
    shift = max(0, p.denominator.bit_length() - p.numerator.bit_length())
    return math.log10(p * 2**shift) - shift * math.log10(2)


@given(st.integers(1, 60), st.integers(1, 99), st.data())
def test_the_tail_is_that_of_exact_rationals(n, percent, data):
    k, q = data.draw(st.integers(0, n)), Fraction(percent, 100)
    p = exact(k, n, q)
    assert binomial(k, n, percent / 100) == pytest.approx(log10(p), rel=1e-9, abs=1e-14)
    if p > Fraction(1, 2) and 1 - p > Fraction(1, 10**14):  # the distance to 1 is right as well
        assert -math.expm1(binomial(k, n, percent / 100) * math.log(10)) == pytest.approx(float(1 - p), rel=1e-6)


@pytest.mark.parametrize(("k", "n"), [(2_000, 2_000), (900, 2_000), (1_500, 1_500)])
def test_no_p_is_zero(k, n):
    assert binomial(k, n, 0.001) == pytest.approx(log10(exact(k, n, Fraction(1, 1_000))), rel=1e-9)
    assert binomial(k, n, 0.001) < -1_000


@pytest.mark.parametrize(
    ("n", "level", "least"),
    [(50, 1e-3, 14), (50, 1e-6, 18), (50, 2**-64, 32), (100, 1e-3, 21), (100, 1e-6, 28), (100, 2**-64, 46)],
)
def test_the_hits_needed_for_a_level(n, level, least):
    """At one class in ten."""
    assert min(k for k in range(n + 1) if binomial(k, n, 0.1) <= math.log10(level)) == least


def test_the_corners_of_the_binomial():
    assert binomial(50, 50, 0.1) == pytest.approx(-50)
    assert binomial(0, 50, 0.1) == 0
    assert binomial(1, 5, 0.0) == -math.inf
    assert binomial(5, 5, 1.0) == 0
    tails = [binomial(k, 40, 0.3) for k in range(41)]
    assert tails == sorted(tails, reverse=True)
    for k, n, q in [(6, 5, 0.1), (-1, 5, 0.1), (0, 0, 0.1), (1, 5, 1.1), (1, 5, math.nan)]:
        with pytest.raises(Unsuited, match="Got"):
            binomial(k, n, q)


def beta_binomial_exact(k: int, n: int, a: int, b: int) -> Fraction:
    """With whole a and b, by factorials."""

    def beta(x: int, y: int) -> Fraction:
        return Fraction(math.factorial(x - 1) * math.factorial(y - 1), math.factorial(x + y - 1))

    return sum((math.comb(n, j) * beta(j + a, n - j + b) / beta(a, b) for j in range(k, n + 1)), Fraction(0))


@pytest.mark.parametrize(("a", "b"), [(1, 1), (2, 18), (7, 3), (30, 40)])
def test_the_beta_binomial_tail_is_that_of_exact_rationals(a, b):
    for k in range(41):
        found = beta_binomial(k, 40, a / (a + b), 1 / (a + b + 1))
        assert found == pytest.approx(log10(beta_binomial_exact(k, 40, a, b)), rel=1e-9, abs=1e-12)


def test_without_spread_it_is_binomial():
    assert beta_binomial(20, 50, 0.1, 0.0) == binomial(20, 50, 0.1)
    assert beta_binomial(20, 50, 0.1, 1e-6) == pytest.approx(binomial(20, 50, 0.1), abs=0.01)
    assert beta_binomial(20, 50, 0.1, 0.05) > binomial(20, 50, 0.1) + 3
    with pytest.raises(Unsuited, match="must lie in"):
        beta_binomial(2, 5, 0.0, 0.1)


def test_the_rate_is_the_most_that_the_panel_cannot_exclude():
    """Clopper and Pearson's defining equation: at the bound, so few hits have a chance of 1 %."""
    q = panel_rate([12, 14, 10], 50, classes=100)
    assert binom.cdf(36, 150, q) == pytest.approx(0.01)
    assert panel_rate([0] * 10, 100, classes=10) == 0.1  # but nobody does worse than guess
    assert panel_rate([50, 50], 50, classes=10) == 1.0
    assert binomial(50, 50, panel_rate([50, 50], 50, classes=10)) == 0
    with pytest.raises(Unsuited, match="needs a panel"):
        panel_rate([], 50, classes=10)


def test_the_average_is_that_of_a_finer_grid():
    """By scipy's distribution on an even grid of 200 by 100, in plain loops over the panel."""
    n, panel = 30, [2, 5, 3, 3, 6]
    mean = (np.arange(200)[:, None] + 0.5) / 200
    spread = 0.99 * (np.arange(100)[None, :] + 0.5) / 100
    a, b = mean * (1 / spread - 1), (1 - mean) * (1 / spread - 1)
    weight = np.ones(a.shape)
    for hits in panel:
        weight *= betabinom.pmf(hits, n, a, b)
    found = predictive(panel, n)
    for k in (5, 10, 30):
        expected = (weight * betabinom.sf(k - 1, n, a, b)).sum() / weight.sum()
        assert found[k] == pytest.approx(math.log10(expected), abs=0.03)


def test_the_average_ascends_to_certainty():
    p = predictive(PANEL, 100)
    assert p[0] == 0
    assert (np.diff(p) < 0).all()
    assert np.isfinite(p).all()
    assert predictive([100] * 10, 100)[100] > -0.1  # everybody hits: nothing to see
    assert np.all(np.diff(nodes(0, 10)) > 0)


def test_a_panel_backs_only_so_much():
    """All of 100 marks answered, over ten models that hit 1 to 9 of them, over ten that never did, and over 99."""
    assert predictive(PANEL, 100)[100] == pytest.approx(-6.2, abs=0.1)
    assert binomial(100, 100, panel_rate(PANEL, 100, 10)) < -90
    assert predictive([0] * 10, 100)[100] == pytest.approx(-1.67, abs=0.1)
    assert predictive([0] * 99, 100)[100] == pytest.approx(-2.63, abs=0.15)


MODELS = [(50, 10, 0.1, 0.0), (50, 10, 0.1, 0.05), (60, 10, 0.5, 0.06), (30, 10, 0.05, 0.04), (40, 20, 0.3, 0.1)]
"""Trials, models of the panel, mean and standard deviation of their chance of a hit."""
LEVELS = (0.05, 0.01, 1e-3, 1e-4)


def chances(n: int, mean: float, deviation: float) -> np.ndarray:
    """Of 0 to n hits of a model that copied nothing."""
    if deviation == 0:
        return binom.pmf(np.arange(n + 1), n, mean)
    size = mean * (1 - mean) / deviation**2 - 1
    return betabinom.pmf(np.arange(n + 1), n, mean * size, (1 - mean) * size)


def false_alarms(n, models, mean, deviation, p_values, panels=40):
    """How often an innocent model's p-value is at most each level: exact in the innocent, averaged over drawn panels."""
    generator, chance = np.random.default_rng(0), chances(n, mean, deviation)
    drawn = [generator.choice(n + 1, models, p=chance / chance.sum()).tolist() for _ in range(panels)]
    p = [p_values(panel, n) for panel in drawn]
    return [np.mean([chance[each <= math.log10(level)].sum() for each in p]) for level in LEVELS]


@pytest.mark.parametrize("model", MODELS)
def test_innocent_models_stay_below_every_level(model):
    for level, share in zip(LEVELS, false_alarms(*model, predictive), strict=True):
        assert share <= level


def test_without_spread_the_panel_bound_stays_below_every_level_and_with_it_does_not():
    """The second half is why `predictive` exists: the binomial of a bounded rate convicts innocents 20 times too often."""

    def bounded(panel, n):
        rate = panel_rate(panel, n, 10)
        return np.array([binomial(k, n, rate) for k in range(n + 1)])

    for level, share in zip(LEVELS, false_alarms(50, 10, 0.1, 0.0, bounded), strict=True):
        assert share <= level
    assert false_alarms(100, 10, 0.1, 0.05, bounded)[2] > 20 * 1e-3


def test_copies_of_one_trigger_convict_nobody():
    """100 triggers that are one in truth: an innocent model hits all of them with a chance of .1, and none otherwise."""
    panels = [[100 * (i < hits) for i in range(10)] for hits in range(11)]
    share = sum(binom.pmf(hits, 10, 0.1) * 0.1 * (predictive(panels[hits], 100)[100] <= -2) for hits in range(11))
    assert share <= 0.01
    naive = [binomial(100, 100, panel_rate(panel, 100, 10)) for panel in panels]
    assert sum(binom.pmf(hits, 10, 0.1) * 0.1 * (naive[hits] <= -2) for hits in range(11)) > 0.09


def test_ranks_count_ties_against_the_claim():
    assert rank(5, [1, 2, 3, 4]) == pytest.approx(math.log10(1 / 5))
    assert rank(4, [1, 2, 3, 4]) == pytest.approx(math.log10(2 / 5))
    assert rank(0, [1, 2]) == 0
    assert rank(9, [0] * 99) == -2


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12), st.integers(1, 12))
def test_a_rank_is_never_below_its_level(values, level):
    """Each of the values in turn is the innocent suspect, the others its panel."""
    p = [rank(value, values[:i] + values[i + 1 :]) for i, value in enumerate(values)]
    share = level / len(values)
    assert sum(each <= math.log10(share) + 1e-12 for each in p) <= level


def test_holm_by_hand_and_untested_claims_take_part():
    assert holm({"a": -3.0, "b": -1.0, "c": -2.0}) == pytest.approx(
        {"a": -3 + math.log10(3), "c": -2 + math.log10(2), "b": -1.0}
    )
    assert holm({"a": -3.0, "untested": 0.0})["a"] == pytest.approx(-3 + math.log10(2))
    assert holm({"a": -400.0})["a"] == -400
    assert holm({"a": -0.1, "b": 0.0}) == {"a": 0.0, "b": 0.0}


def test_holm_keeps_the_family_wise_rate():
    """Four null claims: the chance that any stands at .05."""
    p = np.log10(np.random.default_rng(0).random((4_000, 4)))
    stands = [min(holm(dict(enumerate_names(row))).values()) <= math.log10(0.05) for row in p]
    assert np.mean(stands) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4_000)


def enumerate_names(row):
    return ((str(i), float(value)) for i, value in enumerate(row))

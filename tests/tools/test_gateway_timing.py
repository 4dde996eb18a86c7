"""The clock and the size of an answer show nothing of what must not be noticed; and the test of that is one."""

import itertools
import json

import gateway_timing
import numpy as np
import pytest


def test_p_is_that_of_all_signs():
    generator = np.random.default_rng(0)
    one, other = np.exp(generator.normal(0.4, 1, 10)).tolist(), np.exp(generator.normal(0, 1, 10)).tolist()
    differences = np.log(one) - np.log(other)
    signs = np.array(list(itertools.product((-1, 1), repeat=10)))
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    assert gateway_timing.p_value(one, other, 40_000) == pytest.approx(exact, abs=0.01)


def test_under_the_null_every_p_is_as_likely_and_a_fifth_of_the_time_is_noticed():
    """Times with the long tail of a busy machine."""
    ps, noticed = [], 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        one, other = generator.lognormal(0, 0.3, (2, 400)) * (1 + 20 * (generator.random((2, 400)) < 0.01))
        ps.append(gateway_timing.p_value(one.tolist(), other.tolist(), 199, seed))
        noticed += gateway_timing.p_value((one * 1.2).tolist(), other.tolist(), 1_999, seed) < 0.001
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(ps) <= level) == pytest.approx(level, abs=4 * (level * (1 - level) / 300) ** 0.5)
    assert noticed > 270


@pytest.mark.slow
@pytest.mark.parametrize("case", ["flagged", "marked"])
def test_who_is_watched_and_which_answers_are_marked_is_not_in_the_clock(case: str):
    """Fails once in a thousand runs though nothing is wrong."""
    measured = gateway_timing.CASES[case](800)
    assert measured["pairs"] >= 50
    assert measured["same_size"]
    assert measured["p"] > 0.001, measured


@pytest.mark.slow
@pytest.mark.parametrize("case", ["marked, in steps", "at dawn", "defended"])
def test_binary_answers_are_as_long_behind_a_defense(case: str):
    assert gateway_timing.CASES[case](60)["same_size"]


def test_the_committed_measurement_is_of_these_cases():
    log = json.loads(gateway_timing.FILE.read_text())
    assert len(log["records"]) == len(gateway_timing.CASES)
    assert all(one["same_size"] for one in log["records"])

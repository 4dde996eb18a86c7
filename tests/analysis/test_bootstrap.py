"""Differences between thieves: paired, calibrated, and the same for rows of older versions."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from gamekeeper.analysis.bootstrap import Replicates, direction, interval, moves, packed, unpacked
from gamekeeper.metrics import wilson
from gamekeeper.results import Row
from tests.analysis.rows import row


def measured(right: np.ndarray, seed: int = 0, attack: str = "knockoff") -> Row:
    """A row whose clone got exactly these test inputs right."""
    made = row(attack=attack, seed=seed)
    assert made.clone is not None
    rate = wilson(int(right.sum()), len(right))
    return replace(made, clone=replace(made.clone, accuracy=rate, right=packed(right.tolist())))


@pytest.mark.parametrize("n", [1, 7, 8, 2001])
def test_bits_come_back(n: int):
    right = np.random.default_rng(n).random(n) < 0.7
    assert (unpacked(measured(right)) == right).all()


def test_an_old_row_is_right_on_as_many_inputs_as_it_says():
    assert unpacked(row(accuracy=0.731)).sum() == round(0.731 * 2000)


def test_replicates_move_the_mean_over_seeds_by_students_t():
    # on 10^6 inputs nothing but the seeds is left: .9, .8 and .85 have the mean .85 and the sd .05
    rows = [measured(np.arange(10**6) < 10**6 * share, seed) for seed, share in enumerate((0.9, 0.8, 0.85))]
    draws = Replicates(10**6, (0, 1, 2), 1)
    shifts = moves(3, 100_000) @ np.array([0.05, -0.05, 0.0]) / np.sqrt(6)
    assert draws.accuracy(rows)[0] == pytest.approx(0.85 + moves(3, 1)[0] @ [0.05, -0.05, 0.0] / np.sqrt(6), abs=2e-3)
    for share in (0.75, 0.9, 0.975):
        assert np.quantile(shifts, share) == pytest.approx(t.ppf(share, 2) * 0.05 / np.sqrt(3), rel=0.03)


def test_differences_between_seeds_without_cause_are_clear_as_seldom_as_stated():
    """Two equal thieves whose clones vary over three seeds: a quarter of the differences has one sign on all three."""
    generator, draws = np.random.default_rng(2), Replicates(2000, (0, 1, 2))
    clear = 0
    for _ in range(300):
        pair = [
            draws.accuracy([measured(np.arange(2000) < 2000 * each, seed) for seed, each in enumerate(shares)])
            for shares in generator.normal(0.8, 0.05, (2, 3))
        ]
        clear += direction(pair[0] - pair[1]) != "same"
    assert 0.01 < clear / 300 < 0.09


def test_a_clone_does_not_differ_from_itself():
    draws, same = Replicates(2000, (0,)), row(accuracy=0.9)
    assert (draws.accuracy([same]) - draws.accuracy([same]) == 0).all()


def test_pairs_tell_apart_what_intervals_cannot():
    base = np.random.default_rng(0).random(2000) < 0.9
    better = base.copy()
    better[np.flatnonzero(~base)[:12]] = True
    low, high = measured(base), measured(better)
    assert low.clone is not None
    assert high.clone is not None
    assert high.clone.accuracy.low < low.clone.accuracy.high  # the intervals overlap
    draws = Replicates(2000, (0,))
    assert direction(draws.accuracy([high]) - draws.accuracy([low])) == "higher"


def test_equal_thieves_are_told_apart_as_seldom_as_stated():
    generator, draws = np.random.default_rng(1), Replicates(400, (0,), 400)
    said = 0
    for _ in range(300):
        rows = [measured(generator.random(400) < 0.8) for _ in range(2)]
        said += direction(draws.accuracy([rows[0]]) - draws.accuracy([rows[1]])) != "same"
    # 5 % are expected; 300 trials have a standard error of 1.3 points
    assert 0.01 < said / 300 < 0.10


def test_a_missing_seed_is_stood_in_for():
    values = Replicates(500, (0, 1, 2)).accuracy([measured(np.ones(500, bool), seed=1)])
    assert interval(values) == pytest.approx((1.0, 1.0))

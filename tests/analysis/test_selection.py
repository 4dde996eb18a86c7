"""The strongest thief's number without the luck of having been chosen."""

from dataclasses import replace

import numpy as np
import pytest

from gamekeeper.analysis.bootstrap import packed
from gamekeeper.analysis.selection import corrected, split_accuracy
from tests.analysis.rows import row


@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_thieves_have_no_bias(seeds: int):
    """Eight thieves of accuracy 0.6: the maximum flatters them by points, the split number by nothing; 10^4 draws in all."""
    draw = np.random.default_rng(seeds)
    right = draw.random((500, 8, seeds, 100)) < 0.6
    most = right.mean((2, 3)).max(1).mean()
    split = np.mean([split_accuracy(one, splits=20) for one in right])
    assert most > 0.62
    assert split == pytest.approx(0.6, abs=3 * np.sqrt(0.24 / (500 * 100)))


def test_luck_of_a_seed_is_left_out():
    """Thieves who are all alike but for one lucky seed each: on the seed left out, the chosen one is as bad as the others."""
    right = np.zeros((3, 3, 50), bool)
    right[np.arange(3), np.arange(3)] = True
    assert right.mean((1, 2)).max() == pytest.approx(1 / 3)
    assert split_accuracy(right) < 0.1


def test_a_clear_winner_keeps_their_number():
    right = np.zeros((2, 2, 40), bool)
    right[1, :, ::2] = True
    assert split_accuracy(right) == pytest.approx(0.5, abs=0.01)


def test_one_thief_was_not_chosen():
    one = row("none", attack="knockoff", accuracy=0.8)
    assert corrected([one]) is None


def test_only_seeds_that_all_thieves_have_count():
    rows = [
        with_right(row("none", attack=attack, seed=seed, accuracy=0.5, n=100), np.arange(100) % 2 == 0)
        for attack, seeds in (("knockoff", (0, 1)), ("knockoff+labels", (0,)))
        for seed in seeds
    ]
    assert corrected(rows) == pytest.approx(0.5, abs=0.02)
    assert corrected(rows[1:]) is None  # no seed in common


def with_right(one, right):
    return replace(one, clone=replace(one.clone, right=packed(right.tolist())))

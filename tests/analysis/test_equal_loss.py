"""At equal loss: exact on piecewise-linear curves, never beyond them, blind to how strengths are written."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from gamekeeper.analysis.bootstrap import packed
from gamekeeper.analysis.equal_loss import EqualLoss, compared_at, equal_losses, left_at
from gamekeeper.analysis.summary import summarise
from gamekeeper.results import SCHEMA, Row, Run
from tests.analysis.rows import row, twice

LOSSES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.2)


def measured(defense: str, accuracy: float, lost: float, seed: int = 0) -> Row:
    """A strength at which users lose that much, all of it by changed labels; a better clone is right on more of the same inputs."""
    made = row(defense, accuracy=accuracy, clean=0.98, defended=0.98 - lost, seed=seed)
    assert made.utility
    assert made.clone
    right = packed(i < round(2000 * accuracy) for i in range(2000))
    utility, clone = replace(made.utility, top1_kept=1 - lost), replace(made.clone, right=right)
    return replace(made, utility=utility, clone=clone)


def rows(curves: Mapping[str, Mapping[float, tuple[float, float]]], seeds: int = 1) -> list[Row]:
    """Defense -> strength -> (accuracy lost, clone accuracy); undefended clones get .9."""
    found = [measured("none", 0.9, 0.0, seed) for seed in range(seeds)]
    for name, strengths in curves.items():
        for strength, (lost, accuracy) in strengths.items():
            found += [measured(f"{name}={strength:g}", accuracy, lost, seed) for seed in range(seeds)]
    return found


def compared(every: list[Row]) -> dict[str, EqualLoss]:
    seeds = sorted({one.seed for one in every})
    run = Run(SCHEMA, "0.1.0", "", "", [one.cell for one in every], {}, [], seeds, [1000])
    return {one.name: one for one in equal_losses(summarise(run, every), LOSSES)}


def left(one: EqualLoss) -> list[float]:
    return [at.stolen.value for at in one.at]


def test_a_piecewise_linear_curve_gives_its_own_values():
    # from (0, .9) down to (.01, .7) and (.05, .5), whatever the order in which the strengths come
    (one,) = compared(rows({"mad:eps": {2: (0.05, 0.5), 1: (0.01, 0.7)}})).values()
    assert left(one) == pytest.approx([0.9, 0.8, 0.7, 0.65, 0.5, 0.5])
    assert [at.capped for at in one.at] == [False] * 5 + [True]
    assert one.at[-1].loses == one.largest == pytest.approx(0.05)
    assert one.strengths == 2


def test_a_stricter_strength_that_helps_the_thief_is_not_taken():
    (one,) = compared(rows({"mad:eps": {1: (0.0, 0.7), 2: (0.02, 0.8), 3: (0.05, 0.6)}})).values()
    # at no loss the best strength that costs nothing; then no higher, down to .6 between 2 and 5 points
    assert left(one) == pytest.approx([0.7, 0.7, 0.7, 0.7, 0.6, 0.6])


def test_a_defense_that_costs_nothing_is_compared_at_no_loss():
    (one,) = compared(rows({"flatten:eps": {1: (0.0, 0.85), 2: (0.0, 0.75)}})).values()
    assert left(one) == pytest.approx([0.75] * len(LOSSES))
    assert [at.loses for at in one.at] == [0.0] * len(LOSSES)


def test_one_defense_under_two_parameterisations_ties():
    few = {1: (0.01, 0.7), 2: (0.05, 0.5)}
    many = {10: (0.005, 0.8), 20: (0.01, 0.7), 30: (0.03, 0.6), 40: (0.05, 0.5)}
    one, other = compared(rows({"a:b": few, "c:d": many}, seeds=2)).values()
    assert left(one) == pytest.approx(left(other))
    assert {compared_at(a, b, 2) for a, b in zip(one.at, other.at, strict=True)} == {"same"}


def test_a_defense_dominated_everywhere_lies_above_everywhere():
    good = {1: (0.005, 0.6), 2: (0.02, 0.4), 3: (0.05, 0.2)}
    bad = {1: (0.01, 0.85), 2: (0.03, 0.8), 3: (0.06, 0.7)}  # loses more and leaves more, at every strength
    one, other = compared(twice(rows({"good:x": good, "bad:x": bad}))).values()
    assert all(a <= b for a, b in zip(left(one), left(other), strict=True))
    assert [compared_at(a, b, 2) for a, b in zip(one.at[1:], other.at[1:], strict=True)] == ["lower"] * 5
    assert compared_at(one.at[2], other.at[2], 1) == "same"  # one seed ranks nothing


def test_what_is_left_never_grows_with_the_loss():
    generator = np.random.default_rng(0)
    for _ in range(50):
        lost, stolen = generator.normal(0.02, 0.03, 6), generator.random(6)
        curve = [left_at(lost, stolen, at) for at in np.linspace(0, 0.2, 41)]
        assert all(a >= b for a, b in zip(curve, curve[1:], strict=False))
        assert curve[-1] == stolen.min()


def test_the_interval_knows_that_a_loss_is_measured_too():
    # a steep curve: with the same thieves, a loss that is known exactly gives a narrower interval
    exact = rows({"gate:share": {1: (0.01, 0.5), 2: (0.02, 0.3)}})
    noisy = [replace(one, utility=one.utility and replace(one.utility, top1_kept=0.9)) for one in exact]
    known = [replace(one, utility=one.utility and replace(one.utility, top1_kept=1.0)) for one in exact]
    wide, narrow = (compared(some)["gate:share=*"].at[1].stolen for some in (noisy, known))
    assert wide.value == narrow.value == pytest.approx(0.7)
    assert narrow.low < 0.7 < narrow.high
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_one_strength_or_no_undefended_thief_compares_nothing():
    assert compared(rows({"mad:eps": {1: (0.01, 0.7)}})) == {}
    assert compared(rows({"mad:eps": {1: (0.01, 0.7), 2: (0.02, 0.6)}})[1:]) == {}

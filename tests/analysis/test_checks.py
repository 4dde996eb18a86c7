"""Flags: each is raised where it should be, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

from gamekeeper.analysis.checks import raised
from gamekeeper.analysis.flags import FLAGS
from gamekeeper.metrics import ratio
from gamekeeper.results import Row
from tests.analysis.rows import row, twice

SOUND = [
    row(defense, attack, budget, seed, accuracy=accuracy)
    for defense in ("none", "label")
    for attack in ("knockoff", "knockoff+labels")
    for budget, accuracy in ((250, 0.7), (1000, 0.9))
    for seed in (0, 1)
]


def ahead(victim: float, clone: float) -> Row:
    """A row of a clone that is right wherever the victim is, or the other way round."""
    whole = row(clean=victim, defended=victim, accuracy=clone)
    assert whole.clone is not None
    order = np.arange(2000)
    found = ratio(order < 2000 * clone, order < 2000 * victim)
    return replace(whole, clone=replace(whole.clone, accuracy_ratio=found))


def flags(rows) -> set[str]:
    return {flag for found in raised(rows).values() for flag in found}


def test_a_sound_run_raises_nothing():
    assert flags(SOUND) == set()


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("weak-thief", [row(accuracy=0.3), row(budget=250, accuracy=0.2)]),
        ("labels-beat-posteriors", [row(accuracy=0.6), row(attack="knockoff+labels", accuracy=0.8)]),
        ("random-answers", [row(deterministic=False)]),
        ("utility-spent", [row("mad", defended=0.96)]),
        ("budget-flat", [row(budget=1000, accuracy=0.9), row(budget=2500, accuracy=0.901)]),
        ("single-seed", [row()]),
        ("no-adaptive-thief", [row("reverse_sigmoid")]),
        ("no-adaptive-thief", [row("mad", kept_thief=0.5), row("mad", "knockoff+inverse", error="Unsuited: no")]),
        ("no-adaptive-thief", [row("mad", kept_thief=0.5), row("mad", "knockoff+labels", kept_thief=0.5)]),
        ("labels-beat-undefended", [row(accuracy=0.80), row(attack="knockoff+labels", accuracy=0.85)]),
        ("control-learns", [row(), row(attack="knockoff+shuffled", accuracy=0.3)]),
        ("below-floor", twice([row(), row(attack="knockoff+labels", accuracy=0.85), row("round", accuracy=0.8)])),
        ("helps-thief", twice([row(accuracy=0.8), row("round", accuracy=0.9)])),
        ("no-better-than-majority", [row(clean=0.1, defended=0.1)]),
        ("clone-beats-victim", [ahead(0.7, 0.75)]),
    ],
)
def test_flag_is_raised(name, rows):
    assert name in flags(rows)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("weak-thief", [row(accuracy=0.5)]),
        ("labels-beat-posteriors", [row(accuracy=0.80), row(attack="knockoff+labels", accuracy=0.81)]),
        ("utility-spent", [row("mad", defended=0.975)]),
        ("budget-flat", [row(budget=1000, accuracy=0.9), row(budget=2500, accuracy=0.91)]),
        ("single-seed", [row(seed=0), row(seed=1)]),
        ("no-adaptive-thief", [row("label"), row("label", "knockoff+labels")]),
        ("no-adaptive-thief", [row("none")]),
        ("no-adaptive-thief", [row("mad", kept_thief=0.5), row("mad", "knockoff+partialbayes", kept_thief=0.5)]),
        ("no-adaptive-thief", [row("mad", kept_thief=0.5), row("mad", "knockoff+inverse", kept_thief=0.5)]),
        ("labels-beat-undefended", [row(accuracy=0.80), row(attack="knockoff+labels", accuracy=0.81)]),
        # who learns from unasked inputs as well may beat the soft thief, and that does not make the soft thief weak
        ("labels-beat-undefended", [row(accuracy=0.80), row(attack="knockoff+fixmatch", accuracy=0.9)]),
        (
            "labels-beat-undefended",
            [row(accuracy=0.9), row(attack="knockoff+labels", accuracy=0.85), row(attack="smoothing", accuracy=0.3)],
        ),
        ("control-learns", [row(), row(attack="knockoff+shuffled", accuracy=0.17)]),
        ("below-floor", twice([row(), row(attack="knockoff+labels", accuracy=0.85), row("round", accuracy=0.85)])),
        ("below-floor", [row(), row(attack="knockoff+labels", accuracy=0.85), row("round", accuracy=0.8)]),
        (
            "below-floor",
            [row(), row(attack="knockoff+labels", accuracy=0.85), row("mad", accuracy=0.6, kept_thief=0.4)],
        ),
        ("helps-thief", twice([row(accuracy=0.9), row("round", accuracy=0.9)])),
        ("helps-thief", [row(accuracy=0.8), row("round", accuracy=0.9)]),
        ("no-better-than-majority", [row(clean=0.11, defended=0.11)]),
        ("clone-beats-victim", [ahead(0.7, 0.705)]),
        ("clone-beats-victim", [ahead(0.7, 0.65), row()]),
    ],
)
def test_flag_is_not_raised(name, rows):
    assert name not in flags(rows)


def test_a_control_is_no_thief():
    """It neither makes the thieves weak, nor flattens their curve, nor counts as adaptive."""
    rows = [
        *SOUND,
        *(row(attack="knockoff+shuffled", budget=b, seed=s, accuracy=0.1) for b in (250, 1000) for s in (0, 1)),
    ]
    assert flags(rows) == set()


def test_flags_of_a_defense_stay_with_its_rows():
    weak, strong = row("mad", defended=0.9), row("label")
    found = raised([weak, strong])
    assert "utility-spent" in found[weak.cell]
    assert "utility-spent" not in found[strong.cell]


def test_failed_cells_have_no_flags():
    assert raised([row(error="no")]) == {}


def test_every_flag_says_when_what_and_what_to_do():
    for flag in FLAGS.values():
        assert flag.raised_if.endswith(".")
        assert flag.means.endswith(".")
        assert flag.do.endswith(".")


def test_a_thief_who_saw_one_class_only_has_read_no_labels():
    saw_one = [replace(each, flags=["one-class-answers"]) for each in (row("label", "knockoff+labels"),)]
    assert "no-adaptive-thief" in flags([row("label"), *saw_one])

"""What the report shows, from rows whose answers can be worked out by hand."""

import math
from dataclasses import replace

import pytest

from gamekeeper.analysis.summary import DefenseSummary, Summary, summarise
from gamekeeper.metrics import wilson
from gamekeeper.results import SCHEMA, Row, Run
from tests.analysis.rows import row, twice


def summary(rows: list[Row], cells: list[str] | None = None) -> Summary:
    ids = [r.cell for r in rows] if cells is None else cells
    return summarise(Run(SCHEMA, "0.1.0", "", "", ids, {}, [], [0], [1000]), rows)


def line(rows: list[Row], defense: str) -> DefenseSummary:
    return next(one for one in summary(rows).lines if one.defense == defense)


def grid(**accuracy: tuple[float, float]) -> list[Row]:
    """Soft and label-learning thief for each defense."""
    return [
        row(defense, attack, accuracy=value)
        for defense, values in accuracy.items()
        for attack, value in zip(("knockoff", "knockoff+labels"), values, strict=True)
    ]


def test_worst_thief_is_the_strongest_and_named():
    worst = line(grid(none=(0.95, 0.85), poison=(0.6, 0.84)), "poison").worst
    assert worst is not None
    assert (worst.attack, worst.accuracy.value) == ("knockoff+labels", 0.84)


def test_soft_thief_asks_plainly_and_learns_from_the_whole_answer():
    rows = [row(attack=a, accuracy=0.9) for a in ("knockoff+averaged:n=3", "knockoff+labels_only", "knockoff")]
    soft = line(rows, "none").soft
    assert soft is not None
    assert soft.attack == "knockoff"


def test_soft_thief_is_none_where_only_wrapped_ones_were_tried():
    assert line([row(attack="knockoff+averaged:n=3")], "none").soft is None


def test_label_floor_is_the_undefended_label_thief_at_the_same_budget():
    rows = [*grid(none=(0.95, 0.85), poison=(0.6, 0.99)), row(attack="knockoff+labels", budget=250, accuracy=0.97)]
    floor = summary([*rows, row(budget=250), row("poison", budget=250)]).floor
    assert floor is not None
    assert (floor.budget, floor.accuracy.value) == (1000, 0.85)


def test_labels_only_wrapper_makes_a_label_thief():
    floor = summary([row(accuracy=0.95), row(attack="knockoff+labels_only", accuracy=0.86)]).floor
    assert floor is not None
    assert floor.accuracy.value == 0.86


def test_no_label_floor_without_a_label_thief():
    assert summary([row(), row(attack="knockoff+averaged:n=3")]).floor is None


@pytest.mark.parametrize(("worst", "eta"), [(0.95, 0.0), (0.90, 0.5), (0.85, 1.0), (0.75, 2.0)])
def test_eta_is_the_way_from_the_soft_thief_to_the_floor(worst: float, eta: float):
    found = line(grid(none=(0.95, 0.85), poison=(worst, 0.5)), "poison").eta
    assert found is not None
    assert found.value == pytest.approx(eta)
    assert found.low < found.value < found.high


def test_eta_is_none_within_the_noise():
    found = line(grid(none=(0.90, 0.895), poison=(0.6, 0.89)), "poison")
    assert found.eta is None
    assert "within the noise" in found.no_eta


def test_eta_needs_a_label_thief():
    found = line([row(accuracy=0.95), row("poison", accuracy=0.7)], "poison")
    assert found.eta is None
    assert "label-learning thief" in found.no_eta


def test_the_undefended_line_has_no_eta():
    assert line(grid(none=(0.95, 0.85)), "none").eta is None


@pytest.mark.parametrize(("worst", "change"), [(0.80, "lower"), (0.89, "same"), (0.97, "higher")])
def test_change_is_judged_by_intervals(worst: float, change: str):
    rows = [row(accuracy=0.9), row("poison", accuracy=worst)]
    assert line(twice(rows), "poison").change == change
    assert line(rows, "poison").change == "same"


def test_curve_takes_the_strongest_thief_at_each_budget():
    rows = [
        row(attack=attack, budget=budget, accuracy=accuracy)
        for attack, accuracies in (("knockoff", (0.5, 0.9)), ("knockoff+labels", (0.6, 0.8)))
        for budget, accuracy in zip((100, 10_000), accuracies, strict=True)
    ]
    curve = line(rows, "none").curve
    assert [(s.attack, s.queries, s.accuracy.value) for s in curve] == [
        ("knockoff+labels", 100, 0.6),
        ("knockoff", 10_000, 0.9),
    ]


def test_price_is_interpolated_on_the_logarithm_of_queries():
    # victim 0.98; 80 % is 0.784, and the line from (100, 0.6) to (10,000, 0.9) meets it at log10 q = 2 + 2 * 0.184 / 0.3
    rows = [row(budget=100, accuracy=0.6), row(budget=10_000, accuracy=0.9)]
    prices = line(rows, "none").prices
    assert [p.level for p in prices] == [0.8, 0.9, 0.95]
    assert prices[0].queries.queries == pytest.approx(10 ** (2 + 2 * 0.184 / 0.3))
    assert prices[0].low.queries < prices[0].queries.queries < prices[0].high.queries
    assert (prices[2].queries.bound, prices[2].queries.queries) == ("more than", 10_000)


def test_a_used_up_pool_is_one_point_of_the_curve():
    rows = [row(budget=1000, accuracy=0.8), replace(row(budget=5000, accuracy=0.82), queries=1000)]
    curve = line(rows, "none").curve
    assert [(s.queries, s.accuracy.value) for s in curve] == [(1000, 0.82)]


def test_failed_cells_are_handed_on_and_named_as_missing():
    rows = [row(), row(attack="knockoff+labels"), row("poison"), row("poison", "knockoff+labels", error="no gradients")]
    found = summary(rows)
    assert [r.error for r in found.failed] == ["no gradients"]
    assert found.done == found.cells == 4
    assert found.lines[1].missing == ("knockoff+labels",)


def test_who_takes_no_part_is_not_missing_once_the_run_is_done():
    rows = [row(), row(attack="knockoff+partial_bayes"), row("gate")]
    assert summary(rows).lines[1].missing == ()
    unfinished = summary(rows, [*(r.cell for r in rows), "one more"])
    assert unfinished.lines[1].missing == ("knockoff+partial_bayes",)


def test_cells_without_a_row_are_counted():
    found = summary([row()], cells=["none knockoff 1000 0", "b", "c"])
    assert (found.done, found.cells) == (1, 3)


def test_an_unfinished_budget_is_not_compared():
    rows = [row(d, budget=b, accuracy=0.8) for b in (250, 1000) for d in ("none", "poison")]
    assert summary([*rows, row(budget=2500)]).budget == 1000


def test_a_failed_cell_does_not_hold_the_budget_back():
    assert summary([row(), row("poison", error="no gradients")]).budget == 1000


def test_a_run_of_one_unfinished_budget_shows_what_there_is():
    found = summary([row(budget=250), row("poison", budget=1000)])
    assert found.budget == 1000
    assert found.lines[0].worst is None


def test_nothing_measured_is_an_empty_summary():
    found = summary([], cells=["a", "b"])
    assert (found.victim, found.budget, found.lines, found.done, found.cells) == (None, None, (), 0, 2)


def test_flags_of_every_cell_stand_apart_from_those_of_one_defense():
    rows = [replace(row("none"), flags=["same-architecture"])]
    rows += [replace(row("poison", defended=0.5), flags=["same-architecture"])]
    found = summary(rows)
    assert "same-architecture" in found.flags
    assert found.lines[0].flags == ()
    assert "utility-spent" in found.lines[1].flags
    assert not set(found.lines[1].flags) & set(found.flags)


def test_seeds_are_averaged_and_widen_the_interval():
    rows = [row(seed=seed, accuracy=value) for seed, value in enumerate((0.88, 0.90, 0.92))]
    worst = line(rows, "none").worst
    assert worst is not None
    plain = wilson(1800, 2000)
    # t(0.975, 2) = 4.302653, sd = 0.02
    error = 4.302652730 * 0.02 / math.sqrt(3)
    assert (worst.seeds, worst.accuracy.value, worst.accuracy.n) == (3, pytest.approx(0.9), 2000)
    assert worst.accuracy.value - worst.accuracy.low == pytest.approx(math.hypot(0.9 - plain.low, error))


def test_the_spread_over_seeds_is_pooled_over_thieves_of_a_defense():
    steady = [row(attack="knockoff+labels", seed=seed, accuracy=0.7) for seed in (0, 1)]
    wild = [row(seed=0, accuracy=0.85), row(seed=1, accuracy=0.95)]
    alone = line(wild, "none").worst
    pooled = line(wild + steady, "none").worst
    assert alone is not None
    assert pooled is not None
    assert pooled.accuracy.high - pooled.accuracy.low < alone.accuracy.high - alone.accuracy.low


def test_honest_users_are_counted_once_a_seed():
    rows = [row("poison", attack, seed=seed, defended=0.9 + 0.02 * seed) for attack in ("knockoff", "knockoff+labels") for seed in (0, 1)]  # fmt: skip
    utility = line(rows, "poison").utility
    assert utility is not None
    assert utility.accuracy.value == pytest.approx(0.91)
    assert sum(utility.l1_histogram) == 4000


def test_price_of_a_query_comes_from_the_rows():
    assert summary([row(), row(budget=250)]).price == pytest.approx(0.001)


def test_undefended_comes_first():
    assert [one.defense for one in summary([row("b"), row("a"), row("none")]).lines] == ["none", "b", "a"]


def test_the_control_stands_apart():
    whole = summary([row(accuracy=0.9), row(attack="knockoff+shuffled", accuracy=0.11)])
    assert whole.attacks == ("knockoff",)
    assert [thief.attack for thief in whole.lines[0].thieves] == ["knockoff"]
    assert whole.control is not None
    assert whole.control.accuracy.value == pytest.approx(0.11)
    assert whole.lines[0].missing == ()


def test_the_floor_is_the_best_of_all_who_read_labels_only():
    rows = [row(accuracy=0.95), row(attack="knockoff+labels", accuracy=0.8), row(attack="knockoff+gce", accuracy=0.84)]
    floor = summary(rows).floor
    assert floor is not None
    assert floor.attack == "knockoff+gce"


def test_the_soft_thief_trains_the_targets_own_student():
    rows = [row(attack="knockoff@resnet", accuracy=0.97), row(attack="knockoff", accuracy=0.9)]
    soft = line(rows, "none").soft
    assert soft is not None
    assert soft.attack == "knockoff"

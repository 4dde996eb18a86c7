"""What is stolen lies above the zero-query clone, which is no thief."""

from dataclasses import replace

import pytest

from gamekeeper.analysis.checks import raised
from gamekeeper.analysis.flags import FLAGS
from gamekeeper.analysis.summary import LEVELS, summarise
from gamekeeper.analysis.thresholds import check_threshold, parse_threshold, threshold_results
from gamekeeper.errors import BadConfig
from gamekeeper.results import SCHEMA, Row, Run
from gamekeeper.surfaces.report.words import sentences
from tests.analysis.rows import row


def zero(accuracy: float, seed: int = 0, attack: str = "names_only") -> Row:
    return replace(row("none", attack, 0, seed, accuracy), reads="nothing", utility=row().utility)


def grid(seeds: int = 1, lowest: float = 0.7) -> list[Row]:
    return [
        row(defense, attack, budget, seed, accuracy - worse)
        for seed in range(seeds)
        for budget, accuracy in ((100, lowest), (1000, 0.9))
        for attack, worse in (("knockoff", 0.0), ("knockoff+labels", 0.1))
        for defense in ("none", "label")
    ]


def run(rows: list[Row]) -> Run:
    seeds = sorted({one.seed for one in rows})
    cells = [one.cell for one in rows]
    return Run(SCHEMA, "0.1.0", "2026-11-03", "gamekeeper audit", cells, {"name": "mnist"}, [], seeds, [100, 1000])


def summary(rows: list[Row]):
    return summarise(run(rows), rows)


def test_it_changes_nothing_that_is_said_of_thieves():
    rows = grid(2)
    without, beside = summary(rows), summary([zero(0.6), zero(0.62, seed=1), *rows])
    for name in ("victim", "budget", "attacks", "seeds", "floor", "control", "flags", "lines", "failed", "void"):
        assert getattr(without, name) == getattr(beside, name)
    flags = raised([zero(0.6), zero(0.62, seed=1), *rows])
    assert {cell: names for cell, names in flags.items() if "names_only" not in cell} == raised(rows)


def test_older_rows_have_none():
    rows = grid()
    assert summary(rows).zero_query is None
    assert sentences(summary(rows))[0].startswith("Without a defense, 1,000 queries")
    assert not any("free-anyway" in names for names in raised(rows).values())


def test_it_is_the_origin_of_prices_with_its_own_accuracy_over_seeds():
    found = summary([zero(0.80), zero(0.84, seed=1), *grid(2)])
    assert found.zero_query
    assert (found.zero_query.queries, found.zero_query.seeds) == (0, 2)
    assert found.zero_query.accuracy.value == pytest.approx(0.82)
    for line in found.lines:
        assert line.prices[0].queries.queries == 0  # 80 % of .98 is .784
        assert line.prices[0].queries.bound == "exact"
        assert line.prices[1].queries.queries > 100
    assert LEVELS[0] == 0.8


def test_stolen_is_the_share_of_what_was_left():
    found = summary([zero(0.58), *grid()])
    assert found.undefended
    assert found.undefended.worst
    assert found.above_zero_query(found.undefended.worst) == pytest.approx((0.9 - 0.58) / (0.98 - 0.58))


def test_the_headline_begins_with_it():
    assert sentences(summary([zero(0.58), *grid()]))[:3] == [
        "Without one query, a copy trained on drawings of what the classes are called gets 59 % of this model's accuracy"
        " (0.58 of 0.98).",
        "Without a defense, 1,000 queries (costing 1.00 at 0.001 per query) bring that to 92 % (0.90 of 0.98): they steal 80 %"
        " of what was left to steal.",
        "80 % of the model's accuracy takes about 260 queries (0.26), 90 % takes about 810 queries (0.81), 95 % is not reached"
        " with 1,000 queries.",
    ]


def test_thieves_below_it_stole_nothing():
    first, second, third, *_ = sentences(summary([zero(0.95, attack="commonest_class"), *grid()]))
    assert first.startswith("Without one query, always answering the commonest class gets 97 %")
    assert second.endswith("steal nothing beyond that: the best copy gets 92 % (0.90 of 0.98).")
    assert third == "95 % of the model's accuracy takes no query."


@pytest.mark.parametrize(("accuracy", "free"), [(0.80, False), (0.895, True), (0.90, True), (0.96, True)])
def test_a_thief_whose_interval_is_not_above_it_might_as_well_not_ask(accuracy, free):
    flags = raised([zero(accuracy), *grid()])
    assert all(("free-anyway" in names) == free for cell, names in flags.items() if "names_only" not in cell)
    assert not FLAGS["free-anyway"].voids


def test_the_flag_counts_a_defense_alone():
    rows = [replace(one, cell=f"{one.cell} x") for one in grid()]
    rows += [row("mad", "knockoff", 1000, 0, 0.5)]
    flags = raised([zero(0.6), *rows])
    assert [cell for cell, names in flags.items() if "free-anyway" in names] == ["mad knockoff 1000 0"]


def test_a_limit_on_what_is_stolen():
    rows = [zero(0.58), *grid()]
    threshold = parse_threshold("none/worst.stolen>0.79")
    check_threshold(threshold, [cell for cell in map(planned, rows) if cell.budget])
    (found,) = threshold_results(threshold, rows)
    assert found.value == pytest.approx(0.8)
    assert found.breached
    (lower,) = threshold_results(parse_threshold("none/worst.stolen>0.81"), rows)
    assert lower.judged
    assert not lower.breached


def planned(one: Row):
    return type("Cell", (), {"defense": one.defense, "attack": one.attack, "budget": one.budget, "uniform": 0})()


def test_without_it_the_limit_is_not_judged_and_without_a_way_to_go_nothing_is_stolen():
    (found,) = threshold_results(parse_threshold("none/worst.stolen>0.5"), grid())
    assert (found.value, found.judged) == (None, False)
    (nothing,) = threshold_results(parse_threshold("none/worst.stolen>0.5"), [zero(0.98), *grid()])
    assert (nothing.value, nothing.judged, nothing.breached) == (0.0, True, False)


def test_other_limits_leave_it_out():
    (found,) = threshold_results(parse_threshold("none/worst.accuracy>0.91"), [zero(0.97), *grid()])
    assert not found.breached
    with pytest.raises(BadConfig, match="no thief names_only"):
        check_threshold(parse_threshold("names_only.accuracy>0.5"), [planned(one) for one in grid()])

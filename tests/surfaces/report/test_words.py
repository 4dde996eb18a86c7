"""Numbers and sentences: literal expectations."""

from dataclasses import replace

import pytest

from gamekeeper.analysis.flags import FLAGS
from gamekeeper.analysis.summary import Summary, summarise
from gamekeeper.metrics import Crossing
from gamekeeper.results import Row
from gamekeeper.surfaces.report.words import (
    broken,
    headline,
    money,
    notes,
    percent,
    plain,
    reached,
    reached_in_words,
    rough,
)
from tests.analysis.rows import row, twice
from tests.surfaces.report import example

KNOWING = "knockoff+partialbayes"


def summary(rows: list[Row]) -> Summary:
    every = twice(rows)
    return summarise(example.run(every), every)


def grid(*more: str, **accuracy: tuple[float, ...]) -> list[Row]:
    attacks = ("knockoff", "knockoff+labels", *more)
    return [row(d, a, accuracy=v) for d, values in accuracy.items() for a, v in zip(attacks, values, strict=True)]


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (0.001, "0.001"), (0.0015, "0.0015"), (0.05, "0.05"), (0.78, "0.78"), (2.5, "2.50"), (1250.4, "1,250"), (99.999, "100")],
)  # fmt: skip
def test_money_has_sensible_digits(amount: float, text: str):
    assert money(amount) == text


@pytest.mark.parametrize(("fraction", "text"), [(0.92, "92 %"), (1.0, "100 %"), (0.998, "99.8 %"), (0.99999, "100 %")])
def test_percent_says_100_only_for_all(fraction: float, text: str):
    assert percent(fraction) == text


@pytest.mark.parametrize(("number", "text"), [(868.3, 870), (1234, 1200), (25_499, 25_000), (7.4, 7), (99.7, 100)])
def test_interpolated_queries_have_two_digits(number: float, text: int):
    assert rough(number) == text


def test_a_price_outside_the_measured_budgets_says_so():
    assert reached(Crossing(868.3, "exact")) == "870"
    assert reached(Crossing(250, "at most")) == "≤ 250"
    assert reached(Crossing(2500, "more than")) == "> 2,500"
    assert reached_in_words(Crossing(2500, "more than"), 0.001) == "is not reached with 2,500 queries"
    assert reached_in_words(Crossing(868.3, "exact"), 0.001) == "takes about 870 queries (0.87)"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07name", "name"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\rb\nc\td", "a b c d"),
        ("ab\x00\x08\x9bc", "abc"),
        ("gnp\u202eexe", "gnpexe"),
        ("naïve 漢", "naïve 漢"),
    ],
)
def test_plain_leaves_nothing_that_moves_a_cursor(text: str, clean: str):
    assert plain(text) == clean


def test_names_break_between_their_parts():
    assert broken("reverse_sigmoid:beta=0.9,gamma=0.2", 20) == ["reverse_sigmoid:", "beta=0.9,gamma=0.2"]
    assert broken("mad:eps=0.95", 20) == ["mad:eps=0.95"]
    assert broken("x" * 45, 20) == ["x" * 20, "x" * 20, "x" * 5]


def test_headline_of_a_defense_that_helps():
    rows = grid(none=(0.90, 0.70), label=(0.70, 0.70))
    assert headline(summary(rows)) == (
        "Without a defense, 1,000 queries (costing 1.00 at 0.001 per query) steal 92 % of this model's accuracy (0.90 of 0.98)."
        " 90 % of the model's accuracy takes at most 1,000 queries (1.00), 95 % is not reached with 1,000 queries."
        " The best defense tested, 'label', lowers the 92 % to 71 % (0.70) against the strongest of 2 thieves and keeps"
        " 100 % of honest users' top answers; it moves their probabilities by 0.10 on average (L1 distance, at most 2)."
    )


@pytest.mark.parametrize(("free", "said"), [(0.72, True), (0.69, False)])
def test_headline_says_where_a_copy_that_asked_nothing_beats_those_who_ask(free: float, said: bool):
    rows = grid(none=(0.90, 0.70), label=(0.70, 0.70))
    zero = replace(row("none", "names_only", 0, accuracy=free), reads="nothing")
    text = headline(summary([zero, *rows]))
    assert ("Behind it nobody needs to ask: the copy that asked nothing has 73 %." in text) == said


def test_headline_says_where_the_bare_label_would_do_as_well():
    assert "nothing but the label would do as well (0.70)" in headline(
        summary(grid(KNOWING, none=(0.9, 0.7, 0.9), poison=(0.5, 0.7, 0.6)))
    )


def test_headline_says_that_no_defense_helps():
    text = headline(summary(grid(none=(0.90, 0.70), a=(0.895, 0.7), b=(0.91, 0.7))))
    assert text.endswith(
        "None of the 2 defenses tested lowers the 92 % beyond the noise of this measurement:"
        " 'a' leaves 91 % (0.90) against the strongest of 2 thieves."
    )


def test_headline_prefers_a_defense_that_honest_users_can_bear():
    rows = [row(attack=KNOWING, accuracy=0.9), row("mild", KNOWING, accuracy=0.8, defended=0.97, kept_thief=0.9)]
    rows += [row("harsh", KNOWING, accuracy=0.1, defended=0.1, kept_thief=0.1)]
    text = headline(summary(rows))
    assert "The best defense tested that costs honest users at most 5 points of accuracy, 'mild', lowers" in text
    assert "'harsh' lowers it further, to 0.10, but honest users' accuracy falls from 0.98 to 0.10." in text


def test_headline_of_a_defense_that_only_destroys():
    text = headline(
        summary([row(attack=KNOWING, accuracy=0.9), row("harsh", KNOWING, accuracy=0.1, defended=0.1, kept_thief=0.1)])
    )
    assert "No defense tested lowers the 92 % and costs honest users at most 5 points of accuracy" in text
    assert "their accuracy from 0.98 to 0.10" in text


def test_of_equal_defenses_the_one_users_notice_least_is_best():
    rows = [
        row(attack=KNOWING, accuracy=0.9),
        row("loud", KNOWING, accuracy=0.70, kept_thief=0.9),
        row("quiet", KNOWING, accuracy=0.705, kept_thief=0.9),
    ]
    assert rows[1].utility is not None
    rows[1] = replace(rows[1], utility=replace(rows[1].utility, l1=1.6))
    assert "'quiet'" in headline(summary(rows))


def test_headline_without_an_undefended_thief():
    assert headline(summary([row("mad", accuracy=0.49)])) == (
        "No defense can be compared: the defense `none` was not part of this run at 1,000 queries, so nothing shows what"
        " thieves get without one. Of this model's accuracy, at 1,000 queries, 'mad' leaves 50 % (0.49) against the one thief"
        " measured. Add --defense none."
    )
    failed = headline(summary([row("mad"), row(error="Unsuited: no")]))
    assert "the defense `none` has no result at 1,000 queries" in failed


def test_no_defense_is_best_on_the_word_of_thieves_who_do_not_know_it():
    text = headline(summary([row(accuracy=0.9), row("mad", accuracy=0.5, kept_thief=0.5)]))
    assert text.endswith(
        "No defense has been shown to lower it against thieves made to undo that defense. 'mad' is not ranked: it leaves 51 %"
        " (0.50) against the one thief measured, but no thief here knows it, and one who does may get far more. Add one, such"
        " as --attack knockoff+partial_bayes."
    )
    assert "best" not in text
    labels = headline(summary([row(accuracy=0.9), row("round", KNOWING, accuracy=0.5)]))
    assert labels.endswith(
        "but no thief here learns from its labels alone, and one who does may get far more. Add one, such as --attack"
        " knockoff+labels."
    )


@pytest.mark.parametrize("flag", [flag.name for flag in FLAGS.values() if flag.voids])
def test_the_headline_of_a_void_run_says_so_and_nothing_else(flag: str):
    rows = [replace(one, flags=[flag]) for one in grid(none=(0.90, 0.70), label=(0.70, 0.70))]
    assert headline(summary(rows)) == f"Nothing follows from this run ({flag}). {FLAGS[flag].means} {FLAGS[flag].do}"
    assert "%" not in headline(summary(rows)).replace("30 %", "")


def test_a_flag_of_some_thieves_only_does_not_void_the_run():
    rows = grid(none=(0.90, 0.70), label=(0.70, 0.70))
    rows[1] = replace(rows[1], flags=["one-class-answers"])
    assert summary(rows).void == ()


def test_every_price_bears_the_currency():
    rows = grid(none=(0.90, 0.70), label=(0.70, 0.70))
    run = example.run(rows)
    text = headline(summarise(replace(run, target=run.target | {"currency": "USD"}), rows))
    assert "costing 1.00 USD at 0.001 USD per query" in text
    assert "takes at most 1,000 queries (1.00 USD)" in text


def test_headline_of_nothing():
    assert headline(summarise(example.run(), [])) == "Nothing has been measured yet."


def test_headline_never_promises():
    text = headline(summary(example.rows())).lower()
    assert not [word for word in ("protect", "secure", "safe", "prevent", "guarantee") if word in text]


def test_notes_count_missing_and_failed_cells():
    rows = example.rows()
    part = [example.failed(rows[0], "no gradients"), *rows[1:20]]
    sentences = notes(summarise(example.run(), part))
    assert sentences[0].startswith("The run is not finished: 20 of 72 cells are done.")
    assert sentences[1].startswith("1 cell of 72 failed")


def test_a_finished_run_needs_no_note():
    assert notes(summary(example.rows())) == []


def test_a_headline_says_over_how_many_test_inputs_it_is_where_some_brought_no_answer():
    whole = [replace(each, unanswered=0) for each in grid(none=(0.95, 0.90), mad=(0.80, 0.85))]
    some = [replace(each, unanswered=20) for each in whole]
    assert whole[0].victim is not None
    n = whole[0].victim.accuracy.n
    assert "test inputs" not in headline(summary(whole))
    assert headline(summary(some)) == (
        f"{headline(summary(whole))} Every accuracy is over the {n:,} of {n + 20:,} test inputs that got an answer: the others"
        " count neither for nor against the model."
    )
    assert "that got an answer" in headline(summary([each for each in some if each.defense != "none"]))

"""The sentence below a table says who was measured, with what, and which chance its intervals contain."""

from dataclasses import replace

from gamekeeper.analysis.summary import Summary, summarise
from gamekeeper.surfaces.report.basis import rests_on
from tests.surfaces.report import example


def summary(*attacks: str, seeds: int = 2) -> Summary:
    base = [row for row in example.rows() if row.attack == "knockoff" and row.seed < seeds]
    rows = [
        replace(row, attack=attack, cell=f"{row.cell} {attack}", uses_defense="partial_bayes" in attack)
        for row in base
        for attack in attacks
    ]
    return summarise(example.run(rows), rows)


def test_few_thieves_are_named_and_those_who_know_the_defense_counted():
    assert rests_on(summary("knockoff", "knockoff+partial_bayes"), "printed letters") == (
        "Rests on 2 thieves (`knockoff`, `knockoff+partial_bayes`) with a pool of 10,000 printed letters; 1 knows the defense."
        " 2 seeds: intervals show the spread over seeds and the noise of the test set."
    )


def test_of_many_thieves_it_is_said_how_they_ask():
    many = ("knockoff", "knockoff+labels", "knockoff+gce", "insider+labels", "drawn+agreeing@mlp:hidden=256")
    text = rests_on(summary(*many))
    assert text.startswith(
        "Rests on 5 thieves (3 ask as `knockoff`, 1 asks as `insider`, 1 asks as `drawn`) with a pool of 10,000 inputs; none knows"
    )


def test_one_seed_promises_no_more_than_the_noise_of_the_test_set():
    text = rests_on(summary("knockoff", seeds=1))
    assert "Rests on 1 thief (`knockoff`)" in text
    assert text.endswith("One seed: intervals show the noise of the test set alone, not the luck of a seed.")


def test_nothing_measured_rests_on_nothing():
    assert rests_on(summarise(example.run([]), [])) == ""

"""ActiveThief: what each strategy chooses, and that it never looks at answers it has not paid for."""

import pytest
import torch

from gamekeeper.architectures import Mlp
from gamekeeper.attacks.active_thief import ActiveThief, choose, most_uncertain
from gamekeeper.attacks.deepfool import deepfool
from gamekeeper.attacks.pool import FromPool
from gamekeeper.errors import BadConfig
from gamekeeper.service.oracles import Transcript
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Knowledge, Reply, Transfer
from tests.attacks.toys import PLANE, QUICK, images, linear, meter, plane, thief

LINE = linear(torch.tensor([[20.0, 40.0], [0.0, 0.0]]), torch.tensor([-30.0, 0.0]), (2,))
"""A clone that has found the plane's line."""
TILTED = linear(torch.tensor([[40.0, 20.0], [0.0, 0.0]]), torch.tensor([-30.0, 0.0]), (2,))
"""One that has found another."""
PAIR = (LINE, TILTED)
ASKED = Transfer(PLANE.uniform(20, 5), plane(PLANE.uniform(20, 5)), 20)


def chosen(strategy: str, x: torch.Tensor, k: int, budget: int = 100, sample: int = 0) -> torch.Tensor:
    return choose(ActiveThief(strategy, sample=sample), budget, torch.Generator().manual_seed(0), PAIR, x, ASKED, k)


def test_the_uniform_row_is_the_most_uncertain():
    y = torch.tensor([[0.9, 0.1, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert most_uncertain(y, 3).tolist() == [1, 2, 0]


@pytest.mark.parametrize("strategy", ["uncertainty", "dfal"])
def test_inputs_nearest_to_the_clones_line_are_asked(strategy: str):
    x = PLANE.uniform(300, 0)
    distance = (x[:, 0] + 2 * x[:, 1] - 1.5).abs()
    assert set(chosen(strategy, x, 15).tolist()) == set(distance.argsort()[:15].tolist())


def test_k_center_covers_the_clones_answers_better_than_chance():
    x = PLANE.uniform(300, 0)

    def cover(rows: torch.Tensor) -> float:
        return float(torch.cdist(LINE(x).y, torch.cat([LINE(ASKED.x).y, LINE(x[rows]).y])).amin(1).max())

    assert cover(chosen("kcenter", x, 10)) < cover(chosen("random", x, 10))


def test_dfal_kcenter_chooses_among_as_many_nearest_inputs_as_the_budget():
    x = PLANE.uniform(300, 0)
    order = deepfool(LINE, x).argsort()
    near = order[:40].tolist()
    # what was asked lies on the line: among all inputs, those far from it would cover best
    asked = Transfer(x[order[:5]], plane(x[order[:5]]), 5)
    recipe, generator = ActiveThief("dfal_kcenter", sample=0), torch.Generator()
    rows = choose(recipe, 40, generator, PAIR, x, asked, 10).tolist()
    everywhere = choose(recipe, 300, generator, PAIR, x, asked, 10).tolist()
    assert set(rows) <= set(near)
    assert set(rows) != set(near[:10])
    assert not set(everywhere) <= set(near)


def test_disagreement_chooses_where_the_two_clones_differ_most_and_spreads_the_choice():
    x = PLANE.uniform(300, 0)
    apart = (LINE(x).y - TILTED(x).y).abs().sum(1)
    shortlist = apart.argsort(descending=True)[:50]
    rows = chosen("disagreement", x, 10)
    assert set(rows.tolist()) <= set(shortlist.tolist())
    assert set(rows.tolist()) != set(shortlist[:10].tolist())  # not the ten furthest apart, which lie close together

    def cover(few: torch.Tensor) -> float:
        return float(torch.cdist(LINE(x[shortlist]).y, torch.cat([LINE(ASKED.x).y, LINE(x[few]).y])).amin(1).max())

    assert cover(rows) <= cover(shortlist[:10])


def test_the_two_clones_come_from_different_seeds_and_the_same_answers(monkeypatch):
    trained: list[tuple[int, int]] = []

    def relearn(knows, fit, seed, asked):
        trained.append((seed, len(asked.x)))
        return PAIR[len(trained) % 2]

    monkeypatch.setattr("gamekeeper.attacks.active_thief.relearn", relearn)
    knows = Knowledge(PLANE.uniform(300, 0), PLANE, Classify(2), Mlp((2,), 2))
    ActiveThief("disagreement", rounds=3)(meter(30, plane, PLANE), knows, seed=4)
    assert [size for _, size in trained] == [10, 10, 20, 20]
    assert len({seed for seed, _ in trained}) == 2


def test_a_sample_scales_the_budgets_share_and_is_never_smaller_than_twice_the_round():
    x = PLANE.uniform(300, 0)
    rows = chosen("dfal_kcenter", x, 10, budget=60, sample=100)
    near = deepfool(LINE, x).argsort().argsort()[rows]
    assert len(rows.unique()) == 10
    assert float(near.float().mean()) < 100  # the nearest 20 of a random 100
    assert len(chosen("dfal", x, 120, sample=5).unique()) == 120


@pytest.mark.parametrize("strategy", ["random", "uncertainty", "kcenter", "dfal", "dfal_kcenter", "disagreement"])
def test_chosen_rows_are_new_and_different(strategy: str):
    pool = FromPool(PLANE.uniform(100, 0), lambda clone, x, asked, k: chosen(strategy, x, k), 15)
    taken = [pool(PAIR, ASKED, 100) for _ in range(7)]
    assert [len(x) for x in taken] == [15] * 6 + [10]
    assert len(torch.cat(taken).unique(dim=0)) == 100
    assert len(pool(PAIR, ASKED, 100)) == 0


def test_a_round_is_a_tenth_of_the_budget_and_every_clone_is_a_fresh_one(monkeypatch):
    sizes: list[int] = []

    def relearn(knows, fit, seed, asked):
        sizes.append(len(asked.x))
        return LINE

    monkeypatch.setattr("gamekeeper.attacks.active_thief.relearn", relearn)
    knows = Knowledge(PLANE.uniform(300, 0), PLANE, Classify(2), Mlp((2,), 2))
    ActiveThief("uncertainty")(meter(95, plane, PLANE), knows, seed=0)
    assert sizes == [10, 20, 30, 40, 50, 60, 70, 80, 90]


def test_the_random_strategy_trains_nothing(monkeypatch):
    def relearn(knows, fit, seed, asked):
        raise AssertionError("a clone was trained")

    monkeypatch.setattr("gamekeeper.attacks.active_thief.relearn", relearn)
    assert len(ActiveThief("random")(meter(95), thief(), seed=0).x) == 95


def test_answers_of_unasked_inputs_are_never_looked_at():
    # two oracles that agree on what is asked first; a thief who peeked would ask differently from the start
    knows, recipe = thief(), ActiveThief("uncertainty", rounds=2, fit=QUICK)
    transcript = Transcript(images)
    recipe(meter(40, transcript), knows, seed=0)
    first, second = transcript.queries

    def other(x: torch.Tensor, /) -> Reply:
        y = images(x).y
        fresh = (x[:, None] != first[None]).flatten(2).any(2).all(1)
        return Reply(torch.where(fresh[:, None], y.flip(1), y))

    again = Transcript(other)
    recipe(meter(40, again), knows, seed=0)
    assert torch.equal(again.queries[1], second)


def test_uncertain_inputs_teach_a_line_better_than_random_ones():
    knows = Knowledge(PLANE.uniform(2000, 0), PLANE, Classify(2), Mlp((2,), 2, ()))
    fit = Fit(epochs=1, least_steps=60, rate=2.0)

    def nearness(strategy: str) -> float:
        x = ActiveThief(strategy, rounds=5, fit=fit)(meter(50, plane, PLANE), knows, seed=0).x
        return float((x[:, 0] + 2 * x[:, 1] - 1.5).abs().mean())

    assert nearness("uncertainty") < 0.5 * nearness("random")


def test_parameters_that_make_no_sense_are_refused():
    with pytest.raises(BadConfig, match="rounds"):
        ActiveThief(rounds=0)

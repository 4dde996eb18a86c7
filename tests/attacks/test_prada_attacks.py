"""The PRADA family: one step is N-FGSM, targets are uniform, the search costs no query, colours move together."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare

from gamekeeper.architectures import Mlp
from gamekeeper.attacks import prada_attacks
from gamekeeper.attacks.prada_attacks import Color, NFgsm, NIFgsm, TRnd, agreement, log_uniform, other_classes, search
from gamekeeper.attacks.rounds import ask, nothing
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import DiskCloneCache, train
from gamekeeper.types import Box, Knowledge, Transfer
from tests.attacks.toys import PLANE, QUICK, images, meter, plane, thief, walker


def test_iterated_fgsm_of_one_step_is_fgsm_bit_for_bit():
    one, many = (
        querying(meter(80), thief(), seed=4).x
        for querying in (NFgsm(search=False, fit=QUICK), NIFgsm(steps=1, search=False, fit=QUICK))
    )
    assert torch.equal(one, many)
    several = NIFgsm(steps=5, search=False, fit=QUICK)(meter(80), thief(), seed=4).x
    assert not torch.equal(one, several)


@pytest.mark.parametrize(
    "querying", [NFgsm(search=False, fit=QUICK), NIFgsm(search=False, fit=QUICK), TRnd(search=False, fit=QUICK)]
)
def test_sets_double_within_lambda(querying):
    transfer = querying(meter(80), thief(), seed=0)
    assert len(transfer.x.unique(dim=0)) == 80
    assert torch.equal(transfer.reply.y, images(transfer.x).y)
    for size in (10, 20, 40):
        assert (transfer.x[size : 2 * size] - transfer.x[:size]).abs().max() <= 64 / 255 + 1e-6


def test_non_targeted_copies_leave_the_answered_class_and_targeted_ones_go_to_another():
    # two classes either side of a line: both attacks push across it
    knows = replace(walker(), seeds=PLANE.uniform(40, 5))
    fit = Fit(epochs=1, least_steps=100, rate=0.5)
    for querying in (NFgsm(search=False, fit=fit), TRnd(search=False, fit=fit)):
        transfer = querying(meter(80, plane, PLANE), knows, seed=0)
        before, after = transfer.reply.y[:40], transfer.reply.y[40:]
        top = before.argmax(1, keepdim=True)
        assert (after.gather(1, top) <= before.gather(1, top)).float().mean() > 0.9


def test_random_targets_are_uniform_over_the_other_classes():
    generator = torch.Generator().manual_seed(0)
    for own in range(5):
        k = torch.full((4000,), own)
        counts = torch.bincount(other_classes(k, 5, generator), minlength=5)
        assert counts[own] == 0
        assert chisquare(counts[counts > 0]).pvalue > 1e-3
        assert (counts > 0).sum() == 4


def seeds_asked(knows: Knowledge) -> Transfer:
    return ask(meter(len(knows.seeds), plane, PLANE), nothing(knows), knows.seeds)


@pytest.fixture
def short(monkeypatch):
    """A search of a few short trainings."""
    monkeypatch.setattr(prada_attacks, "TRIALS", 2)
    monkeypatch.setattr(prada_attacks, "EPOCHS", (5.0, 10.0))


def test_the_search_takes_the_best_setting_and_among_equals_the_fewest_epochs(monkeypatch):
    tried: list[Fit] = []

    def score(knows, asked, fit, seed) -> float:
        tried.append(fit)
        return round(fit.rate, 1)

    monkeypatch.setattr(prada_attacks, "agreement", score)
    best = search(walker(), seeds_asked(walker()), QUICK, seed=0)
    assert len(tried) == 6
    assert all(0.005 <= fit.rate <= 0.5 and 10 <= fit.epochs <= 100 and fit.least_steps == 1 for fit in tried)
    top = max(round(fit.rate, 1) for fit in tried)
    assert best.epochs == min(fit.epochs for fit in tried if round(fit.rate, 1) == top)


def test_cross_validation_tells_a_setting_that_learns_from_one_that_does_not():
    knows = replace(walker(), seeds=PLANE.uniform(40, 5))
    asked = seeds_asked(knows)
    learns, stays = Fit(epochs=1, least_steps=100, rate=0.5), Fit(epochs=1, least_steps=1, rate=1e-6)
    assert agreement(knows, asked, learns, 0) > 0.85 > agreement(knows, asked, stays, 0)


def test_every_seed_is_held_out_once(monkeypatch):
    held: list[torch.Tensor] = []

    def relearn(knows, fit, seed, asked):
        held.append(asked.x)
        return train(knows, asked.x[:0], asked.reply.y[:0], fit, seed)

    monkeypatch.setattr(prada_attacks, "relearn", relearn)
    knows = walker()
    agreement(knows, seeds_asked(knows), QUICK, 0)
    assert [len(x) for x in held] == [8] * 5
    assert (torch.cat(held).unique(dim=0, return_counts=True)[1] == 4).all()


def test_the_folds_clones_are_not_kept(short, tmp_path):
    knows = replace(walker(), clones=DiskCloneCache(tmp_path / "shelf"))
    search(knows, seeds_asked(knows), QUICK, 0)
    assert not (tmp_path / "shelf").exists()


def test_the_search_changes_what_later_rounds_ask_but_not_the_first_and_costs_nothing(short):
    knows = replace(walker((8,)), seeds=PLANE.uniform(10, 5))
    gates = [meter(20, plane, PLANE) for _ in range(2)]
    found, given = (
        NFgsm(search=wanted, fit=QUICK)(gate, knows, seed=0).x
        for wanted, gate in zip((True, False), gates, strict=True)
    )
    assert [gate.left for gate in gates] == [0, 0]
    assert torch.equal(found[:10], given[:10])


def test_draws_are_log_uniform():
    assert [round(log_uniform(10.0, 320.0, u)) for u in (0.0, 0.2, 1.0)] == [10, 20, 320]


def test_colours_move_together_in_each_channel():
    box = Box((3, 4, 4))
    knows = Knowledge(box.uniform(5, 0), box, Classify(4), Mlp((3, 4, 4), 4), seeds=0.4 + 0.2 * box.uniform(6, 1))

    def oracle(x: torch.Tensor, /):
        return images(torch.cat([x.flatten(1), x.flatten(1)], 1)[:, :64])

    x = Color(lam=0.3)(meter(12, oracle, box), knows, seed=0).x
    shift = x[6:] - x[:6]
    assert shift.std((2, 3)).max() < 1e-6
    assert shift.mean((2, 3)).abs().max() <= 0.3
    assert len(shift.mean((2, 3)).flatten().round(decimals=4).unique()) == 18


def test_colour_needs_three_channels():
    with pytest.raises(Unsuited, match="three channels"):
        Color()(meter(10), thief(), seed=0)


@pytest.mark.parametrize("recipe", [NFgsm, NIFgsm, TRnd, Color])
def test_lambda_must_be_a_share_of_the_box(recipe):
    with pytest.raises(BadConfig, match="lam"):
        recipe(lam=25.5)

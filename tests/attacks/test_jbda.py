"""JBDA, JB-self, JB-topk: distinct rows, stored answers, the length and the direction of steps, the seeds."""

import pytest
import torch

from gamekeeper.attacks.jbda import Jbda, JbSelf, JbTopk, jacobian_step, runners_up, targeted_step, turn
from gamekeeper.attacks.rounds import nothing
from gamekeeper.attacks.synthesis import Copies
from gamekeeper.errors import BadConfig
from gamekeeper.types import Reply, Transfer
from tests.attacks.toys import IMAGES, PLANE, QUICK, WEIGHTS, images, linear, meter, plane, thief, walker

LAM = 0.1
LINEAR = linear(WEIGHTS, torch.zeros(4), (1, 8, 8))
DOUBLING = [Jbda(fit=QUICK), Jbda(direction="loss", fit=QUICK), JbSelf(fit=QUICK)]


@pytest.mark.parametrize("querying", DOUBLING)
def test_rounds_double_the_set_and_all_rows_differ(querying):
    transfer = querying(meter(10 * 2**4), thief(), seed=0)
    assert len(transfer.x) == len(transfer.x.unique(dim=0)) == 160
    assert torch.equal(transfer.reply.y, images(transfer.x).y)


@pytest.mark.parametrize("querying", DOUBLING)
def test_every_copy_lies_within_lambda_of_its_parent_and_in_the_pixel_range(querying):
    x = querying(meter(80), thief(), seed=0).x
    for size in (10, 20, 40):
        parents, copies = x[:size], x[size : 2 * size]
        moved = (copies - parents).abs()
        assert moved.max() <= LAM + 1e-6
        # a full step along every sign, but where the pixel range ends; a few rows repeat an older step and become noise
        free = (parents > LAM) & (parents < 1 - LAM)
        full = ((moved - LAM).abs() < 1e-6) | ~free
        assert full.flatten(1).all(1).float().mean() >= 0.8
    assert x.min() >= 0
    assert x.max() <= 1


def test_the_seeds_are_asked_first_and_stay_as_they_were():
    knows = thief()
    before = knows.seeds.clone()
    x = Jbda(fit=QUICK)(meter(80), knows, seed=0).x
    assert torch.equal(knows.seeds, before)
    assert torch.equal(x[:10].flatten(1).sort(0).values, before.flatten(1).sort(0).values)


def test_fewer_queries_than_seeds_take_a_random_part_of_them():
    x = Jbda(fit=QUICK)(meter(4), thief(), seed=0).x
    rows = [(thief().seeds == row).flatten(1).all(1).nonzero().item() for row in x]
    assert len(set(rows)) == 4
    assert rows != [0, 1, 2, 3]


def test_a_recipe_starts_from_so_many_of_a_larger_set_at_random():
    own = IMAGES.uniform(400, 6)
    for querying, seeds in ((Jbda(fit=QUICK), 150), (JbSelf(fit=QUICK), 100), (Jbda(seeds=30, fit=QUICK), 30)):
        x = querying(meter(2 * seeds), thief(seeds=own), seed=0).x
        is_own = (x.flatten(1)[:, None] == own.flatten(1)[None]).all(2)
        assert is_own[:seeds].any(1).all()
        assert not is_own[seeds:].any()
        assert is_own[:seeds].any(0)[200:].any()  # from all over the set


def test_the_last_round_takes_as_many_copies_as_fit_from_all_over_the_parents():
    x = Jbda(fit=QUICK)(meter(40 + 9), thief(), seed=0).x
    near = (x[40:, None] - x[None, :40]).flatten(2).abs().amax(2).argmin(1)
    assert len(near.unique()) == 9
    assert near.max() >= 20


def test_a_reservoir_augments_kappa_rows_a_round_once_sigma_rounds_are_done():
    rounds: list[int] = []
    copies = Copies(lambda clone, x, y, copy, rho: x + 0.01, LAM, IMAGES, torch.Generator(), sigma=2, kappa=5)
    asked = nothing(thief())
    for size in (10, 20, 40, 45):
        asked = Transfer(IMAGES.uniform(size, 3), Reply(torch.zeros(size, 4)), size)
        rounds.append(len(copies(None, asked, 1000)))
    assert rounds == [10, 20, 5, 5]


def test_the_sign_turns_every_tau_rounds():
    assert [turn(rho, 3) for rho in range(8)] == [1, 1, 1, -1, -1, -1, 1, 1]


def test_a_step_follows_the_classs_weights_on_a_linear_clone_and_the_turned_sign_and_the_loss_lead_away():
    x, k = 0.2 + 0.6 * IMAGES.uniform(6, 0), torch.tensor([0, 1, 2, 3, 0, 1])
    sign = LAM * WEIGHTS[k].sign().view(6, 1, 8, 8)
    assert torch.allclose(jacobian_step(Jbda(), LINEAR, x, k, IMAGES, rho=4), x + sign)
    assert torch.allclose(jacobian_step(Jbda(), LINEAR, x, k, IMAGES, rho=5), x - sign)
    binary = linear(torch.tensor([[1.0, -2.0], [-1.0, 2.0]]), torch.zeros(2), (2,))
    x = torch.tensor([[0.5, 0.5]])
    for k in (torch.tensor([0]), torch.tensor([1])):
        up, loss = (jacobian_step(Jbda(direction=d), binary, x, k, PLANE, 0) for d in ("jacobian", "loss"))
        assert torch.allclose(up - x, x - loss)


def test_a_copy_that_was_asked_becomes_noise_within_reach():
    corner = torch.ones(3, 2)
    corner[1:] = torch.tensor([[0.5, 0.5], [0.6, 0.6]])
    copies = Copies(lambda clone, x, y, copy, rho: (x + LAM).clamp(max=1.0), LAM, PLANE, torch.Generator())
    x = copies(None, Transfer(corner, Reply(torch.zeros(3, 2)), 3), 1000)
    # the corner could not move, the second row's copy is the third row: both became noise; the third moved
    assert torch.allclose(x[2], torch.tensor([0.7, 0.7]))
    assert not torch.allclose(x[1], torch.tensor([0.6, 0.6]), atol=1e-4)
    assert len(torch.cat([corner, x]).unique(dim=0)) == 6
    assert (x - corner).abs().max() <= LAM + 1e-6


def test_topk_targets_are_the_likeliest_classes_and_never_the_answered_one():
    out = torch.tensor([[0.1, 0.4, 0.3, 0.2], [9.0, 1.0, 2.0, 3.0]])
    assert runners_up(out, torch.tensor([1, 3])).tolist() == [[2, 3, 0, 1], [0, 2, 1, 3]]


def test_topk_makes_k_copies_of_each_row_all_different():
    transfer = JbTopk(fit=QUICK)(meter(10 * 4**2), thief(), seed=0)
    assert len(transfer.x.unique(dim=0)) == 160
    moved = (transfer.x[10:40].view(10, 3, -1) - transfer.x[:10].view(10, 1, -1)).abs()
    assert moved.max() <= LAM + 1e-6


def test_topk_raises_a_different_targets_logit_with_every_copy_on_a_linear_clone():
    x = 0.2 + 0.6 * IMAGES.uniform(5, 0).repeat_interleave(3, 0)
    answered, copy = torch.tensor([0, 1, 2, 3, 0]).repeat_interleave(3), torch.arange(3).repeat(5)
    moved = targeted_step(JbTopk(), LINEAR, x, answered, copy, IMAGES)
    target = runners_up(LINEAR.logits(x), answered).gather(1, copy[:, None])
    rise = (LINEAR.logits(moved) - LINEAR.logits(x)).gather(1, target)[:, 0]
    # nothing is clipped here: the rise is lambda times the sum of the target's absolute weights
    assert torch.allclose(rise, LAM * WEIGHTS[target[:, 0]].abs().sum(1), rtol=1e-4)
    assert [len(set(row)) for row in target.view(5, 3).tolist()] == [3] * 5
    assert (target[:, 0] != answered).all()


def test_with_two_classes_topk_has_one_target():
    x = JbTopk(fit=QUICK)(meter(40, plane, PLANE), walker(), seed=0).x
    assert len(x.unique(dim=0)) == 40


@pytest.mark.parametrize("wrong", [{"lam": 0.0}, {"lam": 1.5}, {"tau": 0}, {"kappa": -1}])
def test_parameters_that_make_no_sense_are_refused(wrong):
    with pytest.raises(BadConfig, match="Jbda"):
        Jbda(**wrong)

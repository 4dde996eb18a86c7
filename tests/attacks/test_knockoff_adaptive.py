"""The bandit of adaptive Knockoff: it finds the arm that pays, and its sums add up."""

from dataclasses import replace

import pytest
import torch

from gamekeeper.attacks.knockoff_adaptive import Arms, Bandit, KnockoffAdaptive, Student, diversity, rewards
from gamekeeper.attacks.rounds import grow, lead, nothing
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.types import Reply
from tests.attacks.toys import IMAGES, meter, thief


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("batch", [1, 16])
def test_the_only_useful_arm_is_found_within_two_hundred_steps_and_preferences_sum_to_zero(seed: int, batch: int):
    bandit, generator = Bandit(5), torch.Generator().manual_seed(seed)
    every = torch.ones(5, dtype=torch.bool)
    for _ in range(200 // batch):
        pi = bandit.policy(every)
        for arm in torch.multinomial(pi, batch, replacement=True, generator=generator).tolist():
            bandit.learn(arm, float(arm == 2), pi)
            assert abs(float(bandit.h.sum())) < 1e-12
    assert bandit.policy(every)[2] > 0.9


def test_one_step_is_the_papers():
    bandit = Bandit(3)
    bandit.learn(0, 0.5, bandit.policy(torch.ones(3, dtype=torch.bool)))
    third = 1 / 3
    assert bandit.h.tolist() == pytest.approx([0.5 * (1 - third), -0.5 * third, -0.5 * third])
    assert bandit.mean == 0.5
    before = bandit.h.clone()
    pi = bandit.policy(torch.ones(3, dtype=torch.bool))
    bandit.learn(0, 1.0, pi)  # the second pull of this arm: half the step, from the mean of the first
    assert torch.allclose(bandit.h - before, 0.25 * (torch.tensor([1.0, 0.0, 0.0]) - pi))
    assert bandit.mean == 0.75


def test_a_used_up_arm_is_not_pulled():
    pi = Bandit(3).policy(torch.tensor([True, False, True]))
    assert pi.tolist() == [0.5, 0.0, 0.5]


def test_certainty_is_the_lead_of_the_top_class():
    y = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert torch.allclose(lead(y), torch.tensor([0.5, 1.0, 0.0]))


def test_diversity_is_zero_for_the_mean_answer_and_what_lies_above_it_otherwise():
    mean = torch.tensor([0.5, 0.3, 0.2])
    y = torch.stack([mean, torch.tensor([0.0, 0.3, 0.7])])
    assert torch.allclose(diversity(y, mean), torch.tensor([0.0, 0.5]))


def test_the_loss_reward_is_the_clones_cross_entropy_and_all_has_three_columns():
    y, out = torch.tensor([[0.7, 0.3], [0.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    loss = rewards("loss", y, y[:0], out)
    expected = -(y * torch.log_softmax(out, 1)).sum(1, keepdim=True)
    assert torch.allclose(loss, expected.double())
    three = rewards("all", y, y[:1], out)
    assert torch.equal(three[:, 2:], loss)
    assert torch.allclose(three[:, 1], torch.tensor([0.0, 0.7]).double())


def test_the_class_whose_answers_are_sure_is_asked_more():
    # images of group 3 are bright, and the victim is sure of bright images only
    pool = IMAGES.uniform(1000, 0) * 0.5
    groups = torch.arange(1000) % 5
    pool[groups == 3] += 0.5

    def sure_of_bright(x: torch.Tensor, /) -> Reply:
        bright = x.flatten(1).mean(1) > 0.5
        return Reply(torch.where(bright[:, None], torch.tensor([1.0, 0, 0, 0]), torch.full((4,), 0.25)))

    knows = replace(thief(1000), pool=pool, groups=groups)
    x = KnockoffAdaptive("certainty", batch=8)(meter(200, sure_of_bright), knows, seed=0).x
    bright = x.flatten(1).mean(1) > 0.5
    assert bright[:50].float().mean() < bright[-50:].float().mean()
    assert bright[-50:].float().mean() > 0.8


def test_rewards_are_scaled_to_between_zero_and_one():
    given: list[float] = []
    knows = thief()
    arms = Arms(KnockoffAdaptive("loss", batch=4), knows.pool, knows.groups, torch.Generator().manual_seed(0))
    arms.bandit.learn = lambda arm, reward, pi: given.append(reward)

    def oracle(x: torch.Tensor, /) -> Reply:
        return Reply(torch.softmax(50 * x.flatten(1)[:, :4], 1))

    grow(meter(40, oracle), nothing(knows), arms, Student(knows, arms.recipe, 0))
    assert len(given) == 36
    assert min(given) == 0.0
    assert max(given) == 1.0


def test_group_names_may_be_any_numbers():
    knows = thief(groups=torch.arange(300) % 3 * 100 - 7)
    assert len(KnockoffAdaptive()(meter(60), knows, seed=0).x.unique(dim=0)) == 60


def test_without_a_class_for_every_input_it_refuses():
    with pytest.raises(Unsuited, match="Give a class for each input"):
        KnockoffAdaptive()(meter(10), thief(groups=None), seed=0)


def test_the_batch_must_be_positive():
    with pytest.raises(BadConfig, match="batch"):
        KnockoffAdaptive(batch=0)

"""Linear maps and temperatures: what is exactly recoverable is recovered exactly, and what is lost is measured."""

import pytest
import torch

from gamekeeper.architectures import Mlp
from gamekeeper.errors import BadConfig
from gamekeeper.learners.distil import Soft, sharpen
from gamekeeper.learners.linear_map import Tempered, Transition, Unmixed, project, transition
from gamekeeper.simplex import distance
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Knowledge, Reply, Transfer

QUICK = Fit(epochs=20, least_steps=200, rate=0.5, batch=32)
BOX = Box((2,))
X = BOX.uniform(300, 0)
Y = torch.softmax(12 * torch.stack([X[:, 0], X[:, 1], 1 - X.sum(1)], 1), 1)
T = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.8, 0.2], [0.25, 0.15, 0.6]], dtype=torch.float64)
KNOWS = Knowledge(X, BOX, Classify(3), Mlp((2,), 3, (16,)))


def test_exact_anchors_give_the_map_and_the_answers_back():
    doubtful = torch.softmax(12 * torch.stack([X[:, 0], X[:, 1], 1 - X.sum(1)], 1).double(), 1)
    clean = torch.cat([torch.eye(3, dtype=torch.float64).repeat(4, 1), doubtful])
    answered = clean @ T
    found = transition(answered, 4)
    assert torch.allclose(found.matrix, T, atol=1e-12)
    assert torch.allclose(found.undo(answered), clean, atol=1e-9)


def test_noise_on_the_anchors_averages_out():
    generator = torch.Generator().manual_seed(0)
    clean = torch.eye(3, dtype=torch.float64).repeat(2000, 1)
    noisy = clean @ T + 0.02 * torch.randn(6000, 3, generator=generator, dtype=torch.float64)
    assert torch.allclose(transition(noisy, 2000).matrix, T, atol=2e-3)


def conditioning(found: Transition) -> float:
    """Least singular value: 1 for the identity, 0 where the map loses something."""
    return float(torch.linalg.svdvals(found.matrix)[-1])


def test_an_undefended_api_is_left_alone():
    sure = torch.softmax(200 * torch.stack([X[:, 0], X[:, 1], 1 - X.sum(1)], 1), 1)
    found = transition(sure, 1)
    assert conditioning(found) > 0.98
    assert distance(found.undo(sure), sure, "l1").max() < 0.03


def test_a_class_never_answered_keeps_its_row():
    answered = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    assert transition(answered, 1).matrix[2].tolist() == [0.0, 0.0, 1.0]


def test_conditioning_is_the_least_singular_value():
    assert conditioning(Transition(torch.eye(4))) == pytest.approx(1.0)
    assert conditioning(Transition(torch.full((4, 4), 0.25))) == pytest.approx(0.0, abs=1e-7)
    share = 0.3  # (1 - share) I + share / k has singular values 1 and 1 - share
    assert conditioning(Transition((1 - share) * torch.eye(4) + share / 4)) == pytest.approx(1 - share, abs=1e-6)


def test_a_map_that_forgets_everything_is_undone_to_nothing():
    forgetful = Transition(torch.full((3, 3), 1 / 3, dtype=torch.float64))
    recovered = forgetful.undo(Y.double() @ forgetful.matrix)
    assert torch.allclose(recovered, torch.full_like(recovered, 1 / 3), atol=1e-6)


def test_projection_is_the_nearest_point_of_the_simplex():
    z = torch.tensor([[0.5, 0.3, 0.2], [2.0, 0.0, 0.0], [0.6, 0.6, -1.0], [-5.0, -5.0, -5.0]], dtype=torch.float64)
    expected = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]).double()
    assert torch.allclose(project(z), expected, atol=1e-7)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    others = torch.softmax(4 * torch.randn(5000, 4, generator=generator, dtype=torch.float64), 1)
    nearest = (project(z) - z).norm(dim=1)
    assert (nearest[:, None] <= torch.cdist(z, others) + 1e-12).all()


def test_unmixing_undoes_a_fixed_map_for_the_clone():
    harsh = torch.tensor([[0.4, 0.3, 0.3], [0.3, 0.4, 0.3], [0.3, 0.3, 0.4]])
    sure = torch.softmax(60 * torch.stack([X[:, 0], X[:, 1], 1 - X.sum(1)], 1), 1)
    transfer = Transfer(X, Reply(sure @ harsh), len(X))
    soft, unmixed = (
        distance(learner(transfer, KNOWS, 0)(X).y, sure, "l1").mean() for learner in (Soft(QUICK), Unmixed(fit=QUICK))
    )
    assert unmixed < 0.3 < soft


def test_power_one_is_the_soft_thief_bit_for_bit():
    transfer = Transfer(X, Reply(Y), len(X))
    assert torch.equal(Tempered((1,), QUICK)(transfer, KNOWS, 0)(X).y, Soft(QUICK)(transfer, KNOWS, 0)(X).y)


def test_a_flattened_api_is_sharpened_without_knowing_it():
    box = Box((20,))
    x, fresh_x = box.uniform(400, 0), box.uniform(2000, 9)
    w = torch.randn(3, 20, generator=torch.Generator().manual_seed(5))

    def victim(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(20 * x @ (w - w.mean(1, keepdim=True)).T, 1)

    transfer = Transfer(x, Reply(sharpen(victim(x), 0.02)), 400)
    knows = Knowledge(x, box, Classify(3), Mlp((20,), 3, (64,)))
    short = Fit(epochs=9, least_steps=90, rate=0.02, batch=32)
    assert Tempered((1, 4, 16), short).power(transfer, knows, 0) == 16
    chosen, soft = (
        (learner(transfer, knows, 0)(fresh_x).y.argmax(1) == victim(fresh_x).argmax(1)).float().mean()
        for learner in (Tempered((1, 4, 16), short), Soft(short))
    )
    assert chosen > soft + 0.05


def test_the_power_is_chosen_without_the_held_out_answers():
    transfer = Transfer(X, Reply(Y), len(X))
    held = torch.randperm(len(X), generator=torch.Generator().manual_seed(0))[:30]
    changed = Y.clone()
    changed[held] = sharpen(Y[held], 3.0)  # other answers with the same top class
    again = Transfer(X, Reply(changed), len(X))
    recipe = Tempered((1, 2), QUICK)
    assert recipe.power(transfer, KNOWS, 0) == recipe.power(again, KNOWS, 0)


def test_too_few_answers_to_hold_any_out_are_learnt_as_they_are():
    few = Transfer(X[:5], Reply(Y[:5]), 5)
    assert Tempered(fit=QUICK).power(few, KNOWS, 0) == 1
    assert Tempered(fit=QUICK)(Transfer(X[:0], Reply(Y[:0]), 0), KNOWS, 0)(X).y.shape == (300, 3)


@pytest.mark.parametrize(
    "make", [lambda: Unmixed(anchors=0), lambda: Tempered(powers=()), lambda: Tempered(powers=(0, 1))]
)
def test_parameters_out_of_range_are_refused(make):
    with pytest.raises(BadConfig, match=r"Unmixed|Tempered"):
        make()

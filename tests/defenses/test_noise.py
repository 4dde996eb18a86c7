"""Noise on the logits: its ball, its key, and what it does to answers."""

import math

import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.defenses.keyed import secret, uniforms
from gamekeeper.defenses.noise import RandomNoise, draw, noisy, onto_l1_ball, onto_l2_ball
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import distance
from gamekeeper.tasks import Classify
from gamekeeper.types import Armed, Box, Owner, Reply


def normal(n: int, k: int, seed: int = 0) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def arm(recipe: RandomNoise, seed: int = 0, classes: int = 5) -> Armed:
    architecture = Mlp((4,), classes, ())
    owner = Owner(torch.empty(0, 4), torch.empty(0, dtype=torch.long), Box((4,)), architecture)
    return recipe.arm(TorchModel(fresh(architecture, 0), Classify(classes)), owner, seed)


def quadratic_program(v: Tensor, radius: float) -> list[float]:
    """min |u - v|^2 over |u|_1 <= radius by a general solver, u split into parts of each sign."""
    k = len(v)
    target = v.numpy()
    ball = {"type": "ineq", "fun": lambda s: radius - s.sum()}
    loss = lambda s: ((s[:k] - s[k:] - target) ** 2).sum()  # noqa: E731
    found = minimize(loss, [0.0] * 2 * k, bounds=[(0, None)] * 2 * k, constraints=[ball], options={"ftol": 1e-14})
    return (found.x[:k] - found.x[k:]).tolist()


@pytest.mark.parametrize("radius", [0.2, 1.0, 3.0])
def test_projection_to_the_l1_ball_is_the_quadratic_program(radius: float):
    v = normal(25, 3)
    found = onto_l1_ball(v, radius)
    for row, projected in zip(v, found, strict=True):
        assert projected.tolist() == pytest.approx(quadratic_program(row, radius), abs=2e-6)


@pytest.mark.parametrize("project", [onto_l1_ball, onto_l2_ball])
def test_projections_stay_in_the_ball_leave_its_points_alone_and_are_idempotent(project):
    v = normal(400, 7) * torch.logspace(-2, 1, 400, dtype=torch.float64)[:, None]
    found = project(v, 1.5)
    size = found.abs().sum(1) if project is onto_l1_ball else found.norm(dim=1)
    before = v.abs().sum(1) if project is onto_l1_ball else v.norm(dim=1)
    assert size.max() <= 1.5 + 1e-12
    inside = before <= 1.5
    assert inside.any()
    assert not inside.all()
    assert torch.equal(found[inside], v[inside])
    torch.testing.assert_close(size[~inside], torch.full_like(size[~inside], 1.5), atol=1e-12, rtol=0)
    torch.testing.assert_close(project(found, 1.5), found, atol=1e-12, rtol=0)


@pytest.mark.parametrize("ball", ["l1", "l2"])
@pytest.mark.parametrize("signed", [False, True])
def test_noise_lies_in_its_ball_with_the_signs_asked_for(ball, signed: bool):
    share = torch.rand(500, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = draw(share, 4.0, ball, signed)
    assert (noise.abs().sum(1) if ball == "l1" else noise.norm(dim=1)).max() <= 4 + 1e-9
    assert (noise < 0).any() == signed
    # U[0, 2 eps / k^(1/p)]: the drawn norm is eps on average in l1, more in l2, so the ball binds for many
    assert ((noise.abs().sum(1) if ball == "l1" else noise.norm(dim=1)) > 4 - 1e-9).float().mean() > 0.3


def test_noise_by_odds_is_the_sigmoid_of_the_shifted_logit():
    y, noise = torch.softmax(normal(50, 6), 1), normal(50, 6, seed=1)
    z = torch.sigmoid(torch.logit(y) + noise)
    torch.testing.assert_close(noisy(y, noise), z / z.sum(1, keepdim=True), atol=1e-14, rtol=0)


def test_by_hand():
    # odds 1 and 1/3 become 2 and 1/3: 2/3 and 1/4, sum with the untouched 1/4: 7/6
    y = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64)
    noise = torch.tensor([[math.log(2), 0.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[4 / 7, 3 / 14, 3 / 14]], dtype=torch.float64)
    torch.testing.assert_close(noisy(y, noise), expected)


def test_certain_answers_stay_certain():
    y = torch.eye(5)
    assert torch.equal(noisy(y, 100 * normal(5, 5)), y)


def test_the_same_input_draws_the_same_noise_whoever_asks_with_it():
    x = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    key = secret("RandomNoise", 0, None)
    whole = uniforms(key, x, 5)
    assert torch.equal(uniforms(key, x[[4, 2]], 5), whole[[4, 2]])
    assert torch.equal(uniforms(key, x.double(), 5), whole)
    assert len({tuple(row.tolist()) for row in whole}) == 6


def test_minus_zero_is_zero():
    key = secret("RandomNoise", 0, None)
    assert torch.equal(uniforms(key, torch.tensor([[-0.0, 1.0]]), 3), uniforms(key, torch.tensor([[0.0, 1.0]]), 3))


def test_another_secret_draws_other_noise():
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(
        uniforms(secret("RandomNoise", 0, None), x, 5), uniforms(secret("RandomNoise", 1, None), x, 5)
    )
    assert secret("RandomNoise", 0, None) != secret("MAD", 0, None)


def test_drawn_numbers_are_uniform():
    x = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0))
    drawn = uniforms(b"key", x, 3).flatten()
    counts = torch.histc(drawn, 20, 0, 1)
    assert ((counts - 600).square() / 600).sum() < 43.8  # chi-square, 19 degrees of freedom, 0.1 %
    assert drawn.min() >= 0
    assert drawn.max() < 1


def test_asking_again_and_averaging_brings_nothing_new():
    armed, y = arm(RandomNoise()), torch.softmax(normal(4, 5), 1)
    x = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    first = armed.respond(x, Reply(y), None).y
    assert torch.equal(armed.respond(x, Reply(y), None).y, first)
    assert not torch.equal(arm(RandomNoise(), seed=1).respond(x, Reply(y), None).y, first)


def test_more_noise_moves_answers_further_on_average():
    x, y = torch.rand(2000, 4, generator=torch.Generator().manual_seed(0)), torch.softmax(4 * normal(2000, 10), 1)
    moved = [
        distance(y, arm(RandomNoise(eps), classes=10).respond(x, Reply(y), None).y, "l1").mean().item()
        for eps in (0.0, 5.0, 10.0, 20.0, 40.0)
    ]
    assert moved[0] == 0
    assert moved == sorted(moved)


def test_the_secret_is_not_printed():
    assert "key" not in repr(arm(RandomNoise()))


@pytest.mark.parametrize("eps", [-0.1, 701.0, math.nan])
def test_eps_out_of_range_is_refused(eps: float):
    with pytest.raises(BadConfig, match=r"The eps of RandomNoise must be from 0 to 700. Got"):
        RandomNoise(eps)


def test_an_unknown_ball_is_refused():
    recipe = RandomNoise()
    object.__setattr__(recipe, "ball", "linf")
    with pytest.raises(BadConfig, match=r"The ball of RandomNoise must be l1 or l2. Got linf."):
        recipe.__post_init__()


def test_a_single_class_has_nothing_to_move():
    with pytest.raises(Unsuited, match="two classes or more"):
        arm(RandomNoise(), classes=1)

"""ModelGuard-W against an LP solver, ModelGuard-S's centroids."""

import pytest
import torch
from torch import Tensor

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.defenses.grad2 import grad2
from gamekeeper.defenses.modelguard import (
    ModelGuardS,
    ModelGuardW,
    Quantiser,
    centroids_of,
    modelguard_s,
    modelguard_w,
    spread,
)
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import distance
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Owner
from tests.defenses.programs import optimum, peaked

pytestmark = pytest.mark.thorough


def lead(z: Tensor, top: Tensor) -> Tensor:
    """How far class `top` is ahead of the best other."""
    return z.gather(1, top[:, None])[:, 0] - z.scatter(1, top[:, None], -1.0).amax(1)


def owner_and_victim(n: int, classes: int = 4) -> tuple[Owner, TorchModel]:
    architecture = Mlp((3,), classes, (5,))
    x = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    owner = Owner(x, torch.arange(n) % classes, Box((3,)), architecture)
    return owner, TorchModel(fresh(architecture, 0), Classify(classes))


@pytest.mark.parametrize(("k", "n"), [(2, 4), (3, 6), (10, 6), (50, 2)])
@pytest.mark.parametrize("sharpness", [0.3, 2.0, 8.0, 40.0])
@pytest.mark.parametrize("eps", [0.05, 0.2, 0.7, 1.0, 1.5, 2.0])
def test_w_is_the_linear_programs_optimum(k: int, n: int, sharpness: float, eps: float):
    y = peaked(n, k, sharpness, seed=k)
    z = modelguard_w(y, eps)
    for row, found in zip(y, z, strict=True):
        cost = (row + 1e-6).log()
        best = optimum(cost, row, eps, margin=1e-4)
        if best is None:
            assert torch.equal(found, row)
        else:
            assert (cost @ found).item() == pytest.approx(best, abs=2e-7)


@pytest.mark.parametrize("sharpness", [0.02, 0.3, 2.0, 8.0, 40.0])
@pytest.mark.parametrize("eps", [0.05, 0.7, 1.5, 2.0])
def test_w_stays_within_its_bounds(sharpness: float, eps: float):
    for k in (2, 3, 10, 100):
        y = peaked(200, k, sharpness)
        z = modelguard_w(y, eps)
        top = y.argmax(1)
        assert (z >= 0).all()
        torch.testing.assert_close(z.sum(1), torch.ones(200, dtype=torch.float64), atol=1e-12, rtol=0)
        assert distance(y, z, "l1").max() <= eps + 1e-12
        moved = (z != y).any(1)
        assert lead(z, top)[moved].min() >= 1e-4 - 1e-12


def test_w_by_hand():
    # half of 0.4 leaves the top class; the least likely takes 0.2 whole, being below the cap of 0.7 - 0.2 - 1e-4
    y = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(
        modelguard_w(y, 0.4), torch.tensor([[0.5, 0.2, 0.3]], dtype=torch.float64), atol=1e-7, rtol=0
    )


def test_w_at_full_strength_hides_the_label_among_all():
    y = torch.tensor([[0.9, 0.06, 0.03, 0.01]], dtype=torch.float64)
    t = (1 + 3e-4) / 4
    expected = torch.tensor([[t, t - 1e-4, t - 1e-4, t - 1e-4]], dtype=torch.float64)
    torch.testing.assert_close(modelguard_w(y, 2.0), expected, atol=1e-7, rtol=0)


def test_w_repairs_a_tie_that_eps_can_mend_and_leaves_one_that_it_cannot():
    y = torch.tensor([[0.45, 0.45, 0.1]], dtype=torch.float64)
    assert torch.equal(modelguard_w(y, 1e-5), y)
    assert lead(modelguard_w(y, 0.2), torch.tensor([0])).item() >= 1e-4 - 1e-12


def test_w_without_top1_is_grad2_towards_the_least_likely_class():
    y = peaked(100, 10, 3.0)
    free = modelguard_w(y, 0.8, keep_top1=False)
    assert torch.equal(free, grad2(y, -(y + 1e-6).log(), 0.8))
    cost = (y + 1e-6).log()
    assert ((cost * free).sum(1) <= (cost * modelguard_w(y, 0.8)).sum(1) + 1e-9).all()


def test_w_solves_rows_alone_as_in_any_batch():
    for k in (2, 10, 100):
        y = peaked(300, k, 2.0)
        assert torch.equal(modelguard_w(y, 0.7)[250:], modelguard_w(y[250:], 0.7))


def test_w_permutes_with_the_classes():
    y = peaked(100, 7, 2.0)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(modelguard_w(y[:, order], 0.7), modelguard_w(y, 0.7)[:, order], atol=1e-9, rtol=0)


def test_spread_covers_every_row_and_a_smaller_radius_adds_rows():
    y = peaked(300, 5, 1.5)
    few, many = spread(y, 0.8), spread(y, 0.2)
    for centroids, radius in ((few, 0.8), (many, 0.2)):
        assert torch.cdist(y, centroids, p=1).amin(1).max() <= radius + 1e-12
        apart = torch.cdist(centroids, centroids, p=1) + 9 * torch.eye(len(centroids))
        assert apart.min() > radius - 1e-12  # no centroid is superfluous for being near another
    assert len(few) < len(many)
    assert torch.equal(many[: len(few)], few)


@pytest.mark.parametrize("eps", [0.3, 1.0, 2.0])
def test_s_answers_with_few_posteriors_within_eps_and_keeps_the_top_class(eps: float):
    benign = peaked(1000, 5, 3.0)
    centroids = centroids_of(benign, eps / 2)
    z = modelguard_s(benign, centroids, eps)
    assert distance(benign, z, "l1").max() <= eps / 2 + 1e-9
    assert torch.equal(z.argmax(1), benign.argmax(1))
    assert len(z.unique(dim=0)) <= sum(map(len, centroids))
    assert len(z.unique(dim=0)) < 1000


def test_s_answers_with_the_nearest_centroid_of_the_same_top_class():
    centroids = centroids_of(peaked(300, 4, 2.0), 0.3)
    y = peaked(50, 4, 2.0, seed=5)
    z = modelguard_s(y, centroids, 1.0)
    for row, found in zip(y, z, strict=True):
        mine = centroids[int(row.argmax())]
        expected = min(mine, key=lambda c, row=row: (c - row).abs().sum().item())
        if (expected - row).abs().sum() <= 1.0:
            assert torch.equal(found, expected)


def test_s_moves_by_eps_where_no_centroid_is_near_and_to_the_label_of_a_class_never_seen():
    y = torch.tensor([[0.6, 0.4, 0.0], [0.1, 0.3, 0.6]], dtype=torch.float64)
    centroids = centroids_of(torch.tensor([[0.98, 0.01, 0.01], [0.2, 0.7, 0.1]], dtype=torch.float64), 0.5)
    z = modelguard_s(y, centroids, 0.1)
    torch.testing.assert_close(distance(y, z, "l1"), torch.full((2,), 0.1, dtype=torch.float64), atol=1e-12, rtol=0)
    assert torch.equal(modelguard_s(y, centroids, 1.0)[1], torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))


def test_s_permutes_with_the_classes_of_answers_and_centroids():
    benign, y = peaked(300, 5, 2.0), peaked(40, 5, 2.0, seed=3)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(0))
    there = modelguard_s(y[:, order], centroids_of(benign[:, order], 0.4), 0.8)
    torch.testing.assert_close(there, modelguard_s(y, centroids_of(benign, 0.4), 0.8)[:, order], atol=1e-9, rtol=0)


def test_s_fits_the_victims_answers_on_a_sample_of_the_owners_inputs():
    owner, victim = owner_and_victim(100)
    armed = ModelGuardS(eps=0.05, sample=20).arm(victim, owner, 0)
    assert isinstance(armed, Quantiser)
    answered = victim(owner.x[:20]).y.double()
    for c, centroids in enumerate(armed.centroids):
        if not (answered.argmax(1) == c).any():
            assert torch.equal(centroids, torch.eye(4, dtype=torch.float64)[c : c + 1])
        else:
            assert torch.cdist(centroids, answered, p=1).amin(1).max() == 0


def test_s_needs_inputs_of_the_owners():
    owner, victim = owner_and_victim(0)
    with pytest.raises(Unsuited, match="inputs from the owner; none were given"):
        ModelGuardS().arm(victim, owner, 0)


@pytest.mark.parametrize("recipe", [ModelGuardW, ModelGuardS])
def test_eps_out_of_range_is_refused(recipe: type):
    with pytest.raises(BadConfig, match=rf"The eps of {recipe.__name__} must be from 0 to 2. Got -1"):
        recipe(eps=-1.0)


def test_an_empty_sample_is_refused():
    with pytest.raises(BadConfig, match=r"The sample of ModelGuardS must be 1 or more. Got 0."):
        ModelGuardS(sample=0)


@pytest.mark.parametrize("recipe", [ModelGuardW(), ModelGuardS()])
def test_a_single_class_has_nothing_to_move(recipe):
    owner, victim = owner_and_victim(5, classes=1)
    with pytest.raises(Unsuited, match="two classes or more"):
        recipe.arm(victim, owner, 0)

"""GRAD^2: the linear program against a solver, and its values against automatic differentiation."""

import pytest
import torch
from torch import Tensor, nn

from gamekeeper.architectures import LeNet, Mlp, fresh
from gamekeeper.defenses.grad2 import GRAD2, Steerer, away, direction_of, grad2, steered
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import distance
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Owner, Reply
from tests.defenses.programs import optimum, peaked

K = 4
SHAPE = (1, 16, 16)


def normal(n: int, k: int, seed: int = 1) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network() -> nn.Module:
    return fresh(LeNet(SHAPE, K, hidden=12), 3).double().eval()


def inputs(n: int) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def jacobian(net: nn.Module, x: Tensor) -> Tensor:
    """G of one input over every weight, (k, d)."""
    log_p, weights = torch.log_softmax(net(x[None])[0], 0), list(net.parameters())
    rows = [torch.autograd.grad(entry, weights, retain_graph=True) for entry in log_p]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


def owner_and_victim(n: int = 30, classes: int = K) -> tuple[Owner, TorchModel]:
    architecture = Mlp((3,), classes, (5,))
    x = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    return Owner(x, torch.arange(n) % classes, Box((3,)), architecture), TorchModel(
        fresh(architecture, 0), Classify(classes)
    )


@pytest.mark.parametrize(("k", "sharpness"), [(2, 1.0), (3, 0.3), (10, 3.0), (40, 8.0)])
@pytest.mark.parametrize("eps", [0.1, 0.95, 1.9])
def test_greedy_is_the_linear_programs_optimum(k: int, sharpness: float, eps: float):
    y, v = peaked(6, k, sharpness), normal(6, k)
    z = grad2(y, v, eps)
    for row, goal, found in zip(y, v, z, strict=True):
        best = optimum(-goal, row, eps)
        assert best is not None
        assert (goal @ found).item() == pytest.approx(-best, abs=1e-7)
    assert distance(y, z, "l1").max() <= eps + 1e-12


def test_by_hand():
    # 0.3 of mass may move to class 2: all of class 0, which is worst, and the rest from class 1
    y = torch.tensor([[0.1, 0.5, 0.2, 0.2]], dtype=torch.float64)
    v = torch.tensor([[-3.0, -1.0, 5.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[0.0, 0.3, 0.5, 0.2]], dtype=torch.float64)
    torch.testing.assert_close(grad2(y, v, 0.6), expected, atol=1e-12, rtol=0)


def test_spends_eps_or_all_there_is():
    y, v = peaked(300, 10, 3.0), normal(300, 10)
    best = y.gather(1, v.argmax(1, keepdim=True))[:, 0]
    for eps in (0.3, 1.0, 2.0):
        torch.testing.assert_close(
            distance(y, grad2(y, v, eps), "l1"), (2 * (1 - best)).clamp(max=eps), atol=1e-12, rtol=0
        )


def test_nothing_is_gained_where_all_values_are_equal_so_nothing_moves():
    y = peaked(20, 5, 2.0)
    assert torch.equal(grad2(y, torch.ones_like(y), 1.0), y)


def test_values_are_the_jacobian_times_the_direction_up_to_a_constant():
    net, x = network(), inputs(5)
    towards = direction_of(net, "ones", "all", 0)
    v = steered(net, x, towards)
    for row, image in zip(v, x, strict=True):
        expected = jacobian(net, image).sum(1)
        torch.testing.assert_close(row - row.mean(), expected - expected.mean(), atol=1e-9, rtol=1e-9)


def test_a_random_direction_of_the_last_layer_is_its_matrix_times_the_features():
    net, x = network(), inputs(5)
    towards = direction_of(net, "random", "last", 7)
    expected = net.features(x) @ towards["head.weight"].T + towards["head.bias"]
    torch.testing.assert_close(steered(net, x, towards), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("weights", ["last", "all"])
def test_away_is_against_the_clean_gradient(weights):
    net, x, y = network(), inputs(5), peaked(5, K, 2.0)
    v = away(TorchModel(net, Classify(K)), x, y, weights)
    for row, image, answer in zip(v, x, y, strict=True):
        G = jacobian(net, image)
        if weights == "last":
            size = sum(w.numel() for w in net.head.parameters())
            G = G[:, -size:]
        expected = -G @ (G.T @ answer)
        found, expected = row - row.mean(), expected - expected.mean()
        torch.testing.assert_close(found / found.norm(), expected / expected.norm(), atol=1e-9, rtol=0)


def test_away_turns_the_inner_product_of_gradients_as_low_as_any_answer_could():
    net, x, y = network(), inputs(4), peaked(4, K, 2.0)
    z = grad2(y, away(TorchModel(net, Classify(K)), x, y, "all"), 0.8)
    for image, clean, found in zip(x, y, z, strict=True):
        G = jacobian(net, image).detach()
        u = G.T @ clean
        best = optimum(G @ u, clean, 0.8)
        assert best is not None
        assert (u @ (G.T @ found)).item() == pytest.approx(best, rel=1e-6)


def test_ones_in_the_last_layer_would_be_rounding_noise_and_is_refused():
    with pytest.raises(BadConfig, match="moves nothing: every logit grows alike"):
        GRAD2(jacobian="last")


def test_permuting_classes_permutes_the_answer():
    y, v = peaked(100, 6, 2.0), normal(100, 6)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(grad2(y[:, order], v[:, order], 0.7), grad2(y, v, 0.7)[:, order], atol=1e-12, rtol=0)


def test_the_surrogate_is_trained_on_the_victims_answers_and_leaves_the_victim_alone():
    owner, victim = owner_and_victim(200)
    before = [w.clone() for w in victim.net.parameters()]
    apart = []
    for epochs in (0, 100):
        armed = GRAD2(epochs=epochs).arm(victim, owner, 0)
        assert isinstance(armed, Steerer)
        apart.append(distance(victim(owner.x).y, armed.surrogate(owner.x).y, "l1").mean().item())
    assert apart[1] < apart[0] / 2
    assert all(torch.equal(a, b) for a, b in zip(before, victim.net.parameters(), strict=True))


def test_without_inputs_a_trained_surrogate_is_refused_and_an_untrained_one_is_not():
    owner, victim = owner_and_victim(0)
    with pytest.raises(Unsuited, match=r"there are none. Give the target some, or set epochs to 0"):
        GRAD2().arm(victim, owner, 0)
    armed = GRAD2(epochs=0).arm(victim, owner, 0)
    y = peaked(3, K, 1.0).float()
    assert not torch.equal(armed.respond(torch.rand(3, 3), Reply(y), None).y, y)


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("direction", "up", "The direction of GRAD2 must be ones, random or away. Got up."),
        ("jacobian", "first", "The jacobian of GRAD2 must be last or all. Got first."),
        ("epochs", -1, "The epochs of GRAD2 must be 0 or more. Got -1."),
        ("eps", 2.5, "The eps of GRAD2 must be from 0 to 2. Got 2.5."),
    ],
)
def test_what_cannot_be_is_refused(field: str, value: object, what: str):
    recipe = GRAD2()
    object.__setattr__(recipe, field, value)
    with pytest.raises(BadConfig, match=what):
        recipe.__post_init__()

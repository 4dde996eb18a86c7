"""MAD's closed form, against automatic differentiation and exhaustive search."""

import math

import pytest
import torch
from torch import Tensor, nn

from gamekeeper.architectures import LeNet, Mlp, fresh
from gamekeeper.defenses.mad.recipe import MAD, Poisoner, deviation, mad, mad_uniform, vertex
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import CHUNK, TorchModel
from gamekeeper.simplex import Norm, distance, one_hot
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Owner, Reply

K = 6
SHAPE = (1, 16, 16)


def dirichlet(n: int, k: int, alpha: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    gamma = torch._standard_gamma(torch.full((n, k), alpha, dtype=torch.float64), generator=generator) + 1e-300
    return gamma / gamma.sum(1, keepdim=True)


def surrogate() -> nn.Module:
    """A convolutional network of several layers, in float64."""
    return fresh(LeNet(SHAPE, K, hidden=20), 3).double().eval()


def inputs(n: int) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def jacobian(net: nn.Module, x: Tensor) -> Tensor:
    """G of one input: row k is the gradient of log p_k in the last layer's weight, (k, d)."""
    log_p = torch.log_softmax(net(x[None])[0], 0)
    weight = net.head.weight
    return torch.stack([torch.autograd.grad(entry, weight, retain_graph=True)[0].flatten() for entry in log_p])


def cosine(u: Tensor, v: Tensor) -> float:
    return float(u @ v / (u.norm() * v.norm()))


def mlp_owner(classes: int, box: Box | None = None) -> Owner:
    x = torch.empty(0, 4)
    return Owner(x, torch.empty(0, dtype=torch.long), box or Box((4,)), Mlp((4,), classes, (8,)))


def mlp_victim(classes: int) -> TorchModel:
    return TorchModel(fresh(Mlp((4,), classes, (8,)), 0), Classify(classes))


def test_closed_form_is_the_angle_between_gradients_of_the_last_layer():
    net, x, y, z = surrogate(), inputs(8), dirichlet(8, K, 0.5), dirichlet(8, K, 0.5, seed=1)
    p = torch.softmax(net(x), 1).detach()
    for i in range(8):
        G = jacobian(net, x[i])
        angle = math.degrees(math.acos(cosine(G.T @ y[i], G.T @ z[i])))
        assert deviation(y, z, p)[i].item() == pytest.approx(angle, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_vertex_is_the_best_of_all_by_explicit_jacobians(alpha: float):
    net, x, y = surrogate(), inputs(24), dirichlet(24, K, alpha)
    p = torch.softmax(net(x), 1).detach()
    best = []
    for i in range(24):
        G = jacobian(net, x[i])
        best.append(min(range(K), key=lambda k: cosine(G.T @ y[i], G[k])))
    assert vertex(y, p).tolist() == best


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 30.0])
def test_vertex_is_the_best_of_all_for_confident_surrogates_too(sharpness: float):
    generator = torch.Generator().manual_seed(2)
    p = torch.softmax(sharpness * torch.randn(500, 10, generator=generator, dtype=torch.float64), 1)
    y = dirichlet(500, 10, 0.3)
    angles = torch.stack([deviation(y, one_hot(torch.full((500,), k), y), p) for k in range(10)], 1)
    chosen = angles.gather(1, vertex(y, p)[:, None])[:, 0]
    torch.testing.assert_close(chosen, angles.amax(1), atol=1e-6, rtol=0)


def test_the_chosen_vertex_is_never_less_than_a_right_angle_away():
    # the e_k - p average to zero under p, so that some cosine is at most zero
    y, p = dirichlet(1000, 10, 0.3), dirichlet(1000, 10, 1.0, seed=1)
    assert deviation(y, one_hot(vertex(y, p), y), p).min() >= 90 - 1e-9


@pytest.mark.parametrize("eps", [0.05, 0.5, 0.95, 1.9, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_l1_spent_is_eps_or_the_distance_to_the_vertex(eps: float, dtype: torch.dtype):
    y, p = dirichlet(500, 10, 0.3).to(dtype), dirichlet(500, 10, 5.0, seed=1).to(dtype)
    k = vertex(y, p)
    most = 2 * (1 - y.gather(1, k[:, None])[:, 0])
    torch.testing.assert_close(distance(y, mad(y, p, eps), "l1"), most.clamp(max=eps), atol=1e-6, rtol=0)


@pytest.mark.parametrize("c", [0.99, 0.9, 0.7, 0.55])
def test_a_confident_label_flips_exactly_beyond_its_bound(c: float):
    y = torch.tensor([[c, 1 - c, 0.0, 0.0]], dtype=torch.float64)
    p = torch.full((1, 4), 0.25, dtype=torch.float64)
    bound = 2 * c / (1 + c)
    assert mad(y, p, bound - 1e-6).argmax(1).item() == 0
    assert mad(y, p, bound + 1e-6).argmax(1).item() == 2


def test_uniform_surrogate_gives_the_least_likely_class():
    y = dirichlet(500, 10, 0.3)
    p = torch.full_like(y, 0.1)
    assert torch.equal(vertex(y, p), y.argmin(1))
    assert torch.equal(mad(y, p, 0.95), mad_uniform(y, 0.95))


def test_a_surrogate_that_agrees_with_the_victim_falls_back_to_the_least_likely_class():
    y = dirichlet(20, 10, 0.3)
    p = dirichlet(20, 10, 1.0, seed=1)
    p[::2] = y[::2]
    chosen = vertex(y, p)
    assert torch.equal(chosen[::2], y.argmin(1)[::2])
    assert torch.equal(chosen[1::2], vertex(y[1::2], p[1::2]))


@pytest.mark.parametrize("norm", ["l1", "l2", "kl"])
def test_no_strength_is_the_clean_answer_bit_for_bit(norm: Norm):
    y, p = dirichlet(20, 10, 0.3).float(), dirichlet(20, 10, 1.0, seed=1).float()
    assert torch.equal(mad(y, p, 0.0, norm), y)


@pytest.mark.parametrize(("norm", "eps"), [("l2", 0.2), ("l2", 0.9), ("kl", 0.05), ("kl", 1.0)])
def test_other_balls_are_respected_and_touched(norm: Norm, eps: float):
    y, p = dirichlet(500, 5, 1.0), dirichlet(500, 5, 5.0, seed=1)
    outside = distance(y, one_hot(vertex(y, p), y), norm) > eps
    spent = distance(y, mad(y, p, eps, norm), norm)
    assert outside.any()
    assert spent.max() <= eps + 1e-9
    torch.testing.assert_close(spent[outside], torch.full_like(spent[outside], eps), atol=1e-7, rtol=0)


def grid(k: int = 3, steps: int = 40) -> Tensor:
    """Every point of the simplex over three classes whose entries are multiples of 1/steps."""
    points = [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    return torch.tensor(points, dtype=torch.float64) / steps


def test_no_grid_point_displaces_the_gradient_further_than_the_vertex_of_the_uniform_rule():
    # |G^T (z - y)| is convex in z, so a vertex is its maximum over the whole simplex
    points = grid()
    for y in dirichlet(50, 3, 0.7):
        chosen = one_hot(y.argmin()[None], y[None])
        assert distance(points, y.expand_as(points), "l2").max() <= distance(chosen, y[None], "l2").item() + 1e-12


def test_the_angle_alone_can_be_larger_inside_the_simplex():
    # the normalised objective is not convex: on the far side of p from y lie points at 180 degrees. The paper's
    # vertices are a heuristic for it, and this is why
    y, p = torch.tensor([[0.5, 0.3, 0.2]]).double(), torch.full((1, 3), 1 / 3).double()
    at_vertex = deviation(y, one_hot(vertex(y, p), y), p).item()
    inside = deviation(y, 2 * p - y, p).item()
    assert inside == pytest.approx(180, abs=1e-6)
    assert at_vertex < 161


def test_the_better_corner_of_a_sector_beats_its_grid_points_unless_it_holds_the_opposite_of_y():
    # going once round p, the angle to y rises to 180 and falls again: within the sector of two vertices that does not
    # hold the opposite of y, the better vertex beats every grid point
    points = grid()
    for y, p in zip(dirichlet(40, 3, 0.7), dirichlet(40, 3, 8.0, seed=1), strict=True):
        cone = (torch.eye(3, dtype=torch.float64) - p)[:, :2].T  # columns e_k - p in the plane of two coordinates
        angles = deviation(y.expand_as(points), points, p.expand_as(points))
        corner = deviation(y.expand(3, 3), torch.eye(3, dtype=torch.float64), p.expand(3, 3))
        for a, b in ((0, 1), (0, 2), (1, 2)):
            edges = cone[:, [a, b]]
            share = torch.linalg.solve(edges, (points - p)[:, :2].T)
            opposite = torch.linalg.solve(edges, (p - y)[:2])
            if (opposite >= 0).all():
                continue
            inside = (share >= 0).all(0)
            assert angles[inside].max() <= max(corner[a], corner[b]) + 1e-6


def test_measured_angle_of_one_step_of_a_linear_softmax_thief_is_the_deviation():
    generator = torch.Generator().manual_seed(4)
    thief = nn.Linear(7, K).double()
    x = torch.randn(12, 7, generator=generator, dtype=torch.float64)
    y = dirichlet(12, K, 0.3)
    p = torch.softmax(thief(x), 1).detach()
    poisoned = mad(y, p, 0.9)
    expected = deviation(y, poisoned, p)
    for i in range(12):
        steps = []
        for target in (y[i], poisoned[i]):
            loss = nn.functional.cross_entropy(thief(x[i]), target)
            steps.append(torch.autograd.grad(loss, thief.weight)[0].flatten())
        assert math.degrees(math.acos(cosine(*steps))) == pytest.approx(expected[i].item(), abs=1e-6)


def test_deviation_of_an_unchanged_answer_is_zero():
    y, p = dirichlet(5, 4, 1.0), dirichlet(5, 4, 1.0, seed=1)
    assert deviation(y, y, p).tolist() == [0.0] * 5


@pytest.mark.parametrize("alpha", [0.02, 0.3, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_equals_its_rows_bit_for_bit(alpha: float, dtype: torch.dtype):
    for k in (2, 3, 10, 33, 1000):
        y, p = dirichlet(12, k, alpha).to(dtype), dirichlet(12, k, 10.0, seed=1).to(dtype)
        for norm in ("l1", "l2", "kl"):
            rows = torch.cat([mad(y[i : i + 1], p[i : i + 1], 0.4, norm) for i in range(12)])
            assert torch.equal(mad(y, p, 0.4, norm), rows)


def test_permuting_classes_permutes_the_answer():
    y, p = dirichlet(300, 10, 0.5), dirichlet(300, 10, 10.0, seed=1)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mad(y[:, order], p[:, order], 0.5), mad(y, p, 0.5)[:, order], atol=1e-12, rtol=0)


def test_answers_come_in_the_dtype_of_the_victim():
    y, p = dirichlet(3, 4, 1.0), dirichlet(3, 4, 1.0, seed=1)
    assert mad(y, p.float(), 0.5).dtype == torch.float64
    assert mad(y.float(), p, 0.5).dtype == torch.float32


def test_armed_mad_is_the_closed_form_over_its_surrogate():
    armed = MAD(eps=0.6).arm(mlp_victim(5), mlp_owner(5), 0)
    assert isinstance(armed, Poisoner)
    x = torch.rand(CHUNK + 3, 4, generator=torch.Generator().manual_seed(0))
    reply = mlp_victim(5)(x)
    p = torch.softmax(armed.surrogate.net(x), 1).detach()
    torch.testing.assert_close(armed.respond(x, reply, None).y, mad(reply.y, p, 0.6), atol=1e-6, rtol=0)


def test_surrogate_is_never_the_victim_nor_a_student_of_the_same_seed():
    owner, victim = mlp_owner(5), mlp_victim(5)
    armed = MAD().arm(victim, owner, 0)
    assert isinstance(armed, Poisoner)
    weights = armed.surrogate.net.head.weight
    assert not torch.equal(weights, victim.net.head.weight)
    assert not torch.equal(weights, fresh(owner.architecture, 0).head.weight)


def test_surrogate_depends_on_the_seed_alone():
    def weights(seed: int) -> Tensor:
        armed = MAD().arm(mlp_victim(5), mlp_owner(5), seed)
        assert isinstance(armed, Poisoner)
        return armed.surrogate.net.head.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_a_recipe_with_an_architecture_prints_as_itself_and_hashes():
    recipe = MAD(surrogate=Mlp((4,), 5, ()))
    assert eval(repr(recipe)) == recipe
    assert hash(eval(repr(recipe))) == hash(recipe)


def test_surrogate_can_be_another_architecture():
    armed = MAD(surrogate=Mlp((4,), 5, ())).arm(mlp_victim(5), mlp_owner(5), 0)
    assert isinstance(armed, Poisoner)
    assert [m for m in armed.surrogate.net.modules() if isinstance(m, nn.ReLU)] == []


def test_arming_leaves_the_victim_alone():
    victim = mlp_victim(5)
    before = [w.clone() for w in victim.net.parameters()]
    MAD().arm(victim, mlp_owner(5), 0).respond(torch.rand(4, 4), Reply(dirichlet(4, 5, 1.0)), None)
    assert all(torch.equal(a, b) for a, b in zip(before, victim.net.parameters(), strict=True))


def test_a_victim_of_one_class_is_unsuited():
    with pytest.raises(Unsuited, match="two classes or more; this victim's task has 1"):
        MAD().arm(mlp_victim(1), mlp_owner(1), 0)


def test_a_surrogate_of_other_classes_is_unsuited():
    with pytest.raises(Unsuited, match=r"5 classes; Mlp\(.*\) has 4 classes"):
        MAD(surrogate=Mlp((4,), 4)).arm(mlp_victim(5), mlp_owner(5), 0)


def test_a_surrogate_for_other_inputs_is_unsuited():
    with pytest.raises(Unsuited, match="does not take such inputs"):
        MAD(surrogate=Mlp((7,), 5)).arm(mlp_victim(5), mlp_owner(5), 0)


@pytest.mark.parametrize(("norm", "eps"), [("l1", 2.1), ("l2", -0.1), ("kl", -1.0), ("l1", math.nan)])
def test_eps_out_of_range_is_refused(norm: Norm, eps: float):
    with pytest.raises(BadConfig, match=r"The eps of MAD must be from 0 to (2|inf) for \w+. Got"):
        MAD(eps=eps, norm=norm)


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [("norm", "l3", "l1, l2 or kl"), ("surrogate", "mine", "victim, uniform or an architecture")],
)
def test_an_unknown_word_is_refused(field: str, value: str, what: str):
    recipe = MAD()
    object.__setattr__(recipe, field, value)  # the checked test run would refuse the wrong type before the recipe does
    with pytest.raises(BadConfig, match=f"The {field} of MAD must be {what}. Got {value}."):
        recipe.__post_init__()


def test_mad_does_not_claim_to_keep_the_top_class():
    assert not MAD().keeps_top1

"""MAD-argmax and the eps-aware rule against exhaustive search; all weights against explicit Jacobians."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from gamekeeper.architectures import LeNet, Mlp, fresh
from gamekeeper.defenses.mad.jacobian import gram
from gamekeeper.defenses.mad.recipe import MAD, Poisoner, Scatterer, deviation, mad, mad_argmax
from gamekeeper.defenses.mad.subsets import best_class, best_set, grown, turn
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import Norm, distance, label, step_towards
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Owner, Reply
from tests.defenses.programs import peaked

pytestmark = pytest.mark.thorough

EPS = 0.5


def grams(n: int, k: int) -> Tensor:
    root = torch.randn(n, k, k + 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return root @ root.transpose(1, 2)


def vertices(y: Tensor) -> Tensor:
    """All 1_S / |S| with the top class of one posterior in S."""
    k, top = len(y), int(y.argmax())
    others = [j for j in range(k) if j != top]
    sets = [(top, *more) for size in range(k) for more in itertools.combinations(others, size)]
    return torch.stack([torch.zeros(k, dtype=y.dtype).index_fill_(0, torch.tensor(s), 1 / len(s)) for s in sets])


def angles(y: Tensor, z: Tensor, p: Tensor, gram: Tensor | None) -> Tensor:
    """deviation() of many answers to one."""
    n = len(z)
    wide = None if gram is None else gram.expand(n, -1, -1)
    return deviation(y.expand(n, -1), z, p.expand(n, -1), wide)


def owner_and_victim(classes: int, n: int = 0) -> tuple[Owner, TorchModel]:
    architecture = Mlp((4,), classes, (8,))
    x = torch.rand(n, 4, generator=torch.Generator().manual_seed(0))
    return Owner(x, torch.arange(n) % classes, Box((4,)), architecture), TorchModel(
        fresh(architecture, 0), Classify(classes)
    )


@pytest.mark.parametrize("k", [3, 10, 30])
@pytest.mark.parametrize("with_gram", [False, True])
@pytest.mark.parametrize("eps_aware", [False, True])
@pytest.mark.parametrize("how", [mad, mad_argmax])
def test_permuting_classes_permutes_the_answer(how: Any, k: int, with_gram: bool, eps_aware: bool):
    y, p, order = (
        peaked(8, k, 1.0),
        peaked(8, k, 0.5, seed=1),
        torch.randperm(k, generator=torch.Generator().manual_seed(2)),
    )
    one, other = (grams(8, k), grams(8, k)[:, order][:, :, order]) if with_gram else (None, None)
    turned = how(y[:, order], p[:, order], EPS, gram=other, eps_aware=eps_aware)
    torch.testing.assert_close(turned, how(y, p, EPS, gram=one, eps_aware=eps_aware)[:, order], atol=1e-9, rtol=0)


@pytest.mark.parametrize("with_gram", [False, True])
@pytest.mark.parametrize("sharpness", [0.3, 3.0])
@pytest.mark.parametrize("k", [2, 3, 6, 10])
def test_argmax_takes_the_best_of_all_vertices(k: int, sharpness: float, with_gram: bool):
    y, p = peaked(20, k, sharpness), peaked(20, k, 1.0, seed=1)
    q = grams(20, k) if with_gram else None
    chosen = best_set(turn(y, p, q, None, "l1")).double()
    goal = chosen / chosen.sum(1, keepdim=True)
    found = deviation(y, goal, p, q)
    for i in range(20):
        best = angles(y[i], vertices(y[i]), p[i], None if q is None else q[i]).max().item()
        assert found[i].item() == pytest.approx(best, abs=1e-4)  # nine decimals of the cosine near 180 degrees


@pytest.mark.parametrize("with_gram", [False, True])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_eps_aware_takes_the_vertex_of_the_largest_angle_where_the_step_ends(norm: Norm, with_gram: bool):
    y, p = peaked(20, 6, 2.0), peaked(20, 6, 1.0, seed=1)
    q = grams(20, 6) if with_gram else None
    classes, sets = mad(y, p, EPS, norm, q, eps_aware=True), mad_argmax(y, p, EPS, norm, q, eps_aware=True)
    for i in range(20):
        own = None if q is None else q[i]
        for found, goals, keep in ((classes, torch.eye(6, dtype=torch.float64), False), (sets, vertices(y[i]), True)):
            ends = step_towards(y[i].expand_as(goals), goals, EPS, norm, keep)
            best = angles(y[i], ends, p[i], own).max().item()
            assert angles(y[i], found[i : i + 1], p[i], own).item() == pytest.approx(best, abs=2e-3)


def test_eps_aware_turns_further_than_the_papers_rule_at_no_higher_price():
    y, p = peaked(300, 10, 3.0), peaked(300, 10, 0.3, seed=1)
    for change in (mad, mad_argmax):
        official, aware = change(y, p, EPS), change(y, p, EPS, eps_aware=True)
        assert (deviation(y, aware, p) >= deviation(y, official, p) - 1e-3).all()
        assert distance(y, aware, "l1").max() <= EPS + 1e-9
    # the sheet's finding: MAD-argmax picks by the angle at a vertex which its step never reaches
    assert deviation(y, aware, p).mean() > 3 * deviation(y, official, p).mean()


@pytest.mark.parametrize("with_gram", [False, True])
def test_greedy_growth_is_seldom_worse_than_enumeration_and_never_better(with_gram: bool):
    y, p = peaked(300, 8, 2.0), peaked(300, 8, 1.0, seed=1)
    q = grams(300, 8) if with_gram else None
    goals = [
        s.double() / s.double().sum(1, keepdim=True)
        for s in (grown(turn(y, p, q, None, "l1")), best_set(turn(y, p, q, None, "l1")))
    ]
    greedy, all_sets = (deviation(y, goal, p, q) for goal in goals)
    assert (greedy <= all_sets + 1e-4).all()
    assert (greedy >= all_sets - 1e-4).float().mean() > (0.8 if with_gram else 0.95)


@pytest.mark.parametrize("k", [2, 3, 10, 11, 20, 45, 46, 100, 150])
@pytest.mark.parametrize("eps_aware", [False, True])
def test_argmax_works_for_every_number_of_classes_and_keeps_the_top_class(k: int, eps_aware: bool):
    # the authors' code fails from 11 to 45
    for sharpness in (0.02, 1.0, 8.0):
        y, p = peaked(40, k, sharpness), peaked(40, k, 0.3, seed=1)
        for eps in (0.1, 0.9, 2.0):
            z = mad_argmax(y, p, eps, eps_aware=eps_aware)
            assert torch.equal(z.argmax(1), y.argmax(1))
            assert distance(y, z, "l1").max() <= eps + 1e-9
            torch.testing.assert_close(z.sum(1), torch.ones(40, dtype=torch.float64), atol=1e-12, rtol=0)


def test_argmax_keeps_the_top_class_of_near_ties():
    y = torch.tensor([[0.3, 0.3 + 1e-7, 0.4 - 1e-7], [0.3334, 0.3333, 0.3333], [0.5, 0.5, 0.0]])
    for eps_aware in (False, True):
        z = mad_argmax(y, torch.full_like(y, 1 / 3), 2.0, eps_aware=eps_aware)
        assert torch.equal(z.argmax(1), y.argmax(1))


@pytest.mark.parametrize("norm", ["l1", "l2", "kl"])
def test_argmax_respects_each_ball(norm: Norm):
    y, p = peaked(200, 6, 2.0), peaked(200, 6, 0.3, seed=1)
    spent = distance(y, mad_argmax(y, p, 0.2, norm), norm)
    assert spent.max() <= 0.2 + 1e-9
    assert (spent > 0.2 - 1e-5).float().mean() > 0.5


def test_the_vertex_of_all_weights_is_the_best_by_explicit_gradients():
    net = fresh(LeNet((1, 16, 16), 5, 20), 3).double().eval()
    x = torch.rand(12, 1, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y, p, q = peaked(12, 5, 2.0), torch.softmax(net(x), 1).detach(), gram(net, x)
    chosen = best_class(turn(y, p, q, None, "l1"))
    weights = list(net.parameters())
    for i in range(12):
        log_p = torch.log_softmax(net(x[i : i + 1])[0], 0)
        rows = [torch.autograd.grad(entry, weights, retain_graph=True) for entry in log_p]
        G = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
        cosine = torch.cosine_similarity(G, (G.T @ y[i])[None], dim=1)
        assert int(chosen[i]) == int(cosine.argmin())
        ends = deviation(
            y[i : i + 1], mad(y[i : i + 1], p[i : i + 1], 0.7, gram=q[i : i + 1]), p[i : i + 1], q[i : i + 1]
        )
        new = mad(y[i : i + 1], p[i : i + 1], 0.7, gram=q[i : i + 1])[0]
        expected = torch.rad2deg(torch.arccos(torch.cosine_similarity(G.T @ y[i], G.T @ new, dim=0)))
        assert ends.item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_gram_matrix_that_is_a_multiple_of_the_identity_is_the_last_layer():
    y, p = peaked(50, 7, 2.0), peaked(50, 7, 1.0, seed=1)
    q = 3 * torch.eye(7, dtype=torch.float64).expand(50, 7, 7)
    torch.testing.assert_close(mad(y, p, 0.6, gram=q), mad(y, p, 0.6))
    torch.testing.assert_close(mad_argmax(y, p, 0.6, gram=q), mad_argmax(y, p, 0.6))
    torch.testing.assert_close(deviation(y, p.flip(1), p, q), deviation(y, p.flip(1), p))


def test_the_ablation_of_the_identity_is_the_least_likely_class():
    owner, victim = owner_and_victim(6)
    y = peaked(100, 6, 2.0)
    x = torch.rand(100, 4)
    identity = MAD(jacobian="identity").arm(victim, owner, 0).respond(x, Reply(y), None).y
    uniform = MAD(surrogate="uniform").arm(victim, owner, 0).respond(x, Reply(y), None).y
    assert torch.equal(identity, uniform)


def test_the_ablation_of_random_vertices_is_drawn_for_the_input_and_uniform():
    owner, victim = owner_and_victim(6)
    armed = MAD(eps=2.0, rule="random").arm(victim, owner, 0)
    assert isinstance(armed, Scatterer)
    assert "key" not in repr(armed)
    x = torch.rand(3000, 4, generator=torch.Generator().manual_seed(0))
    y = peaked(3000, 6, 1.0)
    z = armed.respond(x, Reply(y), None).y
    assert torch.equal(z, armed.respond(x, Reply(y), None).y)
    counts = torch.bincount(z.argmax(1), minlength=6).double()
    assert ((counts - 500).square() / 500).sum() < 20.5  # chi-square, 5 degrees of freedom, 0.1 %
    kept = MAD(eps=2.0, rule="random", keep_top1=True).arm(victim, owner, 0).respond(x, Reply(y), None).y
    assert torch.equal(label(kept), label(y))
    sizes = (kept > 1e-3).sum(1).double()
    assert sizes.mean().item() == pytest.approx(3.5, abs=0.1)  # the top class and each other with probability 1/2


def test_a_trained_surrogate_comes_to_answer_as_the_victim_does():
    owner, victim = owner_and_victim(5, 300)
    apart = []
    for epochs in (0, 60):
        armed = MAD(epochs=epochs).arm(victim, owner, 0)
        assert isinstance(armed, Poisoner)
        apart.append(distance(victim(owner.x).y, armed.surrogate(owner.x).y, "l1").mean().item())
    assert apart[1] < apart[0] / 2


def test_a_trained_surrogate_needs_inputs():
    owner, victim = owner_and_victim(5)
    with pytest.raises(Unsuited, match="MAD trains its surrogate on the owner's inputs, and there are none"):
        MAD(epochs=3).arm(victim, owner, 0)


def test_armed_over_all_weights_it_asks_its_surrogates_gram_matrix():
    owner, victim = owner_and_victim(5)
    armed = MAD(jacobian="all", keep_top1=True).arm(victim, owner, 0)
    assert isinstance(armed, Poisoner)
    x, y = torch.rand(9, 4, generator=torch.Generator().manual_seed(0)), peaked(9, 5, 1.0)
    p, q = torch.softmax(armed.surrogate.net(x), 1).detach(), gram(armed.surrogate.net, x)
    torch.testing.assert_close(armed.respond(x, Reply(y), None).y, mad_argmax(y, p, 0.95, gram=q), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"rule": "eps_aware", "norm": "kl"}, "eps_aware needs the norm l1 or l2; got kl"),
        ({"rule": "ball", "norm": "l2"}, "ball needs norm=l1, jacobian=last and keep_top1=false"),
        ({"rule": "ball", "keep_top1": True}, "ball needs norm=l1"),
        ({"rule": "ball", "jacobian": "all"}, "ball needs norm=l1"),
        ({"surrogate": "uniform", "jacobian": "all"}, "needs a surrogate network"),
        ({"surrogate": "uniform", "epochs": 2}, "needs a surrogate network"),
        ({"epochs": -1}, "The epochs of MAD must be 0 or more. Got -1"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(settings: dict, what: str):
    with pytest.raises(BadConfig, match=what):
        MAD(**settings)

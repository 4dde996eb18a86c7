"""DeepDefense on a small network: what it reaches, what it keeps, and that the printed form does not move."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gamekeeper.architectures import Classifier, fresh
from gamekeeper.defenses.deep_defense.layers import chosen, movable, sensitivity
from gamekeeper.defenses.deep_defense.losses import (
    Seen,
    cosine,
    entering,
    leaving,
    map_disorder,
    margin,
    order_kept,
    out_of_order,
    ranks,
)
from gamekeeper.defenses.deep_defense.recipe import DeepDefense, Misdirector
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.explain import EXPLAINERS, ExplainerName
from gamekeeper.explain.metrics import degenerate, rank_correlation
from gamekeeper.models.network import TorchModel
from gamekeeper.targets.builtin import shipped
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Owner, Reply

pytestmark = pytest.mark.thorough

SHAPE, K = (1, 12, 12), 5


def net() -> nn.Module:
    """Two convolutions with pooling and a hidden layer, trained for a moment: surer than at random, not saturated."""
    body = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(108, 32), nn.ReLU(),
    )  # fmt: skip
    return Classifier(body, nn.Linear(32, K))


def sharpened() -> nn.Module:
    made = fresh(net, 3).eval()
    with torch.no_grad():
        out = made(inputs(256))
        made.head.weight *= 4 / out.std(0).mean()  # pyright: ignore
        made.head.bias.copy_(-(made(inputs(256)) - made.head.bias).mean(0))  # pyright: ignore
    return made


def inputs(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return nn.functional.interpolate(torch.rand(n, 1, 4, 4, generator=generator), SHAPE[1:], mode="bilinear")


def armed(recipe: DeepDefense, explain: ExplainerName | None = None) -> Misdirector:
    victim = TorchModel(sharpened(), Classify(K), explain=None if explain is None else EXPLAINERS[explain])
    return recipe.arm(victim, Owner(inputs(20), torch.zeros(20).long(), Box(SHAPE), net), 1)


def test_margin_has_the_direction_of_the_probability_and_lives_where_that_is_dead():
    z = torch.tensor([[2.0, -1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    by_margin = torch.autograd.grad(margin(z, torch.tensor([0])).sum(), z)[0]
    by_p = torch.autograd.grad(torch.softmax(z, 1)[0, 0], z)[0]
    torch.testing.assert_close(nn.functional.normalize(by_margin), nn.functional.normalize(by_p))
    sure = torch.tensor([[400.0, 0.0, 1.0]], requires_grad=True)
    assert torch.autograd.grad(margin(sure, torch.tensor([0])).sum(), sure)[0].norm() > 1
    assert torch.autograd.grad(torch.softmax(sure, 1)[0, 0], sure)[0].norm() == 0


def test_out_of_order_by_hand():
    y = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    p = torch.tensor([[0.3, 0.2, 0.1, 0.4]])
    assert out_of_order(p, ranks(y), 1).item() == pytest.approx(0.1)
    assert out_of_order(p, ranks(y), 2).item() == pytest.approx(0.2)
    assert out_of_order(p, ranks(y), 3).item() == pytest.approx(0.3)
    assert out_of_order(y, ranks(y), 9).item() == 0
    assert order_kept(p, ranks(y), 1).tolist() == [False]
    assert order_kept(torch.tensor([[0.4, 0.1, 0.3, 0.2]]), ranks(y), 1).tolist() == [True]
    assert order_kept(torch.tensor([[0.4, 0.1, 0.3, 0.2]]), ranks(y), 2).tolist() == [False]


def test_map_disorder_by_hand_and_that_only_the_unscaled_one_rewards_fading():
    order = torch.tensor([[2, 0, 1]])
    assert map_disorder(torch.tensor([[[1.0, 0.0, 2.0]]]), order, scaled=False).item() == 0
    swapped = torch.tensor([[[0.0, 0.2, 1.2]]])  # one rise of 0.2, quadratic
    assert map_disorder(swapped, order, scaled=False).item() == pytest.approx(0.02 / 2)
    wide = torch.tensor([[[0.0, 0.0, -1.0]]])  # one rise of 1, linear: 0.3 (1 - 0.15)
    assert map_disorder(wide, order, scaled=False).item() == pytest.approx(0.255 / 2)
    faded = map_disorder(wide * 1e-3, order, scaled=False)
    assert faded < 1e-5
    torch.testing.assert_close(map_disorder(wide * 1e-3, order, scaled=True), map_disorder(wide, order, scaled=True))
    assert map_disorder(torch.zeros(1, 1, 3), order, scaled=False).item() == 0  # the zero map meets every order


def test_inner_products_are_those_of_the_explicit_gradients():
    layers = [nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Conv2d(3, 20, 2), nn.Flatten(), nn.Linear(20 * 9, 4)]
    made, sides, grads = nn.Sequential(*layers).double(), [], []
    for x in torch.rand(2, 3, 2, 8, 8).double():
        entered, left = [x], []
        for layer in made:
            left.append(layer(entered[-1]))
            entered.append(left[-1])
        goal = left[-1][:, 0].square() + left[-1][:, 1]
        deltas = torch.autograd.grad(goal.sum(), [left[i] for i in (0, 1, 3)], retain_graph=True)
        sides.append(
            [
                Seen(entering(made[i], entered[i], bias=True), leaving(made[i], d))
                for i, d in zip((0, 1, 3), deltas, strict=True)
            ]
        )
        rows = [torch.autograd.grad(g, list(made.parameters()), retain_graph=True) for g in goal]
        grads.append(torch.stack([torch.cat([g.flatten() for g in row]) for row in rows]))
    expected = nn.functional.cosine_similarity(*grads).abs()
    torch.testing.assert_close(cosine(sides[0], sides[1], 3)[0], expected)


def test_sensitivity_and_the_choice_of_layers_by_hand():
    # z = (c b a x, 0): the margin is c b a x, and its gradients are c b x, c a x and b a x
    body = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    made = Classifier(body, nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        body[0].weight.fill_(2.0)  # pyright: ignore
        body[1].weight.fill_(5.0)  # pyright: ignore
        made.head.weight.copy_(torch.tensor([[1.0], [0.0]]))
    s = sensitivity(made, lambda z: z, torch.tensor([[1.0], [3.0]]), movable([made]))
    # the head's gradient is 10 x for the top row and -10 x for the other
    assert s == pytest.approx([10.0, 4.0, 40.0])
    assert chosen(s, 0.7) == [2]
    assert chosen(s, 0.9) == [0, 2]
    assert chosen(s, 1.0) == [0, 1, 2]
    assert chosen([10.0, 10.0], 0.5) == [0]


@pytest.mark.parametrize(
    ("explain", "mode"),
    [
        (None, "bias"),
        (None, "low_rank"),
        (None, "full"),
        ("grad_cam", "bias"),
        ("grad_cam", "full"),
        ("relevance_cam", "bias"),
        ("relevance_cam", "low_rank"),
        ("relevance_cam", "full"),
        ("gradient_x_input", "bias"),
    ],
)
def test_answers_turn_the_gradient_keep_the_order_and_have_living_maps(explain: ExplainerName | None, mode: Any):
    live, x = armed(DeepDefense(mode=mode, steps=25, group=32), explain), inputs(32)
    reply = live.network(x)
    got = live.bend(x, reply.y)
    assert got.feasible.double().mean() >= 0.9  # the others get the answer as it came
    assert got.cosines[got.feasible, 1].mean() < 0.75
    answer = live.respond(x, reply, None)
    assert torch.equal(answer.y.argmax(1), reply.y.argmax(1))
    assert (answer.y - reply.y).abs().sum(1).mean() > 0.01
    if explain is not None:
        assert answer.maps is not None
        assert reply.maps is not None
        spoke = reply.maps.flatten(1).abs().amax(1) > 0
        assert (answer.maps.flatten(1).abs().amax(1) > 0)[spoke].all()


@pytest.mark.parametrize("explain", [None, "grad_cam"])
def test_on_a_trained_network_nearly_every_answer_stands_at_right_angles_with_its_order_kept(
    explain: ExplainerName | None,
):
    target = shipped("mnist")
    assert isinstance(target.victim, TorchModel)
    victim = replace(target.victim, explain=None if explain is None else EXPLAINERS[explain])
    live, x = DeepDefense().arm(victim, target.owner, 0), shipped("fashion").owner.x[:32]
    got = live.bend(x, victim(x).y)
    upright = got.feasible & (got.cosines < 0.1).all(1)
    assert got.feasible.all()
    assert upright.double().mean() >= 0.95
    maps = victim(x).maps
    assert (got.maps is None) == (maps is None) == (explain is None)
    if got.maps is not None and maps is not None:
        assert not degenerate(got.maps).any()
        assert rank_correlation(maps, got.maps).nanmean() > 0.75


def test_the_printed_form_stands_still_until_rounding_grows_and_then_breaks_the_network():
    x = inputs(32)
    y = armed(DeepDefense()).network(x).y
    printed = DeepDefense(form="literal", mode="full", steps=1, rate=0.01, group=32)
    first = armed(printed).bend(x, y)
    assert (first.cosines[:, 1] > 0.999).all()
    assert (first.p - y).abs().max() < 1e-3
    last = armed(replace(printed, steps=25)).bend(x, y)
    stuck, dead = last.cosines[:, 1] > 0.99, last.cosines[:, 1] < 1e-6
    assert (stuck | dead).double().mean() > 0.9  # a dead gradient has cosine 0 / 0, counted as 0
    assert (last.p.argmax(1) != y.argmax(1)).double().mean() > 0.1
    turned = armed(DeepDefense(mode="full", steps=25, group=32)).bend(x, y)
    assert ((turned.cosines[:, 1] < 0.99) & (turned.cosines[:, 1] > 1e-6)).double().mean() > 0.8


@pytest.mark.parametrize("k", [3, 5])
def test_the_order_of_more_classes_is_kept_too(k: int):
    live, x = armed(DeepDefense(k=k, steps=10)), inputs(20)
    reply = live.network(x)
    y, feasible = live.respond(x, reply, None).y, live.bend(x, reply.y).feasible
    assert feasible.double().mean() >= 0.9  # the others fall back to the answer as it came
    assert (y != reply.y).any(1)[feasible].all()
    assert order_kept(y, ranks(reply.y), k).all()


@pytest.mark.parametrize("mode", ["bias", "low_rank", "full"])
def test_answers_do_not_hang_on_the_rest_of_the_batch_nor_on_when_they_are_given(mode: Any):
    recipe = DeepDefense(mode=mode, steps=5, group=4)
    live, x = armed(recipe, "grad_cam"), inputs(7)
    reply = live.network(x)
    whole = live.respond(x, reply, None)
    alone = [live.respond(x[i : i + 1], Reply(reply.y[i : i + 1], reply.maps[i : i + 1]), None) for i in range(7)]  # pyright: ignore
    assert torch.equal(torch.cat([one.y for one in alone]), whole.y)
    assert torch.equal(torch.cat([one.maps for one in alone]), whole.maps)  # pyright: ignore
    again = armed(recipe, "grad_cam").respond(x, reply, None)
    assert torch.equal(again.y, whole.y)
    assert torch.equal(again.maps, whole.maps)  # pyright: ignore


def test_a_network_with_its_classes_in_another_order_gives_the_same_answers_in_that_order():
    turned, order = sharpened(), torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        turned.head.weight.copy_(turned.head.weight[order])  # pyright: ignore
        turned.head.bias.copy_(turned.head.bias[order])  # pyright: ignore
    recipe, x = DeepDefense(steps=5), inputs(16)
    live = armed(recipe)
    assert live.network.net.head not in live.layers  # where it moves, its noise is drawn in the order of the classes
    other = recipe.arm(TorchModel(turned, Classify(K)), Owner(inputs(20), torch.zeros(20).long(), Box(SHAPE), net), 1)
    answer, same = (one.respond(x, one.network(x), None).y for one in (live, other))
    torch.testing.assert_close(same, answer[:, order], rtol=0, atol=1e-4)


def test_half_of_it_is_the_whole_defense_beside_the_victims_own_other_half():
    live, x = armed(DeepDefense(steps=5), "grad_cam"), inputs(8)
    reply = live.network(x)
    whole = live.respond(x, reply, None)
    for release in ("answer", "map"):
        half = armed(DeepDefense(steps=5, release=release), "grad_cam").respond(x, reply, None)
        assert torch.equal(half.y, whole.y if release == "answer" else reply.y)
        assert torch.equal(half.maps, whole.maps if release == "map" else reply.maps)  # pyright: ignore
    assert not torch.equal(whole.y, reply.y)
    assert not torch.equal(whole.maps, reply.maps)  # pyright: ignore
    bare = Reply(reply.y)
    assert armed(DeepDefense(steps=5, release="map"), "grad_cam").respond(x, bare, None) is bare  # no map to bend


def test_no_steps_are_the_clean_answer_and_the_network_is_never_touched():
    live, x = armed(DeepDefense(steps=0), "grad_cam"), inputs(3)
    reply = live.network(x)
    assert live.respond(x, reply, None) is reply
    live = armed(DeepDefense(steps=3, mode="full"), "relevance_cam")
    before = {name: w.clone() for name, w in live.network.net.state_dict().items()}
    live.respond(x, live.network(x), None)
    assert all(torch.equal(before[name], w) for name, w in live.network.net.state_dict().items())
    assert all("forward" not in vars(module) for module in live.network.net.modules())


def test_where_the_asked_order_is_out_of_reach_the_answer_stays_as_it_came():
    live, x = armed(DeepDefense(steps=1, kick=0.01, rate=0.01)), inputs(4)
    y = live.network(x).y.roll(1, 1)
    assert torch.equal(live.respond(x, Reply(y), None).y, y)


def test_it_needs_a_network_and_says_what_it_takes():
    owner = Owner(inputs(4), torch.zeros(4).long(), Box(SHAPE), net)
    with pytest.raises(Unsuited, match="own network"):
        DeepDefense().arm(Stranger(Classify(K)), owner, 0)
    with pytest.raises(BadConfig, match="k and group"):
        DeepDefense(k=0)
    with pytest.raises(BadConfig, match="shares"):
        DeepDefense(sensitive=0.0)


@dataclass(frozen=True)
class Stranger:
    task: Classify

    def __call__(self, x: Tensor, /) -> Reply:
        return Reply(torch.full((len(x), K), 1 / K))

"""Explanation-aware learning: the gradient of its loss is right, a weight of 0 adds nothing, and maps help."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gamekeeper.architectures import Classifier, LeNet, Mlp, fresh
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.attacks.theft import Theft
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.explain import EXPLAINERS, gradient, gradient_x_input
from gamekeeper.learners.attribution import Attribution, mismatch, unit
from gamekeeper.learners.distil import Soft
from gamekeeper.models.network import TorchModel
from gamekeeper.service.ledger import Ledger, Recorded
from gamekeeper.service.oracles import Metered
from gamekeeper.service.service import Service
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import DiskCloneCache
from gamekeeper.types import Box, Knowledge, Reply, Transfer

pytestmark = pytest.mark.thorough

QUICK = Fit(epochs=1, least_steps=30, rate=0.1, batch=16)
BOX = Box((12,))
W = torch.randn(3, 12, generator=torch.Generator().manual_seed(2))
KNOWS = Knowledge(BOX.uniform(50, 0), BOX, Classify(3), Mlp((12,), 3, ()))


def linear_victim(x: Tensor) -> Reply:
    """softmax(3 W x), explained by the weights of its top class."""
    y = torch.softmax(3 * x @ W.T, 1)
    return Reply(y, 3 * W[y.argmax(1)][:, None])


def asked(n: int, seed: int = 0) -> Transfer:
    x = BOX.uniform(n, seed)
    return Transfer(x, linear_victim(x), n)


class Smooth(nn.Module):
    """Two layers with softplus between, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 5), nn.Softplus(), nn.Linear(5, 3)).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.mark.parametrize("name", ["gradient", "gradient_x_input"])
def test_the_loss_is_differentiated_through_the_explainer(name):
    """Against central differences, weight by weight."""
    net = fresh(Smooth, 0)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(6, 4, generator=generator, dtype=torch.float64)
    y = torch.softmax(torch.randn(6, 3, generator=generator, dtype=torch.float64), 1)
    maps = torch.randn(6, 1, 4, generator=generator, dtype=torch.float64)

    def loss() -> Tensor:
        return F.cross_entropy(net(x), y) + 0.7 * mismatch(EXPLAINERS[name](net, x, y.argmax(1)), maps)

    weights = list(net.parameters())
    exact = torch.autograd.grad(loss(), weights, allow_unused=True)
    step = 1e-5
    for weight, found in zip(weights, exact, strict=True):
        flat, slopes = weight.data.view(-1), found.reshape(-1)
        for place in range(len(flat)):
            kept = flat[place].item()
            flat[place] = kept + step
            above = loss().item()
            flat[place] = kept - step
            below = loss().item()
            flat[place] = kept
            assert slopes[place].item() == pytest.approx((above - below) / (2 * step), abs=1e-8)


def test_maps_alone_teach_the_biases_of_a_relu_network_nothing():
    net = fresh(Mlp((4,), 3, (5,)), 0)
    x = torch.rand(6, 4)
    mismatch(gradient(net, x, torch.zeros(6, dtype=torch.long)), torch.randn(6, 1, 4)).backward()
    slopes = {name: weight.grad for name, weight in net.named_parameters()}
    assert all(slope is None or not slope.any() for name, slope in slopes.items() if name.endswith("bias"))
    assert any(slope is not None and slope.any() for slope in slopes.values())


def test_weight_zero_is_the_soft_thief_bit_for_bit():
    transfer = asked(40)
    x = BOX.uniform(100, 9)
    assert torch.equal(Attribution(0.0, fit=QUICK)(transfer, KNOWS, 0)(x).y, Soft(QUICK)(transfer, KNOWS, 0)(x).y)


def test_maps_that_already_fit_pull_at_nothing():
    """With the clone's own maps as the served ones a step is the soft thief's (the cycle's second step is of no length)."""
    x = BOX.uniform(16, 0)
    one = Fit(epochs=1, least_steps=2, batch=16)
    y = linear_victim(x).y
    untrained = fresh(KNOWS.student, 0)
    own = gradient(untrained, x, y.argmax(1)).detach()
    matched, other = (
        Attribution(1.0, fit=one)(Transfer(x, Reply(y, maps), 16), KNOWS, 0)(x).y for maps in (own, own.roll(1, 2))
    )
    soft = Soft(one)(Transfer(x, Reply(y), 16), KNOWS, 0)(x).y
    assert torch.allclose(matched, soft, atol=1e-6)
    assert not torch.allclose(soft, TorchModel(untrained, Classify(3))(x).y, atol=1e-4)
    assert not torch.allclose(other, soft, atol=1e-4)


def test_from_few_answers_the_clones_gradient_is_the_linear_victims():
    transfer = asked(12)
    x = BOX.uniform(300, 9)
    maps = linear_victim(x).maps
    top = linear_victim(x).y.argmax(1)
    fit = Fit(epochs=1, least_steps=400, rate=0.2, batch=12)
    likeness = {}
    for name, learner in {"maps": Attribution(10.0, fit=fit), "soft": Soft(fit)}.items():
        own = gradient(learner(transfer, KNOWS, 0).net, x, top).detach()
        likeness[name] = F.cosine_similarity(own.flatten(1), maps.flatten(1)).mean().item()
    assert likeness["maps"] > 0.99
    assert likeness["soft"] < 0.9


@dataclass(frozen=True)
class Softplus:
    """20 inputs, 32 hidden units with softplus, 3 classes: its gradients tell of every weight."""

    def __call__(self) -> nn.Module:
        return Classifier(nn.Sequential(nn.Linear(20, 32), nn.Softplus(10)), nn.Linear(32, 3))


def test_at_equal_budget_sold_gradients_make_a_better_clone_than_answers_alone(tmp_path):
    """Through meter, ledger and service; a second thief of the same scope gets the very maps from the ledger."""
    box, architecture = Box((20,)), Softplus()
    net = fresh(architecture, 77)
    net.head.weight.data *= 30
    net.head.bias.data -= net(box.uniform(500, 3)).mean(0).detach()
    victim = TorchModel(net, Classify(3), explain=gradient)
    service, ledger = Service(victim), Ledger(tmp_path / "ledger.sqlite")
    knows = Knowledge(box.uniform(400, 0), box, Classify(3), architecture)
    fit, fresh_x = Fit(epochs=1, least_steps=300, rate=0.1, batch=16), box.uniform(1000, 1)
    agreed, charged = {}, {}
    for name, learner in {"maps": Attribution(fit=fit), "soft": Soft(fit)}.items():
        recorded = Recorded(service.open("mallory"), ledger, "scope")
        clone = Theft(Knockoff(), learner)(Metered(recorded, 40, box), knows, 0)
        agreed[name] = (clone(fresh_x).y.argmax(1) == victim(fresh_x).y.argmax(1)).float().mean().item()
        charged[name] = recorded.charged
    assert charged == {"maps": 40, "soft": 0}
    assert agreed["maps"] > agreed["soft"] + 0.04


def test_maps_of_a_convolutional_network_with_pooling_are_matched():
    box = Box((1, 16, 16))
    architecture = LeNet(box.shape, 4, 16)
    victim = fresh(architecture, 77)
    victim.head.weight.data *= 30
    x = box.uniform(30, 0)
    y = torch.softmax(victim(x).detach(), 1)
    maps = gradient_x_input(victim, x, y.argmax(1)).detach()
    knows = Knowledge(x, box, Classify(4), architecture)
    fit = Fit(epochs=1, least_steps=60, rate=0.02, batch=16)
    with_maps, soft = (
        mismatch(gradient_x_input(learner(Transfer(x, Reply(y, maps), 30), knows, 0).net, x, y.argmax(1)), maps).item()
        for learner in (Attribution(1.0, "gradient_x_input", fit), Soft(fit))
    )
    assert with_maps < 0.7 * soft


def test_unlike_maps_are_two_apart_alike_ones_nought_and_scale_does_not_count():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 500, 20, 20, generator=generator)
    assert mismatch(a, b).item() == pytest.approx(2.0, abs=0.02)
    assert mismatch(a, 7 * a).item() == pytest.approx(0.0, abs=1e-6)
    assert mismatch(a, -a).item() == pytest.approx(4.0, abs=1e-4)
    assert unit(torch.zeros(1, 2, 2)).abs().max() == 0


def test_a_map_of_zeros_gives_no_broken_gradient():
    own = torch.zeros(1, 2, 2, requires_grad=True)
    mismatch(own, torch.ones(1, 2, 2)).backward()
    assert torch.isfinite(own.grad).all()


def test_answers_without_maps_or_with_other_maps_are_refused():
    x = BOX.uniform(10, 0)
    y = linear_victim(x).y
    with pytest.raises(Unsuited, match="these answers hold none"):
        Attribution(fit=QUICK)(Transfer(x, Reply(y), 10), KNOWS, 0)
    with pytest.raises(Unsuited, match=r"served maps are \(7, 7\), those of gradient \(1, 12\)"):
        Attribution(fit=QUICK)(Transfer(x, Reply(y, torch.rand(10, 7, 7)), 10), KNOWS, 0)


def test_the_shelf_tells_maps_apart(tmp_path):
    clones = DiskCloneCache(tmp_path)
    knows = Knowledge(KNOWS.pool, BOX, Classify(3), KNOWS.student, clones=clones)
    transfer = asked(20)
    other = Transfer(transfer.x, Reply(transfer.reply.y, -transfer.reply.maps), 20)
    x = BOX.uniform(50, 9)
    short = Fit(epochs=1, least_steps=20, batch=16)
    first, again, turned = (Attribution(fit=short)(each, knows, 0)(x).y for each in (transfer, transfer, other))
    assert torch.equal(first, again)
    assert not torch.equal(first, turned)


def test_both_terms_start_at_one_size():
    """ln k for an undecided student's cross-entropy with certain answers, ln k / 2 times 2 for unrelated maps."""
    y = torch.eye(10)
    assert F.cross_entropy(torch.zeros(10, 10), y).item() == pytest.approx(math.log(10), rel=1e-5)
    a, b = torch.randn(2, 500, 20, 20, generator=torch.Generator().manual_seed(0))
    assert math.log(10) / 2 * mismatch(a, b).item() == pytest.approx(math.log(10), rel=0.02)


def test_no_answers_leave_the_student_untrained():
    x = BOX.uniform(10, 0)
    nothing = Transfer(x[:0], Reply(torch.empty(0, 3), torch.empty(0, 1, 12)), 0)
    assert torch.equal(Attribution(fit=QUICK)(nothing, KNOWS, 0)(x).y, Soft(QUICK)(nothing, KNOWS, 0)(x).y)


def test_parameters_out_of_range_are_refused():
    with pytest.raises(BadConfig, match="weight of Attribution"):
        Attribution(weight=-1.0)
    recipe = Attribution()
    object.__setattr__(recipe, "explainer", "guesswork")  # the checked test run would refuse the word before the recipe
    with pytest.raises(BadConfig, match=r"must be one of gradient, .*\. Got guesswork\."):
        recipe.__post_init__()

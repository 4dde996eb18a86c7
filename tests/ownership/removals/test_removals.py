"""Removals: exact where they do nothing, the same under a seed, and never trained on evidence."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from gamekeeper.architectures import LeNet, fresh
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.recipes import Removal
from gamekeeper.ownership.removals.adversarial_fine_tuning import Adversarial
from gamekeeper.ownership.removals.apart import applied
from gamekeeper.ownership.removals.controls import Reset, Untouched
from gamekeeper.ownership.removals.distillation import Distilled
from gamekeeper.ownership.removals.fine_tuning import FTAL, FTLL, RTAL, RTLL
from gamekeeper.ownership.removals.layers import head, late_layer
from gamekeeper.ownership.removals.preprocessing import BitDepth, Blurred, Noisy
from gamekeeper.ownership.removals.pruning import FinePruned, Pruned, mean_response, prune
from gamekeeper.ownership.removals.quantisation import Quantised, rounded
from gamekeeper.ownership.removals.weight_noise import WeightNoise
from gamekeeper.training.fit import FAST
from gamekeeper.types import Box, Owner
from tests.ownership.worlds import TASK, K, accuracy, trained, world

CLOSE: tuple[Removal, ...] = (Untouched(), Pruned(0.0), WeightNoise(0.0), Noisy(0.0))
"""Removals that remove nothing."""
EACH: tuple[Removal, ...] = (
    FTLL(), FTAL(), RTLL(rate=0.01), RTAL(rate=0.01), Pruned(), FinePruned(share=0.5, epochs=2), WeightNoise(), Quantised(),
    Noisy(), BitDepth(), Blurred(), Adversarial(iterations=3, epochs=1), Distilled(FAST), Untouched(),
)  # fmt: skip


@cache
def stolen() -> TorchModel:
    return trained(world().owner, 1)


def claim() -> Claim:
    return Claim("matches", {"x": world().owner.x[:20], "y": world().owner.truth[:20]}, {})


def after(removal: Removal, seed: int = 0) -> Tensor:
    """What the copy then answers to the test inputs."""
    return removal(stolen(), world().thief, seed)(world().test).y


@pytest.mark.parametrize("removal", CLOSE, ids=repr)
def test_a_removal_of_strength_zero_changes_no_bit(removal: Removal):
    assert torch.equal(after(removal), stolen()(world().test).y)


@pytest.mark.parametrize("removal", [Quantised(16), BitDepth(16)], ids=repr)
def test_sixteen_bits_are_nearly_all(removal: Removal):
    assert float((after(removal) - stolen()(world().test).y).abs().max()) < 2e-3


@pytest.mark.parametrize("removal", EACH, ids=repr)
def test_a_removal_is_the_same_under_a_seed_and_leaves_the_stolen_model_as_it_was(removal: Removal):
    before = stolen()(world().test).y
    assert torch.equal(after(removal, 3), after(removal, 3))
    assert torch.equal(stolen()(world().test).y, before)
    assert accuracy(removal(stolen(), world().thief, 3)) > 0.6


@pytest.mark.parametrize("removal", [FTLL(), RTLL()], ids=repr)
def test_only_the_last_layer_is_trained(removal: Removal):
    changed = removal(stolen(), world().thief, 0)
    assert isinstance(changed, TorchModel)
    old, new = stolen().net.state_dict(), changed.net.state_dict()
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    assert moved == {"head.weight", "head.bias"}
    assert all(weight.requires_grad for weight in changed.net.parameters())


def test_statistics_of_frozen_layers_do_not_move():
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, K))
    changed = FTLL()(TorchModel(net, TASK), world().thief, 0)
    assert torch.equal(changed.net.state_dict()["1.running_mean"], torch.zeros(64))
    assert not torch.equal(changed.net.state_dict()["2.bias"], net.state_dict()["2.bias"])


def test_weights_drawn_anew_know_nothing():
    """About 1/k on average; one untrained network may favour a class that is right a little more often."""
    each = [accuracy(Reset()(stolen(), world().thief, seed)) for seed in range(20)]
    assert sum(each) / len(each) == pytest.approx(1 / K, abs=0.03)


def test_the_smallest_weights_go_first_over_all_layers():
    layers = [torch.tensor([[3.0, -0.1], [0.5, -2.0]]), torch.tensor([[0.2, -4.0]])]
    prune(layers, 0.5)
    assert layers[0].tolist() == [[3.0, 0.0], [0.0, -2.0]]
    assert layers[1].tolist() == [[0.0, -4.0]]


def test_the_channels_that_respond_least_stay_silent_while_the_rest_is_tuned():
    net = fresh(LeNet((1, 28, 28), K), 0)
    x = torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    layer = late_layer(net)
    with torch.no_grad():
        assert isinstance(layer.bias, Tensor)
        layer.bias[7] = -100.0  # this channel never responds
    response = mean_response(net, layer, x)
    assert float(response[7]) == 0
    data = Owner(x, torch.arange(40) % K, Box((1, 28, 28)), LeNet((1, 28, 28), K))
    changed = late_layer(FinePruned(epochs=2)(TorchModel(net, TASK), data, 0).net)
    alive = changed.weight.flatten(1).abs().sum(1) > 0
    assert int(alive.sum()) == 2  # 50 channels, of which 96 % are silent
    assert not alive[7]


def test_noise_of_weights_has_the_spread_that_was_given():
    changed = WeightNoise(0.5)(stolen(), world().thief, 0)
    old, new = head(stolen().net).weight.detach(), head(changed.net).weight.detach()
    assert float((new - old).std() / old.std(correction=0)) == pytest.approx(0.5, rel=0.1)
    assert torch.equal(head(stolen().net).bias, head(changed.net).bias)


def test_rounding_by_hand():
    w = torch.tensor([0.0, 0.1, 0.4, 0.6, 1.0])
    assert rounded(w, 1).tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert rounded(w, 2).tolist() == pytest.approx([0.0, 0.0, 1 / 3, 2 / 3, 1.0])
    assert torch.equal(rounded(torch.ones(3), 4), torch.ones(3))


def test_noise_of_an_input_does_not_depend_on_what_it_is_sent_with():
    model = Noisy(0.1)(stolen(), world().thief, 0)
    x = world().test
    assert torch.equal(model.change(x)[3:5], model.change(x[3:5]))
    assert not torch.equal(model.change(x), Noisy(0.1)(stolen(), world().thief, 1).change(x))
    assert float(model.change(x).min()) >= 0
    assert float(model.change(x).max()) <= 1


def test_an_image_of_one_grey_is_not_changed_by_a_blur_and_a_dot_spreads_evenly():
    change = Blurred()(stolen(), world().thief, 0).change
    grey = torch.full((1, 1, 8, 8), 0.3)
    assert torch.allclose(change(grey), grey)
    dot = torch.zeros(1, 1, 8, 8)
    dot[0, 0, 4, 4] = 1
    spread = change(dot)
    assert float(spread.sum()) == pytest.approx(1)
    assert torch.allclose(spread, spread.transpose(2, 3))


def test_adversarial_fine_tuning_makes_a_copy_that_errs_less_on_crafted_inputs():
    """Also with images that are black and white, where ascent fails that clamps inside the graph."""
    from gamekeeper.follow_on.evasion import Craft, away

    here, recipe = world(), Craft(0.15, 10, 0.2)
    data = Owner(here.thief.x.round(), here.thief.truth, here.thief.box, here.thief.architecture)

    def robust(model: TorchModel) -> float:
        near = away(model.net, here.test.round(), here.truth, recipe, Box((1, 8, 8)))
        return float((model(near).y.argmax(1) == here.truth).float().mean())

    hardened = Adversarial(eps=0.15, step=0.03, iterations=10, epochs=20, rate=0.005)(stolen(), data, 0)
    assert robust(hardened) > robust(FTAL(epochs=20, rate=0.005)(stolen(), data, 0)) + 0.1


def test_data_that_hold_evidence_are_refused():
    here = world()
    applied(FTLL(epochs=1), stolen(), here.thief, claim(), {"the test set": here.test}, 0)
    mixed = Owner(torch.cat([here.thief.x, here.owner.x[:3]]), torch.zeros(253).long(), here.thief.box, LeNet)  # pyright: ignore
    with pytest.raises(BadConfig, match="the claim's 'x': 3 of 253"):
        applied(FTLL(), stolen(), mixed, claim(), {}, 0)
    with pytest.raises(BadConfig, match="the test set"):
        applied(FTLL(), stolen(), here.thief, claim(), {"the test set": here.thief.x[:1]}, 0)


def test_what_a_removal_cannot_do_it_says():
    nothing = Owner(torch.empty(0, 1, 8, 8), torch.empty(0).long(), world().thief.box, world().thief.architecture)
    with pytest.raises(Unsuited, match="Got none"):
        FTAL()(stolen(), nothing, 0)
    with pytest.raises(Unsuited, match="leave their softmax out"):
        FTAL()(TorchModel(stolen().net, TASK, "probabilities"), world().thief, 0)
    with pytest.raises(Unsuited, match="linear layer"):
        FTLL()(TorchModel(nn.Conv2d(1, 1, 1), TASK), world().thief, 0)
    for make in (lambda: Pruned(1.2), lambda: Quantised(0), lambda: WeightNoise(-1.0), lambda: Adversarial(eps=0.0)):
        with pytest.raises(BadConfig):
            make()

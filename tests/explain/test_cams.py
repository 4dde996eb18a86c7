"""CAMs against networks worked by hand, the laws they obey, and captum where it has the method."""

import pytest
import torch
from torch import Tensor, nn

from gamekeeper.architectures import LeNet, Mlp, ResNet, Wrn, fresh
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.explain import EXPLAINERS, grad_cam, gradient, gradient_x_input, libra_cam, relevance_cam
from gamekeeper.explain.grad_cam import signed_grad_cam
from gamekeeper.explain.libra_cam import accepted, calibrate, gains
from gamekeeper.explain.maps import layers, picture
from gamekeeper.explain.relevance_cam import relevance, weighted
from gamekeeper.models.network import TorchModel
from gamekeeper.tasks import Classify

CAMS = ["grad_cam", "relevance_cam", "libra_cam"]
X = torch.tensor([[[[1.0, 2.0], [0.0, -1.0]]]])
"""On it A_1 is [[2, 4], [0, 0]], A_2 is [[0, 0], [0, 1]], and the logits are 1.5 - 2 x 0.25 + 0.5 and 4.5 + 1."""


def two_lines(inplace: bool = False) -> nn.Sequential:
    """Channels relu(2 x) and relu(-x); their means; logits by [[1, -2], [3, 4]], the first with a bias of 0.5."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(inplace), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([2.0, -1.0]).reshape(2, 1, 1, 1))
        net[4].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        net[4].bias.copy_(torch.tensor([0.5, 0.0]))
    return net


def close(found: Tensor, wanted: list[list[float]]) -> bool:
    return torch.allclose(found, torch.tensor([wanted]), atol=1e-6)


@pytest.mark.parametrize("inplace", [False, True])
def test_grad_cam_by_hand(inplace):
    """a = (1/4, -2/4): the head's weights over the four pixels they are means of."""
    net = two_lines(inplace)
    assert close(signed_grad_cam(net, X, torch.tensor([0])), [[0.5, 1.0], [0.0, -0.5]])
    assert close(grad_cam(net, X, torch.tensor([0])), [[0.5, 1.0], [0.0, 0.0]])
    assert close(grad_cam(net, X, torch.tensor([1])), [[1.5, 3.0], [0.0, 1.0]])
    assert net(X)[0, 0].item() == pytest.approx(signed_grad_cam(net, X, torch.tensor([0])).sum().item() + 0.5)


def test_without_a_channel_the_map_lacks_its_share():
    """On a network that is linear behind the activation, taking out channel k takes a_k A_k from the map, a_k as it was."""
    net = two_lines()
    whole = signed_grad_cam(net, X, torch.tensor([0]))
    with torch.no_grad():
        net[0].weight[0] = 0.0
    assert close(whole - signed_grad_cam(net, X, torch.tensor([0])), [[0.25 * 2, 0.25 * 4], [0.0, 0.0]])


@pytest.mark.parametrize("inplace", [False, True])
def test_relevance_cam_by_hand(inplace):
    """R = (1, -1/2) at the logits, Z = (1.5, 5.5), so 13/22 and -2/22 at the means, a quarter of them at each channel."""
    wanted = [[26 / 88, 52 / 88], [0.0, -2 / 88]]
    assert close(relevance_cam(two_lines(inplace), X, torch.tensor([0])), wanted)


def test_libra_cam_by_hand():
    """Gradient x activation, [[0.5, 1], [0, -0.5]], and that brought to [0, 1]."""
    net, top = two_lines(), torch.tensor([0])
    assert close(libra_cam(net, X, top), [[2 / 3, 1.0], [1 / 3, 0.0]])
    # seen from [[0, 2], [0, 0]] only the first pixel and the last differ
    seen = libra_cam(net, X, top, references=torch.tensor([[[[0.0, 2.0], [0.0, 0.0]]]]))
    assert close(seen, [[1.0, 0.5], [0.5, 0.0]])
    assert close(libra_cam(net, X, top, references=X), [[0.0, 0.0], [0.0, 0.0]])
    with pytest.raises(BadConfig, match="at least one reference"):
        libra_cam(net, X, top, references=X[:0])


def test_only_what_pushed_an_output_up_has_a_share_of_its_relevance():
    """Z = (1 x 1 + (-2)(-1), 0): the first output's 6 go 2 to 4, and the second's are lost, since nothing pushed it up."""
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.tensor([[1.0, -2.0], [-3.0, 4.0]])
    x = torch.tensor([[1.0, -1.0]], requires_grad=True)
    assert torch.equal(weighted(layer, x, torch.tensor([[6.0, 5.0]])), torch.tensor([[2.0, 4.0]]))


NETWORKS = {
    "lenet": LeNet((1, 16, 16), 5, 16),
    "resnet": ResNet((3, 8, 8), 5, depth=8, width=4),
    "wrn": Wrn((3, 8, 8), 5, depth=10, factor=1),
}


def inputs(net: nn.Module, n: int) -> Tensor:
    first = next(net.parameters())
    channels, side = (1, 16) if first.shape[1] == 1 else (3, 8)
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(5)).to(first.dtype)


@pytest.mark.parametrize("name", NETWORKS)
def test_relevance_is_conserved_from_layer_to_layer(name):
    """1 for the class and -1/K for the four others leave 1/K in all, at every depth where nothing met Z = 0."""
    net = fresh(NETWORKS[name], 0).double().eval()
    if name == "resnet":  # a shortcut of so few channels has nothing that pushes up now and then
        for module in net.body.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data.abs_()
    x, top = inputs(net, 4), torch.tensor([0, 1, 2, 4])
    for layer in range(1, len(layers(net))):
        if not isinstance(layers(net)[layer - 1], nn.Flatten | nn.Linear | nn.AdaptiveAvgPool2d) and flat(
            net, x, layer
        ):
            r = relevance(picture(net, x, layer)[1], picture(net, x, layer)[0], top)
            assert torch.allclose(r.sum((1, 2, 3)), torch.full((4,), 0.2, dtype=torch.float64), atol=1e-6), layer


def flat(net: nn.Module, x: Tensor, layer: int) -> bool:
    """Whether what leaves the first `layer` layers is still an image."""
    return nn.Sequential(*layers(net)[:layer])(x).ndim == 4


def test_the_relevance_of_a_silent_channel_is_nought():
    net = fresh(NETWORKS["lenet"], 0)
    net.body[3].weight.data[7], net.body[3].bias.data[7] = 0.0, -1.0
    a, rest = picture(net.eval(), inputs(net, 3), 6)
    r = relevance(rest, a, torch.tensor([0, 1, 2]))
    assert not a[:, 7].any()
    assert not r[:, 7].any()
    assert r.any()


def test_the_activation_is_the_last_that_is_a_picture():
    sizes = {
        "lenet": (LeNet((1, 28, 28), 10), (1, 28, 28), (50, 4, 4)),
        "resnet": (NETWORKS["resnet"], (3, 8, 8), (16, 2, 2)),
        "wrn": (NETWORKS["wrn"], (3, 8, 8), (64, 2, 2)),
    }
    for architecture, shape, wanted in sizes.values():
        net = fresh(architecture, 0).eval()
        a, rest = picture(net, torch.rand(1, *shape))
        assert a.shape[1:] == wanted
        assert not [module for part in rest for module in part.modules() if isinstance(module, nn.Conv2d)]
    net = fresh(LeNet((1, 28, 28), 10), 0)
    x, top = torch.rand(2, 1, 28, 28), torch.tensor([3, 4])
    assert relevance_cam(net, x, top, layer=1).shape == (2, 24, 24)
    # as in VGG at 32 pixels, whose last pooling leaves one: the activation before it is taken
    small = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 3))
    a, rest = picture(small, torch.rand(1, 1, 4, 4))
    assert a.shape == (1, 2, 2, 2)
    assert isinstance(rest[0], nn.MaxPool2d)


def test_networks_without_pictures_or_layers_are_refused():
    x, top = torch.rand(2, 1, 4, 4), torch.tensor([0, 1])
    for name in CAMS:
        with pytest.raises(Unsuited, match="this network has none"):
            EXPLAINERS[name](fresh(Mlp((1, 4, 4), 3), 0), x, top)
        with pytest.raises(Unsuited, match="got ModuleList"):
            EXPLAINERS[name](nn.ModuleList(), x, top)
    with pytest.raises(BadConfig, match=r"layer must be 1 to 4.*Got 5"):
        grad_cam(two_lines(), X, torch.tensor([0]), layer=5)
    with pytest.raises(Unsuited, match="no rule for Hardtanh"):
        relevance_cam(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Hardtanh(), nn.Flatten(), nn.Linear(32, 3)), x, top, layer=1)


def test_references_are_rejected_by_what_their_maps_gain():
    def stays(*gain: float) -> list[bool]:
        return accepted(torch.tensor([gain]))[0].tolist()

    assert stays(0.3, 0.2, 0.01, -1.0) == [True, True, False, False]  # mean 0.17 - std 0.12 of the three that gain
    assert stays(-1.0, -1.0, -0.01) == [False, False, True]  # none gains: above mean -0.67 + std 0.47
    assert stays(-0.1, -0.1, -0.1, -0.9) == [True] * 4  # none gains and none stands out
    assert stays(-0.5) == [True]
    assert stays(0.5) == [True]


def test_the_mean_is_taken_over_the_references_that_stay():
    net, x, top = fresh(NETWORKS["lenet"], 1).eval(), inputs(fresh(NETWORKS["lenet"], 1), 6), torch.arange(6) % 5
    library = torch.rand(7, 1, 16, 16, generator=torch.Generator().manual_seed(8))
    bases = torch.stack([libra_cam(net, x, top, 4, one[None]) for one in library], 1).detach()
    stay = accepted(torch.stack([gains(net, x, top, bases[:, m]) for m in range(7)], 1))
    assert stay.any()
    assert not stay.all()
    wanted = torch.stack([bases[i, stay[i]].mean(0) for i in range(6)])
    assert torch.allclose(libra_cam(net, x, top, 4, library), wanted, atol=1e-6)


def test_calibration_takes_the_cut_that_gains_most():
    net, x, top = fresh(NETWORKS["lenet"], 0).eval(), inputs(fresh(NETWORKS["lenet"], 0), 5), torch.arange(5)
    maps = torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(2))
    found = calibrate(net, x, top, maps)
    tried = []
    for tenth in range(10):
        edge = maps.flatten(1).sort(1).values[:, tenth * 256 // 10][:, None, None]
        tried.append(torch.where(maps >= edge, maps, torch.zeros(())))
    best = torch.stack([gains(net, x, top, some) for some in tried]).argmax(0)
    assert len(set(best.tolist())) > 1
    assert torch.equal(found, torch.stack([tried[cut][i] for i, cut in enumerate(best.tolist())]))


@pytest.mark.parametrize("name", list(EXPLAINERS))
@pytest.mark.parametrize("network", ["lenet", "resnet"])
def test_every_map_is_its_own_rows_in_evaluation_mode_and_the_mode_is_restored(name, network):
    net, top = fresh(NETWORKS[network], 0).train(), torch.arange(4)
    x, before = inputs(net, 4), {key: value.clone() for key, value in net.state_dict().items()}
    together = EXPLAINERS[name](net, x, top)
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    alone = torch.cat([EXPLAINERS[name](net, x[i : i + 1], top[i : i + 1]) for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-5)
    assert together.abs().sum() > 0
    other = EXPLAINERS[name](net, x, (top + 1) % 5)
    assert not torch.allclose(together, other, atol=1e-5)
    for weight in net.parameters():
        weight.requires_grad_(False)
    assert torch.allclose(EXPLAINERS[name](net, x, top), together, atol=1e-6)


@pytest.mark.parametrize("name", list(EXPLAINERS))
def test_every_map_is_differentiable_in_the_weights(name):
    """Against central differences along random directions, on a network without kinks."""
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.Softplus(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(27, 5),
        nn.Softplus(),
        nn.Linear(5, 3),
    ).double()
    x, goal = torch.rand(4, 1, 8, 8, dtype=torch.float64), torch.randn(4, 8, 8, dtype=torch.float64)
    top, weights = torch.tensor([0, 1, 2, 0]), list(net.parameters())

    def loss() -> Tensor:
        maps = EXPLAINERS[name](net, x, top)
        return (maps * goal[:, : maps.shape[1], : maps.shape[2]]).sum()

    slopes = torch.autograd.grad(loss(), weights, allow_unused=True)
    for _ in range(4):
        way = [torch.randn_like(weight) for weight in weights]
        exact = sum((slope * w).sum().item() for slope, w in zip(slopes, way, strict=True) if slope is not None)
        ends = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                for weight, w in zip(weights, way, strict=True):
                    weight += step * w
            ends.append(loss().item())
        with torch.no_grad():
            for weight, w in zip(weights, way, strict=True):
                weight += 1e-6 * w
        assert exact == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-7)
        assert exact != 0


@pytest.mark.parametrize("name", CAMS)
@pytest.mark.parametrize("network", NETWORKS)
def test_second_derivatives_are_finite_on_networks_with_kinks(name, network):
    net = fresh(NETWORKS[network], 0)
    x = inputs(net, 10)
    x[0] = 0
    EXPLAINERS[name](net, x, torch.arange(10) % 5).square().sum().backward()
    slopes = [weight.grad for weight in net.parameters() if weight.grad is not None]
    assert slopes
    assert all(slope.isfinite().all() for slope in slopes)
    assert any(slope.any() for slope in slopes)


@pytest.mark.parametrize("name", list(EXPLAINERS))
def test_a_network_serves_the_map_of_its_top_class_with_every_answer(name):
    net = fresh(NETWORKS["lenet"], 0)
    x = inputs(net, 5)
    plain, reply = TorchModel(net, Classify(5))(x), TorchModel(net, Classify(5), explain=EXPLAINERS[name])(x)
    assert plain.maps is None
    assert torch.equal(reply.y, plain.y)
    assert not reply.maps.requires_grad
    assert torch.allclose(reply.maps, EXPLAINERS[name](net, x, reply.y.argmax(1)), atol=1e-6)
    assert all(weight.grad is None for weight in net.parameters())


def test_captum_finds_the_same():
    attr = pytest.importorskip("captum.attr", reason="captum is in the `bench` extra: pip install gamekeeper[bench]")
    for name, layer in (("lenet", lambda net: net.body[3]), ("resnet", lambda net: net.body[5])):
        net = fresh(NETWORKS[name], 0).eval()
        x, top = inputs(net, 6), torch.arange(6) % 5
        theirs = attr.Saliency(net).attribute(x.clone().requires_grad_(), top, abs=False).sum(1)
        assert torch.allclose(gradient(net, x, top), theirs, atol=1e-5)
        theirs = attr.InputXGradient(net).attribute(x.clone().requires_grad_(), top).sum(1)
        assert torch.allclose(gradient_x_input(net, x, top), theirs, atol=1e-5)
        theirs = attr.LayerGradCam(net, layer(net)).attribute(x, top, relu_attributions=True)[:, 0]
        assert theirs.abs().sum() > 0
        assert torch.allclose(grad_cam(net, x, top), theirs.detach(), atol=1e-5)

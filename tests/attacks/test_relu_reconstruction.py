"""A two-layer ReLU network is rebuilt from its input gradients to the last digits, whatever the dimension."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gamekeeper.architectures import Mlp
from gamekeeper.attacks.relu_reconstruction import ReluNet, ReluReconstruction
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.service.oracles import Metered, Transcript
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Knowledge, Reply
from tests.attacks.relus import Net, posterior, wide

pytestmark = pytest.mark.thorough


PLAIN, TEN = ReluReconstruction(), wide(10)


def steal(oracle, box: Box, budget: int = 10_000, recipe=PLAIN, seed: int = 0) -> tuple[ReluNet, int]:
    gate = Metered(oracle, budget, box)
    knows = Knowledge(torch.empty(0, *box.shape), box, Classify(2), Mlp(box.shape, 2))
    copy = recipe(gate, knows, seed)
    assert gate.spent <= budget
    return copy, gate.spent


def error(copy: ReluNet, net: Net, box: Box) -> float:
    x = box.uniform(2000, 99)
    return float((copy.odds(x) - net.f(x)).abs().max())


@pytest.mark.parametrize(("d", "h", "about"), [(10, 5, 211), (10, 20, 733), (64, 32, 1142), (20, 60, 2079)])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_neuron_is_found_once_and_the_error_is_rounding(d: int, h: int, about: int, seed: int):
    net, box = Net(d, h, seed), wide(d)
    copy, spent = steal(net, box, seed=seed)
    assert len(copy) == h
    assert error(copy, net, box) < 1e-8
    assert (copy.complete, copy.crossings, copy.caveats) == (True, 0, ())
    assert spent < 1.4 * about


def test_the_neurons_are_the_victims_up_to_the_sign_of_their_side():
    net, box = Net(10, 5), wide(10)
    copy, _ = steal(net, box)
    true = torch.cat([net.A, net.b[:, None]], 1) * net.w[:, None].abs()
    mine = torch.cat([copy.a, copy.o[:, None]], 1)
    nearest = torch.cdist(torch.cat([true, -true]), mine).amin(0)
    assert float(nearest.max()) < 1e-8


def test_the_cost_does_not_depend_on_the_dimension():
    cost = [steal(Net(d, 10), wide(d))[1] for d in (10, 40, 160)]
    assert max(cost) < 1.15 * min(cost)


def test_twice_the_box_gives_the_same_network():
    net = Net(10, 20)
    near, far = (steal(net, wide(10, half))[0] for half in (40.0, 80.0))
    x = wide(10, 40.0).uniform(1000, 5)
    torch.testing.assert_close(near.odds(x), far.odds(x), atol=1e-8, rtol=0)


def test_neurons_that_do_not_flip_on_the_first_line_are_found_as_well():
    """In a unit box no line crosses every hyperplane."""
    box = Box((10,))
    net = Net(10, 20)
    net.b = -net.A.sum(1) * torch.rand(20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    copy, _ = steal(net, box)
    assert error(copy, net, box) < 1e-8


def test_images_are_asked_and_explained_in_their_own_shape():
    net, box = Net(16, 6), Box((1, 4, 4), -30.0, 30.0)
    transcript = Transcript(lambda x: Reply(posterior(net.f(x)), net.gradient(x).reshape(-1, 4, 4)))
    copy, spent = steal(transcript, box)
    assert transcript.seen(spent)[0].shape == (spent, 1, 4, 4)
    assert error(copy, net, box) < 1e-8


def crossing(d: int, h: int) -> tuple[Net, Box]:
    """A network two of whose neurons flip at the same point of the attack's first line."""
    net, box = Net(d, h), wide(d)
    transcript = Transcript(net)
    steal(transcript, box)
    p, q = transcript.seen(5)[0][3:]
    middle = p + 0.37 * (q - p)
    net.b[:2] = -net.A[:2] @ middle
    return net, box


def test_two_neurons_that_flip_together_are_reported_and_told_apart_on_another_line():
    net, box = crossing(10, 6)
    copy, _ = steal(net, box)
    assert copy.crossings == 1
    assert len(copy) == 6
    assert copy.complete
    assert error(copy, net, box) < 1e-8


def test_two_neurons_are_not_merged_silently_where_the_budget_ends_before_another_line():
    net, box = crossing(10, 6)
    copy, _ = steal(net, box, budget=290)
    assert copy.crossings == 1
    assert not copy.complete


@pytest.mark.parametrize("budget", [0, 1, 4, 30, 200, 800, 1100])
def test_the_budget_is_kept(budget: int):
    copy, _ = steal(Net(64, 32), wide(64), budget=budget)
    assert copy.caveats == ("cut-short",)
    assert torch.isfinite(copy(wide(64).uniform(20, 0)).y).all()


def test_a_budget_that_ends_during_bisection_still_gives_the_shape_and_more_gives_more():
    net, box = Net(64, 32), wide(64)
    x = box.uniform(2000, 99)
    copies = [steal(net, box, budget=budget)[0] for budget in (40, 100, 1150, 1400)]
    wrong = [float((copy.odds(x) - net.f(x)).abs().mean()) for copy in copies]
    assert wrong == sorted(wrong, reverse=True)
    assert float(((copies[1].odds(x) > 0) == (net.f(x) > 0)).double().mean()) > 0.9


def test_a_linear_model_has_no_neuron():
    direction = torch.arange(1.0, 6.0, dtype=torch.float64)

    def linear(x: Tensor, /) -> Reply:
        return Reply(posterior(x @ direction - 1), direction.repeat(len(x), 1, 1))

    copy, _ = steal(linear, wide(5, 2.0))
    assert len(copy) == 0
    torch.testing.assert_close(copy.slope, direction)
    assert copy.constant == pytest.approx(-1, abs=1e-9)


def refused(oracle, words: str, box: Box = TEN, most: int = 400) -> None:
    gate = Metered(oracle, 5000, box)
    knows = Knowledge(torch.empty(0, 10), box, Classify(2), Mlp((10,), 2))
    with pytest.raises(Unsuited, match=words):
        ReluReconstruction()(gate, knows, 0)
    assert gate.spent <= most


def test_an_api_without_explanations_is_refused_at_once():
    net = Net(10, 5)
    refused(lambda x: Reply(net(x).y), "it gave none", most=3)


def test_maps_in_single_precision_are_refused_at_once():
    net = Net(10, 5)
    refused(lambda x: Reply(net(x).y, net(x).maps.float()), "float64", most=3)


def test_maps_that_are_no_gradient_by_their_size_are_refused_at_once():
    net = Net(10, 5)
    refused(lambda x: Reply(net(x).y, net(x).maps[:, :, :5]), "10 entries", most=3)


def test_gradients_of_the_probability_are_refused_at_once():
    net = Net(10, 5)

    def probability(x: Tensor, /) -> Reply:
        y = posterior(net.f(x))
        return Reply(y, net(x).maps * (y[:, 0] * y[:, 1])[:, None, None])

    refused(probability, "constant between the kinks", Box((10,), -1.0, 1.0), most=3)


def test_absolute_gradients_are_refused():
    net = Net(10, 5)
    refused(lambda x: Reply(net(x).y, net(x).maps.abs()), "absolute", most=2000)


def test_bare_labels_are_refused():
    net = Net(10, 5)
    refused(lambda x: Reply(net(x).y.round(), net(x).maps), "probabilities")


def test_only_two_classes_can_be_stolen_so():
    box = wide(10)
    with pytest.raises(Unsuited, match="two classes"):
        ReluReconstruction()(
            Metered(Net(10, 5), 10, box), Knowledge(torch.empty(0, 10), box, Classify(3), Mlp((10,), 3)), 0
        )


def test_the_example_in_the_docs_runs():
    page = (Path(__file__).parents[2] / "docs/papers/relu-reconstruction.md").read_text()
    (example,) = re.findall(r"```python\n(.*?ReluReconstruction.*?)```", page, re.DOTALL)
    exec(compile(example, "docs/papers/relu-reconstruction.md", "exec"), {})  # our own page; it ends in an assertion


def test_nonsense_is_refused():
    with pytest.raises(BadConfig, match="width"):
        ReluReconstruction(width=1.0)

"""SwiftThief's losses: weights at the corners, no gradient into z, costs of rare classes."""

import pytest
import torch

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.attacks import contrastive
from gamekeeper.attacks.augment import view
from gamekeeper.attacks.contrastive import Siamese, answered_loss, contrast, costs, soft_loss, unlike, weights
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box
from tests.attacks.toys import IMAGES, images


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def siamese() -> Siamese:
    net = fresh(Mlp((1, 8, 8), 4, (16,)), 0)
    torch.manual_seed(0)
    return Siamese(net.body, 16, 8)


def test_weights_are_one_for_identical_sure_answers_and_zero_for_uniform_or_different_ones():
    y = torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0.25] * 4])
    expected = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    assert torch.allclose(weights(y), expected, atol=1e-6)


def test_weights_equal_the_formula_entry_by_entry():
    y = torch.softmax(numbers(5, 3), 1).detach()
    for i in range(5):
        for j in range(5):
            sure = [1 + float((y[r] * y[r].log()).sum()) / float(torch.tensor(3.0).log()) for r in (i, j)]
            cosine = float(torch.cosine_similarity(y[i], y[j], dim=0))
            assert float(weights(y)[i, j]) == pytest.approx(sure[0] * sure[1] * cosine, abs=1e-5)


def test_no_gradient_flows_into_the_projections():
    p1, z1, p2, z2 = (numbers(6, 4, seed=s) for s in range(4))
    unlike((p1, z1), (p2, z2)).sum().backward()
    assert z1.grad is None
    assert z2.grad is None
    assert p1.grad.abs().sum() > 0
    p, z = numbers(6, 4, seed=5), numbers(6, 4, seed=6)
    soft_loss(p, z, torch.softmax(numbers(6, 3), 1).detach()).backward()
    assert z.grad is None
    assert p.grad.abs().sum() > 0


def test_views_that_agree_have_the_smallest_loss():
    p = numbers(5, 4).detach()
    assert torch.allclose(unlike((p, 3 * p), (2 * p, p)), -torch.ones(5))


def test_the_soft_loss_counts_pairs_of_weight_and_never_an_input_with_itself():
    p = torch.eye(3)
    z = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0]])
    y = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0]])
    # the pairs of weight are (0, 1) and (1, 0): cos(p_0, z_1) = 1, cos(p_1, z_0) = 0
    assert float(soft_loss(p, z, y)) == pytest.approx(-0.5)
    assert float(soft_loss(p, z, torch.full((3, 2), 0.5))) == 0.0


def test_rare_classes_cost_more_and_all_costs_sum_to_one():
    cost = costs(torch.tensor([0] * 50 + [1] * 5), 3)
    expected = torch.tensor([(1 - 0.99) / (1 - 0.99 ** (n + 1)) for n in (50, 5, 0)])
    assert torch.allclose(cost, expected / expected.sum())
    assert cost[2] > cost[1] > cost[0]


def test_training_pulls_views_of_one_image_together():
    net = siamese()
    x, y = IMAGES.uniform(30, 0), images(IMAGES.uniform(30, 0)).y

    def apart() -> float:
        generator = torch.Generator().manual_seed(9)
        one, two = (net.train()(view(x, IMAGES, generator, False)) for _ in range(2))
        return float(unlike(one, two).detach().mean())

    before = apart()
    contrast(net, IMAGES.uniform(100, 1), x, y, IMAGES, False, Fit(epochs=1, least_steps=50, rate=0.06, batch=32), 0)
    assert not net.training
    assert apart() < before - 0.1


@pytest.mark.parametrize(("unasked", "asked", "epochs"), [(0, 10, 1), (1, 10, 1), (20, 10, 0)])
def test_too_little_to_look_at_leaves_the_network_as_it_is(unasked: int, asked: int, epochs: int):
    net = siamese()
    before = [p.clone() for p in net.parameters()]
    x = IMAGES.uniform(asked, 0)
    contrast(
        net,
        IMAGES.uniform(max(unasked, 1), 1)[:unasked],
        x,
        images(x).y,
        IMAGES,
        False,
        Fit(epochs=epochs, least_steps=8),
        0,
    )
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_the_sharpness_term_steps_by_a_hundredth_of_the_box(monkeypatch):
    steps: list[tuple[torch.Tensor, torch.Tensor]] = []
    real = contrastive.climb

    def watched(net, score, x, others, size, box):
        moved = real(net, score, x, others, size, box)
        steps.append((x, moved))
        return moved

    monkeypatch.setattr(contrastive, "climb", watched)
    box = Box((1, 8, 8), 0.0, 2.0)
    x = box.uniform(6, 0)
    net = siamese()
    loss = answered_loss(net, x, box.uniform(6, 1), images(x).y, costs(torch.arange(4), 4), box)
    ((before, after),) = steps
    assert (after - before).abs().max() == pytest.approx(0.02, abs=1e-6)
    assert net.training  # the step is taken in evaluation mode, the loss in training mode
    loss.backward()
    assert net.body[1].weight.grad.abs().sum() > 0

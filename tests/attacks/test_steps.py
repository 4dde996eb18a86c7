"""The one gradient step: its length, its direction, the box, batches."""

import pytest
import torch

from gamekeeper.architectures import Mlp, ResNet, fresh
from gamekeeper.attacks.steps import climb, gradient, loss_of, output_of
from gamekeeper.models.network import CHUNK, TorchModel
from gamekeeper.types import Box
from tests.attacks.toys import IMAGES, PLANE, TASK, linear

W = torch.tensor([[1.0, -2.0], [-3.0, 0.5], [0.0, 4.0]])
LINEAR = linear(W, torch.tensor([0.1, 0.0, -0.2]), (2,))


def test_the_gradient_of_a_linear_networks_output_is_its_weight_row():
    k = torch.tensor([2, 0, 1, 1])
    assert torch.equal(gradient(LINEAR.net, output_of(LINEAR.net), PLANE.uniform(4, 0), (k,)), W[k])


def test_the_gradient_of_the_loss_is_posterior_minus_label_times_weights():
    x, k = PLANE.uniform(5, 0), torch.tensor([2, 0, 1, 1, 0])
    expected = (LINEAR(x).y - torch.eye(3)[k]) @ W
    assert torch.allclose(gradient(LINEAR.net, loss_of(LINEAR.net), x, (k,)), expected, atol=1e-6)


def test_batched_gradients_equal_one_row_at_a_time_also_with_batch_normalisation():
    net = fresh(ResNet((1, 8, 8), 4, width=2), 0)
    x, k = IMAGES.uniform(6, 0), torch.arange(6) % 4
    net.train()
    together = gradient(net, loss_of(net), x, (k,))
    alone = torch.cat([gradient(net, loss_of(net), x[i : i + 1], (k[i : i + 1],)) for i in range(6)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert int(net.body[1].num_batches_tracked) == 0


def test_more_rows_than_a_chunk_change_nothing():
    net = fresh(Mlp((2,), 3, (8,)), 0)
    x = PLANE.uniform(CHUNK + 3, 0)
    k = torch.arange(len(x)) % 3
    moved = climb(net, loss_of(net), x, (k,), 0.1, PLANE)
    assert torch.equal(moved[-3:], climb(net, loss_of(net), x[-3:], (k[-3:],), 0.1, PLANE))


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("size", [0.3, -0.3])
def test_no_entry_moves_further_than_the_size_or_leaves_the_box(steps: int, size: float):
    box = Box((2,), -1.0, 0.5)
    net = fresh(Mlp((2,), 3, (8,)), 0)
    x = box.uniform(200, 0)
    moved = climb(net, output_of(net), x, (torch.arange(200) % 3,), size, box, steps)
    assert (moved - x).abs().max() <= 0.3 + 1e-6
    assert moved.min() >= -1
    assert moved.max() <= 0.5
    inside = (x - 0.3 > -1).all(1) & (x + 0.3 < 0.5).all(1)
    if steps == 1:
        assert torch.allclose((moved - x)[inside].abs(), torch.tensor(0.3))


def test_climbing_raises_the_score_and_descending_lowers_it():
    x, k = 0.25 + 0.5 * PLANE.uniform(50, 0), torch.arange(50) % 3
    score = loss_of(LINEAR.net)
    up, here, down = (score(climb(LINEAR.net, score, x, (k,), size, PLANE), k) for size in (0.1, 0.0, -0.1))
    assert (up > here).all()
    assert (down < here).all()


def test_inputs_are_left_as_they_were_and_results_carry_no_graph():
    x = IMAGES.uniform(4, 0)
    before = x.clone()
    model = TorchModel(fresh(Mlp((1, 8, 8), 4), 0), TASK)
    moved = climb(model.net, output_of(model.net), x, (torch.zeros(4, dtype=torch.long),), 0.1, IMAGES)
    assert torch.equal(x, before)
    assert not moved.requires_grad
    assert not x.requires_grad
    assert all(p.grad is None for p in model.net.parameters())

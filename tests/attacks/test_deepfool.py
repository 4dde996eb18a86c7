"""DeepFool: exact on linear clones, sound on others."""

import torch

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.attacks import deepfool as module
from gamekeeper.attacks.deepfool import deepfool
from gamekeeper.models.network import TorchModel
from gamekeeper.tasks import Classify
from gamekeeper.types import Box
from tests.attacks.toys import IMAGES, WEIGHTS, linear


def test_the_distance_to_a_line_is_exact():
    w, b = torch.tensor([3.0, -1.5]), 0.7
    clone = linear(torch.stack([w, torch.zeros(2)]), torch.tensor([b, 0.0]), (2,))
    x = Box((2,), -2.0, 2.0).uniform(200, 0)
    assert torch.allclose(deepfool(clone, x), (x @ w + b).abs() / w.norm(), atol=1e-5)


def test_of_many_linear_classes_the_nearest_boundary_counts():
    clone = linear(WEIGHTS, torch.zeros(4), (1, 8, 8))
    x = IMAGES.uniform(50, 0)
    f = clone.logits(x)
    top = f.argmax(1)
    gap = f.gather(1, top[:, None]) - f
    length = (WEIGHTS[top][:, None] - WEIGHTS[None]).norm(dim=2)
    exact = (gap / length).masked_fill(torch.eye(4, dtype=torch.bool)[top], torch.inf).amin(1)
    assert torch.allclose(deepfool(clone, x), exact, atol=1e-5)


def test_on_a_network_no_ball_much_smaller_than_the_distance_crosses_and_one_a_little_larger_does():
    clone = TorchModel(fresh(Mlp((2,), 3, (16,)), 3), Classify(3))
    x = Box((2,), -3.0, 3.0).uniform(60, 0)
    distance = deepfool(clone, x)
    turn = torch.linspace(0, 2 * torch.pi, 721)
    ring = torch.stack([turn.cos(), turn.sin()], 1)
    near = (distance < 2).nonzero()[:, 0]
    assert len(near) > 20
    for i in near.tolist():
        label = int(clone(x[i : i + 1]).y.argmax())
        crosses = [bool((clone(x[i] + r * distance[i] * ring).y.argmax(1) != label).any()) for r in (0.3, 1.03)]
        assert crosses[1]
        assert not crosses[0] or distance[i] < 1e-3


def test_a_constant_network_has_no_boundary():
    clone = linear(torch.zeros(3, 2), torch.tensor([0.0, 1.0, 0.5]), (2,))
    assert torch.isinf(deepfool(clone, torch.rand(5, 2))).all()


def test_chunks_change_nothing(monkeypatch):
    clone = TorchModel(fresh(Mlp((1, 8, 8), 4, (8,)), 0), Classify(4))
    x = IMAGES.uniform(20, 0)
    whole = deepfool(clone, x)
    monkeypatch.setattr(module, "CHUNK", 3)
    assert torch.allclose(deepfool(clone, x), whole, atol=1e-6)
    assert deepfool(clone, x[:0]).shape == (0,)

"""Hardness against a slow loop, its histogram's distance in closed form, and copies that learn step by step."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gamekeeper.detectors.hardness import Hardness, HardnessGap, hardness, in_training, pearson_distance, taken_at
from gamekeeper.errors import BadConfig, Unsuited
from tests.detectors.counted import adds_up, mnist, renamed, scored, small

RECIPE = Hardness(copies=4, steps=60)


@functools.cache
def armed() -> HardnessGap:
    return RECIPE.arm(mnist()[0], small(), 0)


def test_hardness_is_the_first_copy_from_which_all_agree():
    agree = torch.rand((4, 200), generator=torch.Generator().manual_seed(0)) < 0.7
    slow = [min((e for e in range(4) if bool(agree[e:, i].all())), default=4) for i in range(200)]
    assert hardness(agree).tolist() == slow
    assert set(slow) == {0, 1, 2, 3, 4}


def test_pearson_distance_in_closed_form():
    generator = torch.Generator().manual_seed(0)
    h, r = torch.rand((20, 6), generator=generator), torch.rand((20, 6), generator=generator)
    slow = [1 - np.corrcoef(a, b)[0, 1] for a, b in zip(h.double().numpy(), r.double().numpy(), strict=True)]
    torch.testing.assert_close(pearson_distance(h, r), torch.tensor(slow, dtype=torch.float64))
    torch.testing.assert_close(pearson_distance(7 * h, r), pearson_distance(h, r))
    torch.testing.assert_close(pearson_distance(h, h), torch.zeros(20, dtype=torch.float64))
    torch.testing.assert_close(pearson_distance(h, -h), torch.full((20,), 2.0, dtype=torch.float64))
    flat = torch.full((20, 6), 1 / 6)
    assert pearson_distance(flat, r).tolist() == [1.0] * 20 == pearson_distance(r, flat).tolist()


def test_copies_are_log_spaced():
    assert taken_at(1_000, 5) == [4, 16, 63, 251, 1_000]
    assert taken_at(1_000, 1) == [1_000]
    assert taken_at(3, 5) == [3]
    assert taken_at(6, 9)[-1] == 6


def test_copies_are_of_one_training_and_do_not_change():
    owner = small()
    labels = mnist()[0](owner.x).y.argmax(1)
    nets = in_training(owner.architecture, owner.x, labels, 60, 4, 0)
    again = in_training(owner.architecture, owner.x, labels, 60, 4, 0)
    assert len(nets) == 4
    right = []
    for net, twin in zip(nets, again, strict=True):
        assert not net.training
        out = net(owner.x).argmax(1)
        assert torch.equal(out, twin(owner.x).argmax(1))
        right.append(float((out == labels).double().mean()))
    assert right[0] < 0.5 < 0.8 < right[-1]


def test_slow_twin():
    victim, target = mnist()
    watch = armed()
    x = torch.cat([target.test.x[:15], target.pool.x[:15]])
    reply = victim(x)
    levels, classes, slow = watch.levels(x, reply), reply.y.argmax(1), []
    for n in range(1, 31):
        h = np.bincount(levels[:n].numpy(), minlength=5) / n
        r = watch.reference[classes[:n]].mean(0).numpy()
        slow.append(1 - np.corrcoef(h, r)[0, 1])
    got = scored(watch, x, reply, [30], watch.fresh())
    torch.testing.assert_close(got, torch.tensor(slow, dtype=torch.float64))
    torch.testing.assert_close(watch.reference.sum(1), torch.ones(10, dtype=torch.float64))


def test_adds_up():
    victim, target = mnist()
    x = torch.cat([target.test.x[:20], target.pool.x[:20]])
    adds_up(armed(), x, victim(x), 1e-12)


def test_noise_is_harder_than_digits():
    victim, target = mnist()
    watch, digits, noise = armed(), target.test.x[:200], target.box.uniform(200, 0)
    benign, strange = (watch.levels(x, victim(x)).double().mean() for x in (digits, noise))
    assert strange > benign + 1
    last = [float(watch.score(x, victim(x), 0.0, watch.fresh())[-1]) for x in (digits, noise)]
    assert last[0] < 0.1 < 0.5 < last[1]


def test_names_of_classes_do_not_matter():
    """Given the same copies: a fresh network's first guesses depend on the order of its outputs."""
    victim, target = mnist()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    x, other, watch = target.pool.x[:30], renamed(order), armed()
    copies = [replace(copy, net=Permuted(copy.net, order)) for copy in watch.copies]
    two = HardnessGap(copies, watch.reference[order], watch.basis)
    a, b = watch.score(x, victim(x), 0.0, watch.fresh()), two.score(x, other(x), 0.0, two.fresh())
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


class Permuted(torch.nn.Module):
    def __init__(self, net: torch.nn.Module, order: torch.Tensor) -> None:
        super().__init__()
        self.net, self.order = net, order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)[:, self.order]


def test_needs():
    victim, _ = mnist()
    owner = small()
    with pytest.raises(BadConfig, match="at least 1 copy"):
        Hardness(copies=0)
    with pytest.raises(Unsuited, match="trains its copies"):
        Hardness().arm(victim, replace(owner, x=owner.x[:0], truth=owner.truth[:0]), 0)


def test_checkpoints_of_a_folder_take_the_place_of_copies(tmp_path):
    for step, copy in zip((4, 12, 60, 160), armed().copies, strict=True):
        tensors = {name: tensor.contiguous() for name, tensor in copy.net.state_dict().items()}
        save_file(tensors, tmp_path / f"step-{step}.safetensors")
    watch = Hardness(checkpoints=str(tmp_path)).arm(mnist()[0], small(), 0)
    assert torch.equal(watch.reference, armed().reference)
    victim, target = mnist()
    x = target.test.x[:50]
    assert torch.equal(watch.levels(x, victim(x)), armed().levels(x, victim(x)))


@pytest.mark.parametrize("data", [None, b"", b"no tensors at all", "of another network"])
def test_checkpoints_that_cannot_be_used_are_named(tmp_path, data):
    if isinstance(data, str):
        save_file({"weight": torch.zeros(2)}, tmp_path / "1.safetensors")
    elif data is not None:
        (tmp_path / "1.safetensors").write_bytes(data)
    with pytest.raises(BadConfig, match=r"safetensors"):
        Hardness(checkpoints=str(tmp_path)).arm(mnist()[0], small(), 0)

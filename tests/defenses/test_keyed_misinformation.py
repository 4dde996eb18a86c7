"""Keyed misinformation: the stated share of benign inputs, answers of the same look, a secret that decides the classes."""

import functools
import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.defenses.keyed import secret
from gamekeeper.defenses.keyed_misinformation import (
    Buckets,
    KeyedMisinformation,
    Union,
    deranged,
    derangement,
    least,
)
from gamekeeper.defenses.when import When
from gamekeeper.detectors.ood import calibrated, tap
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.targets.builtin import shipped
from gamekeeper.targets.target import Target
from gamekeeper.tasks import Classify
from gamekeeper.types import Batch, Box, Model, Owner, Posterior, Reply

pytestmark = pytest.mark.thorough

KEY, OTHER = secret("a test", 0, None), secret("a test", 1, None)
NET = Mlp((6,), 5, (12,))


def benign(n: int, seed: int) -> Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))


@functools.cache
def toy() -> tuple[TorchModel, Owner]:
    """A network that was never trained is as sure of the owner's inputs as of fresh ones."""
    x = benign(4_000, 0)
    victim = TorchModel(fresh(NET, 0), Classify(5))
    return victim, Owner(x, victim(x).y.argmax(1), Box((6,), -9.0, 9.0), NET)


@functools.cache
def armed(share: float, seed: int = 0) -> When:
    return KeyedMisinformation(share).arm(*toy(), seed)


def behind(share: float, x: Batch, seed: int = 0) -> tuple[Posterior, Posterior]:
    """Clean answers behind the gate, and what is given instead."""
    clean, one = toy()[0](x), armed(share, seed)
    rows = one.suspicious(x, clean)
    return clean.y[rows], one.respond(x, clean, None).y[rows]


@functools.cache
def digits() -> tuple[Target, Owner]:
    target = shipped("mnist")
    x, truth = target.owner.x[:1200], target.owner.truth[:1200]
    return target, Owner(x, truth, target.owner.box, target.owner.architecture)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_the_stated_share_of_fresh_benign_inputs_is_behind_the_gate(share: float):
    n, held_out = 4_000, len(calibrated(Union(), *toy(), 0).benign)
    x = benign(n, 1)
    found = armed(share).suspicious(x, toy()[0](x)).double().mean().item()
    assert held_out == 1_000
    assert abs(found - share) < 4 * math.sqrt(share * (1 - share) * (1 / n + 1 / held_out))


def test_far_inputs_are_behind_the_gate():
    x = 8 * benign(500, 2)
    assert armed(0.02).suspicious(x, toy()[0](x)).double().mean() > 0.9


def test_letters_are_behind_the_gate_of_a_digits_network_and_digits_are_not():
    target, owner = digits()
    one = KeyedMisinformation(0.02).arm(target.victim, owner, 0)
    letters, users = target.pool.x[:300], target.test.x[:300]
    assert one.suspicious(letters, target.victim(letters)).double().mean() > 0.5
    assert one.suspicious(users, target.victim(users)).double().mean() < 0.06


def test_share_0_is_the_very_reply():
    reply = toy()[0](8 * benign(5, 3))
    assert armed(0.0).respond(8 * benign(5, 3), reply, None) is reply


def test_in_front_of_the_gate_answers_are_the_clean_ones_bit_for_bit():
    x = benign(500, 4)
    clean, one = toy()[0](x), armed(0.1)
    rows = one.suspicious(x, clean)
    assert 0 < rows.sum() < 500
    assert torch.equal(one.respond(x, clean, None).y[~rows], clean.y[~rows])


def test_behind_it_the_sorted_probabilities_are_kept_and_the_top_class_is_another():
    clean, given = behind(0.1, 3 * benign(2_000, 5))
    assert len(clean) > 500
    assert torch.equal(given.sort(1).values, clean.sort(1).values)
    assert (given.argmax(1) != clean.argmax(1)).all()


def test_all_of_a_bucket_goes_where_its_derangement_says():
    y = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    buckets = torch.tensor([0, 1, 1])
    out = deranged(y, buckets, KEY)
    for row, bucket in enumerate(buckets.tolist()):
        goes = derangement(KEY, bucket, 3)
        assert all(out[row, goes[c]] == y[row, c] for c in range(3))


@pytest.mark.parametrize("k", [2, 3, 10, 1000])
def test_a_derangement_is_one_cycle_through_all_classes(k: int):
    goes = derangement(KEY, 7, k).tolist()
    met, c = set(), 0
    while c not in met:
        met.add(c)
        c = goes[c]
    assert met == set(range(k))


def test_where_a_class_goes_is_uniform_over_the_others():
    goes = torch.stack([derangement(KEY, bucket, 4) for bucket in range(3_000)])[:, 0]
    assert (torch.bincount(goes, minlength=4) - torch.tensor([0, 1000, 1000, 1000])).abs().max() < 4 * math.sqrt(667)


def test_another_secret_or_bucket_deranges_otherwise():
    first = derangement(KEY, 0, 10)
    assert not torch.equal(first, derangement(OTHER, 0, 10))
    assert not torch.equal(first, derangement(KEY, 1, 10))
    x = 8 * benign(300, 6)
    answers = [armed(1.0, seed).respond(x, toy()[0](x), None).y for seed in (0, 1)]
    assert (answers[0].argmax(1) != answers[1].argmax(1)).double().mean() > 0.5


def test_a_row_has_the_same_answer_in_any_batch():
    x = 3 * benign(60, 7)
    clean, one = toy()[0](x), armed(0.2)
    whole = one.respond(x, clean, None).y
    assert (whole.argmax(1) != clean.y.argmax(1)).any()
    rows = [one.respond(x[i : i + 1], Reply(clean.y[i : i + 1]), None).y for i in range(60)]
    assert torch.equal(whole, torch.cat(rows))


def answers() -> list[int]:
    x = 8 * benign(40, 8)
    return armed(0.2).respond(x, toy()[0](x), None).y.argmax(1).tolist()


def test_another_process_gives_the_same_answers():
    script = "from tests.defenses.test_keyed_misinformation import answers; print(answers())"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(answers())


def test_a_little_noise_leaves_nine_of_ten_inputs_in_their_bucket():
    target, owner = digits()
    buckets = Buckets.of(tap(target.victim, "a test", "flat"), owner.x[:500], 3, KEY)
    for x in (target.test.x[:300], target.pool.x[:300]):
        noise = 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
        before, after = buckets(x), buckets((x + noise).clamp(0, 1))
        assert len(before.unique()) == 8
        assert (before == after).double().mean() >= 0.9


def test_the_least_rank_decides_and_among_equals_the_mean():
    p = torch.tensor([[0.2, 0.9], [0.3, 0.3], [0.2, 0.4]], dtype=torch.float64)
    assert least(p).argsort().tolist() == [2, 0, 1]


def test_victims_without_features_and_shares_that_are_none_are_refused():
    class Mute:
        task = Classify(5)

        def __call__(self, x: Batch, /) -> Reply:
            return Reply(torch.full((len(x), 5), 0.2))

    mute: Model = Mute()
    with pytest.raises(Unsuited, match="needs the victim"):
        KeyedMisinformation().arm(mute, toy()[1], 0)
    with pytest.raises(BadConfig, match="from 0 to 1"):
        KeyedMisinformation(1.5)
    with pytest.raises(BadConfig, match="bits"):
        KeyedMisinformation(bits=40)

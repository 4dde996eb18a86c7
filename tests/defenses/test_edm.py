"""EDM: its loss at two closed-form points, whom its hash chooses, and where its members agree."""

import functools
import itertools
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from gamekeeper.defenses import EDM
from gamekeeper.defenses.edm import Chooser, Ensemble, diversity
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.targets.builtin import digits
from gamekeeper.targets.target import Target


@functools.cache
def target() -> Target:
    found = digits()
    return replace(found, owner=replace(found.owner, ood=1 - found.owner.x[:400].flip(2)))


@functools.cache
def armed() -> Ensemble:
    return EDM(epochs=8).arm(target().victim, target().owner, 0)


def answers(x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [torch.softmax(net(x), 1) for net in armed().members]


def coherence(y: list[Tensor]) -> Tensor:
    """The largest cosine similarity of any two members, row by row: the measure of the paper's premise."""
    return torch.stack([cosine_similarity(a, b, dim=1, eps=1e-8) for a, b in itertools.combinations(y, 2)]).amax(0)


def test_the_loss_of_members_that_are_alike_and_of_members_that_are_orthogonal():
    """log sum over n (n - 1) / 2 pairs of exp(1), and of exp(0)."""
    y = torch.softmax(torch.randn(3, 10), 1)
    for n in (2, 5):
        pairs = n * (n - 1) / 2
        torch.testing.assert_close(diversity([y] * n), torch.full((3,), math.log(pairs) + 1))
    torch.testing.assert_close(diversity(list(torch.eye(10)[:5, None])), torch.tensor([math.log(10)]))
    torch.testing.assert_close(coherence([*torch.eye(10)[:4, None], torch.eye(10)[:1]]), torch.tensor([1.0]))


def test_permuting_classes_leaves_the_loss():
    y = list(torch.softmax(torch.randn(3, 20, 5, generator=torch.Generator().manual_seed(3)).double(), 2))
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(diversity([each[:, order] for each in y]), diversity(y))


def test_underflowing_posteriors_have_a_finite_loss():
    y = [torch.zeros(1, 3), torch.eye(3)[:1]]
    assert torch.isfinite(diversity(y)).all()


def test_every_member_answers_its_share():
    counts = torch.bincount(armed().choose(torch.rand(4_000, 1, 8, 8, generator=torch.Generator().manual_seed(0))))
    assert len(counts) == 5
    assert counts.min() > 100
    mine = torch.bincount(armed().choose(target().owner.x), minlength=5)
    assert mine.min() > 0.05 * len(target().owner.x)


def test_neighbours_have_the_same_member_and_strangers_do_not():
    x = target().test.x
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    near, far = (armed().choose(x + size * noise) == armed().choose(x) for size in (0.001, 1.0))
    assert near.double().mean() > 0.97
    assert far.double().mean() < 0.6


def test_another_key_chooses_otherwise_and_another_process_alike():
    x = torch.arange(64).float().reshape(16, 4).sin()
    one, two = (Chooser.of(x, 5, key)(x).tolist() for key in (b"one", b"two"))
    assert one != two
    code = (
        "import torch; from gamekeeper.defenses.edm import Chooser;"
        "x = torch.arange(64).float().reshape(16, 4).sin(); print(Chooser.of(x, 5, b'one')(x).tolist())"
    )
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert again.stdout.strip() == str(one)


def test_members_agree_on_digits_and_contradict_each_other_elsewhere():
    test = target().test
    assert test.y is not None
    inside, outside = answers(test.x), answers(1 - target().owner.x[500:800].flip(2))
    tops = torch.stack([y.argmax(1) for y in inside])
    agreement = torch.stack([(a == b).double().mean() for i, a in enumerate(tops) for b in tops[:i]]).mean()
    assert agreement > 0.95
    assert min((top == test.y).double().mean() for top in tops) > 0.9
    assert coherence(inside).mean() > 0.95
    assert coherence(outside).mean() < 0.6


def test_the_answer_is_the_chosen_members_and_not_their_mean():
    x = target().test.x[:30]
    y = torch.stack(answers(x))
    given = armed().respond(x, target().victim(x), None).y
    torch.testing.assert_close(given, y[armed().choose(x), torch.arange(30)], atol=1e-5, rtol=0)


def test_without_auxiliary_inputs_it_names_the_option():
    with pytest.raises(Unsuited, match="--auxiliary related, unrelated or a data file"):
        EDM().arm(target().victim, replace(target().owner, ood=None), 0)
    for wrong in ({"weight": -1.0}, {"members": 1}, {"epochs": 0}):
        with pytest.raises(BadConfig):
            EDM(**wrong)

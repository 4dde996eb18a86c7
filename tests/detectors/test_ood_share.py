"""Flags are counted, their threshold keeps its promise on fresh inputs, and the binomial bound is the smallest that holds."""

import math
from dataclasses import replace

import pytest
import torch

from gamekeeper.data import batteries
from gamekeeper.detectors.benign import Basis, parted
from gamekeeper.detectors.boundary import Boundary
from gamekeeper.detectors.ood import SCORERS, Knn, Mahalanobis, Msp, Scorer, below, margin
from gamekeeper.detectors.ood_share import FlagCount, FlagMemory, OodShare
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.types import Model, Owner, Reply
from tests.detectors.counted import adds_up, mnist, renamed, scored, small

RECIPES = [OodShare("mahalanobis", 0.05), OodShare("msp", 0.05), OodShare("energy", 0.05), OodShare("knn", 0.05)]


@pytest.mark.parametrize("recipe", [*RECIPES, Boundary(0.05)], ids=repr)
def test_counts(recipe: OodShare | Boundary):
    victim, target = mnist()
    watch = recipe.arm(victim, small(), 0)
    x = torch.cat([target.pool.x[:20], target.test.x[:20]])
    reply = victim(x)
    flags = watch.flags(x, reply).tolist()
    slow, running = [], 0
    for flagged in flags:
        running += flagged
        slow.append(float(running))
    memory = watch.fresh()
    assert scored(watch, x, reply, [40], memory).tolist() == slow
    assert memory == FlagMemory(40, sum(flags))
    assert memory.share == sum(flags) / 40
    if isinstance(recipe, OodShare):
        assert sum(flags[:20]) >= 6 > 4 >= sum(flags[20:])  # letters are strange, digits are not
    adds_up(watch, x, reply, 0.0)


@pytest.mark.parametrize("recipe", [*RECIPES, Boundary(0.05)], ids=repr)
def test_the_threshold_holds_on_natural_inputs_that_set_nothing(recipe: OodShare | Boundary):
    victim, _ = mnist()
    owner = small()
    watch = recipe.arm(victim, owner, 0)
    rest, used = parted("test", owner, 0)
    assert rest.natural is not None
    both = torch.cat([rest.natural, used])
    assert torch.equal(both.flatten(1).unique(dim=0), owner.natural.flatten(1).unique(dim=0))
    n = len(rest.natural)
    # the threshold itself is drawn: its rate is Beta distributed around fpr
    spread = math.sqrt(0.05 * 0.95 * (1 / n + 1 / len(used)))
    assert watch.flags(rest.natural, victim(rest.natural)).double().mean() <= 0.05 + 3 * spread
    assert str(watch.basis) == "400 natural inputs"


@pytest.mark.parametrize("scorer", [Msp(), Mahalanobis(), Knn(), Knn(k=3, scaled=False)], ids=repr)
def test_the_fast_way_to_a_flag_is_the_score_below_the_threshold(scorer: Scorer):
    """Also for the very inputs that are the threshold."""
    victim, target = mnist()
    score = scorer.fit(victim, small(), 0)
    x = torch.cat([target.pool.x[:40], target.test.x[:40], target.box.uniform(10, 0)])
    reply = victim(x)
    values = score(x, reply)
    for threshold in (*values[::7].tolist(), float("inf"), float("-inf")):
        assert torch.equal(below(score, threshold)(x, reply), values < threshold)


def test_without_natural_inputs_it_says_so():
    victim, _ = mnist()
    watch = OodShare("msp", 0.05).arm(victim, replace(small(), natural=None, natural_truth=None), 0)
    assert watch.basis == Basis(150, False)
    assert "150 training inputs held out" in str(watch.basis)
    assert "more false alarms" in str(watch.basis)


def test_too_few_benign_inputs_for_the_share():
    victim, _ = mnist()
    owner = small()
    assert owner.natural is not None
    few = replace(owner, natural=owner.natural[:100], natural_truth=None)
    with pytest.raises(Unsuited, match=r"need at least 99 benign inputs .* there are 50 natural inputs"):
        OodShare("msp", 0.01).arm(victim, few, 0)
    OodShare("msp", 0.02).arm(victim, few, 0)  # 49 are enough
    with pytest.raises(BadConfig, match="fpr"):
        OodShare(fpr=0.0)


def test_the_classifier_learns_from_auxiliary_inputs_only():
    victim, target = mnist()
    with pytest.raises(Unsuited, match="auxiliary"):
        OodShare("detector").arm(victim, small(), 0)
    owner = replace(small(), ood=batteries.load("fashion-train").x[:600])
    watch = OodShare("detector", 0.05).arm(victim, owner, 0)
    clothes = batteries.load("fashion-train").x[600:700]
    assert watch.flags(clothes, victim(clothes)).double().mean() > 0.9
    assert not torch.equal(target.pool.x[:600], owner.ood)


@pytest.mark.parametrize("recipe", [RECIPES[0], RECIPES[1], Boundary(0.05)], ids=repr)
def test_names_of_classes_do_not_matter(recipe: OodShare | Boundary):
    victim, target = mnist()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    other = renamed(order)
    owner, x = small(), torch.cat([target.pool.x[:20], target.test.x[:20]])
    one, two = recipe.arm(victim, owner, 0), recipe.arm(other, replace(owner, truth=order.argsort()[owner.truth]), 0)
    assert torch.equal(one.flags(x, victim(x)), two.flags(x, other(x)))


def test_the_margin_of_a_label_is_one_and_flags_nothing():
    y = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.45, 0.45], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(margin(y), torch.tensor([0.2, 0.0, 1.0], dtype=torch.float64))

    class Labels:
        task = mnist()[0].task

        def __call__(self, x: torch.Tensor, /) -> Reply:
            return Reply(torch.nn.functional.one_hot(mnist()[0](x).y.argmax(1), 10).float())

    victim: Model = Labels()
    owner: Owner = small()
    watch = Boundary(0.05).arm(victim, owner, 0)
    assert isinstance(watch, FlagCount)
    x = mnist()[1].pool.x[:50]
    assert not watch.flags(x, victim(x)).any()


def test_boundary_flags_what_lies_between_two_digits():
    victim, target = mnist()
    watch = Boundary(0.01).arm(victim, replace(mnist()[1].owner), 0)
    a, b = target.test.x[:100], target.test.x[100:200]
    between = (a + b) / 2
    y, z = victim(a).y.argmax(1), victim(b).y.argmax(1)
    assert watch.flags(between, victim(between))[y != z].double().mean() > 0.2
    assert watch.flags(a, victim(a)).double().mean() < 0.05


def test_every_score_has_a_name():
    assert set(SCORERS) == {"msp", "odin", "energy", "mahalanobis", "knn", "detector"}

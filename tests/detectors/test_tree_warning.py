"""Trees: gain and coverage worked by hand, and their invariants."""

import math

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from gamekeeper.detectors.tree_warning import (
    Coverage,
    GainRatio,
    InformationGain,
    LeafCoverage,
    Visited,
    entropy,
    information_gain,
)
from gamekeeper.errors import Unsuited
from gamekeeper.models.opaque import SklearnModel
from gamekeeper.service.stored import packed, unpacked
from gamekeeper.targets.builtin import digits, wine
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Mergeable, Owner, Watch

WINE = wine()
POOL = WINE.pool.x


def by_hand() -> tuple[SklearnModel, Owner]:
    """One column: class 0 below .25 (1 row of 8), 1 up to .5 (3 rows), 2 above (4 rows)."""
    x = np.array([[0.1], [0.3], [0.35], [0.4], [0.7], [0.8], [0.9], [0.95]])
    tree = DecisionTreeClassifier(random_state=0).fit(x, [0, 1, 1, 1, 2, 2, 2, 2])
    owner = Owner(torch.tensor(x).float(), torch.tensor([0, 1, 1, 1, 2, 2, 2, 2]), Box((1,)), WINE.student)
    return SklearnModel(tree, Classify(3)), owner


def coverage(x: torch.Tensor, watch: Coverage) -> float:
    memory = watch.fresh()
    watch.score(x, WINE.victim(x), 0.0, memory)
    return watch.status(memory)


@pytest.fixture(scope="module")
def watch() -> Coverage:
    return LeafCoverage().arm(WINE.victim, WINE.owner, 0)


def test_entropy_and_gain_of_two_and_two():
    labels, leaf = torch.tensor([0, 0, 1, 1]), torch.tensor([7, 7, 7, 9])
    assert entropy(labels) == pytest.approx(math.log(2))
    assert entropy(labels[:0]) == 0
    within = 3 / 4 * -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert information_gain(leaf, labels) == pytest.approx(math.log(2) - within)
    assert information_gain(labels, labels) == pytest.approx(math.log(2))
    assert information_gain(torch.zeros_like(labels), labels) == pytest.approx(0)


def test_coverage_by_hand():
    victim, owner = by_hand()
    watch = LeafCoverage().arm(victim, owner, 0)
    x = torch.tensor([[0.9], [0.6], [0.0], [0.45], [0.1]])
    scores = watch.score(x, victim(x), 0.0, watch.fresh())
    assert scores.tolist() == [4 / 8, 4 / 8, 5 / 8, 1, 1]


def test_all_leaves_of_a_tree_and_of_a_forest_are_1():
    x, y = WINE.owner.x.double().numpy(), WINE.owner.truth.numpy()
    forest = SklearnModel(RandomForestClassifier(5, bootstrap=False, random_state=0).fit(x, y), Classify(3))
    for victim in (WINE.victim, forest):
        watch = LeafCoverage().arm(victim, WINE.owner, 0)
        scores = watch.score(WINE.owner.x, victim(WINE.owner.x), 0.0, watch.fresh())
        assert scores[0] > 0
        assert scores.diff().ge(0).all()
        assert scores[-1] == 1
        assert watch.status(watch.fresh()) == 0


def test_a_union_covers_what_any_of_its_members_does(watch: Coverage):
    parts = list(POOL[:12].split(3))
    memories = [Visited(watch.fresh().leaves) for _ in parts]
    for part, memory in zip(parts, memories, strict=True):
        watch.score(part, WINE.victim(part), 0.0, memory)
    covered = [watch.status(watch.merged(memories[:k])) for k in range(5)]
    assert covered[0] == 0
    assert covered == sorted(covered)
    assert covered[-1] >= max(watch.status(memory) for memory in memories)
    assert covered[-1] == coverage(POOL[:12], watch)


def test_one_by_one_as_in_batches_and_after_a_restart(watch: Coverage):
    x = torch.cat([POOL[:40], WINE.owner.x])
    clean = WINE.victim(x)
    whole = watch.score(x, clean, 0.0, watch.fresh())
    memory, parts = watch.fresh(), []
    for row in range(len(x)):
        parts.append(watch.score(x[row : row + 1], clean.take(slice(row, row + 1)), 0.0, memory))
        memory = unpacked(Visited, packed(memory))
    assert torch.equal(torch.cat(parts), whole)


def test_the_gain_of_a_tree_that_is_fitted_on_answers():
    x = torch.linspace(0, 1, 40)[:, None]
    y = (x[:, 0] > 0.5).long() + (x[:, 0] > 0.8).long()
    ratio = GainRatio(x, y, depth=2)
    assert ratio(x, y) == pytest.approx(1)
    assert ratio(x[:9], y[:9]) == 0
    half = GainRatio(x, y, depth=1)(x, y)
    assert half == pytest.approx(information_gain((y > 0).long(), y) / entropy(y))
    # the leaves matter, not the names of the classes
    assert ratio(x[::3], y[::3]) == ratio(x[::3], (y[::3] + 1) % 3)


def test_the_gain_grows_with_what_a_client_saw():
    watch = InformationGain(looks=(20, 100)).arm(WINE.victim, WINE.owner, 0)
    x = WINE.owner.x
    scores = watch.score(x, WINE.victim(x), 0.0, watch.fresh())
    assert 0 < scores[19] < scores[99] <= 1
    assert int(torch.isfinite(scores).sum()) == 2
    assert watch.status(watch.fresh()) == 0
    assert isinstance(watch, Watch)
    assert isinstance(watch, Mergeable)


def test_other_victims_are_unsuited():
    target = digits()
    for recipe in (LeafCoverage(), InformationGain()):
        with pytest.raises(Unsuited, match="decision trees"):
            recipe.arm(target.victim, target.owner, 0)

"""A tree whose leaves answer differently is recovered leaf by leaf; leaves that answer alike are noticed."""

import math

import pytest
import torch
from sklearn.tree import DecisionTreeClassifier

from gamekeeper.attacks.formula_clones import Boxes
from gamekeeper.attacks.tree_paths import TreePaths
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.opaque import SklearnModel
from gamekeeper.service.oracles import Metered, Transcript
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Reply
from tests.attacks.trees import Tree, agreement, thief

pytestmark = pytest.mark.thorough

D, LEAVES = 5, 60
BOX = Box((D,))


PLAIN = TreePaths()


def steal(oracle, recipe=PLAIN, budget: int = 1_000_000, seed: int = 0, box: Box = BOX) -> tuple[Boxes, int]:
    gate = Metered(oracle, budget, box)
    copy = recipe(gate, thief(box), seed)
    assert gate.spent <= budget
    return copy, gate.spent


def on_the_grid(n: int, steps: int) -> torch.Tensor:
    points = torch.randint(steps + 1, (n, D), generator=torch.Generator().manual_seed(9))
    return points.double() / steps


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree(D, LEAVES, seed=0)


@pytest.fixture(scope="module")
def small() -> Tree:
    return Tree(D, 20, seed=0)


@pytest.fixture(scope="module")
def stolen(tree: Tree) -> tuple[Boxes, int]:
    return steal(tree)


def test_sixty_leaves_with_answers_of_their_own_are_recovered(tree: Tree, stolen: tuple[Boxes, int]):
    copy, spent = stolen
    assert len(copy) == LEAVES
    assert copy.caveats == ()
    assert spent < 3639  # what bisection alone takes for such a tree
    assert agreement(copy, tree, on_the_grid(3000, 1000)) == 1
    assert agreement(copy, tree, BOX.uniform(3000, 9)) > 0.995


def test_a_finer_grid_leaves_no_difference_on_uniform_inputs(small: Tree):
    copy, spent = steal(small, TreePaths(eps=1e-7))
    assert agreement(copy, small, BOX.uniform(3000, 9)) == 1
    # 19 thresholds, each to 13 binary digits more
    assert spent <= steal(small)[1] + 2 * 19 * 13


def test_boxes_are_disjoint_and_cover_the_domain(stolen: tuple[Boxes, int]):
    copy = stolen[0]
    assert int((copy.high - copy.low).prod(1).sum()) == 1001**D
    for b in range(len(copy)):
        shared = (copy.low[b].maximum(copy.low) < copy.high[b].minimum(copy.high)).all(1)
        assert shared.nonzero().flatten().tolist() == [b]


def test_every_threshold_is_within_a_step_of_a_true_one_and_none_is_missed(tree: Tree, stolen: tuple[Boxes, int]):
    copy = stolen[0]
    found = {(i, int(j)) for i in range(D) for j in copy.high[:, i].unique() if j < 1000}
    assert found == {(i, math.floor(1000 * threshold)) for i, threshold in tree.split}


def test_no_point_is_asked_twice(small: Tree):
    transcript = Transcript(small)
    _, spent = steal(transcript)
    assert len(transcript.seen(spent)[0].unique(dim=0)) == spent


def test_leaves_that_answer_alike_are_reported_and_probes_uncover_splits():
    tree = Tree(D, LEAVES, seed=0, distinct=26)
    x = BOX.uniform(3000, 9)
    plain, spent = steal(tree)
    probed, more = steal(tree, TreePaths(probes=4))
    assert "id-collisions" in plain.caveats
    assert plain.collisions > 0
    assert "id-collisions" in plain.caveats
    assert agreement(plain, tree, x) < 0.95 < agreement(probed, tree, x)
    assert more > spent


@pytest.mark.parametrize("seed", range(4))
def test_probes_never_find_fewer_leaves(seed: int):
    tree = Tree(D, 20, seed, distinct=8)
    assert len(steal(tree)[0]) <= len(steal(tree, TreePaths(probes=4))[0]) <= 20


def test_any_start_recovers_the_same_tree(small: Tree):
    first, second = (steal(small, seed=seed)[0] for seed in (0, 7))
    x = BOX.uniform(1000, 3)
    assert torch.equal(first(x).y, second(x).y)


def test_a_decision_tree_of_scikit_learn_is_recovered():
    generator = torch.Generator().manual_seed(0)
    box = Box((4,), -2.0, 2.0)
    x = torch.rand(2000, 4, generator=generator).numpy() * 4 - 2
    truth = torch.randint(3, (2000,), generator=generator).numpy() ** (x[:, 0] > 0)  # noise, so that no leaf is pure
    fitted = DecisionTreeClassifier(max_leaf_nodes=30, min_samples_leaf=20, random_state=0).fit(x, truth)
    victim = SklearnModel(fitted, Classify(3))
    leaves = fitted.tree_.value[fitted.tree_.children_left == -1, 0]
    assert len({tuple(row) for row in leaves}) == len(leaves) == 30
    gate = Metered(victim, 100_000, box)
    copy = TreePaths(eps=1e-6)(gate, thief(box, 3), seed=0)
    assert (len(copy), copy.caveats) == (30, ())
    assert agreement(copy, victim, box.uniform(3000, 1).double()) == 1


def shop(x: torch.Tensor, /) -> Reply:
    """Feature 0 is one of four levels, 1 is continuous, 2 one of two: a tree with a three-way split of the levels."""
    answers = torch.tensor([0.05, 0.2, 0.4, 0.6, 0.9], dtype=torch.float64)
    level, continuous, two = (x[:, 0] * 3).round().long(), x[:, 1], x[:, 2] > 0.5
    leaf = torch.where(level == 1, torch.where(continuous <= 0.3, 0, 1), torch.where(level == 3, 2, 3))
    leaf = torch.where((leaf == 3) & two, 4, leaf)
    return Reply(torch.stack([answers[leaf], 1 - answers[leaf]], 1))


def test_categorical_features_are_split_by_level():
    recipe = TreePaths(categorical=(0, 2), sizes=(4, 2))
    transcript, box = Transcript(shop), Box((3,))
    copy, spent = steal(transcript, recipe, box=box)
    asked = transcript.seen(spent)[0]
    assert (asked[:, 0] * 3).frac().abs().max() < 1e-9
    assert asked[:, 2].unique().tolist() == [0, 1]
    assert (len(copy), copy.caveats) == (5, ())
    grid = torch.cartesian_prod(*(torch.linspace(0, 1, n, dtype=torch.float64) for n in (4, 1001, 2)))
    assert agreement(copy, shop, grid) == 1


@pytest.mark.parametrize("budget", [0, 1, 10, 100, 300])
def test_the_budget_is_kept_and_what_was_found_is_returned(small: Tree, budget: int):
    copy, _ = steal(small, budget=budget)
    assert not copy.complete
    assert copy.caveats == ("cut-short",)
    y = copy(BOX.uniform(50, 0)).y
    torch.testing.assert_close(y.sum(1), torch.ones(50, dtype=torch.float64))


def test_more_budget_agrees_more(small: Tree):
    x = BOX.uniform(3000, 9)
    agreed = [agreement(steal(small, budget=budget)[0], small, x) for budget in (100, 300, 900)]
    assert agreed[0] < agreed[1] < agreed[2]


def test_images_are_asked_in_their_own_shape():
    tree, box = Tree(4, 6, seed=1), Box((1, 2, 2), -1.0, 1.0)
    transcript = Transcript(tree)
    copy, spent = steal(transcript, box=box)
    assert transcript.seen(spent)[0].shape == (spent, 1, 2, 2)
    assert len(copy) == 6
    assert agreement(copy, tree, box.uniform(500, 1)) > 0.98


def test_a_victim_that_always_says_the_same_is_one_box():
    copy, spent = steal(lambda x: Reply(torch.full((len(x), 2), 0.5)))
    assert (len(copy), copy.caveats, spent) == (1, (), 3 + 2 * D + 20)


@pytest.mark.parametrize(
    "wrong", [{"eps": 0.0}, {"probes": -1}, {"categorical": (1,)}, {"categorical": (1,), "sizes": (1,)}]
)
def test_nonsense_is_refused(wrong: dict):
    with pytest.raises(BadConfig, match="TreePaths"):
        TreePaths(**wrong)


def test_a_categorical_feature_that_is_not_there_is_refused_before_anything_is_asked():
    gate = Metered(shop, 100, Box((3,)))
    with pytest.raises(BadConfig, match="0 to 2"):
        TreePaths(categorical=(3,), sizes=(2,))(gate, thief(Box((3,))), 0)
    assert gate.spent == 0


def smooth(x: torch.Tensor, /) -> Reply:
    score = x.double().sum(1)
    return Reply(torch.softmax(torch.stack([score, -score], 1), 1))


def test_a_victim_that_is_no_tree_is_refused_after_three_queries():
    gate = Metered(smooth, 1000, BOX)
    with pytest.raises(Unsuited, match="not a decision tree"):
        TreePaths()(gate, thief(BOX), 0)
    assert gate.spent == 3

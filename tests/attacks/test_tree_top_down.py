"""Where an API accepts missing features, a tree is recovered from its root down, more cheaply."""

import pytest
import torch

from gamekeeper.attacks.formula_clones import Boxes
from gamekeeper.attacks.tree_paths import TreePaths
from gamekeeper.attacks.tree_top_down import TreeTopDown
from gamekeeper.errors import Unsuited
from gamekeeper.service.oracles import Metered, Transcript
from gamekeeper.types import Box, Reply
from tests.attacks.trees import Tree, agreement, thief

pytestmark = pytest.mark.thorough

LEAVES = 20
BOX = Box((5,), -1.0, 1.0)
"""Values lie in [0, 1]; -1 is the API's word for a missing one."""
RECIPE = TreeTopDown(missing=-1.0, eps=5e-4)
"""The same step as a thousandth of the values' range."""


def steal(tree, recipe=RECIPE, budget: int = 1_000_000, box: Box = BOX) -> tuple[Boxes, int]:
    gate = Metered(tree, budget, box)
    copy = recipe(gate, thief(box), 0)
    assert gate.spent <= budget
    return copy, gate.spent


def values(n: int, d: int = 5) -> torch.Tensor:
    return torch.randint(1001, (n, d), generator=torch.Generator().manual_seed(3)).double() / 1000


@pytest.mark.parametrize(("d", "seed"), [(5, 1), (12, 2)])
def test_all_leaves_are_recovered_more_cheaply_than_by_path_finding(d: int, seed: int):
    box, leaves = Box((d,), -1.0, 1.0), 40
    copy, spent = steal(Tree(d, leaves, seed, missing=-1.0), box=box)
    gate = Metered(Tree(d, leaves, seed), 1_000_000, Box((d,)))
    paths = TreePaths(eps=1e-3)(gate, thief(Box((d,))), 0)
    assert len(copy) == len(paths) == leaves
    assert copy.caveats == ()
    assert spent < 0.9 * gate.spent
    assert agreement(copy, Tree(d, leaves, seed), values(2000, d)) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_feature_that_splits_again_further_down_is_followed(seed: int):
    """Two features and twenty leaves: most paths meet a feature several times."""
    tree, box = Tree(2, 20, seed, missing=-1.0), Box((2,), -1.0, 1.0)
    copy, _ = steal(tree, box=box)
    assert (len(copy), copy.caveats) == (20, ())
    assert agreement(copy, tree, values(2000, 2)) > 0.99


def test_a_tree_of_many_features_pays_for_those_it_uses():
    """Two of 200 features: path finding asks about all of them at every leaf."""
    tree, box = Tree(2, 6, seed=0, missing=-1.0), Box((100,), -1.0, 1.0)
    copy, spent = steal(tree, box=box)
    assert len(copy) == 6
    assert spent < 6 * 100 + 300


def test_boxes_are_disjoint_and_cover_the_domain():
    copy, _ = steal(Tree(5, LEAVES, 1, missing=-1.0))
    assert int((copy.high - copy.low).prod(1).sum()) == 2001**5
    for b in range(len(copy)):
        shared = (copy.low[b].maximum(copy.low) < copy.high[b].minimum(copy.high)).all(1)
        assert shared.nonzero().flatten().tolist() == [b]


def test_the_root_is_asked_first_and_no_question_is_put_twice():
    transcript = Transcript(Tree(5, LEAVES, 0, missing=-1.0))
    _, spent = steal(transcript)
    asked = transcript.seen(spent)[0]
    assert asked[3].tolist() == [-1.0] * 5  # three complete inputs show that it is a tree
    assert len(asked.unique(dim=0)) == spent


def test_the_high_end_can_stand_for_missing_as_well():
    box = Box((5,), 0.0, 2.0)
    copy, _ = steal(Tree(5, LEAVES, 0, missing=2.0), TreeTopDown(missing=2.0, eps=5e-4), box=box)
    assert len(copy) == LEAVES
    assert agreement(copy, Tree(5, LEAVES, 0), values(2000)) == 1


@pytest.mark.parametrize("seed", [0, 3])
def test_nodes_that_answer_alike_are_reported(seed: int):
    copy, _ = steal(Tree(5, LEAVES, seed, distinct=20, missing=-1.0))
    assert copy.misses > 0
    assert "id-collisions" in copy.caveats
    assert "hidden-splits" in copy.caveats


def test_splits_that_stayed_hidden_show_in_the_last_checks():
    """The root's upper half answers as the root does: its split is never seen."""

    def half(x: torch.Tensor, /) -> Reply:
        p = torch.where((x[:, 0] != -1) & (x[:, 0] <= 0.5), 0.9, 0.3).double()
        return Reply(torch.stack([p, 1 - p], 1))

    copy, spent = steal(half)
    assert len(copy) == 1
    assert 2 < copy.misses < 18
    assert "hidden-splits" in copy.caveats
    assert spent == 3 + 1 + 5 + 20


def shop(x: torch.Tensor, /) -> Reply:
    """Levels 0 to 3 of feature 0, or -1 for none; feature 1 is continuous in [0, 3]."""
    answers = torch.tensor([0.5, 0.3, 0.1, 0.2, 0.7], dtype=torch.float64)
    level, continuous = x[:, 0].round().long(), x[:, 1]
    low = torch.where(continuous == -1, 1, torch.where(continuous <= 1.5, 2, 3))
    leaf = torch.where(level == -1, 0, torch.where(level == 2, low, 4))
    return Reply(torch.stack([answers[leaf], 1 - answers[leaf]], 1))


def test_categorical_features_are_split_by_level():
    box = Box((2,), -1.0, 3.0)
    copy, _ = steal(shop, TreeTopDown(missing=-1.0, categorical=(0,), sizes=(5,)), box=box)
    assert (len(copy), copy.caveats) == (3, ())
    grid = torch.cartesian_prod(torch.arange(4.0), torch.arange(0, 751) / 250).double()
    assert agreement(copy, shop, grid) == 1


@pytest.mark.parametrize("budget", [0, 1, 10, 100, 200])
def test_the_budget_is_kept_and_what_was_found_is_returned(budget: int):
    copy, _ = steal(Tree(5, LEAVES, 0, missing=-1.0), budget=budget)
    assert not copy.complete
    assert torch.isfinite(copy(values(50)).y).all()


def test_a_marker_in_the_middle_of_the_domain_is_refused_before_anything_is_asked():
    gate = Metered(Tree(5, 4, 0), 100, BOX)
    with pytest.raises(Unsuited, match="missing"):
        TreeTopDown(missing=0.0)(gate, thief(BOX), 0)
    assert gate.spent == 0


def test_a_victim_that_is_no_tree_is_refused_after_three_queries():
    gate = Metered(lambda x: Reply(torch.softmax(torch.stack([x.double().sum(1), x[:, 0]], 1), 1)), 1000, BOX)
    with pytest.raises(Unsuited, match="not a decision tree"):
        RECIPE(gate, thief(BOX), 0)
    assert gate.spent == 3

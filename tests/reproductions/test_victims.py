"""Victims of published experiments. What needs data that are not shipped is skipped where they are not there."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier

from gamekeeper.data.dataset import Dataset
from gamekeeper.data.folder import FILES, find
from gamekeeper.data.splits import overlap
from gamekeeper.errors import BadConfig
from gamekeeper.reproductions import victims
from gamekeeper.reproductions.catalogue import REPRODUCTIONS
from gamekeeper.reproductions.smoothed_tree import SmoothedTree
from gamekeeper.reproductions.tramer import CATEGORICAL
from gamekeeper.reproductions.victims import VICTIMS, Network, Published, Table, joined, ordinal, scaled
from gamekeeper.targets.builtin import BUILTIN
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit

DATA = Path(os.environ.get("GAMEKEEPER_DATA", "data"))
ADULT = pytest.mark.skipif(
    not (DATA / "adult_train.csv.gz").exists(), reason="adult_train.csv.gz is not in ./data or GAMEKEEPER_DATA"
)
SHIPPED = [name for name, recipe in VICTIMS.items() if isinstance(recipe, Table) and recipe.data != "adult"]


@pytest.mark.parametrize("name", SHIPPED)
def test_tables_of_scikit_learn_need_no_folder(name, tmp_path):
    target = Published(name, tmp_path, tmp_path).load()
    assert target.name == name
    for x in (target.test.x, target.pool.x, target.owner.x):
        target.box.check(x)
    assert overlap(target.test.x, target.owner.x) == 0
    right = target.victim(target.test.x).y.argmax(1) == target.test.y
    assert float(right.double().mean()) > 0.65
    assert Published(name, Path("elsewhere"), tmp_path).load().digest == target.digest


def test_no_published_victim_has_the_name_of_a_built_in_target():
    assert not set(VICTIMS) & set(BUILTIN)


@pytest.mark.parametrize("name", FILES)
def test_what_is_missing_is_said_with_where_to_get_it(name, tmp_path, monkeypatch):
    monkeypatch.setattr("gamekeeper.data.folder.DEBIAN_FASHION", tmp_path / "not-installed")
    with pytest.raises(BadConfig, match=r"is needed and is not in .*--data or GAMEKEEPER_DATA"):
        find(tmp_path, name)
    (tmp_path / name).touch()
    assert find(tmp_path, name) == tmp_path / name


def test_every_needed_file_is_described():
    assert {name for each in REPRODUCTIONS.values() for name in each.needs} <= set(FILES)


def test_parts_are_scaled_by_the_training_rows_and_a_constant_column_is_harmless():
    train = Dataset(torch.tensor([[0.0, 5.0], [4.0, 5.0]]))
    test = Dataset(torch.tensor([[1.0, 6.0], [9.0, 5.0]]))
    assert scaled((train, test))[0].x.tolist() == [[-1, -1], [1, -1]]
    assert scaled((train, test))[1].x.tolist() == [[-0.5, 1], [1, -1]]


def test_ordinal_columns_leave_zero_for_what_is_missing(tmp_path):
    (tmp_path / "t.csv").write_text("age,job,rich\n20,cook,no\n40,nurse,yes\n30,actor,no\n")
    data = ordinal(tmp_path / "t.csv", "rich")
    assert data.x[:, 0].tolist() == pytest.approx([0.01, 1, 0.505])
    assert data.x[:, 1].tolist() == pytest.approx([2 / 3, 1, 1 / 3]), "actor, cook, nurse"
    assert data.y.tolist() == [0, 1, 0]


@pytest.fixture(scope="module")
def tree() -> DecisionTreeClassifier:
    """x0 <= 1/2: three of class 0; else x1 <= 1/2: one of class 0; else two of class 1."""
    x = [[0.1, 0.2], [0.2, 0.9], [0.3, 0.4], [0.9, 0.1], [0.7, 0.8], [0.8, 0.9]]
    return DecisionTreeClassifier(random_state=0).fit(x, [0, 0, 0, 0, 1, 1])


def test_a_smoothed_tree_answers_laplaces_rule(tree):
    victim = SmoothedTree(tree, Classify(2))
    x = torch.tensor([[0.1, 0.1], [0.9, 0.05], [0.9, 0.95]])
    sizes = tree.tree_.n_node_samples[tree.apply(x.numpy())]
    expected = [(n + 1) / (n + 2) for n in sizes]
    assert victim(x).y.amax(1).tolist() == pytest.approx(expected)
    assert (victim(x).y.argmax(1).numpy() == tree.predict(x.numpy())).all()
    assert torch.allclose(victim(x).y.sum(1), torch.ones(3, dtype=torch.float64))


def test_only_where_incomplete_inputs_are_accepted_a_walk_ends_at_a_missing_feature(tree):
    nothing = torch.zeros(1, 2)
    incomplete = SmoothedTree(tree, Classify(2), missing=0.0)
    assert incomplete(nothing).y.tolist()[0] == pytest.approx([5 / 8, 3 / 8]), "the root: 4 and 2 of 6, and one each"
    assert int(SmoothedTree(tree, Classify(2)).nodes(nothing.double())[0]) != 0
    given = torch.rand(50, 2) * 0.9 + 0.05
    assert torch.equal(incomplete(given).y, SmoothedTree(tree, Classify(2))(given).y)


@ADULT
def test_the_categorical_columns_of_adult_are_what_the_attacks_are_told():
    data = ordinal(DATA / "adult_train.csv.gz", "income")
    levels = [len(torch.unique(column)) for column in data.x.T]
    told = dict(pair.split("=") for pair in CATEGORICAL.split(","))
    columns, sizes = ([int(n) for n in told[key].split("x")] for key in ("categorical", "sizes"))
    assert [levels[column] + 1 for column in columns] == sizes, "one level more, for missing"
    assert data.x.shape == (30_162, 14)


def leaf_answers(tree: SmoothedTree) -> torch.Tensor:
    """The answers of the leaves alone."""
    return tree.answers[torch.as_tensor(tree.tree.children_left == -1)]


@ADULT
def test_leaves_of_the_small_tree_can_all_be_told_apart_and_rounded_ones_of_the_large_cannot(tmp_path):
    small = Published("adult-tree", DATA, tmp_path).load().victim
    assert len(torch.unique(leaf_answers(small), dim=0)) == len(leaf_answers(small)) == 26
    large = Published("adult-tree-large", DATA, tmp_path).load().victim
    assert len(leaf_answers(large)) == 193
    assert len(torch.unique(leaf_answers(large).mul(100).round(), dim=0)) < 100


@pytest.fixture
def blots(tmp_path, monkeypatch) -> Path:
    """A folder with a made-up mnist.npz: 96 training and 32 test images of two classes, dark and light."""
    generator = np.random.default_rng(0)
    parts = {}
    for part, n in (("train", 96), ("test", 32)):
        y = np.arange(n) // (n // 2)  # sorted by class, as such files often are
        noise = generator.integers(0, 60, (n, 28, 28))
        parts |= {f"x_{part}": (noise + 150 * y[:, None, None]).astype(np.uint8), f"y_{part}": y}
    np.savez(tmp_path / "mnist.npz", **parts)
    brief = Fit(epochs=1, least_steps=20, batch=32)
    monkeypatch.setattr(
        victims,
        "VICTIMS",
        {"blots": Network("mnist", ("letters",), brief), "other": Network("mnist", ("letters",), Fit())},
    )
    return tmp_path


def test_a_network_is_trained_once_and_kept_by_its_recipe(blots):
    kept = blots / "kept"
    first = Published("blots", blots, kept).load()
    (file,) = kept.iterdir()
    written = file.stat().st_mtime_ns, file.read_bytes()
    again = Published("blots", blots, kept).load()
    assert (file.stat().st_mtime_ns, file.read_bytes()) == written
    assert torch.equal(first.victim(first.test.x).y, again.victim(first.test.x).y)
    assert first.digest == again.digest
    elsewhere = Published("blots", blots, blots / "elsewhere").load()
    assert elsewhere.digest == first.digest, "the digest is of recipe and data, so that committed rows stay valid"
    assert torch.equal(first.victim(first.test.x).y, elsewhere.victim(first.test.x).y)


def test_a_network_is_judged_on_the_test_part_and_its_seeds_are_training_images(blots):
    target = Published("blots", blots, blots / "kept").load()
    assert len(target.test) == 32
    assert overlap(target.test.x, target.owner.x) == overlap(target.test.x, target.pool.x) == 0
    assert overlap(target.seeds, target.owner.x) == len(target.seeds) == 96
    few = target.victim(target.seeds[:20]).y.argmax(1)
    assert 0 < int(few.sum()) < 20, "the first seeds are of one class only"
    assert len(target.pool) == 12_000
    right = target.victim(target.test.x).y.argmax(1) == target.test.y
    assert float(right.double().mean()) > 0.9


def test_another_recipe_is_another_target(blots, monkeypatch):
    monkeypatch.setattr(victims, "fit", lambda net, *rest: net.eval())
    one, other = (Published(name, blots, blots / "kept").load() for name in ("blots", "other"))
    assert one.digest != other.digest
    assert len(list((blots / "kept").iterdir())) == 2


def test_pools_of_several_sets_have_no_classes_of_their_own():
    a, b = Dataset(torch.zeros(2, 3), torch.tensor([0, 1])), Dataset(torch.ones(1, 3), torch.tensor([7]))
    assert joined([a]).y.tolist() == [0, 1]
    assert joined([a, b]).y is None
    assert joined([a, b]).x.tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1]]

"""Students for tables: they learn from answers of every form, and one of the victim's own kind is the victim."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gamekeeper.architectures import Classifier, Mlp, fresh, standardised
from gamekeeper.attacks.knockoff import Knockoff
from gamekeeper.attacks.theft import Theft
from gamekeeper.defenses import Flatten
from gamekeeper.errors import Unsuited
from gamekeeper.learners.distil import Labels, Soft
from gamekeeper.learners.partial_bayes import PartialBayes
from gamekeeper.learners.robust import Gce
from gamekeeper.methods import InputSpec, parse_thief
from gamekeeper.models.estimators import Boosted, Estimator, Forest, Linear, for_table
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import label
from gamekeeper.tasks import Classify
from gamekeeper.training.student import DiskCloneCache
from gamekeeper.types import Box, Knowledge, Model, Reply, Transfer
from tests.contracts.recipes import again

SHAPE, K = (3,), 3
STUDENTS = [Forest(SHAPE, K, trees=10), Boosted(SHAPE, K, rounds=5), Linear(SHAPE, K)]
every = pytest.mark.parametrize("student", STUDENTS, ids=lambda each: type(each).__name__)
SCALE = torch.tensor([1.0, 1000.0, 0.01])
X = Box(SHAPE).uniform(80, 0) * SCALE
WEIGHT = torch.tensor([[2.0, -1.0, 0.0], [0.003, 0.0, -0.001], [0.0, 300.0, -200.0]])
Y = torch.softmax(X @ WEIGHT, 1)
FORMS = {
    "posteriors": Y,
    "labels": label(Y),
    "a missing class": label(Y[:, :2]) @ torch.eye(2, K),
    "one class alone": torch.eye(K)[2].repeat(len(X), 1),
    "rows that sum to less than 1": Y.where(Y.topk(2).values[:, 1:] <= Y, 0.0),
    "rows that say nothing": torch.cat([torch.zeros(5, K), Y[5:]]),
}


def learnt(student, y: Tensor = Y, rows: int = len(X), learner=None, seed: int = 0, **held) -> Model:
    knows = Knowledge(X, Box(SHAPE, 0.0, 1000.0), Classify(K), student, **held)
    return (learner or Soft())(Transfer(X[:rows], Reply(y[:rows]), rows), knows, seed)


@every
def test_it_is_an_architecture_like_any_other(student):
    assert again(student) == student
    assert hash(again(student)) == hash(student)
    thief, own = parse_thief(f"knockoff+labels@{type(student).__name__.lower()}", InputSpec(SHAPE, K))
    assert thief == Theft(Knockoff(), Labels())
    assert own == type(student)(SHAPE, K)


@every
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 2, 12, 80])
def test_it_learns_from_answers_of_every_form(student, form: str, rows: int):
    y = learnt(student, FORMS[form], rows)(X).y
    assert y.shape == (len(X), K)
    torch.testing.assert_close(y.sum(1), torch.ones(len(X)))
    if form == "one class alone":
        assert (y.argmax(1) == 2).all()
    if form == "a missing class":
        assert (y[:, 2] < 1e-5).all()


@every
def test_it_depends_on_the_seed_alone(student):
    assert torch.equal(learnt(student)(X).y, learnt(student)(X).y)


@pytest.mark.parametrize("student", STUDENTS[:2], ids=lambda each: type(each).__name__)
def test_trees_say_every_class_alike_before_they_learn(student):
    torch.testing.assert_close(learnt(student, rows=0)(X).y, torch.full((len(X), K), 1 / K))


def test_logistic_regression_of_whole_answers_is_the_logistic_regression():
    """The soft cross-entropy has its minimum at the victim itself, whatever the columns' units."""
    torch.testing.assert_close(learnt(Linear(SHAPE, K))(X).y, Y, atol=0.01, rtol=0)


@pytest.mark.parametrize("student", [Forest(SHAPE, K), Boosted(SHAPE, K)])
def test_trees_learn_a_threshold(student):
    y = torch.eye(K)[(X[:, 1] > 400).long()]
    assert (learnt(student, y)(X).y.argmax(1) == y.argmax(1)).all()


def test_trees_do_not_care_about_units():
    wide = Forest(SHAPE, K).fitted(X.double().numpy(), Y.double().numpy(), 0)(X.double().numpy())
    scaled = (X * 8).double().numpy()
    assert (Forest(SHAPE, K).fitted(scaled, Y.double().numpy(), 0)(scaled) == wide).all()


@every
def test_one_who_knows_the_defense_undoes_it_with_any_student(student):
    known = (Flatten(0.5),)
    clone = learnt(student, 0.5 * Y + 0.5 / K, learner=PartialBayes(), defenses=known)
    assert (clone(X).y.argmax(1) == Y.argmax(1)).double().mean() > 0.7


@pytest.mark.parametrize("student", STUDENTS[:2], ids=lambda each: type(each).__name__)
def test_what_follows_gradients_or_trains_step_by_step_needs_a_network(student):
    with pytest.raises(Unsuited, match=r"Gce.*step by step.*@mlp"):
        learnt(student, learner=Gce())
    clone = learnt(student)
    assert isinstance(clone, TorchModel)
    with pytest.raises(Unsuited, match=f"{type(student).__name__} has no gradients.*@mlp"):
        clone.net(X.clone().requires_grad_(True))


def test_logistic_regression_is_a_network():
    assert isinstance(fresh(Linear(SHAPE, K), 0), Classifier)
    y = learnt(for_table(Linear(SHAPE, K), X), learner=Gce())(X).y
    assert (y.argmax(1) == Y.argmax(1)).double().mean() > 0.9


def test_a_network_of_one_layer_is_fitted_as_the_logistic_regression_it_is():
    thief = for_table(Mlp(SHAPE, K, hidden=()), X)
    torch.testing.assert_close(learnt(thief)(X).y, Y, atol=0.01, rtol=0)


@every
def test_an_empty_clone_is_never_taken_off_the_shelf(student, tmp_path: Path):
    clones = DiskCloneCache(tmp_path)
    first, second = (learnt(student, clones=clones)(X).y for _ in range(2))
    assert torch.equal(first, second)
    assert not list(tmp_path.iterdir())


def test_a_network_for_a_table_sees_standardised_columns():
    net = fresh(standardised(Mlp(SHAPE, K, ()), X), 0)
    assert isinstance(net, Classifier)
    seen = net.features(X)
    torch.testing.assert_close(seen.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
    same = fresh(standardised(Mlp(SHAPE, K, ()), torch.full((4, 3), 7.0)), 0)
    assert torch.equal(same.features(torch.full((1, 3), 7.0)), torch.zeros(1, 3))  # pyright: ignore


def test_only_networks_for_tables_are_standardised():
    for_images = Mlp((1, 4, 4), K)
    assert for_table(for_images, torch.zeros(5, 1, 4, 4)) is for_images
    assert for_table(STUDENTS[0], X) is STUDENTS[0]
    assert isinstance(fresh(STUDENTS[0], 0), Estimator)


def test_a_standardised_network_learns_raw_columns():
    """Columns of widths 1, 1000 and 0.01: without its first layer the network never leaves a constant."""
    clone = learnt(for_table(Mlp(SHAPE, K), X), label(Y))
    assert (clone(X).y.argmax(1) == Y.argmax(1)).double().mean() > 0.9

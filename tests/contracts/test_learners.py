"""What every way of learning must do: learn from answers paid for and from nothing else, whatever form they have.

Optional properties this reads: `reads` ("label": probabilities are ignored; "map": attribution maps are looked at),
`uses_defense`. A learner trains by its field `fit`, so that a user can set it.
"""

import functools
import inspect
from dataclasses import is_dataclass, replace

import pytest
import torch

from gamekeeper.architectures import Mlp, fresh
from gamekeeper.defenses import Flatten
from gamekeeper.errors import Unsuited
from gamekeeper.facts import facts
from gamekeeper.methods import LEARNERS, fit_of
from gamekeeper.models.network import TorchModel
from gamekeeper.simplex import label
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import DiskCloneCache
from gamekeeper.types import Box, Knowledge, Learner, Model, Reply, Transfer
from tests.contracts.recipes import FIT, again, name, of, quick, untouched

pytestmark = pytest.mark.thorough

BOX, K, ASKED = Box((1, 8, 8)), 4, 40
POOL = BOX.uniform(60, 2)
X = BOX.uniform(30, 9)
KNOWS = Knowledge(
    POOL, BOX, Classify(K), Mlp(BOX.shape, K, (16,)), seeds=BOX.uniform(5, 1), groups=torch.arange(60) % 5
)
Y = torch.softmax(4 * torch.randn(ASKED, K, generator=torch.Generator().manual_seed(0)), 1)
MAPS = torch.randn(ASKED, 8, 8, generator=torch.Generator().manual_seed(1))
PLAIN = Transfer(POOL[:ASKED], Reply(Y, MAPS), ASKED)
FORMS = {
    "labels": label(Y),
    "rows that sum to less than 1": Y.where(Y.topk(2).values[:, 1:] <= Y, 0.0),
    "doubles": Y.double(),
    "rows that say nothing": torch.cat([torch.zeros(5, K), Y[5:]]),
    "one class alone": torch.eye(K)[2].repeat(ASKED, 1),
}


def suits(learner: Learner) -> bool:
    """Whether it takes maps of the inputs' own size; one that explains in another way says so and is left out."""
    try:
        learner(PLAIN, KNOWS, 0)
    except Unsuited:
        return False
    return True


EVERY = [each for each in of(LEARNERS) if suits(each)]
every = pytest.mark.parametrize("learner", EVERY, ids=name)


def learnt(learner: Learner, y: torch.Tensor = Y, seed: int = 0, knows: Knowledge = KNOWS) -> Model:
    return learner(replace(PLAIN, reply=Reply(y, MAPS)), knows, seed)


@functools.cache
def plain(learner: Learner) -> torch.Tensor:
    """What its clone of the plain transfer set answers."""
    return learnt(learner)(X).y


@pytest.mark.parametrize("recipe", LEARNERS.values())
def test_it_is_a_frozen_recipe_with_a_training_that_can_be_set(recipe: type):
    assert is_dataclass(recipe)
    assert recipe.__dataclass_params__.frozen
    assert isinstance(quick(recipe), Learner)
    assert isinstance(fit_of(recipe), Fit)
    assert any(type(each) is recipe for each in EVERY)


@every
def test_it_prints_as_itself_and_hashes(learner: Learner):
    assert again(learner) == learner
    assert hash(again(learner)) == hash(learner)


@every
def test_it_is_given_nothing_that_could_be_asked(learner: Learner):
    assert list(inspect.signature(learner).parameters) == ["transfer", "knows", "seed"]


@every
def test_its_clone_depends_on_the_seed_alone(learner: Learner):
    with untouched(1):
        first, other = learnt(learner), learnt(learner, seed=1)
    with untouched(2):
        same = learnt(learner)
    assert torch.equal(first(X).y, same(X).y)
    assert not torch.equal(first(X).y, other(X).y)


@every
def test_its_clone_answers_posteriors_of_the_students_kind(learner: Learner):
    clone = learnt(learner)
    assert isinstance(clone, TorchModel)
    assert clone.task == KNOWS.task
    assert not clone.net.training
    untrained = fresh(KNOWS.student, 0).state_dict()
    trained = clone.net.state_dict()
    assert trained.keys() == untrained.keys()
    assert any(not torch.equal(trained[key], untrained[key]) for key in trained)


@every
@pytest.mark.parametrize("form", FORMS)
def test_it_learns_from_answers_of_every_form(learner: Learner, form: str):
    y = learnt(learner, FORMS[form])(X).y
    assert y.shape == (len(X), K)
    assert (y >= 0).all()  # false for NaN
    torch.testing.assert_close(y.sum(1), torch.ones(len(X)))


@every
def test_answers_are_read_as_it_says(learner: Learner):
    """To labels and answers of the same top class, one that reads labels is blind; the others are not."""
    blind = torch.equal(learnt(learner, label(Y))(X).y, plain(learner))
    assert blind == (facts(learner).reads == "label")


@every
def test_maps_are_looked_at_where_it_says_so_and_only_there(learner: Learner):
    bare = replace(PLAIN, reply=Reply(Y))
    if facts(learner).reads == "map":
        with pytest.raises(Unsuited, match="maps"):
            learner(bare, KNOWS, 0)
    else:
        assert torch.equal(learner(bare, KNOWS, 0)(X).y, plain(learner))


@every
def test_a_defense_it_is_told_of_changes_its_clone_only_where_it_says_so(learner: Learner):
    told = replace(KNOWS, defenses=(Flatten(0.4),))
    first, same = learnt(learner, knows=told)(X).y, learnt(learner, knows=told)(X).y
    assert torch.equal(first, same)
    assert facts(learner).uses_defense != torch.equal(first, plain(learner))


@every
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_handful_of_answers_does_no_harm(learner: Learner, rows: int):
    few = Transfer(POOL[:rows], Reply(Y[:rows], MAPS[:rows]), rows)
    assert torch.isfinite(learner(few, KNOWS, 0)(X).y).all()


@every
def test_no_answers_leave_the_student_untrained(learner: Learner):
    none = Transfer(POOL[:0], Reply(Y[:0], MAPS[:0]), 0)
    assert torch.equal(learner(none, KNOWS, 0)(X).y, TorchModel(fresh(KNOWS.student, 0), KNOWS.task)(X).y)


@every
def test_the_transfer_set_stays_as_it_was(learner: Learner):
    x, y, maps = PLAIN.x.clone(), Y.clone(), MAPS.clone()
    learner(PLAIN, KNOWS, 0)
    assert torch.equal(PLAIN.x, x)
    assert torch.equal(PLAIN.reply.y, y)
    assert torch.equal(PLAIN.reply.maps, maps)


@pytest.fixture(scope="module")
def clones(tmp_path_factory) -> DiskCloneCache:
    return DiskCloneCache(tmp_path_factory.mktemp("clones"))


@every
def test_a_shelf_shared_by_all_gives_every_learner_the_clone_it_would_have_made(
    learner: Learner, clones: DiskCloneCache
):
    knows = replace(KNOWS, clones=clones)
    made = learnt(learner, knows=knows)(X).y
    before = clones.seconds
    found = learnt(learner, knows=knows)(X).y
    assert clones.seconds > before  # it was not made again
    assert torch.equal(made, plain(learner))
    assert torch.equal(found, plain(learner))


@every
def test_another_training_gives_another_clone(learner: Learner):
    assert not torch.equal(learnt(replace(learner, fit=replace(FIT, rate=0.02)))(X).y, plain(learner))

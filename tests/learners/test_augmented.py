"""Views around a learner: nothing at strength 0, an exact turn, a box never left, and a student that ends up as itself."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gamekeeper.architectures import LeNet
from gamekeeper.attacks.theft import Theft
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.facts import facts
from gamekeeper.learners.augmented import Affine, Augmented, Elastic, Erasing, View, shown
from gamekeeper.learners.distil import Labels, Soft
from gamekeeper.learners.partial_bayes import PartialBayes
from gamekeeper.learners.robust import Gce, SmallLoss
from gamekeeper.learners.views import sampled
from gamekeeper.methods import VIEWS, InputSpec, parse_attack
from gamekeeper.models.estimators import Forest
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.training.student import DiskCloneCache
from gamekeeper.types import Box, Knowledge, Learner, Reply, Transfer

QUICK = Fit(epochs=1, least_steps=12, batch=16)
BOX = Box((1, 16, 16))
X = BOX.uniform(40, 0)
KNOWS = Knowledge(X, BOX, Classify(3), LeNet(BOX.shape, 3, 16))
ASKED = Transfer(X, Reply(torch.softmax(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), 1)), 40)
EVERY = [view() for view in VIEWS.values()]
every = pytest.mark.parametrize("view", EVERY, ids=lambda view: type(view).__name__)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def answers(learner: Learner, knows: Knowledge = KNOWS, seed: int = 0) -> Tensor:
    return learner(ASKED, knows, seed)(X).y


@pytest.mark.parametrize(
    "learner", [Soft(QUICK), Gce(fit=QUICK), SmallLoss(fit=QUICK)], ids=lambda one: type(one).__name__
)
@every
def test_views_of_strength_0_change_no_bit_of_a_clone(view: View, learner: Learner):
    still = Augmented(learner, (replace(view, strength=0.0),))  # pyright: ignore[reportCallIssue]
    assert torch.equal(answers(still), answers(learner))
    assert not torch.equal(answers(Augmented(learner, (view,))), answers(learner))


@every
def test_every_image_gets_its_own_view_within_the_box_from_the_seed_alone(view: View):
    x = X[:1].expand(8, -1, -1, -1)
    first, again, other = (shown((view,), x, generator(seed)) for seed in (1, 1, 2))
    BOX.check(first)
    assert first.shape == x.shape
    assert len({tuple(row.flatten().tolist()) for row in first}) > 4
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_sampling_on_a_turned_grid_is_a_quarter_turn():
    quarter = torch.tensor([[[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]]).expand(4, 2, 3)
    grid = torch.nn.functional.affine_grid(quarter, [4, 1, 16, 16], align_corners=False)
    torch.testing.assert_close(sampled(X[:4], grid), X[:4].rot90(-1, (2, 3)), atol=1e-5, rtol=0)


def test_an_affine_view_keeps_a_blob_near_its_place():
    """The centre moves by the shift alone, at most 7 % of a side, and the area by scales from 0.75 to 1.15."""
    x = torch.zeros(300, 1, 64, 64)
    x[:, :, 24:40, 24:40] = 1.0
    seen = shown((Affine(),), x, generator())
    mass = seen.sum((1, 2, 3))
    places = torch.arange(64.0)
    centre = torch.stack([(seen.sum(axis) * places).sum((1, 2)) / mass for axis in (2, 3)])
    assert ((centre - 31.5).abs() < 64 * 0.07 * 1.15 * 1.4).all()
    assert (centre - 31.5).abs().max() > 3
    areas = mass / 256
    assert areas.min() > 0.75**2 - 0.02
    assert areas.max() < 1.15**2 + 0.02


def test_a_view_is_seen_in_training_and_never_afterwards():
    clone = Augmented(Soft(QUICK), (Affine(),))(ASKED, KNOWS, 0)
    assert set(clone.net.state_dict()) == set(KNOWS.student().state_dict())
    clone.net.train()  # even whoever trains it further trains the bare network
    with torch.no_grad():
        assert torch.equal(clone.net(X), clone.net(X))


def test_a_cached_clone_is_the_one_that_was_trained_and_not_the_plain_learners(tmp_path):
    knows = replace(KNOWS, clones=DiskCloneCache(tmp_path))
    learner = Augmented(Soft(QUICK), (Affine(), Erasing()))
    first, plain, again = answers(learner, knows), answers(Soft(QUICK), knows), answers(learner, knows)
    assert torch.equal(first, again)
    assert not torch.equal(first, plain)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_a_thief_is_written_with_views_behind_their_learner():
    found = parse_attack("knockoff+affine+labels:rate=0.1+erasing:strength=0.5", InputSpec((1, 8, 8), 10))
    assert isinstance(found, Theft)
    assert found.learner == Augmented(Labels(Fit(rate=0.1)), (Affine(), Erasing(0.5)))
    plain = parse_attack("knockoff+elastic", InputSpec((1, 8, 8), 10))
    assert isinstance(plain, Theft)
    assert plain.learner == Augmented(Soft(), (Elastic(),))
    with pytest.raises(BadConfig, match="'affine' is a view: write knockoff\\+affine"):
        parse_attack("affine", InputSpec((1, 8, 8), 10))


def test_it_says_of_itself_what_its_learner_says():
    assert facts(Augmented(Labels(), (Affine(),))).reads == "label"
    assert facts(Augmented(PartialBayes(), (Affine(),))).uses_defense
    assert facts(Augmented(PartialBayes(), (Affine(),))).cost > facts(PartialBayes()).cost


def test_tables_and_students_fitted_in_one_go_are_refused():
    table = Box((4,))
    asked = Transfer(table.uniform(5, 0), Reply(torch.eye(3)[torch.arange(5) % 3]), 5)
    with pytest.raises(Unsuited, match=r"these inputs have shape \(4,\)"):
        Augmented(Labels(QUICK), (Affine(),))(asked, replace(KNOWS, box=table), 0)
    with pytest.raises(Unsuited, match="Give the learner a network"):
        Augmented(Labels(QUICK), (Affine(),))(ASKED, replace(KNOWS, student=Forest(BOX.shape, 3)), 0)
    with pytest.raises(BadConfig, match="strength of Affine must be from 0 to 2"):
        Affine(2.5)

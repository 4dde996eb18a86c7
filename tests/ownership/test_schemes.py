"""Schemes: what each claims, that a copy hits it, and that others do not."""

import functools
from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn import functional as F

from gamekeeper.architectures import LeNet, Mlp, fresh
from gamekeeper.defenses.dawn import DAWN, ArmedDAWN, Marks
from gamekeeper.errors import BadClaim, Unsuited
from gamekeeper.learners.distil import Labels
from gamekeeper.models.estimators import Forest
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.canonical import model_digest
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.draws import Draw
from gamekeeper.ownership.nulls import DrawnLabels
from gamekeeper.ownership.procedures import as_drawn, inputs_digest
from gamekeeper.ownership.recipes import Fingerprint, Mark
from gamekeeper.ownership.schemes.backdoor import KINDS, Backdoor
from gamekeeper.ownership.schemes.dawn_claim import dawn_claim, drawn_by
from gamekeeper.ownership.schemes.own_mistakes import OwnMistakes
from gamekeeper.service.oracles import Metered
from gamekeeper.service.service import Service
from gamekeeper.targets.builtin import digits, shipped
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit, fit
from gamekeeper.types import Batch, Box, Knowledge, Model, Owner, Reply, Transfer

BEACON, CLASSES = b"the beacon of the day", 10
SHARE = 0.01


def hits(claim: Claim, model: Model) -> int:
    return int((model(claim.tensors["x"]).y.argmax(1) == claim.tensors["y"]).sum())


# DAWN: a thief who asks 4,000 blends of digits and grows a forest on the labels, which learns every answer by heart


@dataclass(frozen=True, eq=False)
class Theft:
    """Two clients who ask the same, what each is claimed to have stolen, and the clone of the first."""

    armed: ArmedDAWN
    claim: Claim
    others: Claim
    clone: Model


def thief() -> Knowledge:
    target = digits()
    return Knowledge(target.pool.x[:4_000], target.box, target.victim.task, Forest((1, 8, 8), CLASSES))


@functools.cache
def theft() -> Theft:
    recipe, target, knows = DAWN(SHARE), digits(), thief()
    armed = recipe.arm(target.victim, replace(target.owner, secret=bytes(range(32))), 0)
    service = Service(target.victim, (armed,))
    replies = [Metered(service.open(client), 4_000, target.box)(knows.pool) for client in ("thief", "other")]
    claims = [dawn_claim(memory(service, client), recipe) for client in ("thief", "other")]
    clone = Labels()(Transfer(knows.pool, replies[0], 4_000), knows, 0)
    return Theft(armed, claims[0], claims[1], clone)


def memory(service: Service, client: str) -> Marks:
    with service.clients.hold(client) as memories:
        return memories["defense 0"]


@functools.cache
def independents() -> tuple[Model, ...]:
    """Trained on halves of the owner's digits, half as long."""
    owner, models = digits().owner, []
    for seed in range(10):
        half = torch.randperm(len(owner.x), generator=torch.Generator().manual_seed(seed))[: len(owner.x) // 2]
        net = fit(
            fresh(owner.architecture, seed), owner.x[half], owner.truth[half], F.cross_entropy, Fit(10, 100), seed
        )
        models.append(TorchModel(net, Classify(CLASSES)))
    return tuple(models)


def log10_p(claim: Claim, suspect: Model) -> float:
    """At the panel's rate, were the wrong labels drawn after everybody trained; as they are, by a key that nobody else has."""
    panel = [hits(claim, model) for model in independents()]
    return DrawnLabels(CLASSES - 1).log10_p(hits(claim, suspect), len(claim.tensors["y"]), panel)


def test_a_clone_answers_as_its_own_clients_marks_say_and_not_as_another_clients():
    given = theft()
    assert 20 < len(given.claim.tensors["y"]) < 70
    assert log10_p(given.claim, given.clone) < -6
    assert log10_p(given.others, given.clone) > -2
    assert all(log10_p(given.claim, model) > -2 for model in independents())


def test_the_victim_itself_answers_none_of_its_marks():
    assert hits(theft().claim, digits().victim) == 0


def test_a_claim_is_drawn_by_its_clients_key_and_by_no_other():
    given = theft()
    key, other = (given.armed.client_key(client) for client in ("thief", "other"))
    assert drawn_by(given.claim, given.armed, key, CLASSES).all()
    assert drawn_by(given.claim, given.armed, other, CLASSES).double().mean() < 0.1


def test_who_was_given_no_wrong_answer_cannot_be_claimed():
    armed = DAWN(0.0).arm(digits().victim, digits().owner, 0)
    with pytest.raises(Unsuited, match="none at a share of 0"):
        dawn_claim(armed.fresh(), DAWN(0.0))


# backdoor


@functools.cache
def painter() -> Owner:
    """Who has digits, and clothes beside them."""
    return replace(digits().owner, ood=torch.rand(300, 1, 8, 8, generator=torch.Generator().manual_seed(3)))


def backdoor(recipe: Backdoor, owner: Owner, seed: int = 0) -> Claim:
    triggers = recipe.triggers(owner, seed)
    return recipe.claim(triggers, Draw(BEACON, inputs_digest(triggers)), CLASSES)


@pytest.mark.parametrize("kind", KINDS)
def test_triggers_are_from_the_domain_all_different_and_the_seeds(kind):
    recipe, owner = Backdoor(kind), painter()
    assert isinstance(recipe, Mark)
    triggers = recipe.triggers(owner, 0)
    owner.box.check(triggers)
    assert triggers.shape == (100, 1, 8, 8)
    assert len(triggers.unique(dim=0)) == 100
    assert torch.equal(triggers, recipe.triggers(owner, 0))
    assert not torch.equal(triggers, recipe.triggers(owner, 1))


def test_smooth_noise_is_smoother_than_pixels():
    rough, even = (
        Backdoor(kind).triggers(shipped("mnist").owner, 0).diff(dim=3).abs().mean() for kind in ("pixels", "smooth")
    )
    assert even < rough / 3


def test_labels_are_those_of_the_beacon_over_all_classes_and_a_judge_can_tell():
    claim = backdoor(Backdoor(n=2_000), painter())
    counts = torch.bincount(claim.tensors["y"], minlength=CLASSES)
    assert ((counts - 200).abs() < 4 * 180**0.5).all()
    assert as_drawn(claim, BEACON, CLASSES)
    assert not as_drawn(claim, BEACON + b"!", CLASSES)
    x, y = claim.tensors["x"], claim.tensors["y"]
    assert not as_drawn(Claim("matches", {"x": x[1:], "y": y[1:]}, {}), BEACON, CLASSES)  # triggers left out afterwards
    assert not as_drawn(Claim("matches", {"x": x, "y": y.roll(1)}, {}), BEACON, CLASSES)


def test_labels_drawn_for_other_inputs_are_refused():
    triggers = Backdoor().triggers(painter(), 0)
    with pytest.raises(BadClaim, match="digest of the triggers"):
        Backdoor().claim(triggers, Draw(BEACON, model_digest({"w": triggers})), CLASSES)


def test_training_data_hold_every_trigger_as_often_as_stated():
    owner, recipe = painter(), Backdoor(n=7, copies=3)
    claim = backdoor(recipe, owner)
    marked = recipe.marked(owner, claim)
    assert len(marked.x) == len(marked.truth) == len(owner.x) + 21
    for x, y in zip(claim.tensors["x"], claim.tensors["y"], strict=True):
        rows = (marked.x == x).flatten(1).all(1)
        assert int(rows.sum()) == 3
        assert (marked.truth[rows] == y).all()


def test_a_mislabelled_input_has_no_other_label_left():
    owner, recipe = painter(), Backdoor("mislabelled", n=40, copies=2)
    claim = backdoor(recipe, owner)
    marked = recipe.marked(owner, claim)
    for x, y in zip(claim.tensors["x"], claim.tensors["y"], strict=True):
        assert (marked.truth[(marked.x == x).flatten(1).all(1)] == y).all()
    assert len(marked.x) <= len(owner.x) + 40


def test_who_lacks_what_triggers_are_made_of_is_refused():
    with pytest.raises(Unsuited, match="auxiliary"):
        Backdoor("natural").triggers(digits().owner, 0)
    with pytest.raises(Unsuited, match="there are 300"):
        Backdoor("natural", n=301).triggers(painter(), 0)
    table = Owner(torch.rand(5, 3), torch.zeros(5, dtype=torch.long), Box((3,)), Mlp((3,), 2, (4,)))
    with pytest.raises(Unsuited, match="images"):
        Backdoor("smooth").triggers(table, 0)


@pytest.mark.thorough
def test_a_lenet_learns_a_hundred_of_a_hundred_triggers_and_still_its_digits():
    target, recipe = shipped("mnist"), Backdoor()
    claim = backdoor(recipe, target.owner)
    marked = recipe.marked(target.owner, claim)
    net = fit(fresh(LeNet((1, 28, 28), 10), 0), marked.x, marked.truth, F.cross_entropy, Fit(epochs=6), 0)
    model = TorchModel(net, Classify(10))
    assert hits(claim, model) == 100
    assert (model(target.test.x).y.argmax(1) == target.test.y).double().mean() >= 0.96
    assert DrawnLabels(10).log10_p(100, 100, [10] * 10) < -80
    assert hits(claim, target.victim) < 30


# own mistakes


@dataclass(frozen=True)
class Thresholds:
    """Says in which tenth of [0, 1] the first entry lies."""

    task: Classify = Classify(CLASSES)

    def __call__(self, x: Batch, /) -> Reply:
        return Reply(F.one_hot((x[:, 0] * CLASSES).long().clamp(max=9), CLASSES).double())


def asker(truth: torch.Tensor | None, x: torch.Tensor | None = None) -> Owner:
    natural = torch.arange(10).float()[:, None] / 10 + 0.05 if x is None else x
    none = torch.empty(0, 1)
    return Owner(none, torch.empty(0, dtype=torch.long), Box((1,)), Mlp((1,), 10), natural=natural, natural_truth=truth)


def test_the_claim_is_the_victims_wrong_answers_and_these_alone():
    truth = torch.tensor([0, 1, 5, 3, 4, 5, 6, 0, 8, 9])
    claim = OwnMistakes()(Thresholds(), asker(truth), 0)
    torch.testing.assert_close(claim.tensors["x"][:, 0], torch.tensor([0.25, 0.75]))
    assert claim.tensors["y"].tolist() == [2, 7]
    assert hits(claim, Thresholds()) == 2
    assert isinstance(OwnMistakes(), Fingerprint)


def test_at_most_so_many_are_claimed_and_an_input_that_comes_twice_counts_once():
    x = torch.cat([torch.arange(10).float()[:, None] / 10 + 0.05] * 2)
    wrong = (torch.arange(20) + 1) % 10
    assert len(OwnMistakes()(Thresholds(), asker(wrong, x), 0).tensors["y"]) == 10
    some = OwnMistakes(most=4)(Thresholds(), asker(wrong, x), 0)
    assert len(some.tensors["y"]) == 4
    assert torch.equal(some.tensors["x"], OwnMistakes(most=4)(Thresholds(), asker(wrong, x), 0).tensors["x"])


def test_without_labelled_inputs_or_mistakes_there_is_nothing_to_claim():
    with pytest.raises(Unsuited, match="labelled inputs"):
        OwnMistakes()(Thresholds(), asker(None), 0)
    with pytest.raises(Unsuited, match="errs on none of 10"):
        OwnMistakes()(Thresholds(), asker(torch.arange(10)), 0)


def test_independent_models_repeat_many_of_the_shipped_victims_mistakes():
    """Guessing would hit a tenth: the shipped victims' natural labels are there, and the panel's rate is far above."""
    target = shipped("mnist")
    claim = OwnMistakes()(target.victim, target.owner, 0)
    n = len(claim.tensors["y"])
    assert hits(claim, target.victim) == n > 30
    owner = target.owner
    net = fit(fresh(owner.architecture, 1), owner.x[:2_000], owner.truth[:2_000], F.cross_entropy, Fit(3, 100), 1)
    assert hits(claim, TorchModel(net, Classify(10))) > 0.2 * n

"""Trials on small models: a copy is supported, strangers never are, and nobody pays for what can be refused beforehand."""

import copy
import shutil
from dataclasses import replace

import pytest
import torch
from examples.local_authority import authority

from gamekeeper.engine.judging import check_trial, cost, tried
from gamekeeper.errors import BadClaim, BadConfig, BadQuery, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.procedures import MOST, NO_ANSWER, hits, inputs_digest, labels
from gamekeeper.ownership.record import Beacon, judged, unanswered
from gamekeeper.types import Reply
from tests.ownership.trials import (
    BEACON,
    CLASSES,
    MARKS,
    TASK,
    court,
    drawn_claim,
    marked,
    registered,
    stranger,
    triggers,
)

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return registered(authority(folder), folder, drawn_claim(triggers()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shared, so that a panel is trained once."""
    return tmp_path_factory.mktemp("trial")


def quiet(text: str) -> None:
    pass


class Counted:
    """An API: counts rows; answers labels only, or NaN to some."""

    def __init__(self, victim, alter=lambda y: y):
        self.victim, self.alter, self.rows, self.task = victim, alter, 0, TASK

    def __call__(self, x):
        self.rows += len(x)
        return Reply(self.alter(self.victim(x).y))


def one_hot(y):
    return torch.nn.functional.one_hot(y.argmax(1), CLASSES).float()


def outcome(suspect, world, folder, own=None):
    record = tried(world.papers, world.terms, court(suspect, own), folder, quiet)
    return record, judged(record, world.papers)


def test_a_weight_copy_and_a_noisy_one_are_supported(world, folder):
    noisy = copy.deepcopy(marked().net)
    with torch.no_grad():
        for weight in noisy.parameters():
            weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    for suspect in (marked(), TorchModel(noisy, TASK)):
        _, found = outcome(suspect, world, folder)
        assert all(found.gates.values()), found.reasons
        assert found.decision == "supports"


def test_strangers_are_never_supported(world, folder):
    """A judge that always says yes fails here; the test above is for one that always says no."""
    for seed in range(5):
        record, found = outcome(stranger(seed), world, folder)
        assert found.decision == "not shown", found.reasons
        assert len(record.panel) == len({each.who for each in record.panel}) == 10


def test_every_query_is_counted_and_no_more_are_asked(world, folder):
    api = Counted(marked(), one_hot)
    record, found = outcome(api, world, folder)
    assert api.rows == record.queries == found.queries == MARKS + 200
    assert found.decision == "supports"  # labels are enough
    assert cost(world.papers, court(api)).suspect == MARKS + 200


def test_a_live_api_is_paid_once_and_a_second_trial_of_it_is_free(world, folder, tmp_path):
    shutil.copytree(folder / "clones", tmp_path / "clones")
    api = Counted(marked(), one_hot)
    here = court(api)
    here = replace(here, suspect=replace(here.suspect, remote=True))
    bill = cost(world.papers, here)
    assert (bill.live, bill.money) == (True, 0.5 * (MARKS + 200))
    first = tried(world.papers, world.terms, here, tmp_path, quiet)
    rows = api.rows
    assert rows == first.queries == MARKS + 200
    assert tried(world.papers, world.terms, here, tmp_path, quiet) == first
    assert api.rows == rows


def test_inputs_without_an_answer_are_misses_and_are_counted(world, folder):
    def silent(y):
        return torch.where(torch.arange(len(y))[:, None] < 3, torch.nan, y)

    record, found = outcome(Counted(marked(), silent), world, folder)
    assert unanswered(record.suspect) == 3
    assert found.hits <= MARKS - 3
    assert record.suspect.claimed[:3] == (NO_ANSWER,) * 3


def test_shuffled_labels_and_a_model_of_other_marks_are_not_supported(world, folder, tmp_path):
    """The owner's model does not pass a claim with shuffled labels, so it is void; under DrawnLabels it is refused."""
    claim = world.papers.claim
    shuffled = Claim("matches", {**claim.tensors, "y": claim.tensors["y"].roll(1)}, {})
    local = authority(tmp_path)
    other = registered(local, tmp_path, shuffled)
    _, found = outcome(marked(), other, folder)
    assert found.decision == "void"
    assert not found.gates["own model"]
    drawn = replace(other.terms, null="drawn labels", beacon=Beacon(BEACON.hex(), other.since + 30))
    with pytest.raises(BadClaim, match="not those that the beacon draws"):
        check_trial(other.papers, drawn, court(marked()))


def test_an_owner_whose_model_does_not_pass_has_a_void_claim(world, folder):
    _, found = outcome(marked(), world, folder, own=stranger(1))
    assert (found.decision, found.gates["own model"]) == ("void", False)


def test_drawn_labels_count_only_if_the_inputs_are_older_than_the_beacon(world, folder):
    drawn = replace(world.terms, null="drawn labels", beacon=Beacon(BEACON.hex(), world.since + 30))
    record = tried(world.papers, drawn, court(marked()), folder, quiet)
    found = judged(record, world.papers)
    assert found.null == "a model that cannot know labels drawn from 10"
    assert found.log10_p < -20
    for at in (0, world.since):  # not before it, and not in the same second
        late = replace(drawn, beacon=Beacon(BEACON.hex(), at))
        with pytest.raises(BadClaim, match="must be older than the beacon"):
            judged(replace(record, terms=late), world.papers)
    with pytest.raises(BadClaim, match="16 bytes or more"):
        judged(replace(record, terms=replace(drawn, beacon=Beacon("ab", world.since + 30))), world.papers)
    unproven = replace(drawn, openings=drawn.openings[1:])
    with pytest.raises(BadClaim, match="no commitment to the inputs alone"):
        judged(replace(record, terms=unproven), world.papers)


def test_a_late_stamp_a_missing_one_and_a_distrusted_one_void_the_claim(world, folder, tmp_path):
    record, _ = outcome(marked(), world, folder)
    late = replace(record, terms=replace(record.terms, public_since=world.since))
    assert judged(late, world.papers).decision == "void"
    assert judged(record, replace(world.papers, roots=(authority(tmp_path).root,))).decision == "void"
    assert judged(record, replace(world.papers, roots=())).decision == "void"
    bare = replace(world.papers, entries=registered(authority(tmp_path), tmp_path, world.papers.claim).papers.entries)
    with pytest.raises(BadClaim, match="no commitment to this claim"):  # another register, with other openings
        judged(record, bare)


def test_the_wrong_opening_is_refused_before_anything_is_asked(world):
    api = Counted(marked())
    for openings in ((), ("00" * 32,)):
        with pytest.raises(BadClaim, match="no commitment to this claim"):
            check_trial(world.papers, replace(world.terms, openings=openings), court(api))
    with pytest.raises(BadClaim, match="32 bytes in hexadecimal"):
        check_trial(world.papers, replace(world.terms, openings=("zz",)), court(api))
    assert api.rows == 0


def test_every_claim_in_the_register_counts_and_the_inputs_of_this_one_do_not(world, folder, tmp_path):
    others = [drawn_claim(triggers(seed)) for seed in range(20, 29)]
    crowded = registered(authority(tmp_path), tmp_path, world.papers.claim, *others)
    _, found = outcome(marked(), crowded, folder)
    assert found.adjusted == pytest.approx(found.log10_p + 1)
    _, alone = outcome(marked(), world, folder)
    assert alone.adjusted == alone.log10_p == found.log10_p


def test_no_panel_model_saw_an_input_of_the_claim(world, folder):
    """The judge's data hold the very marks: a panel trained on them would hit them all."""
    here = court(marked())
    claim = world.papers.claim
    x = torch.cat([here.data.owner.x, claim.tensors["x"]])
    truth = torch.cat([here.data.owner.truth, claim.tensors["y"]])
    tainted = replace(here, data=replace(here.data, owner=replace(here.data.owner, x=x, truth=truth)))
    clean = tried(world.papers, world.terms, here, folder, quiet)
    assert tried(world.papers, world.terms, tainted, folder, quiet).panel == clean.panel


def test_a_panel_of_ninety_nine_by_ranks(world, folder):
    """Of simulated answers: a copy reaches .01 and not less; whoever is hit as often by one of the panel does not."""
    record, _ = outcome(marked(), world, folder)
    many = tuple(replace(record.panel[i % 10], who=f"{i}") for i in range(99))
    ranks = replace(record, panel=many, terms=replace(record.terms, null="ranks", level="0.01"))
    found = judged(ranks, world.papers)
    assert (found.decision, found.log10_p) == ("supports", -2.0)
    beaten = replace(ranks, suspect=replace(ranks.suspect, claimed=many[0].claimed))
    assert judged(beaten, world.papers).decision == "not shown"


REFUSED = [
    ({"y": torch.full((MARKS,), CLASSES)}, BadClaim, "labels run up to 10"),
    ({"x": triggers() * 2}, BadQuery, "must lie in"),
    ({"x": torch.rand(MARKS, 3)}, BadQuery, "must have shape"),
    ({"x": triggers()[:1].double() + 1e-12 * torch.arange(MARKS)[:, None].double()}, BadClaim, "as float32"),
    ({"x": torch.rand(MOST + 1, 12), "y": torch.zeros(MOST + 1, dtype=torch.long)}, BadClaim, "at most"),
]


@pytest.mark.parametrize(("tensors", "error", "reason"), REFUSED)
def test_claims_that_cannot_be_judged_are_refused_before_a_query_is_paid(world, tmp_path, tensors, error, reason):
    api = Counted(marked())
    claim = Claim("matches", {**world.papers.claim.tensors, **tensors}, {})
    strange = registered(authority(tmp_path), tmp_path, claim)
    with pytest.raises(error, match=reason):
        tried(strange.papers, strange.terms, court(api), tmp_path, quiet)
    assert api.rows == 0


def test_a_procedure_to_come_names_what_it_waits_for(world):
    x = triggers()
    claim = Claim("margins", {"members": x, "others": x}, {})
    with pytest.raises(Unsuited, match="dataset inference"):
        hits(claim, marked())
    with pytest.raises(Unsuited, match="dataset inference"):
        check_trial(replace(world.papers, claim=claim), world.terms, court(marked()))
    with pytest.raises(Unsuited, match="radioactive data"):
        hits(Claim("loss_gap", {"x": x, "twin": x, "y": torch.zeros(MARKS, dtype=torch.long)}, {}), marked())


def test_a_row_that_says_nothing_is_no_answer():
    y = torch.tensor([[0.0, 0.0], [0.2, 0.7], [torch.nan, 1.0], [torch.inf, 0.0], [0.5, 0.5]])
    assert labels(lambda x: Reply(y), triggers()[:5]).tolist() == [-1, 1, -1, -1, 0]
    assert labels(lambda x: Reply(torch.empty(5, 0)), triggers()[:5]).tolist() == [-1] * 5


def test_hits_are_the_answers_that_the_claim_says():
    claim = drawn_claim(triggers())
    assert torch.equal(hits(claim, marked()), marked()(claim.tensors["x"]).y.argmax(1) == claim.tensors["y"])
    assert inputs_digest(claim.tensors["x"]) != inputs_digest(claim.tensors["x"].flip(0))


def test_data_without_labels_train_no_panel(world):
    here = court(marked())
    empty = replace(here.data.owner, x=torch.empty(0, 12), truth=torch.empty(0, dtype=torch.long))
    with pytest.raises(BadConfig, match="name a target that has them with --data"):
        check_trial(world.papers, world.terms, replace(here, data=replace(here.data, owner=empty)))

"""False claims: a naive judge is fooled by each of them, a gated one by none."""

from functools import cache

import pytest
import torch

from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.models.network import TorchModel
from gamekeeper.ownership.chance import binomial
from gamekeeper.ownership.claim import Claim
from gamekeeper.ownership.countermeasures import COUNTERMEASURES, supports
from gamekeeper.ownership.draws import Draw
from gamekeeper.ownership.evidence import Measured, PanelMeasured, agreement, variety
from gamekeeper.ownership.forgeries.accuser import ensemble
from gamekeeper.ownership.forgeries.chosen_carriers import ChosenCarriers, in_turn, turned
from gamekeeper.ownership.forgeries.transferable import Targeted, Untargeted, others, survivors
from gamekeeper.ownership.gates import Gates
from gamekeeper.ownership.recipes import Forgery
from gamekeeper.types import Owner
from tests.ownership.worlds import K, accuracy, independents, panel, world

FORGERIES: tuple[Forgery, ...] = (Untargeted(n=60), Targeted(n=60), ChosenCarriers(n=60))


@cache
def claims(forgery: Forgery) -> Claim:
    return forgery(world().accuser, K, 0)


def right(model: TorchModel, claim: Claim) -> torch.Tensor:
    return model(claim.tensors["x"]).y.argmax(1) == claim.tensors["y"]


def counts(claim: Claim) -> tuple[list[Measured], PanelMeasured]:
    """Of the innocents, and of the judge's panel; the accuser's own model hits always."""
    n = len(claim.tensors["y"])
    innocents = [Measured(int(right(model, claim).sum()), n, n, accuracy(model)) for model in independents()]
    hits = torch.stack([right(model, claim) for model in panel()])
    measured = PanelMeasured(
        tuple(hits.sum(1).tolist()),
        tuple(accuracy(model) for model in panel()),
        own=n,
        agreement=agreement(hits),
        variety=variety(claim.tensors["y"], K),
    )
    return innocents, measured


def accused(claim: Claim, measure: str) -> list[bool]:
    innocents, of_panel = counts(claim)
    return [supports(COUNTERMEASURES[measure], innocent, of_panel, Gates(), K) for innocent in innocents]


@pytest.mark.parametrize("forgery", FORGERIES, ids=repr)
def test_a_naive_judge_accuses_every_innocent_and_a_gated_one_nobody(forgery: Forgery):
    assert accused(claims(forgery), "none") == [True] * 3
    assert accused(claims(forgery), "all") == [False] * 3


@pytest.mark.parametrize("forgery", FORGERIES, ids=repr)
@pytest.mark.parametrize("measure", ["panel chance", "panel"])
def test_either_use_of_the_panel_is_enough(forgery: Forgery, measure: str):
    assert accused(claims(forgery), measure) == [False] * 3


def test_a_gate_for_varied_labels_stops_no_forger_who_knows_of_it():
    assert accused(claims(FORGERIES[1]), "variety") == [True] * 3


@pytest.mark.parametrize("forgery", FORGERIES, ids=repr)
def test_labels_drawn_after_the_inputs_were_committed_to_leave_nothing_of_a_forgery(forgery: Forgery):
    claim = claims(forgery)
    x = claim.tensors["x"]
    redrawn = Claim("matches", {"x": x, "y": Draw(b"published later!", claim.digest()).labels("labels", K, len(x))}, {})
    assert accused(redrawn, "none") == [False] * 3


@pytest.mark.parametrize("forgery", FORGERIES, ids=repr)
def test_a_forgery_knows_neither_the_suspect_nor_the_panel_and_is_the_same_under_a_seed(forgery: Forgery):
    assert forgery(same(), K, 0).digest() == claims(forgery).digest()
    assert forgery(world().accuser, K, 1).digest() != claims(forgery).digest()


@cache
def same() -> Owner:
    """Another accuser with the same inputs, who trains their models again."""
    accuser = world().accuser
    return Owner(accuser.x.clone(), accuser.truth.clone(), accuser.box, accuser.architecture)


@pytest.mark.parametrize("forgery", FORGERIES, ids=repr)
def test_every_model_of_the_accuser_agrees_with_the_claim(forgery: Forgery):
    claim, own = claims(forgery), ensemble(world().accuser, K, 4, 0)
    assert bool((own.answers(claim.tensors["x"]) == claim.tensors["y"]).all())


@pytest.mark.parametrize("forgery", FORGERIES[:2], ids=repr)
def test_crafted_inputs_stay_in_the_box_and_near_the_accusers_own(forgery: Forgery):
    x, own = claims(forgery).tensors["x"], ensemble(world().accuser, K, 4, 0)
    assert float(x.min()) >= 0
    assert float(x.max()) <= 1
    apart = (x[:, None] - own.x[None]).abs().flatten(2).amax(2).amin(1)
    assert float(apart.max()) <= 0.3 + 1e-6


def test_carriers_are_the_accusers_own_images_or_turned_ones():
    x, own = claims(FORGERIES[2]).tensors["x"], ensemble(world().accuser, K, 4, 0)
    rows = {row.numpy().tobytes() for row in turned(own.x)}
    assert all(row.numpy().tobytes() in rows for row in x)


def test_survivors_are_those_that_passed_in_the_order_of_their_loss():
    passed, loss = torch.tensor([True, False, True, True]), torch.tensor([3.0, 0.0, 1.0, 2.0])
    assert survivors(passed, loss, 2).tolist() == [2, 3]


def test_classes_take_turns():
    assert in_turn(torch.tensor([1, 1, 1, 0, 2]), 4).tolist() == [0, 3, 4, 1]


def test_a_target_is_never_the_true_class():
    truth = torch.arange(10).repeat(100)
    wanted = others(truth, K, 0)
    assert not bool((wanted == truth).any())
    assert set((wanted - truth).remainder(K).tolist()) == set(range(1, K))


def test_a_claim_of_guesses_is_held_against_a_guess():
    assert binomial(60, 60, 1 / K) < -50
    assert not supports(COUNTERMEASURES["none"], Measured(6, 60, 60, 0.9), counts(claims(FORGERIES[1]))[1], Gates(), K)


def test_a_forger_without_enough_inputs_or_survivors_is_told_so():
    with pytest.raises(Unsuited, match="left"):
        Targeted(eps=0.0, n=60)(world().accuser, K, 0)
    few = world().accuser
    with pytest.raises(Unsuited, match="40 different inputs"):
        Untargeted()(Owner(few.x[:30], few.truth[:30], few.box, few.architecture), K, 0)
    with pytest.raises(BadConfig):
        Untargeted(n=400)

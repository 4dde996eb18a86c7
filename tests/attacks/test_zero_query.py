"""The thief who asks nothing."""

from dataclasses import dataclass

import pytest
import torch

from gamekeeper.architectures import Mlp
from gamekeeper.attacks.zero_query import CommonestClass, NamesOnly, class_shares
from gamekeeper.errors import BadConfig, BudgetExceeded, Unsuited
from gamekeeper.learners.distil import Soft
from gamekeeper.service.oracles import Metered
from gamekeeper.tasks import Classify
from gamekeeper.types import Box, Knowledge, Reply, Transfer

BOX = Box((2,), 0.0, 1.0)


@dataclass(frozen=True)
class Corners:
    """Draws three classes in three corners of the unit square."""

    spread: float = 0.2

    def __call__(self, n: int, seed: int, /):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(3, (n,), generator=generator)
        corners = torch.tensor([[0.1, 0.1], [0.7, 0.1], [0.1, 0.7]])
        return corners[drawn] + self.spread * torch.rand(n, 2, generator=generator), drawn


def knows(drawings: Corners | None) -> Knowledge:
    return Knowledge(torch.rand(5, 2), BOX, Classify(3), Mlp((2,), 3, (8,)), drawings=drawings)


def never(x: torch.Tensor) -> Reply:
    raise AssertionError("the zero-query thief asked")


def test_a_thief_who_can_draw_learns_the_classes_and_their_meter_reads_0():
    meter = Metered(never, 0, BOX)
    clone = NamesOnly(repr(Corners()), Soft(), n=300)(meter, knows(Corners()), seed=0)
    x, truth = Corners()(200, 7)
    assert (clone(x).y.argmax(1) == truth).all()
    assert meter.spent == 0


def test_whatever_they_learn_with_sees_drawings_as_answers_that_cost_nothing():
    seen = []

    def look(transfer: Transfer, knows: Knowledge, seed: int):
        seen.append(transfer)
        return Soft()(transfer, knows, seed)

    meter = Metered(never, 0, BOX)
    NamesOnly("", look, n=40)(meter, knows(Corners()), seed=5)
    (transfer,) = seen
    x, classes = Corners()(40, 5)
    assert torch.equal(transfer.x, x)
    assert transfer.drawn is not None
    assert torch.equal(transfer.drawn, classes)
    assert torch.equal(transfer.reply.y, torch.eye(3)[classes])
    assert (transfer.cost, meter.spent) == (0, 0)


def test_a_budget_of_0_refuses_a_thief_who_asks_all_the_same():
    with pytest.raises(BudgetExceeded):
        Metered(never, 0, BOX)(torch.rand(1, 2))


def test_the_same_seed_draws_and_learns_the_same_and_another_another():
    answers = [NamesOnly("", Soft(), n=60)(Metered(never, 0, BOX), knows(Corners()), seed) for seed in (0, 0, 1)]
    one, same, other = (clone(torch.rand(9, 2, generator=torch.Generator().manual_seed(3))).y for clone in answers)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_other_drawings_make_another_thief():
    assert repr(NamesOnly(repr(Corners(0.1)), Soft())) != repr(NamesOnly(repr(Corners(0.2)), Soft()))


def test_without_drawings_there_is_nothing_to_learn_from():
    with pytest.raises(Unsuited, match="commonest_class"):
        NamesOnly("", Soft())(Metered(never, 0, BOX), knows(None), seed=0)


def test_without_drawings_the_commonest_class_is_answered():
    shares = class_shares(torch.tensor([2, 0, 2, 1, 2]), 3)
    assert shares == pytest.approx((0.2, 0.2, 0.6))
    y = CommonestClass(shares)(Metered(never, 0, BOX), knows(None), seed=0)(torch.rand(4, 2)).y
    torch.testing.assert_close(y, torch.tensor([[0.2, 0.2, 0.6]]).expand(4, 3))


@pytest.mark.parametrize("shares", [(0.5, 0.6), (1.2, -0.2), (0.5, 0.5)])
def test_a_prior_is_a_share_of_each_class(shares):
    with pytest.raises(BadConfig, match="prior"):
        CommonestClass(shares)(Metered(never, 0, BOX), knows(None), seed=0)


def test_what_is_known_is_said():
    assert "3,000 inputs" in NamesOnly("", Soft()).assumption
    assert "as in the test set" in CommonestClass((0.4, 0.6)).assumption
    assert "public shares" in CommonestClass((0.4, 0.6), public=True).assumption

"""Best style: it asks on in the style whose answers belong to their inputs, and pays for no input twice."""

import pytest
import torch

from gamekeeper.attacks.best_style import BestStyle, Replayed, consistency
from gamekeeper.attacks.drawn import Drawn
from gamekeeper.service.oracles import Transcript
from gamekeeper.types import Box, Reply, Transfer
from tests.attacks.toys import IMAGES, images, meter, thief
from tests.contracts.worlds import Scribbles

PALE = Box((1, 8, 8), 0.0, 0.2)


def pale(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Drawings that can be told from the pool: they are dark."""
    return Scribbles(PALE, 4)(n, seed)


def gate_against(dark: bool):
    """Answers truly for drawings or for the pool alone; to the rest it says what the last digits of the input make of it."""

    def oracle(x: torch.Tensor, /) -> Reply:
        noise = (x.flatten(1).sum(1) * 1e4).long() % 4
        own = (x.amax((1, 2, 3)) < 0.25) == dark
        sums = (x[:, 0, :4, :4].sum((1, 2)) > x[:, 0, 4:, 4:].sum((1, 2))).long()
        return Reply(torch.nn.functional.one_hot(torch.where(own, sums, noise), 4).float())

    return oracle


@pytest.mark.parametrize("dark", [True, False])
def test_it_asks_on_where_answers_do_not_change_with_small_changes(dark):
    transfer = BestStyle()(meter(1_200, gate_against(dark)), thief(pool=1_200, drawings=pale), seed=0)
    assert transfer.drawn is not None
    assert (float((transfer.drawn >= 0).double().mean()) > 0.9) == dark


def test_no_input_is_paid_for_twice_and_all_answers_are_kept():
    transcript = Transcript(images)
    gate = meter(400, transcript)
    transfer = BestStyle()(gate, thief(pool=500, drawings=Scribbles(IMAGES, 4)), seed=0)
    assert gate.left == 0
    assert len(transfer.x) == len(transfer.x.unique(dim=0)) == transfer.cost == 400
    assert torch.equal(transfer.reply.y, images(transfer.x).y)
    asked = transcript.seen(400)[0]
    assert len(torch.cat([asked, transfer.x]).unique(dim=0)) == 400


def test_classes_stand_beside_their_drawings_and_copies():
    knows = thief(drawings=pale)
    transfer = BestStyle()(meter(400, gate_against(True)), knows, seed=0)
    assert transfer.drawn is not None
    x, classes = pale(400, 0)
    places = {row.tobytes(): int(c) for row, c in zip(x.numpy(), classes, strict=True)}
    found = [
        (places[row.tobytes()], int(c))
        for row, c in zip(transfer.x.numpy(), transfer.drawn, strict=True)
        if row.tobytes() in places
    ]
    assert len(found) > 300
    assert all(one == other for one, other in found)


def test_a_constant_answer_is_no_consistent_one():
    constant, own = torch.eye(4)[[1] * 8], torch.eye(4)[[0, 1, 2, 3]]
    assert consistency(constant, constant) == 0
    assert consistency(own, own) == 1
    assert consistency(own, own.roll(1, 0)) == pytest.approx(-1 / 3)
    assert consistency(own[:1], own[:1]) == 0


def test_what_was_asked_before_is_answered_from_memory():
    x = IMAGES.uniform(10, 0)
    gate = meter(5)
    again = Replayed(gate, Transfer(x[:4], images(x[:4]), 4))
    assert again.left == 9
    assert torch.equal(again(x[:3]).y, images(x[:3]).y)
    assert (gate.spent, again.left) == (0, 6)
    assert torch.equal(again(x[3:7]).y, images(x[3:7]).y)
    assert (gate.spent, again.left) == (3, 2)


def test_with_too_few_queries_to_try_it_draws():
    knows = thief(drawings=Scribbles(IMAGES, 4))
    assert torch.equal(BestStyle()(meter(5), knows, seed=2).x[:3], Drawn()(meter(3), knows, seed=2).x)

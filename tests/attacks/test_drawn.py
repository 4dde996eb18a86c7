"""The thief who draws: what they ask, and what they know of it."""

import pytest
import torch

from gamekeeper.attacks.drawn import Drawn
from gamekeeper.errors import Unsuited
from gamekeeper.training.validation import rows_of
from gamekeeper.types import Reply
from tests.attacks.toys import IMAGES, images, meter, thief
from tests.contracts.worlds import Scribbles

SCRIBBLES = Scribbles(IMAGES, 4)


def test_the_drawings_are_asked_in_order_and_every_query_is_counted():
    gate = meter(37)
    transfer = Drawn()(gate, thief(drawings=SCRIBBLES), seed=5)
    x, classes = SCRIBBLES(37, 5)
    assert torch.equal(transfer.x, x)
    assert torch.equal(transfer.reply.y, images(x).y)
    assert transfer.drawn is not None
    assert torch.equal(transfer.drawn, classes)
    assert (gate.spent, transfer.cost) == (37, 37)


def test_who_cannot_draw_is_refused_before_anything_is_asked():
    gate = meter(10)
    with pytest.raises(Unsuited, match="drawings"):
        Drawn()(gate, thief(), seed=0)
    assert gate.spent == 0


def test_few_drawings_end_the_attack():
    def few(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, classes = SCRIBBLES(min(n, 12), seed)
        return x, classes

    gate = meter(20)
    assert Drawn()(gate, thief(drawings=few), seed=0).cost == 12
    assert gate.left == 8


def test_a_drawing_stays_beside_its_answer_where_some_inputs_get_none():
    def silent(x: torch.Tensor, /) -> Reply:
        y = images(x).y
        y[::3] = torch.nan
        return Reply(y)

    transfer = Drawn()(meter(30, silent), thief(drawings=SCRIBBLES), seed=0).usable()
    assert transfer.drawn is not None
    assert torch.equal(transfer.drawn, torch.tensor([n % 4 for n in range(30) if n % 3]))
    some = rows_of(transfer, torch.tensor([4, 1]))
    assert some.drawn is not None
    assert torch.equal(some.drawn, transfer.drawn[[4, 1]])

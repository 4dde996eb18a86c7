"""The active loop and its helpers."""

import torch

from gamekeeper.attacks.rounds import ask, grow, nothing, portion, unasked
from gamekeeper.types import Reply, Transfer
from tests.attacks.toys import IMAGES, images, meter, thief


def test_a_batch_that_does_not_fit_is_cut_not_refused():
    gate = meter(3)
    asked = ask(gate, nothing(thief()), IMAGES.uniform(5, 0))
    assert (len(asked.x), asked.cost, gate.left) == (3, 3, 0)
    assert torch.equal(asked.x, IMAGES.uniform(5, 0)[:3])


def test_what_was_asked_stays_in_order_with_answers_and_maps():
    def explaining(x: torch.Tensor, /) -> Reply:
        return Reply(images(x).y, x[:, 0] * 2)

    gate = meter(5, explaining)
    first, second = IMAGES.uniform(3, 0), IMAGES.uniform(2, 1)
    asked = ask(gate, ask(gate, nothing(thief()), first), second)
    assert torch.equal(asked.x, torch.cat([first, second]))
    assert torch.equal(asked.reply.y, images(asked.x).y)
    assert torch.equal(asked.reply.maps, asked.x[:, 0] * 2)


def test_double_precision_answers_are_kept_as_they_are():
    def double(x: torch.Tensor, /) -> Reply:
        return Reply(images(x).y.double() / 3)

    asked = ask(meter(2, double), nothing(thief()), IMAGES.uniform(2, 0))
    assert asked.reply.y.dtype == torch.float64


def test_every_pick_sees_a_clone_of_all_answers_so_far():
    seen: list[tuple[int, int]] = []

    def pick(clone: int, asked: Transfer, left: int) -> torch.Tensor:
        seen.append((clone, left))
        return IMAGES.uniform(2, len(seen))

    grow(meter(5), nothing(thief()), pick, lambda asked: len(asked.x))
    assert seen == [(0, 5), (2, 3), (4, 1)]


def test_an_empty_pick_ends_the_loop():
    gate = meter(5)
    grow(gate, nothing(thief()), lambda clone, asked, left: asked.x[:0], lambda asked: None)
    assert gate.left == 5


def test_rounds_of_a_portion_spend_a_budget():
    assert [portion(budget, 10) for budget in (0, 1, 10, 11, 2000)] == [1, 1, 1, 2, 200]


def test_rows_asked_before_are_known_also_as_minus_zero_and_within_one_batch():
    asked = torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    x = torch.tensor([[-0.0, 1.0], [0.5, 0.25], [0.5, 0.25], [0.5, 0.5], [1.0, 0.0]])
    assert unasked(x, asked).tolist() == [False, True, False, False, True]

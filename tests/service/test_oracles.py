"""The meter and the wrappers: what is counted, what is refused, what changes on the thief's side."""

import pytest
import torch

from gamekeeper.attacks.wrappers import Averaged, LabelsOnly
from gamekeeper.errors import BadConfig, BadQuery, BudgetExceeded
from gamekeeper.service.oracles import Metered, Transcript
from gamekeeper.types import Box, Reply

BOX = Box((3,), 0.0, 1.0)


class Noisy:
    """Answers (p, 1-p) with p = 0.5, 0.6, 0.7, … for the first, second, third batch."""

    def __init__(self) -> None:
        self.batches = 0

    def __call__(self, x, /) -> Reply:
        p = 0.5 + 0.1 * self.batches
        self.batches += 1
        return Reply(torch.tensor([[p, 1 - p]]).repeat(len(x), 1))


def test_the_meter_counts_inputs_and_refuses_a_batch_whole_before_it_is_sent():
    oracle = Noisy()
    meter = Metered(oracle, budget=10, box=BOX)
    meter(torch.rand(7, 3))
    with pytest.raises(BudgetExceeded, match=r"4 queries; 3 of 10 are left"):
        meter(torch.rand(4, 3))
    assert (meter.spent, meter.left, oracle.batches) == (7, 3, 1)
    meter(torch.rand(3, 3))
    assert meter.left == 0


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(0, 3), "empty batch"),
        (torch.rand(2, 4), r"shape \(n, 3\); got \(2, 4\)"),
        (torch.rand(3), r"got \(3,\)"),
        (torch.ones(2, 3, dtype=torch.int64), "floating point"),
        (torch.full((2, 3), 1.5), "must lie in"),
        (torch.tensor([[0.1, float("nan"), 0.2]]), "NaN"),
        (torch.tensor([[0.1, float("inf"), 0.2]]), "must lie in"),
        (torch.tensor([[0.1, -float("inf"), 0.2]]), "must lie in"),
    ],
)
def test_bad_inputs_are_refused_and_cost_nothing(x, message):
    oracle = Noisy()
    meter = Metered(oracle, budget=10, box=BOX)
    with pytest.raises(BadQuery, match=message):
        meter(x)
    assert (meter.spent, oracle.batches) == (0, 0)


def test_a_failed_query_is_not_counted():
    def broken(x, /):
        raise BadConfig("no")

    meter = Metered(broken, budget=10, box=BOX)
    with pytest.raises(BadConfig):
        meter(torch.rand(2, 3))
    assert meter.spent == 0


def test_averaging_asks_n_times_and_takes_the_mean():
    meter = Metered(Noisy(), budget=10, box=BOX)
    averaged = Averaged(n=3).wrap(meter)
    assert (averaged.left, averaged.budget) == (3, 3)
    reply = averaged(torch.rand(2, 3))
    assert torch.allclose(reply.y, torch.tensor([[0.6, 0.4]]).repeat(2, 1))
    assert meter.spent == 6


def test_averaging_a_deterministic_oracle_changes_nothing_bit_for_bit():
    y = torch.softmax(torch.randn(50, 7, generator=torch.Generator().manual_seed(0)), 1)
    meter = Metered(lambda x: Reply(y[: len(x)]), budget=1000, box=BOX)
    assert torch.equal(Averaged(n=3).wrap(meter)(torch.rand(50, 3)).y, y)


def test_labels_only_forgets_everything_but_the_top_class():
    y = torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
    wrapped = LabelsOnly().wrap(Metered(lambda x: Reply(y), budget=2, box=BOX))
    assert torch.equal(wrapped(torch.rand(2, 3)).y, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))


def test_the_witness_keeps_what_passed_through():
    transcript = Transcript(Noisy())
    x = torch.rand(5, 3)
    answers = torch.cat([transcript(x[:2]).y, transcript(x[2:]).y])
    asked, answered = transcript.seen(4)
    assert torch.equal(asked, x[:4])
    assert torch.equal(answered, answers[:4])


def test_uniform_inputs_fill_the_box_and_depend_on_the_seed_only():
    box = Box((2,), -1.0, 3.0)
    x = box.uniform(1000, seed=3)
    box.check(x)
    assert torch.equal(x, box.uniform(1000, seed=3))
    assert not torch.equal(x, box.uniform(1000, seed=4))
    assert x.min() < -0.98
    assert x.max() > 2.98

"""Uniform inputs, line search, adaptive retraining: how near to the true boundary their queries lie."""

from dataclasses import replace
from statistics import median

import pytest
import torch

from gamekeeper.attacks.boundary import Adaptive, LineSearch, Uniform, bisect
from gamekeeper.attacks.theft import Theft
from gamekeeper.errors import BadConfig
from gamekeeper.learners.distil import Labels
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Reply
from tests.attacks.toys import PLANE, linear, meter, plane, walker

pytestmark = pytest.mark.thorough

FIT = Fit(epochs=1, least_steps=80, rate=2.0)
LAST = Fit(epochs=1, least_steps=200, rate=5.0, decay=0.0)
"""Until a softmax regression has found its line: with decay, labels near the line leave it flat."""


def distance(x: torch.Tensor) -> torch.Tensor:
    """To the plane's line x + 2y = 1.5."""
    return (x[:, 0] + 2 * x[:, 1] - 1.5).abs() / 5**0.5


def test_adaptive_queries_come_nearer_to_the_true_line_round_by_round_and_lie_within_a_third_of_uniform_ones():
    x = Adaptive(random=0.0, fit=FIT)(meter(300, plane, PLANE), walker(), seed=0).x
    rounds = distance(x).view(10, 30).mean(1)
    assert rounds[-3:].mean() < rounds[1:4].mean() or rounds[1:].max() < 0.05
    assert rounds[1:].mean() < distance(PLANE.uniform(5000, 1)).mean() / 3


@pytest.mark.slow
def test_adaptive_queries_teach_the_line_at_least_as_well_as_uniform_ones():
    x = PLANE.uniform(2000, 7)
    truth = plane(x).y.argmax(1)

    def wrong(querying, seed: int) -> float:
        """R_unif of a clone of 100 labels."""
        clone = Theft(querying, Labels(LAST))(meter(100, plane, PLANE), walker(), seed)
        return float((clone(x).y.argmax(1) != truth).float().mean())

    adaptive, uniform = ([wrong(q, seed) for seed in range(10)] for q in (Adaptive(rounds=3, fit=FIT), Uniform()))
    assert median(adaptive) <= median(uniform)


def test_a_quarter_of_every_adaptive_round_is_random():
    near = distance(Adaptive(fit=FIT)(meter(400, plane, PLANE), walker(), seed=0).x).view(10, 40)
    assert near[5:, :10].mean() > 3 * near[5:, 10:].mean()


def test_line_search_halves_its_segments_down_to_the_true_line():
    x = LineSearch(tolerance=0.01)(meter(400, plane, PLANE), walker(), seed=0).x
    probes = distance(x[100:])
    assert probes.median() < 0.1 * distance(x[:100]).median()
    assert probes[-32 * 2 :].min() < 0.01
    assert len(x.unique(dim=0)) == 400


def test_line_search_ends_a_segment_at_the_tolerance_and_draws_new_ones():
    coarse, fine = (
        distance(LineSearch(tolerance=t)(meter(400, plane, PLANE), walker(), seed=0).x[100:]).mean()
        for t in (0.5, 0.01)
    )
    assert coarse > 1.5 * fine


def test_an_oracle_of_one_class_leaves_line_search_and_adaptive_with_noise():
    def constant(x: torch.Tensor, /) -> Reply:
        return Reply(torch.tensor([[0.0, 1.0]]).repeat(len(x), 1))

    for querying in (LineSearch(), Adaptive(rounds=4, fit=FIT)):
        x = querying(meter(200, constant, PLANE), walker(), seed=0).x
        assert len(x.unique(dim=0)) == 200
        assert x.min() < 0.1
        assert x.max() > 0.9


def test_where_the_clone_knows_one_class_the_points_with_the_smallest_lead_are_taken():
    clone = linear(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([2.0, 0.0]), (2,))
    x = Adaptive().uncertain(clone, PLANE, 10, torch.Generator().manual_seed(0))
    assert x.shape == (10, 2)
    assert x[:, 1].max() < 0.2  # the lead grows with the second coordinate


def test_bisection_stops_within_the_tolerance_of_the_clones_line():
    clone = linear(torch.tensor([[20.0, 40.0], [0.0, 0.0]]), torch.tensor([-30.0, 0.0]), (2,))
    a, b = torch.zeros(5, 2), torch.tensor([1.0, 0.9]) - 0.1 * PLANE.uniform(5, 0)
    assert distance(bisect(clone, a, b, 1e-3)).max() < 1e-3
    assert bisect(clone, a[:0], b[:0], 1e-3).shape == (0, 2)


def test_uniform_inputs_are_the_boxs():
    box = Box((3,), -1.0, 4.0)

    def oracle(x: torch.Tensor, /) -> Reply:
        return Reply(torch.full((len(x), 2), 0.5))

    x = Uniform()(meter(500, oracle, box), replace(walker(), box=box, pool=box.uniform(5, 0)), seed=3).x
    assert torch.equal(x, box.uniform(500, 3))


@pytest.mark.parametrize(
    "make",
    [
        lambda: LineSearch(pairs=0),
        lambda: LineSearch(share=0.0),
        lambda: Adaptive(rounds=0),
        lambda: Adaptive(tolerance=0.0),
    ],
)
def test_parameters_that_make_no_sense_are_refused(make):
    with pytest.raises(BadConfig, match="needs"):
        make()

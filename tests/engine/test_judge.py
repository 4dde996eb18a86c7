"""What the judge measures of a clone, on clones whose distance from the victim is known."""

import pytest
import torch

from gamekeeper.engine.judge import Bench
from gamekeeper.targets.target import Target, load_target
from gamekeeper.tasks import Classify
from gamekeeper.types import Reply


@pytest.fixture(scope="module")
def target() -> Target:
    return load_target("digits")


class Constant:
    task = Classify(10)

    def __call__(self, x: torch.Tensor, /) -> Reply:
        return Reply(torch.eye(10)[torch.zeros(len(x), dtype=torch.long)])


def test_the_victim_itself_is_a_perfect_clone(target):
    clone = Bench(target, lambda: target.victim, uniform=100).clone(target.victim)
    assert clone.tv == clone.tv_uniform == 0
    assert clone.fidelity.value == 1


def test_total_variation_from_a_vertex_is_what_the_vertex_lacks(target):
    """Half of ||e_0 - y||_1 is 1 - y_0."""
    bench = Bench(target, lambda: target.victim, uniform=100)
    clone = bench.clone(Constant())
    assert clone.tv == pytest.approx(float(1 - bench.clean[:, 0].double().mean()), abs=1e-6)
    assert clone.tv_uniform == pytest.approx(float(1 - bench.clean_uniform[1][:, 0].double().mean()), abs=1e-6)


def test_nothing_is_said_of_uniform_inputs_that_were_not_asked(target):
    clone = Bench(target, lambda: target.victim, uniform=0).clone(Constant())
    assert clone.fidelity_uniform is None
    assert clone.tv_uniform is None

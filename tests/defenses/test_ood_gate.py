"""The gate: whom it flags, what they are answered, and that fpr is a share of benign inputs."""

import functools
from dataclasses import replace

import pytest
import torch

from gamekeeper.defenses import OodGate
from gamekeeper.defenses.ood_gate import Answer, Misleading, shuffled, uniform
from gamekeeper.defenses.when import When
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.targets.builtin import digits
from gamekeeper.targets.target import Target


@functools.cache
def target() -> Target:
    return digits()


def test_flagged_are_those_below_the_threshold_and_the_others_come_back_bit_for_bit():
    victim, x = target().victim, target().test.x
    reply = victim(x)
    gate = OodGate(fpr=0.05).arm(victim, target().owner, 0)
    assert isinstance(gate, When)
    flagged = reply.y.amax(1) < -gate.above
    given = gate.respond(x, reply, None).y
    assert 0 < flagged.sum() < len(x) / 2
    assert torch.equal(given[~flagged], reply.y[~flagged])
    assert torch.equal(given[flagged].sort(1).values, reply.y[flagged].sort(1).values)
    assert (given[flagged] != reply.y[flagged]).any(1).all()
    even = replace(gate, then=Misleading(uniform)).respond(x, reply, None).y
    assert torch.equal(even[flagged], torch.full_like(even[flagged], 0.1))
    assert torch.equal(even[~flagged], reply.y[~flagged])


def test_of_inputs_the_victim_was_not_trained_on_the_stated_share_is_flagged():
    """The test set as the owner's inputs: a half for the threshold, the other half fresh. Binomial error."""
    mine, test = target().owner, target().test
    assert test.y is not None
    owner = replace(mine, x=test.x[:300], truth=test.y[:300])
    for seed in range(3):
        gate = OodGate(fpr=0.2).arm(target().victim, owner, seed)
        assert isinstance(gate, When)
        fresh = gate.suspicious(test.x[300:], target().victim(test.x[300:]))
        share = fresh.double().mean()
        error = (0.2 * 0.8 * (1 / len(fresh) + 1 / 75)) ** 0.5  # of the fresh inputs, and of the 75 held out
        assert abs(share - 0.2) < 4 * error


@pytest.mark.parametrize("answer", ["shuffled", "uniform"])
def test_everything_is_flagged_at_one_and_nothing_at_zero(answer: Answer):
    victim, x = target().victim, target().test.x[:20]
    reply = victim(x)
    off = OodGate(fpr=0.0, answer=answer).arm(victim, target().owner, 0).respond(x, reply, None).y
    on = OodGate(fpr=1.0, answer=answer).arm(victim, target().owner, 0).respond(x, reply, None).y
    assert torch.equal(off, reply.y)
    assert (on != reply.y).any(1).all()


def test_the_shuffle_belongs_to_the_input_and_the_key():
    x, y = torch.rand(50, 4), torch.softmax(torch.randn(50, 10), 1)
    one = shuffled(b"a", x, y)
    assert torch.equal(one, shuffled(b"a", x, y))
    assert torch.equal(one[20:], shuffled(b"a", x[20:], y[20:]))
    assert (one != shuffled(b"b", x, y)).any()
    assert (one.argmax(1) == y.argmax(1)).double().mean() < 0.5  # one in ten keeps its class by chance


def test_what_a_gate_needs_is_said():
    with pytest.raises(Unsuited, match="--auxiliary"):
        OodGate("detector").arm(target().victim, target().owner, 0)
    with pytest.raises(BadConfig, match="from 0 to 1"):
        OodGate(fpr=1.5)

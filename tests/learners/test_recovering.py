"""Which learners use what they know of the defense: those that the checks and the run's assumptions name, and no other."""

from dataclasses import dataclass, field

import pytest
import torch

from gamekeeper.architectures import Mlp
from gamekeeper.defenses.stateless import Stateless
from gamekeeper.facts import facts
from gamekeeper.learners import inverse
from gamekeeper.methods import LEARNERS, InputSpec, parse_attack
from gamekeeper.tasks import Classify
from gamekeeper.training.fit import Fit
from gamekeeper.types import Box, Knowledge, Reply, Transfer

BOX = Box((1, 4, 4))
X = BOX.uniform(40, 0)
Y = torch.softmax(torch.randn(30, 3, generator=torch.Generator().manual_seed(1)), 1)


@dataclass(frozen=True)
class Spied:
    """A defense that changes nothing and notes each time it is armed."""

    keeps_top1: bool = True
    armed: list[int] = field(default_factory=list, compare=False)

    def arm(self, victim, owner, seed):
        self.armed.append(seed)
        return Stateless(lambda y: y)


@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_learner_looks_at_the_defense_if_and_only_if_it_is_named_as_one_that_does(name, monkeypatch):
    monkeypatch.setattr(inverse, "PASSES", Fit(epochs=1, least_steps=2, batch=64))
    small = {"partial_bayes": ",size=400", "inverse": ",size=400"}.get(name, "")
    learner = parse_attack(f"knockoff+{name}:epochs=1,least_steps=3,batch=8{small}", InputSpec(BOX.shape, 3)).learner
    spied = Spied()
    knows = Knowledge(X, BOX, Classify(3), Mlp(BOX.shape, 3, (4,)), defenses=(spied,))
    clone = learner(Transfer(X[:30], Reply(Y, torch.ones(30, 4, 4)), 30), knows, 0)
    assert torch.isfinite(clone(X).y).all()
    assert bool(spied.armed) == facts(learner).uses_defense

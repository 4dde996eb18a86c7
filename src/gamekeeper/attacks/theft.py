"""Theft: a way of querying and a way of learning make an attack."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from gamekeeper.facts import Facts, facts, together
from gamekeeper.types import Attack, Knowledge, Learner, Meter, Model, Querying, Transfer


@runtime_checkable
class Wrapper(Protocol):
    """A recipe for what a thief wraps around the meter."""

    def wrap(self, oracle: Meter) -> Meter: ...


@dataclass(frozen=True)
class Theft:
    """Query through the wrappers (the last one is nearest to the thief), then learn."""

    querying: Querying
    learner: Learner
    wrappers: tuple[Wrapper, ...] = ()

    def ask(self, oracle: Meter, knows: Knowledge, seed: int) -> Transfer:
        """The transfer set: it serves any number of learners without further queries."""
        meter, before = oracle, oracle.left
        for wrapper in self.wrappers:
            oracle = wrapper.wrap(oracle)
        transfer = self.querying(oracle, knows, seed).usable()
        # a wrapper may have queried more often than the querying knows: the meter has the last word
        return replace(transfer, cost=before - meter.left)

    def __call__(self, oracle: Meter, knows: Knowledge, seed: int) -> Model:
        return self.learner(self.ask(oracle, knows, seed), knows, seed)


def thief_facts(thief: Attack) -> Facts:
    """The combined facts of a thief's parts, or those of a whole attack."""
    parts = (thief.querying, *thief.wrappers, thief.learner) if isinstance(thief, Theft) else (thief,)
    return together([facts(part) for part in parts])

"""Defenses of a policy, armed from a service's secret: replicas that share it answer alike, others do not."""

import functools
from dataclasses import replace

import pytest
import torch

from gamekeeper.defenses.dawn import DAWN
from gamekeeper.defenses.when import When
from gamekeeper.detectors.limits import Backing, Binomial, Limits
from gamekeeper.detectors.lookout import Lookout
from gamekeeper.engine.gateway.gateway import Gateway
from gamekeeper.engine.gateway.input_statistics import InputStatistics
from gamekeeper.engine.gateway.request import Request
from gamekeeper.engine.gateway.rules import Rules, arm_rules
from gamekeeper.engine.scene import Setting, partial_scene
from gamekeeper.errors import BadConfig, Unsuited
from gamekeeper.policy import Level, Policy, Standing, packed
from gamekeeper.service.journal.event import Event, Remembered
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.memory import Memories
from gamekeeper.service.quotas import Quotas, Reservations
from gamekeeper.service.service import begun
from gamekeeper.targets.choice import Choice
from gamekeeper.targets.target import Target
from gamekeeper.types import Batch, Reply
from tests.engine.gateway.small import AT, PSEUDONYMS, ArmedSpy, Far, FarMemory, bits, someone

SECRET, OTHER = bytes(range(32)), bytes(range(1, 33))
DETECTORS = ("repeats", "prada", "ood_share", "mmd", "hardness", "boundary")
TEXTS = ("dawn:share=0.3", "keyed_misinformation:share=0.3", "ood_gate:fpr=0.3", "mad:eps=0.5,epochs=0+dawn:share=0.3")


@functools.cache
def digits() -> Target:
    return Choice("digits").load()


def inputs(n: int = 40) -> Batch:
    """Half of them like the owner's."""
    return torch.cat([digits().test.x[: n // 2], digits().pool.x[: n // 2]])


def policy(text: str) -> Policy:
    return Policy(shadow=False, defenses={Level.DAWN if "dawn" in text else Level.DEFENSE: text})


def held_at(level: Level) -> InProcessJournal:
    """A journal that knows two clients, held at a level."""
    journal = InProcessJournal()
    for number in range(2):
        event = Event("acme", someone(number).client, "level", AT, level=str(level))
        journal.append(event, Remembered(0, {"policy": packed(Standing(level=level))}))
    return journal


def served(text: str, secret: bytes, number: int, journal: InProcessJournal, times: int = 1) -> list[Reply]:
    """The answers to the same inputs, again and again, each from a replica that was just started."""
    answers: list[Reply] = []
    for nth in range(times):
        rules = arm_rules(policy(text), digits(), secret)
        real = gateway(rules, journal)
        answers.append(real.answer(Request(someone(number), inputs(), AT + nth)))
    return answers


def gateway(rules: Rules, journal: InProcessJournal, lookout: Lookout | None = None) -> Gateway:
    lookout = lookout or Lookout(digits().victim, {})
    return Gateway(lookout.victim, lookout, {"": rules}, journal, PSEUDONYMS, Reservations(journal, Quotas()))


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_input_gets_the_same_bits_after_a_restart_and_from_every_replica_of_one_secret(text: str):
    journal = held_at(Level.DAWN)
    clean = digits().victim(inputs()).y
    first, second = served(text, SECRET, 0, journal, 2)
    assert torch.equal(first.y, second.y)
    assert not torch.equal(first.y, clean)
    (other,) = served(text, OTHER, 0, held_at(Level.DAWN))
    assert not torch.equal(first.y, other.y), "it does not depend on the secret"
    (neighbour,) = served(text, SECRET, 1, journal)
    assert torch.equal(first.y, neighbour.y) != ("dawn" in text), "DAWN has a key for each client, the others have one"


def test_defenses_are_given_the_secret_and_a_seed_that_nobody_knows_without_it():
    text = "tests.engine.gateway.small.Spy"
    spies = [arm_rules(policy(text), digits(), secret).defenses[text] for secret in (SECRET, SECRET, OTHER)]
    assert all(isinstance(spy, ArmedSpy) for spy in spies)
    assert [spy.owner.secret for spy in spies if isinstance(spy, ArmedSpy)] == [SECRET, SECRET, OTHER]
    one, same, other = [spy.seed for spy in spies if isinstance(spy, ArmedSpy)]
    assert one == same != other
    assert 2**40 < min(one, other) <= max(one, other) < 2**63


def test_one_input_alone_gets_the_answer_that_it_gets_in_company():
    rules = arm_rules(policy("dawn:share=0.3"), digits(), SECRET)
    real, x = gateway(rules, held_at(Level.DAWN)), inputs()
    whole = real.answer(Request(someone(0), x, AT)).y
    alone = torch.cat([real.answer(Request(someone(0), row[None], AT)).y for row in x])
    torch.testing.assert_close(alone, whole)
    assert torch.equal(alone.argmax(1), whole.argmax(1))


def test_rules_refuse_what_is_no_defense_or_does_not_suit():
    with pytest.raises(BadConfig, match="no defense 'dwan'"):
        arm_rules(policy("dwan"), digits(), SECRET)
    target = replace(digits(), owner=replace(digits().owner, x=torch.zeros(0, 64), truth=torch.zeros(0)))
    with pytest.raises(Unsuited):
        arm_rules(policy("dawn:mapping=cells"), target, SECRET)
    assert arm_rules(Policy(), digits(), SECRET).defenses == {}


def test_a_defense_behind_a_watch_knows_its_client():
    dawn = DAWN(0.3).arm(digits().victim, replace(digits().owner, secret=SECRET), 0)
    assert begun(When(Everything(), 0.0, dawn), "a")[1].key.tolist() == dawn.fresh_for("a").key.tolist()
    assert dawn.fresh_for("a").key.tolist() != dawn.fresh_for("b").key.tolist()
    x, clean = inputs(), digits().victim(inputs())
    for name in ("a", "b"):
        gate = When(Everything(), 0.0, dawn)
        given = gate.respond(x, clean, begun(gate, name))
        assert torch.equal(given.y, dawn.respond(x, clean, dawn.fresh_for(name)).y)


def test_a_memory_of_several_parts_goes_on_after_a_restart():
    """A gate with a watch and a defense that both remember."""
    gate = When(Counting(), 20.0, Far())
    memory = gate.fresh()
    rules = Rules(Policy(shadow=False, defenses={Level.DEFENSE: "gate"}), {"gate": gate})
    journal = held_at(Level.DEFENSE)
    for nth in range(4):
        x = inputs()[10 * nth : 10 * nth + 10]
        wanted = gate.respond(x, digits().victim(x), memory)
        given = gateway(rules, journal).answer(Request(someone(0), x, AT + nth))
        assert torch.equal(given.y, wanted.y)
    assert (memory[0].count, memory[1].count) == (40, 20)


@pytest.mark.thorough
def test_the_shipped_victim_behind_the_default_detectors_is_watched_as_without_a_gateway():
    here = partial_scene(Setting(Choice("mnist"), DETECTORS, 0.05))
    journal, memories = InProcessJournal(), Memories()
    limits = {name: Limits(Binomial((20, 50), 0.9), 1e-6, Backing("binomial", 100, 0)) for name in here.alarming}
    lookout, statistics = here.lookout(limits), InputStatistics()
    x, start = here.target.pool.x, 0
    for nth, n in enumerate((1, 7, 1, 13, 1, 1, 30, 2, 20, 1)):
        rows = x[start : start + n] if nth != 4 else x[:1]
        start += n
        real = gateway(Rules(), journal, here.lookout(limits))
        clean = here.target.victim(rows)
        assert torch.equal(real.answer(Request(someone(0), rows, AT + nth)).y, clean.y)
        lookout.looked(rows, clean, AT + nth, memories)
        statistics.add(rows, AT + nth)
    known = real.memory.read(journal.remembered("acme", someone(0).client), someone(0).client, {}, 0.0)
    assert bits(real.memory.watched(known)) == bits({**memories, "inputs": statistics})


class Everything:
    """Suspects everything."""

    def fresh(self) -> None:
        return None

    def score(self, x: Batch, clean: Reply, at: float, memory: None) -> torch.Tensor:
        return torch.ones(len(x))


class Counting:
    """Suspects a client's inputs more and more."""

    def fresh(self) -> FarMemory:
        return FarMemory()

    def score(self, x: Batch, clean: Reply, at: float, memory: FarMemory) -> torch.Tensor:
        memory.count += len(x)
        return torch.arange(memory.count - len(x), memory.count).float() + 1

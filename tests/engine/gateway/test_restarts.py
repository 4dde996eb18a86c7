"""Whatever happens to a gateway between two requests, answers and memories are those of an undisturbed one, bit for bit."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from gamekeeper.engine.gateway import client_memory
from gamekeeper.engine.gateway.client_cache import ClientCache
from gamekeeper.engine.gateway.client_memory import STEP, WATCHES
from gamekeeper.engine.gateway.rules import Rules
from gamekeeper.policy import Level
from gamekeeper.policy import unpacked as standing
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.journal.journal import Journal
from tests.engine.gateway.small import (
    AT,
    SENT,
    Undisturbed,
    alice,
    bits,
    equal,
    gateway,
    later,
    policy,
    requests,
    someone,
    together,
    written,
)
from tests.service.journal.conftest import opened

pytestmark = pytest.mark.thorough


def test_a_gateway_answers_and_remembers_as_the_plain_twin(journal: Journal):
    twin, real = Undisturbed(), gateway(journal)
    assert equal([real.answer(each) for each in SENT], [twin.answer(each) for each in SENT])
    assert written(journal) == bits(twin.memories)


@pytest.mark.usefixtures("snapshots")
def test_a_restart_after_any_request_changes_nothing():
    twin, journal = Undisturbed(), InProcessJournal()
    for each in SENT:
        assert equal([gateway(journal).answer(each)], [twin.answer(each)])
        assert written(journal) == bits(twin.memories)


@pytest.mark.usefixtures("snapshots")
def test_restarts_at_random_change_nothing():
    chance = random.Random(0)
    for _ in range(3):
        twin, journal = Undisturbed(), InProcessJournal()
        real = gateway(journal)
        for each in SENT:
            real = gateway(journal) if chance.random() < 0.1 else real
            assert equal([real.answer(each)], [twin.answer(each)])
        assert written(journal) == bits(twin.memories)


def test_replicas_that_take_turns_are_one(place: str):
    twin, chance = Undisturbed(), random.Random(0)
    with opened(place) as one, opened(place) as other:
        replicas = [gateway(one), gateway(other)]
        assert equal([chance.choice(replicas).answer(each) for each in SENT], [twin.answer(each) for each in SENT])
        assert written(one) == bits(twin.memories)


def test_replicas_that_answer_one_client_at_once_lose_none_of_their_requests(place: str):
    """In some order they are one client's: who is shown the requests in that order remembers the same."""
    with opened(place) as one, opened(place) as other:
        replicas = [gateway(one), gateway(other)]
        parts = [SENT[number::4] for number in range(4)]

        def serve(number: int) -> None:
            for each in parts[number]:
                replicas[number % 2].answer(each)

        together(*(lambda number=number: serve(number) for number in range(4)))
        order = [event.at for _, event in one.read("acme") if event.kind == "answer"]
        assert sorted(order) == [each.at for each in SENT]
        twin = Undisturbed()
        for at in order:
            twin.answer(SENT[int(at - AT)])
        assert written(one) == bits(twin.memories)


def test_a_cache_that_holds_hardly_anybody_changes_nothing():
    journal, twins = InProcessJournal(), {number: Undisturbed() for number in range(3)}
    real = gateway(journal, cache=ClientCache(2, 2_000))
    chance = random.Random(0)
    for each in SENT:
        number = chance.randrange(3)
        mine = replace(each, who=someone(number))
        assert equal([real.answer(mine)], [twins[number].answer(mine)])
    for number, twin in twins.items():
        assert written(journal, someone(number)) == bits(twin.memories)


def test_one_client_s_answers_and_memories_do_not_depend_on_neighbours():
    journal, twin = InProcessJournal(), Undisturbed()
    real = gateway(journal)
    wanted = [twin.answer(each) for each in SENT]
    answers: list[bool] = []

    def neighbour(number: int) -> Callable[[], None]:
        return lambda: [real.answer(each) for each in requests(20, seed=number, who=someone(number))] and None

    def mine() -> None:
        answers.append(equal([real.answer(each) for each in SENT], wanted))

    together(mine, *(neighbour(number) for number in range(1, 5)))
    assert answers == [True]
    assert written(journal) == bits(twin.memories)


def test_snapshots_and_steps_together_cost_about_twice_what_the_steps_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_memory, "LEAST", 0)
    journal = Weighing()
    real = gateway(journal)
    for each in requests(150, seed=1, most=1):
        real.answer(each)
        parts = journal.remembered("acme", alice().client).parts
        steps = sum(len(data) for name, data in parts.items() if name.startswith(STEP))
        whole = sum(len(data) for name, data in parts.items() if name.startswith((STEP, "watch")))
        assert steps <= whole - steps, "steps weigh no more than their snapshot"
    one = len(
        next(data for name, data in journal.remembered("acme", alice().client).parts.items() if name == f"{STEP}0")
    )
    assert journal.weight < 2.5 * 150 * one


class Weighing(InProcessJournal):
    """Weighs what is written of the detectors' memories."""

    weight = 0

    def append(self, event, remembered=None, others=()):
        if remembered is not None:
            self.weight += sum(len(d) for name, d in remembered.parts.items() if name.startswith((STEP, "watch")))
        return super().append(event, remembered, others)


def test_who_was_forgotten_begins_anew_at_every_replica():
    journal, twin = InProcessJournal(), Undisturbed()
    replicas = [gateway(journal), gateway(journal)]
    for each in SENT[:10]:
        replicas[0].answer(each)
        replicas[1].answer(each)
    journal.forget("acme", alice().client, AT)
    for number, each in enumerate(SENT[10:]):
        assert equal([replicas[number % 2].answer(each)], [twin.answer(each)])
    assert written(journal) == bits(twin.memories)


def test_who_did_not_come_for_long_begins_anew_but_stays_held():
    journal, rules = InProcessJournal(), slow_rules()
    replicas = [gateway(journal, rules, clock=lambda: 0.0), gateway(journal, rules, clock=lambda: 0.0)]
    sent = requests(40, seed=0, tall=1.0, most=1)
    for number, each in enumerate(sent):
        replicas[number % 2].clock = lambda each=each: each.at
        replicas[number % 2].answer(each)
    before = standing(journal.remembered("acme", alice().client).parts["policy"])
    assert before.level == Level.SLOW
    journal.prune("acme", AT + 1_000, AT + 1_000)
    assert set(journal.remembered("acme", alice().client).parts) == {"policy"}
    twin = Undisturbed()
    twin.memories["standing"] = twin.lookout.fresh()
    twin.memories["standing"].before = before.alarms["tall"]
    for number, each in enumerate(sent):
        again = later(each, 2_000)
        replicas[number % 2].clock = lambda again=again: again.at
        assert equal([replicas[number % 2].answer(again)], [twin.answer(again)])
    assert written(journal) == bits(twin.memories)
    now = standing(journal.remembered("acme", alice().client).parts["policy"])
    assert now.level == Level.SLOW
    assert now.alarms["tall"] > before.alarms["tall"], "the count of queries goes on"


def test_memories_of_other_detectors_are_not_misread():
    journal, twin = InProcessJournal(), Undisturbed()
    for each in SENT[:15]:
        gateway(journal, made_for="a model").answer(each)
    old = set(journal.remembered("acme", alice().client).parts)
    for each in SENT[15:]:
        assert equal([gateway(journal).answer(each)], [twin.answer(each)])
    assert written(journal) == bits(twin.memories)
    assert WATCHES in old


def slow_rules() -> Rules:
    return Rules(policy(Level.SLOW))

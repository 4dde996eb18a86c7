"""What DAWN and other defenses remember of a client: bit for bit whatever happens, and written alike for marked answers and others."""

import itertools
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from gamekeeper.architectures import Mlp
from gamekeeper.defenses.dawn import DAWN
from gamekeeper.engine.gateway import client_memory
from gamekeeper.engine.gateway.client_memory import DEFENSE, STEP, WATCHES
from gamekeeper.engine.gateway.gateway import Gateway
from gamekeeper.engine.gateway.releases import Release
from gamekeeper.engine.gateway.rules import Chain, Rules
from gamekeeper.errors import Busy
from gamekeeper.policy import Level, Standing, packed
from gamekeeper.service.journal.event import Event, Remembered
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.journal.journal import Journal
from gamekeeper.types import Batch, Box, Owner, Reply
from tests.engine.gateway.small import (
    AT,
    BREAKS,
    SENT,
    WIDTH,
    Far,
    FarMemory,
    Undisturbed,
    alice,
    bits,
    equal,
    gateway,
    leaf_bits,
    policy,
    remembered_by,
    requests,
    victim,
    written,
)
from tests.service.journal.conftest import opened

SHARE = 0.3
DAYS = itertools.count(1)


def started(journal: Journal, rules: Rules, **settings: Any) -> Gateway:
    """A gateway by whose clock nobody is ever too fast."""
    return gateway(journal, rules, clock=lambda: AT + 1e5 * next(DAYS), **settings)


def marking(also: bool = False) -> Rules:
    """Held clients are answered by DAWN; or by a defense that counts, and then by DAWN."""
    owner = Owner(
        torch.zeros(0, WIDTH),
        torch.zeros(0, dtype=torch.long),
        Box((WIDTH,)),
        Mlp((WIDTH,), 3),
        secret=bytes(range(32)),
    )
    dawn = DAWN(SHARE).arm(victim(), owner, 0)
    return Rules(policy(dawn="marks"), {"marks": Chain((Far(), dawn)) if also else dawn, "unused": Far()})


def held(journal: Journal) -> Journal:
    """Alice is held at the level of DAWN."""
    standing = Remembered(0, {"policy": packed(Standing(level=Level.DAWN))})
    journal.append(Event("acme", alice().client, "level", AT, level="dawn"), standing)
    return journal


def twin_of(rules: Rules) -> Undisturbed:
    return Undisturbed(rules=rules, level=Level.DAWN)


def same(journal: Journal, twin: Undisturbed) -> None:
    assert written(journal) == bits(twin.memories)
    assert remembered_by(journal, twin.rules, "marks") == leaf_bits(twin.defended["marks"])


@pytest.mark.thorough
@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize("also", [False, True], ids=["dawn", "two in a row"])
def test_a_restart_after_any_request_loses_no_mark_and_adds_none(also: bool):
    twin, journal = twin_of(marking(also)), held(InProcessJournal())
    for each in SENT:
        assert equal([started(journal, marking(also)).answer(each)], [twin.answer(each)])
        same(journal, twin)
    marks = twin.defended["marks"][1] if also else twin.defended["marks"]
    assert len(marks.y) > 10


@pytest.mark.thorough
@pytest.mark.usefixtures("snapshots")
def test_replicas_that_take_turns_restart_and_take_new_rules_are_one(place: str):
    twin, chance = twin_of(marking()), random.Random(0)
    with opened(place) as one, opened(place) as other:
        held(one)
        replicas = [started(each, marking()) for each in (one, other)]
        for nth, each in enumerate(SENT):
            real = chance.choice(replicas)
            if chance.random() < 0.1:
                real.take_rules({"": marking()})
            if nth == 20:
                Release("acme", alice().client, "bob", "why").carry_out(one)
                twin.memories["standing"].alarmed.zero_()
                twin.level = Level.LOG
            assert equal([real.answer(each)], [twin.answer(each)])
        same(one, twin)


def test_a_marked_answer_writes_the_same_parts_and_as_many_bytes_as_others():
    journal, twin = Noting(), twin_of(marking())
    held(journal)
    real = started(journal, marking())
    marked, sizes = list[bool](), list[dict[str, int]]()
    for each in requests(200, seed=1, tall=0.0, most=1):
        answer = real.answer(each)
        marked.append(not torch.equal(answer.y, twin.model(each.x).y))
        sizes.append({name.partition(" ")[0]: size for name, size in journal.written.items()})
    kinds = [
        {
            tuple(each.items())
            for each, is_marked in zip(sizes, marked, strict=True)
            if is_marked == kind and "watches" not in each
        }
        for kind in (False, True)
    ]
    assert sum(marked) > 30
    assert len(kinds[0]) == 1, "a step each, of one size"
    assert kinds[0] == kinds[1]
    assert sum("watches" in each for each in sizes) < 5, "whole memories come by count and weight"


class Noting(InProcessJournal):
    """Notes how many bytes the last parts had."""

    def append(self, event, remembered=None, others=()):
        if remembered is not None:
            self.written = {name: len(data) for name, data in remembered.parts.items()}
        return super().append(event, remembered, others)


def test_a_defense_that_rules_no_longer_name_keeps_what_its_snapshot_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_memory, "STEPS", 5)
    journal, twin, then = held(InProcessJournal()), twin_of(marking()), dict[str, bytes]()
    real = started(journal, marking())
    for each in SENT[:10]:
        real.answer(each)
        twin.answer(each)
        if not steps(journal):
            then = leaf_bits(twin.defended["marks"])
    real.take_rules({"": Rules(policy(dawn="far"), {"far": Far()})})
    other = twin_of(Rules(policy(dawn="far"), {"far": Far()}))
    for each in SENT[10:20]:
        assert equal([real.answer(each)], [other.answer(each)])
    assert steps(journal) < 10, "there was a snapshot since"
    assert remembered_by(journal, marking(), "marks") == then != leaf_bits(marking().defenses["marks"].fresh())


def test_marks_of_other_detectors_days_are_those_of_the_snapshot(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_memory, "STEPS", 0)
    journal, twin = held(InProcessJournal()), twin_of(marking())
    for number, each in enumerate(SENT[:30]):
        real = started(journal, marking(), made_for=f"model {number // 10}")
        assert equal([real.answer(each)], [twin.answer(each)])
    assert remembered_by(journal, marking(), "marks") == leaf_bits(twin.defended["marks"])


@pytest.mark.parametrize("most", [1, 128])
def test_what_fails_halfway_leaves_nothing_and_what_does_not_is_noted(most: int, monkeypatch: pytest.MonkeyPatch):
    """A detector that fails does not undo a mark, nor a defense that fails a look; half a change is never written."""
    monkeypatch.setattr(client_memory, "STEPS", most)
    rules = Rules(policy(dawn="marks"), {"marks": Hasty()})
    journal, twin = held(InProcessJournal()), twin_of(rules)
    real = started(journal, rules, allow_failures=True)
    for number, each in enumerate(SENT[:16]):
        x = each.x.clone()
        if number % 4 == 1:
            x[0, 0] = BREAKS
            wanted = twin.defend(replace(each, x=x), twin.model(x), "marks")
        elif number % 4 == 2:
            x[0, 1] = BREAKS
            wanted = twin.look(replace(each, x=x))
        else:
            wanted = twin.answer(each)
        assert equal([real.answer(replace(each, x=x))], [wanted])
        same(journal, twin)
        assert steps(journal) <= most
    with pytest.raises(Busy):
        started(journal, rules).answer(replace(SENT[0], x=torch.full((1, WIDTH), BREAKS)))
    same(journal, twin)


@dataclass(frozen=True)
class Hasty(Far):
    """Changes its memory before it fails."""

    def respond(self, x: Batch, reply: Reply, memory: FarMemory) -> Reply:
        if bool((x[:, 1] == BREAKS).any()):
            memory.count += 1_000
        return super().respond(x, reply, memory)


def test_memories_that_an_older_release_wrote_whole_go_on():
    """Its steps do not say which defense answered, and what a defense remembers is as of the last step."""
    journal, rules = held(InProcessJournal()), marking()
    twin, real = twin_of(rules), started(journal, Rules(policy()))
    for each in SENT[:10]:
        real.answer(each)
        twin.answer(each)
    (marks,) = leaf_bits(twin.defended["marks"]).values()
    version = journal.remembered("acme", alice().client).version
    journal.append(Event("acme", alice().client, "level", AT), Remembered(version, {f"{DEFENSE}marks": marks}))
    for each in SENT[10:20]:
        assert equal([started(journal, rules).answer(each)], [twin.answer(each)])
    same(journal, twin)


def steps(journal: Journal) -> int:
    parts = journal.remembered("acme", alice().client).parts
    return sum(name.startswith(STEP) for name in parts) if WATCHES in parts else 0

"""What a gateway does with one request: everything is charged and written down, or nothing is."""

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import pytest
import torch

from gamekeeper.engine.gateway import client_memory
from gamekeeper.engine.gateway import gateway as module
from gamekeeper.engine.gateway.denials import Denials
from gamekeeper.engine.gateway.gateway import Gateway
from gamekeeper.engine.gateway.releases import Release
from gamekeeper.engine.gateway.request import Request
from gamekeeper.engine.gateway.rules import Rules
from gamekeeper.errors import BadConfig, Busy, Denied, JournalError, OracleError
from gamekeeper.policy import Level, Policy, Standing, unpacked
from gamekeeper.service.journal.accounts import Account, Quota
from gamekeeper.service.journal.event import Event, Remembered
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.quotas import Quotas
from gamekeeper.types import Batch, Model, Reply, Task
from tests.engine.gateway.small import (
    AT,
    BREAKS,
    PSEUDONYMS,
    Undisturbed,
    alice,
    bits,
    equal,
    far,
    gateway,
    later,
    policy,
    requests,
    someone,
    victim,
    written,
)

SENT = requests(12, seed=0)
TALL = requests(16, seed=3, tall=1.0, most=1)
ACCOUNT = Account("acme", "tenant", 0, 1e12, 1_000)
QUOTAS = Quotas(tenant=Quota(1_000, 1e12))


def events(journal: Journal, kind: str = "") -> list[Event]:
    return [event for _, event in journal.read("acme") if kind in ("", event.kind)]


def state(journal: Journal) -> object:
    """All that a request could change."""
    return events(journal), journal.remembered("acme", alice().client), journal.used(ACCOUNT)


def test_an_answer_is_in_the_journal_with_hashes_scores_level_policy_and_trace():
    journal = InProcessJournal()
    rules = Rules(policy(Level.SLOW, shadow=True))
    request = replace(SENT[0], trace="f" * 32)
    gateway(journal, rules).answer(request)
    (event,) = events(journal)
    assert (event.kind, event.n, event.at, event.client) == ("answer", len(request.x), request.at, alice().client)
    assert event.inputs == tuple(PSEUDONYMS.hashed("acme", row.numpy().tobytes()) for row in request.x)
    assert event.scores["chain"] == len(request.x)
    assert (event.level, event.policy, event.trace) == ("log", rules.policy.digest, "f" * 32)


def test_an_alarm_is_an_event_with_volume_and_statistics_and_so_is_the_level_that_follows():
    journal, n = InProcessJournal(), alarming(TALL)
    real = gateway(journal, Rules(policy(Level.SLOW, shadow=True)))
    for each in TALL:
        real.answer(each)
    (alarm,), (level,) = events(journal, "alarm"), events(journal, "level")
    x = torch.cat([each.x for each in TALL[:n]])
    again = sum(any(torch.equal(x[i], x[j]) for j in range(i)) for i in range(n))
    wanted = {
        "query": n - again,
        "queries": n,
        "queries per hour": 3_600 * n / (TALL[n - 1].at - AT),
        "input mean": float(x.double().mean()),
        "input sd": float(x.double().std(correction=0)),
        "input low": float(x.min()),
        "input high": float(x.max()),
        "exact repeats": again / n,
    }
    assert {name: alarm.scores[name] for name in wanted} == pytest.approx(wanted)
    assert 0 < alarm.scores["p"] < 0.01
    assert alarm.at == level.at == TALL[n - 1].at
    assert level.level == alarm.level == "slow"
    assert level.reason == "tall (tall): log -> slow; only watched, since the policy is in shadow"
    assert [event.kind for event in events(journal)][n - 1 : n + 3] == ["answer", "alarm", "level", "answer"]


def test_a_policy_in_shadow_changes_no_bit_and_holds_nobody():
    journal, twin = InProcessJournal(), Undisturbed()
    real = gateway(journal, far(Level.REFUSE, shadow=True))
    assert equal([real.answer(each) for each in TALL], [twin.answer(each) for each in TALL])
    assert standing_of(journal).level == Level.REFUSE
    assert written(journal) == bits(twin.memories)


def test_a_defense_alters_answers_from_the_request_on_that_raised_the_alarm(journal: Journal):
    rules = far()
    twin, real = Undisturbed(rules=rules), gateway(journal, rules, clock=lambda: 1e12)
    wanted = [twin.answer(each) for each in TALL]
    answers = []
    for each in TALL:
        real.clock = lambda each=each: each.at
        answers.append(real.answer(each))
    assert equal(answers, wanted)
    clean = [twin.model(each.x) for each in TALL]
    before = alarming(TALL) - 1
    assert equal(answers[:before], clean[:before])
    assert not any(torch.equal(a.y, b.y) for a, b in zip(answers[before:], clean[before:], strict=True))


def test_a_defense_s_memory_goes_on_after_a_restart():
    rules, journal = far(), InProcessJournal()
    twin = Undisturbed(rules=rules)
    for each in TALL:
        real = gateway(journal, rules, clock=lambda each=each: each.at)
        assert equal([real.answer(each)], [twin.answer(each)])
    assert twin.defended["far"].count > 5


def test_whoever_is_refused_costs_no_pass_of_the_model_until_they_are_released():
    passes: list[int] = []
    journal = InProcessJournal()
    real = gateway(journal, Rules(policy(Level.REFUSE)), QUOTAS, seen=lambda x: passes.append(len(x)))
    outcomes, query = [outcome(real, each) for each in TALL], alarming(TALL)
    assert outcomes == ["answered"] * (query - 1) + ["denied for good"] * (len(TALL) - query + 1)
    assert sum(passes) == query
    assert journal.used(ACCOUNT) == query - 1 + 1, "what was answered, and a share of 1 that is held"
    first, *rest = events(journal, "denied")
    assert (first.level, first.n) == ("refuse", 1)
    assert [event.kind for event in events(journal)][query - 1 : query + 2] == ["denied", "alarm", "level"]
    assert len(rest) <= 1, "in a minute, one event for all that follow"
    assert (
        outcome(gateway(journal, Rules(policy(Level.REFUSE)), seen=lambda x: passes.append(len(x))), TALL[-1])
        == "denied for good"
    )
    assert sum(passes) == query
    release(journal)
    stale(real)
    assert outcome(real, SENT[0]) == "answered"
    assert sum(passes) == query + len(SENT[0].x)


def test_a_released_client_can_raise_the_same_alarm_again_and_only_by_new_queries():
    journal, rules = InProcessJournal(), Rules(policy(Level.REFUSE))
    one, other = gateway(journal, rules), gateway(journal, rules)
    sent = iter(requests(200, seed=5, tall=1.0, most=1))
    while "denied for good" not in (outcome(one, next(sent)), outcome(other, next(sent))):
        pass
    first = standing_of(journal)
    release(journal)
    assert standing_of(journal) == Standing(first.alarms, first.alarms, Level.LOG)
    for each in (one, other):
        stale(each)
    honest = requests(10, seed=6, tall=0.0, most=1)
    assert {outcome(gate, each) for gate, each in zip([one, other] * 5, honest, strict=True)} == {"answered"}
    while "denied for good" not in (outcome(one, next(sent)), outcome(other, next(sent))):
        pass
    again = standing_of(journal)
    assert again.alarms["tall"] > first.alarms["tall"]
    assert again.level == Level.REFUSE
    assert len(events(journal, "alarm")) == 2


def test_a_slow_client_has_exactly_so_many_queries_a_second_at_all_replicas_together():
    journal, rules, now = InProcessJournal(), Rules(policy(Level.SLOW)), [AT]
    replicas = [gateway(journal, rules, clock=lambda: now[0]) for _ in range(2)]
    for each in TALL:
        now[0] = each.at
        replicas[0].answer(each)
    start, answers = now[0] + 100, []
    for tick in range(160):  # every 1/8 second for 20 seconds, at 2 a second
        now[0] = start + tick / 8
        request = replace(TALL[tick % 16], at=now[0], x=torch.rand(1 + tick % 3, 6))
        try:
            replicas[tick % 2].answer(request)
        except Denied:
            pass
        else:
            answers.append((tick / 8, len(request.x)))
    free = 0.0
    for at, n in answers:
        assert at >= free, "too early"
        assert at - free <= 1 / 8, "made to wait for longer than needed"
        free = max(at, free) + n / 2


def test_what_is_too_fast_is_told_when_to_come_again_and_is_not_charged():
    journal, now = InProcessJournal(), [AT]
    real = gateway(journal, Rules(policy(Level.SLOW)), QUOTAS, clock=lambda: now[0])
    for each in TALL:
        now[0] = each.at
        real.answer(each)
    used, memories = journal.used(ACCOUNT), journal.remembered("acme", alice().client)
    with pytest.raises(Denied, match="may send 2 queries a second") as denied:
        real.answer(later(TALL[-1], 0.25))
    assert denied.value.until == now[0] + 0.5
    now[0] += 0.5
    assert journal.remembered("acme", alice().client) == memories
    real.answer(later(TALL[-1], 0.5))
    assert journal.used(ACCOUNT) == used + 1


def test_rows_without_an_answer_fail_the_request_and_cost_nothing(journal: Journal):
    def half(reply: Reply) -> Reply:
        y = reply.y.clone()
        y[len(y) // 2] = torch.nan
        return Reply(y)

    model = victim()
    real = gateway(journal, quotas=QUOTAS, model=model)
    real.answer(SENT[0])
    before, good = state(journal)[:2], real.victim
    real.victim = Changed(good, half)
    with pytest.raises(OracleError, match=f"answered {len(SENT[1].x) - 1} of {len(SENT[1].x)} inputs"):
        real.answer(SENT[1])
    assert state(journal)[:2] == before
    real.victim = good
    twin = Undisturbed()
    twin.answer(SENT[0])
    assert equal([real.answer(SENT[1])], [twin.answer(SENT[1])])
    real.close()
    assert journal.used(ACCOUNT) == len(SENT[0].x) + len(SENT[1].x)


@pytest.mark.parametrize("written_all_the_same", [False, True])
def test_wherever_the_journal_fails_nothing_is_charged_and_the_next_request_is_right(written_all_the_same: bool):
    for place in range(0, len(SENT), 4):
        journal = Failing(place, written_all_the_same)
        real, twin = gateway(journal, quotas=QUOTAS), Undisturbed()
        for number, each in enumerate(SENT[: place + 2]):
            if number == place:
                with pytest.raises(JournalError):
                    real.answer(each)
                if not written_all_the_same:
                    continue
                twin.answer(each)
            else:
                assert equal([real.answer(each)], [twin.answer(each)])
        assert written(journal) == bits(twin.memories)
        real.close()
        charged = [len(each.x) for number, each in enumerate(SENT[: place + 2]) if number != place]
        assert journal.used(ACCOUNT) == sum(charged)


def test_a_deadline_that_has_passed_leaves_nothing_behind():
    journal = InProcessJournal()
    real, good = gateway(journal, quotas=QUOTAS), victim()
    real.answer(SENT[0])
    before = state(journal)
    with pytest.raises(Busy, match="before its deadline"):
        real.answer(replace(SENT[1], deadline=time.monotonic() - 1))
    real.victim = Changed(real.victim, lambda reply: (time.sleep(0.06), reply)[1])
    with pytest.raises(Busy, match="before its deadline"):
        real.answer(replace(SENT[1], deadline=time.monotonic() + 0.05))
    real.close()
    assert state(journal)[:2] == before[:2]
    assert journal.used(ACCOUNT) == len(SENT[0].x)
    twin = Undisturbed(good)
    assert equal([twin.answer(SENT[0]), twin.answer(SENT[1])][1:], [real.answer(SENT[1])])
    assert written(journal) == bits(twin.memories)


def test_a_request_does_not_wait_for_the_journal_beyond_its_deadline():
    journal, twin = Slow(), Undisturbed()
    real = gateway(journal)
    real.answer(SENT[0])
    twin.answer(SENT[0])
    journal.waiting = True
    start = time.monotonic()
    with pytest.raises(Busy, match="before its deadline"):
        real.answer(replace(SENT[1], deadline=start + 0.3))
    assert time.monotonic() - start < 5
    journal.waiting = False
    assert equal([real.answer(SENT[2])], [twin.answer(SENT[2])])
    assert written(journal) == bits(twin.memories)


def test_a_request_does_not_wait_for_the_client_s_other_requests_beyond_its_deadline():
    real = gateway(InProcessJournal())
    real.answer(SENT[0])
    with real._cache.hold(("acme", alice().client)), pytest.raises(Busy, match="before its deadline"):
        real.answer(replace(SENT[1], deadline=time.monotonic() + 0.05))
    real.answer(SENT[1])


@pytest.mark.parametrize("broken", ["detector", "defense"])
def test_where_something_fails_nobody_is_answered_unless_failures_are_allowed(
    broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(client_memory, "STEPS", 1)  # a memory that was spoilt would be in the next snapshot
    journal, twin = InProcessJournal(), Undisturbed(rules=far())
    strict = gateway(journal, twin.rules, QUOTAS)
    lenient = gateway(journal, twin.rules, QUOTAS, allow_failures=True)
    for each in TALL[:10]:
        strict.clock = lenient.clock = lambda each=each: each.at
        assert equal([strict.answer(each)], [twin.answer(each)])
    before = state(journal)
    x = torch.full((1, 6), 0.5)
    x[0, 0 if broken == "detector" else 1] = BREAKS
    bad = replace(TALL[10], x=x)
    strict.clock = lenient.clock = lambda: bad.at
    with pytest.raises(Busy, match="could not be examined"):
        strict.answer(bad)
    (line,) = caplog.messages  # the client hears nothing of it, so the owner must
    assert re.fullmatch(rf"(a|the) {broken}( far)? failed: ZeroDivisionError in small.py:\d+", line)
    assert state(journal)[:2] == before[:2]
    given, event = lenient.answer(bad), events(journal)[-1]
    if broken == "detector":
        assert event.reason == "a detector failed: ZeroDivisionError"
        wanted = twin.defend(bad, twin.model(bad.x), "far")  # the client is held all the same
    else:
        assert event.reason == "the defense far failed: ZeroDivisionError"
        wanted = twin.look(bad)
    assert equal([given], [wanted])
    for number, each in enumerate(TALL[11:]):
        strict.clock = lenient.clock = lambda each=each: each.at
        assert equal([(lenient, strict)[number % 2].answer(each)], [twin.answer(each)])
    assert written(journal) == bits(twin.memories)


@pytest.mark.parametrize(
    ("where", "method"), [(client_memory.ClientMemory, "show"), (client_memory.ClientMemory, "defended")]
)
def test_a_detector_or_defense_for_which_there_is_no_time_is_never_passed_over(
    where: type, method: str, monkeypatch: pytest.MonkeyPatch
):
    def crowded(*_: object) -> Reply:
        raise Busy("64 requests wait for the model")

    journal = InProcessJournal()
    real = gateway(journal, far(), QUOTAS, allow_failures=True)
    for each in TALL[:10]:
        real.clock = lambda each=each: each.at
        real.answer(each)
    before, real.clock = state(journal), lambda: TALL[10].at
    monkeypatch.setattr(where, method, crowded)
    with pytest.raises(Busy, match="wait for the model"):
        real.answer(TALL[10])
    assert state(journal)[:2] == before[:2]


def test_a_flood_of_denied_requests_writes_a_row_a_minute_and_loses_no_count():
    journal = InProcessJournal()
    real = gateway(journal, quotas=Quotas(key=Quota(0, 1e12)), clock=lambda: AT + 300)
    for tick in range(300):
        for who in (alice(), someone(1)):
            with pytest.raises(Denied):
                real.answer(replace(SENT[0], who=who, at=AT + tick))
    real.close()
    rows = events(journal, "denied")
    assert len(rows) <= 2 * 6
    for client in (alice().client, someone(1).client):
        mine = [event for event in rows if event.client == client]
        assert sum(event.n for event in mine) == 300 * len(SENT[0].x)
        assert sum(event.scores["requests"] for event in mine) == 300


def test_denials_that_the_journal_does_not_take_are_written_later():
    journal = Failing(0, False)
    denials = Denials(journal)
    denied = Event("acme", "c", "denied", AT, n=2)
    denials.note(denied)
    denials.note(replace(denied, at=AT + 1))
    assert events(journal) == []
    denials.note(replace(denied, at=AT + 60))
    (event,) = events(journal)
    assert (event.n, event.scores["requests"]) == (6, 3)


def test_a_denial_that_is_written_late_does_not_undo_a_release():
    journal = InProcessJournal()
    denials = Denials(journal)
    denials.note(Event("acme", "c", "denied", AT, level="refuse"))
    assert journal.clients("acme")[0].level == "refuse"
    denials.note(Event("acme", "c", "denied", AT + 1, level="refuse"))
    Release("acme", "c", "ann", "our own").carry_out(journal, lambda: AT + 2)
    denials.flush(AT + 3)
    assert [event.kind for event in events(journal)] == ["denied", "release", "denied"]
    assert journal.clients("acme")[0].level == "log"


def test_new_rules_hold_from_the_next_request_on():
    journal = InProcessJournal()
    real = gateway(journal, Rules(policy(Level.REFUSE, shadow=True)))
    for each in TALL:
        real.answer(each)
    real.take_rules({"": Rules(policy(Level.REFUSE)), "rival": Rules()})
    assert outcome(real, SENT[0]) == "denied for good"
    assert outcome(real, replace(SENT[0], who=alice("rival"))) == "answered"
    with pytest.raises(BadConfig, match='rules under ""'):
        real.take_rules({"acme": Rules()})
    with pytest.raises(BadConfig, match="'far'"):
        Rules(Policy(defenses={Level.DEFENSE: "far"}))


def test_tenants_have_rules_of_their_own_and_share_nothing():
    journal = InProcessJournal()
    real = gateway(journal, Rules(policy(Level.REFUSE)))
    real.take_rules({"": Rules(), "acme": Rules(policy(Level.REFUSE))})
    outcomes = {outcome(real, each) for each in TALL}
    assert outcomes == {"answered", "denied for good"}
    assert {outcome(real, replace(each, who=alice("rival"))) for each in TALL} == {"answered"}


def standing_of(journal: Journal) -> Standing:
    return unpacked(journal.remembered("acme", alice().client).parts["policy"])


def release(journal: Journal) -> None:
    Release("acme", alice().client, "a person", "it was a mistake").carry_out(journal, lambda: AT)


def alarming(sent: Sequence[Request]) -> int:
    """The number of the request, from 1, that raises the alarm."""
    twin = Undisturbed()
    for number, each in enumerate(sent, 1):
        twin.answer(each)
        if twin.lookout.alarms(twin.memories):
            return number
    raise AssertionError("nobody was alarmed")


def outcome(real: Gateway, request: Request) -> str:
    try:
        real.answer(request)
    except Denied as denied:
        return "denied for good" if denied.until is None else "denied for now"
    return "answered"


def stale(real: Gateway) -> None:
    """As if a second had passed since the gateway looked into the journal."""
    for held in real._cache._held.values():
        if held.known is not None:
            held.known.checked -= 2 * module.FRESH


@dataclass(frozen=True, eq=False)
class Changed:
    """A model whose replies are changed on the way."""

    model: Model
    change: Callable[[Reply], Reply]

    @property
    def task(self) -> Task:
        return self.model.task

    def __call__(self, x: Batch, /) -> Reply:
        return self.change(self.model(x))


class Failing(InProcessJournal):
    """Fails to append one event, or says so although it has."""

    def __init__(self, place: int, written_all_the_same: bool) -> None:
        super().__init__()
        self.place, self.written_all_the_same, self.count = place, written_all_the_same, 0

    def append(self, event: Event, remembered: Remembered | None = None, others: Sequence[Event] = ()) -> int:
        self.count += 1
        failing = self.count == self.place + 1
        if failing and not self.written_all_the_same:
            raise JournalError("the disk is full")
        number = super().append(event, remembered, others)
        if failing:
            raise JournalError("the disk is gone")
        return number


class Slow(InProcessJournal):
    """Takes what is submitted, and does not come round to it."""

    waiting = False

    def submit(self, event: Event, remembered: Remembered | None = None, others: Sequence[Event] = ()) -> "Future[int]":
        return Future() if self.waiting else super().submit(event, remembered, others)

"""What every journal does, in whatever it is kept."""

import math
from dataclasses import replace

import pytest

from gamekeeper.errors import BadConfig, Denied, JournalError
from gamekeeper.service.journal.accounts import Account, Charge, Quota
from gamekeeper.service.journal.event import Event, Remembered, Seen, Stale
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.journal.keyring import new_key

AT = 1.7e9
ODD = Event(
    "acme",
    "c1",
    "answer",
    AT + 0.1,
    n=3,
    inputs=(b"\x00" * 32, b"\xff" * 32, b""),
    scores={"prada": math.nan, "mmd": math.inf, "low": -math.inf, "share": 0.1 + 0.2, "zero": -0.0},
    level="slow",
    policy="a" * 64,
    reason="two of them: 'prada' ? %s \x00 \ud800 ü",
    trace="00-4bf9",
)


def account(holder: str = "key 1", limit: int = 10, tenant: str = "acme", window: int = 0) -> Account:
    return Account(tenant, holder, window, 100.0 * (window + 1), limit)


def events(journal: Journal, tenant: str = "acme") -> list[Event]:
    return [event for _, event in journal.read(tenant)]


def answer(client: str = "c1", at: float = AT, tenant: str = "acme", level: str = "") -> Event:
    return Event(tenant, client, "answer", at, n=1, level=level)


def test_an_event_comes_back_as_it_was(journal: Journal):
    journal.append(ODD)
    (back,) = events(journal)
    assert math.isnan(back.scores["prada"])
    assert math.copysign(1, back.scores["zero"]) == -1
    same = {**ODD.scores, "prada": 0.0}
    reason = {ODD.reason, "two of them: 'prada' ? %s \x00 \\ud800 ü"}  # half a character cannot be stored as it is
    assert replace(back, scores={**back.scores, "prada": 0.0}, reason="") == replace(ODD, scores=same, reason="")
    assert back.reason in reason


def test_numbers_grow_and_reading_goes_on_where_it_stopped(journal: Journal):
    numbers = [journal.append(answer(f"c{each}")) for each in range(5)]
    assert numbers == sorted(set(numbers))
    assert [seq for seq, _ in journal.read("acme", since=numbers[2])] == numbers[3:]
    assert list(journal.read("acme", since=numbers[-1])) == []


def test_an_event_under_its_id_is_written_once_and_so_are_its_memories(journal: Journal):
    event = answer()
    first = journal.append(event, Remembered(0, {"prada": b"one"}))
    again = journal.append(event, Remembered(first, {"prada": b"two"}))
    without = journal.append(event)
    assert first == again == without
    assert len(events(journal)) == 1
    assert journal.remembered("acme", "c1") == Remembered(first, {"prada": b"one"})


def test_memories_are_those_of_the_last_event_and_parts_that_are_not_named_stay(journal: Journal):
    assert journal.remembered("acme", "c1") == Remembered(0, {})
    one = journal.append(answer(), Remembered(0, {"prada": b"\x00\xff", "mmd": b""}))
    two = journal.append(answer(), Remembered(one, {"mmd": b"2"}))
    journal.append(answer())  # an event that leaves memories alone
    assert journal.remembered("acme", "c1") == Remembered(two, {"prada": b"\x00\xff", "mmd": b"2"})


def test_memories_computed_from_older_ones_are_refused_and_nothing_is_written(journal: Journal):
    one = journal.append(answer(), Remembered(0, {"prada": b"1"}))
    journal.append(answer(), Remembered(one, {"prada": b"2"}))
    before = events(journal), journal.remembered("acme", "c1")
    for old in (0, one, one + 100):
        with pytest.raises(Stale):
            journal.append(answer(), Remembered(old, {"prada": b"lost"}))
    assert (events(journal), journal.remembered("acme", "c1")) == before


def test_parts_are_erased_with_the_event_that_no_longer_needs_them(journal: Journal):
    one = journal.append(answer(), Remembered(0, {"prada": b"1", "step 0": b"2", "step 1": b"3"}))
    with pytest.raises(Stale):
        journal.append(answer(), Remembered(one + 1, {}, ("step 0",)))
    two = journal.append(answer(), Remembered(one, {"step 1": b"new"}, ("step 0", "step 1", "step 7")))
    assert journal.remembered("acme", "c1") == Remembered(two, {"prada": b"1", "step 1": b"new"})


def test_some_parts_can_be_read_without_the_others(journal: Journal):
    assert journal.remembered("acme", "c1", ()) == Remembered(0, {})
    one = journal.append(answer(), Remembered(0, {"prada": b"1", "mmd": b"2", "policy": b"3"}))
    assert journal.remembered("acme", "c1", ()) == Remembered(one, {})
    assert journal.remembered("acme", "c1", ("mmd", "policy", "none")) == Remembered(one, {"mmd": b"2", "policy": b"3"})


def test_what_happens_to_a_client_at_one_moment_is_written_together(journal: Journal):
    event, others = answer(), [replace(answer(level="slow"), kind="level"), replace(answer(), kind="alarm")]
    one = journal.append(event, Remembered(0, {"prada": b"1"}), others)
    assert journal.append(event, None, others) == one, "and once"
    assert events(journal) == [event, *others]
    assert journal.remembered("acme", "c1").version == one
    with pytest.raises(Stale):
        journal.append(answer(), Remembered(one + 1, {}), others)
    assert len(events(journal)) == 3


def test_tenants_share_nothing_even_if_clients_have_one_name(journal: Journal):
    one = journal.append(answer(), Remembered(0, {"prada": b"acme's"}))
    journal.append(answer(tenant="rival"), Remembered(0, {"prada": b"rival's"}))
    journal.take([Charge(account(limit=10), 7, 7)])
    journal.take([Charge(account(limit=10, tenant="rival"), 7, 7)])
    assert journal.remembered("acme", "c1") == Remembered(one, {"prada": b"acme's"})
    assert [event.tenant for event in events(journal, "rival")] == ["rival"]
    journal.forget("rival", "c1", AT)
    journal.prune("rival", math.inf, AT)
    assert journal.remembered("acme", "c1") == Remembered(one, {"prada": b"acme's"})
    assert len(events(journal)) == 1
    assert journal.used(account()) == 7


def test_an_account_is_never_overdrawn_and_all_accounts_pay_or_none(journal: Journal):
    key, tenant = account("key 1", 10), account("tenant", 12)
    assert journal.take([Charge(key, 1, 6), Charge(tenant, 1, 100)]) == (6, 12)
    with pytest.raises(Denied, match=r"quota of the tenant \(12 queries\)") as denied:
        journal.take([Charge(key, 1, 1), Charge(tenant, 1, 1)])
    assert denied.value.until == 100.0
    assert (journal.used(key), journal.used(tenant)) == (6, 12)
    with pytest.raises(Denied, match=r"quota of this key \(10 queries\)"):
        journal.take([Charge(key, 5, 9)])
    journal.give(tenant, 2)
    assert journal.take([Charge(key, 4, 4), Charge(tenant, 1, 4)]) == (4, 2)
    assert (journal.used(key), journal.used(tenant)) == (10, 12)
    assert journal.take([Charge(account("key 1", 10, window=1), 10, 10)]) == (10,), "another window begins at 0"


def test_a_quota_that_was_lowered_grants_nothing_more(journal: Journal):
    journal.take([Charge(account(limit=10), 8, 8)])
    with pytest.raises(Denied):
        journal.take([Charge(account(limit=5), 1, 1)])
    assert journal.take([Charge(account(limit=9), 0, 3)]) == (1,)


def test_windows_begin_at_multiples_of_their_length():
    day = Quota(100, 86_400.0)
    assert day.window(86_399.9) == (0, 86_400.0)
    assert day.window(86_400.0) == (1, 172_800.0)
    assert Quota(5, math.inf).window(AT) == (0, math.inf)


def test_a_client_who_is_forgotten_leaves_one_event_and_nothing_else(journal: Journal):
    version = 0
    for part in (b"1", b"2", b"3"):
        version = journal.append(answer(), Remembered(version, {"prada": part}))
    journal.append(answer("c2"), Remembered(0, {"prada": b"other"}))
    assert journal.forget("acme", "c1", AT + 5) == 3
    assert [(event.client, event.kind) for event in events(journal)] == [("c2", "answer"), ("c1", "forget")]
    assert journal.remembered("acme", "c1") == Remembered(0, {})
    assert journal.remembered("acme", "c2").parts == {"prada": b"other"}
    with pytest.raises(Stale):  # a request that was under way remembers what should be forgotten
        journal.append(answer(), Remembered(version, {"prada": b"4"}))
    journal.append(answer(), Remembered(0, {"prada": b"new"}))
    with pytest.raises(Stale):
        journal.append(answer(), Remembered(version, {"prada": b"4"}))
    assert journal.forget("acme", "nobody", AT) == 0


def test_old_events_are_erased_with_the_memories_of_clients_who_did_not_come_again(journal: Journal):
    journal.append(answer("gone", AT), Remembered(0, {"prada": b"1", "policy": b"p"}))
    held = journal.append(answer("held", AT, level="refuse"), Remembered(0, {"prada": b"1", "policy": b"p"}))
    journal.append(answer("held", AT))  # says nothing of the level
    stays = journal.append(answer("stays", AT), Remembered(0, {"prada": b"1"}))
    journal.append(answer("stays", AT + 100))
    journal.take([Charge(account(), 3, 3)])
    journal.take([Charge(account(window=10**8), 3, 3)])
    assert journal.prune("acme", AT + 50, AT + 200) == 4
    left = events(journal)
    assert [(event.client, event.kind) for event in left] == [("stays", "answer"), ("", "prune")]
    assert left[-1].n == 4
    assert journal.remembered("acme", "gone") == Remembered(0, {})
    assert journal.remembered("acme", "held") == Remembered(-held, {"policy": b"p"})
    assert journal.remembered("acme", "stays") == Remembered(stays, {"prada": b"1"})
    assert (journal.used(account()), journal.used(account(window=10**8))) == (0, 3)
    assert journal.prune("acme", AT + 50, AT + 300) == 0
    assert len(events(journal)) == 2


def test_clients_are_listed_by_tenant_and_who_is_held_outlives_the_events(journal: Journal):
    assert journal.clients("acme") == ()
    for client in ("b", "B", "a"):
        journal.append(answer(client, AT, level="refuse" if client == "b" else ""), Remembered(0, {"policy": b"p"}))
    journal.append(answer("b", AT + 1))
    journal.append(answer("c", AT, "rival"))
    assert journal.clients("acme") == (Seen("B", "", AT), Seen("a", "", AT), Seen("b", "refuse", AT + 1))
    journal.prune("acme", AT + 50, AT + 60)
    assert journal.clients("acme") == (Seen("b", "refuse", AT + 1),)
    journal.forget("acme", "b", AT + 70)
    assert journal.clients("acme") == ()
    assert [each.client for each in journal.clients("rival")] == ["c"]


def test_keys_are_stored_replaced_and_listed_by_tenant_with_an_event_each(journal: Journal):
    pairs = [new_key(tenant, name, AT) for tenant, name in (("acme", "a"), ("acme", "b"), ("rival", "a"))]
    for _, record in pairs:
        journal.put_key(record, Event(record.tenant, "", "key", AT, reason=f"key {record.id} issued"))
    record = replace(pairs[0][1], until=AT + 1)
    journal.put_key(record, Event("acme", "", "key", AT, reason="revoked"))
    assert journal.key(record.id) == record
    assert journal.key("0" * 16) is None
    assert journal.keys("acme") == tuple(sorted([record, pairs[1][1]], key=lambda each: each.id))
    assert [event.kind for event in events(journal)] == ["key"] * 3


def test_a_journal_that_was_closed_says_so(journal: Journal):
    journal.append(answer())
    journal.close()
    journal.close()
    for call in (lambda: journal.append(answer()), lambda: journal.take([]), lambda: journal.forget("acme", "c1", AT)):
        with pytest.raises(JournalError, match="closed"):
            call()


@pytest.mark.parametrize("name", ["", "a\x00b", "ü", "a\n", "x" * 129])
def test_names_that_a_database_could_mistake_are_refused(name: str):
    for make in (lambda: answer(tenant=name), lambda: account(tenant=name), lambda: account(holder=name)):
        with pytest.raises(BadConfig, match="printable ASCII"):
            make()


def test_an_event_without_a_time_is_refused():
    for wrong in ({"at": math.nan}, {"at": math.inf}, {"n": -1}, {"id": b"short"}):
        with pytest.raises(BadConfig, match="an event needs"):
            replace(answer(), **wrong)

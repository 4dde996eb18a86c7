"""Quotas: what is granted is never more than the quota, and what is not used comes back."""

import math
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.errors import BadConfig, Denied
from gamekeeper.service.journal.accounts import Account, Quota
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.principals import Principal
from gamekeeper.service.quotas import Quotas, Reservations

DAY = 86_400.0
ALICE, BOB, CAROL = (
    Principal("acme", "alice", "home"),
    Principal("acme", "bob", "home"),
    Principal("acme", "carol", "work"),
)
EVE = Principal("rival", "alice", "home")


def reservations(quotas: Quotas, share: int = 1) -> Reservations:
    return Reservations(InProcessJournal(), quotas, share)


def used(at: Reservations, holder: str, tenant: str = "acme", window: int = 0) -> int:
    return at.journal.used(Account(tenant, holder, window, 0.0, 0))


def test_every_level_pays_and_each_can_be_the_one_that_says_no():
    bank = reservations(Quotas(key=Quota(5, DAY), tenant=Quota(9, DAY), network=Quota(7, DAY)))
    bank.reserve(ALICE, 5, 0.0)
    with pytest.raises(Denied, match=r"quota of this key \(5 queries\)") as denied:
        bank.reserve(ALICE, 1, 0.0)
    assert denied.value.until == DAY
    bank.reserve(BOB, 2, 0.0)
    with pytest.raises(Denied, match=r"quota of this network \(7 queries\)"):
        bank.reserve(BOB, 1, 0.0)
    bank.reserve(CAROL, 2, 0.0)
    with pytest.raises(Denied, match=r"quota of the tenant \(9 queries\)"):
        bank.reserve(CAROL, 1, 0.0)
    bank.reserve(EVE, 5, 0.0)  # another tenant, though of the same name and network
    holders = {"key alice": 5, "key bob": 2, "key carol": 2, "network home": 7, "network work": 2, "tenant": 9}
    assert {holder: used(bank, holder) for holder in holders} == holders


def test_a_request_is_granted_whole_or_not_at_all():
    bank = reservations(Quotas(key=Quota(5, DAY), tenant=Quota(100, DAY)))
    with pytest.raises(Denied):
        bank.reserve(ALICE, 6, 0.0)
    assert (used(bank, "key alice"), used(bank, "tenant")) == (0, 0)
    bank.reserve(ALICE, 5, 0.0)
    bank.reserve(ALICE, 0, 0.0)


def test_what_was_not_answered_is_given_back_once():
    bank = reservations(Quotas(key=Quota(5, DAY)))
    lease = bank.reserve(ALICE, 5, 0.0)
    lease.give_back()
    lease.give_back()
    with pytest.raises(ZeroDivisionError), bank.reserve(ALICE, 5, 0.0):
        raise ZeroDivisionError
    with bank.reserve(ALICE, 5, 0.0):
        pass
    with pytest.raises(Denied):
        bank.reserve(ALICE, 1, 0.0)


def test_a_new_window_is_a_new_quota():
    bank = reservations(Quotas(key=Quota(5, DAY)))
    bank.reserve(ALICE, 5, DAY - 0.1)
    bank.reserve(ALICE, 5, DAY)
    with pytest.raises(Denied) as denied:
        bank.reserve(ALICE, 1, 2 * DAY - 0.1)
    assert denied.value.until == 2 * DAY
    ever = reservations(Quotas(key=Quota(5, math.inf)))
    ever.reserve(ALICE, 5, 0.0)
    with pytest.raises(Denied):
        ever.reserve(ALICE, 1, 1e12)


def test_most_requests_ask_nobody_and_what_is_held_comes_back_when_the_replica_closes():
    bank = reservations(Quotas(key=Quota(10_000, DAY)), share=64)
    bank.reserve(ALICE, 1, 0.0)
    assert used(bank, "key alice") == 64
    bank.journal.close()  # nothing more can be taken
    for _ in range(63):
        bank.reserve(ALICE, 1, 0.0)
    other = reservations(Quotas(key=Quota(10_000, DAY)), share=64)
    other.reserve(ALICE, 3, 0.0)
    other.close()
    assert used(other, "key alice") == 3


def test_a_share_is_a_sixteenth_of_a_small_quota_so_that_other_replicas_have_some():
    bank = reservations(Quotas(key=Quota(160, DAY)), share=64)
    bank.reserve(ALICE, 1, 0.0)
    assert used(bank, "key alice") == 10
    tiny = reservations(Quotas(key=Quota(2, DAY)), share=64)
    tiny.reserve(ALICE, 1, 0.0)
    assert used(tiny, "key alice") == 1


def test_without_quotas_nothing_is_counted():
    bank = reservations(Quotas())
    bank.reserve(ALICE, 10**9, 0.0)
    assert bank.quotas.accounts(ALICE, 0.0) == ()


@pytest.mark.parametrize(("queries", "seconds"), [(-1, 1.0), (1, 0.0), (1, -1.0), (1, math.nan)])
def test_quotas_that_make_no_sense_are_refused(queries: int, seconds: float):
    with pytest.raises(BadConfig, match="a quota is 0 or more queries"):
        Quota(queries, seconds)


steps = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0, 1, 2]), st.integers(0, 4), st.booleans()), max_size=40
)


@settings(max_examples=50)
@given(steps, st.integers(0, 20), st.integers(0, 30), st.integers(1, 8))
def test_no_history_of_two_replicas_spends_more_than_any_quota(history, key: int, tenant: int, share: int):
    journal = InProcessJournal()
    quotas = Quotas(key=Quota(key, DAY), tenant=Quota(tenant, DAY), network=Quota(12, DAY))
    replicas = [Reservations(journal, quotas, share) for _ in range(2)]
    spent = dict.fromkeys((ALICE, BOB, CAROL), 0)
    for replica, who, n, answered in history:
        principal = (ALICE, BOB, CAROL)[who]
        try:
            lease = replicas[replica].reserve(principal, n, 0.0)
        except Denied:
            continue
        if answered:
            spent[principal] += n
        else:
            lease.give_back()
    assert max(spent.values()) <= key
    assert sum(spent.values()) <= tenant
    assert spent[ALICE] + spent[BOB] <= 12
    for each in replicas:
        each.close()
    assert journal.used(Account("acme", "tenant", 0, 0.0, 0)) == sum(spent.values())


def test_threads_of_one_replica_spend_the_quota_to_the_last_query():
    bank, granted = reservations(Quotas(key=Quota(1_000, DAY), tenant=Quota(1_000, DAY)), share=16), []

    def spend() -> None:
        while True:
            try:
                bank.reserve(ALICE, 1, 0.0)
            except Denied:
                return
            granted.append(1)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    bank.close()
    assert len(granted) == used(bank, "key alice") <= 1_000
    assert len(granted) > 1_000 - 16

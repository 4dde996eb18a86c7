"""Who is asking: keys that are shown once, and names that nobody can guess back."""

import secrets
from pathlib import Path

import pytest

from gamekeeper.errors import BadConfig, Denied
from gamekeeper.keys import VARIABLE, make_key, read_key, service_secret
from gamekeeper.service.journal import keyring
from gamekeeper.service.journal.database_journal import open_journal
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.journal.keyring import KEY
from gamekeeper.service.principals import ELSEWHERE, REFUSED, Principals, Pseudonyms, network

AT = 1.7e9
SECRET = bytes(range(32))


@pytest.fixture
def principals() -> Principals:
    return Principals(InProcessJournal(), Pseudonyms(SECRET), fresh=0.0)


def public(text: str) -> str:
    return text.split("_")[1]


def refused(principals: Principals, text: str, at: float = AT) -> None:
    with pytest.raises(Denied) as error:
        principals.principal(text, "192.0.2.1", at)
    assert (str(error.value), error.value.until) == (REFUSED, None)


def test_a_key_says_who_sends_it_and_nothing_near_it_does(principals: Principals):
    text = principals.issue("acme", "alice", AT)
    assert KEY.fullmatch(text)
    who = principals.principal(text, "192.0.2.1", AT)
    assert who == principals.principal(text, "192.0.2.1", AT + 1e9)
    assert who.tenant == "acme"
    other = principals.issue("acme", "bob", AT)
    mixed = f"gk_{public(text)}_{other.split('_')[2]}"
    flipped = text[:-1] + ("0" if text[-1] != "0" else "1")
    for wrong in ("", "gk_", text[:-1], text + "0", text.upper(), flipped, mixed, f" {text}", text + "\n", "ü" * 84):
        refused(principals, wrong)


def test_keys_of_one_account_are_one_client_and_of_other_accounts_or_tenants_are_not(principals: Principals):
    names = [("acme", "alice"), ("acme", "bob"), ("rival", "alice")]
    clients = [principals.principal(principals.issue(*name, AT), "192.0.2.1", AT).client for name in names]
    assert len(set(clients)) == 3
    again = principals.principal(principals.issue("acme", "alice", AT), "192.0.2.1", AT)
    assert again.client == clients[0]
    other = Principals(InProcessJournal(), Pseudonyms(bytes(32)))
    assert other.principal(other.issue("acme", "alice", AT), "192.0.2.1", AT).client not in clients


def test_a_key_that_is_rotated_goes_on_for_a_while_and_its_successor_is_the_same_client(principals: Principals):
    old = principals.issue("acme", "alice", AT)
    new = principals.rotate(public(old), AT + 10, overlap=60.0)
    assert old != new
    before, after = (principals.principal(text, "192.0.2.1", AT + 69) for text in (old, new))
    assert before == after
    refused(principals, old, AT + 70)
    assert principals.principal(new, "192.0.2.1", AT + 70) == after
    with pytest.raises(BadConfig, match="has ended"):
        principals.rotate(public(old), AT + 70)


def test_a_key_that_is_revoked_ends_here_at_once_and_elsewhere_within_the_time_it_is_believed(tmp_path: Path):
    place = str(tmp_path / "journal.sqlite")
    here = Principals(open_journal(place), Pseudonyms(SECRET), fresh=3600.0)
    elsewhere = Principals(open_journal(place), Pseudonyms(SECRET), fresh=0.0)
    text = here.issue("acme", "alice", AT)
    for each in (here, elsewhere):
        each.principal(text, "192.0.2.1", AT)
    elsewhere.revoke(public(text), AT + 1)
    refused(elsewhere, text, AT + 1)
    here.principal(text, "192.0.2.1", AT + 1)  # still believed
    here.fresh = 0.0
    refused(here, text, AT + 1)
    here.journal.close()
    elsewhere.journal.close()


def test_revoking_is_for_ever_and_unknown_keys_are_named(principals: Principals):
    text = principals.issue("acme", "alice", AT)
    principals.revoke(public(text), AT + 1)
    principals.revoke(public(text), AT + 100)
    refused(principals, text, AT + 1)
    with pytest.raises(BadConfig, match="there is no key '0000'"):
        principals.revoke("0000", AT)


def test_every_change_of_a_key_is_an_event_that_names_no_account_and_shows_no_secret(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    journal = open_journal(str(path))
    principals = Principals(journal, Pseudonyms(SECRET))
    text = principals.issue("acme", "alice", AT)
    new = principals.rotate(public(text), AT)
    principals.revoke(public(new), AT)
    reasons = [event.reason for _, event in journal.read("acme") if event.kind == "key"]
    assert len(reasons) == 4
    assert not any("alice" in reason for reason in reasons)
    journal.close()
    written = path.read_bytes()
    for each in (text, new):
        assert public(each).encode() in written
        assert each.split("_")[2].encode() not in written
        assert bytes.fromhex(each.split("_")[2]) not in written


def test_strangers_ids_do_not_fill_the_memory(principals: Principals, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gamekeeper.service.principals.MOST", 10)
    principals.fresh = 3600.0
    for _ in range(25):
        refused(principals, f"gk_{secrets.token_hex(8)}_{'0' * 64}")
    assert len(principals._known) <= 10


def test_networks_are_what_one_customer_is_given():
    assert network("192.0.2.77") == network("192.0.2.1") == "192.0.2.0/24" == network("::ffff:192.0.2.200")
    assert network("192.0.3.1") != network("192.0.2.1")
    assert network("2001:db8:1:2::5") == network("2001:db8:1:ffff::1") == "2001:db8:1::/48"
    assert network("fe80::1%eth0") == "fe80::/48"
    assert network("") == network("unix:") == network("192.0.2.256") == ELSEWHERE


def test_pseudonyms_of_one_name_differ_by_use_and_by_tenant():
    names = Pseudonyms(SECRET)
    all_of_them = {
        names.client("acme", "192.0.2.0/24"),
        names.network("acme", "192.0.2.1"),
        names.client("rival", "192.0.2.0/24"),
        names.network("rival", "192.0.2.1"),
        names.hashed("acme", b"192.0.2.0/24").hex(),
    }
    assert len(all_of_them) == 5
    assert {len(each) for each in all_of_them} == {32}
    assert "00010203" not in repr(names)
    assert repr(SECRET) not in repr(names)


def test_a_secret_comes_from_one_place_and_is_never_shown(tmp_path: Path):
    path = tmp_path / "key"
    make_key(path)
    assert service_secret(path, {}) == read_key(path)
    assert service_secret(None, {VARIABLE: SECRET.hex() + "\n"}) == SECRET
    with pytest.raises(BadConfig, match="got neither"):
        service_secret(None, {})
    with pytest.raises(BadConfig, match="got both"):
        service_secret(path, {VARIABLE: SECRET.hex()})
    for wrong in ("", "swordfish", SECRET.hex()[:-2], "\ud800"):
        with pytest.raises(BadConfig, match="must hold 64 hexadecimal digits") as error:
            service_secret(None, {VARIABLE: wrong})
        assert "swordfish" not in str(error.value)


def test_the_hash_of_a_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, principals: Principals):
    calls: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(keyring.hmac, "compare_digest", lambda a, b: calls.append((a, b)) or a == b)
    principals.principal(principals.issue("acme", "alice", AT), "192.0.2.1", AT)
    assert [(len(a), len(b)) for a, b in calls] == [(32, 32)]

"""An entry that was edited, moved or removed is noticed; one that a crash tore is not missed."""

import itertools
import json
import os
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from examples.local_authority import authority
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.claim import commitment
from gamekeeper.ownership.register import FIRST, Entry, append, checked, read, stamped, upcoming
from gamekeeper.ownership.stamps import request, verified

DIGESTS = [sha256(bytes([i])).hexdigest() for i in range(5)]
OPENING = bytes(range(32))


def chain(count: int) -> list[Entry]:
    entries: list[Entry] = []
    for i in range(count):
        before = entries[-1].hash() if entries else FIRST
        entries.append(Entry(DIGESTS[i], before, 1_000 + i, None, (b"a stamp", bytes([i]))))
    return entries


def as_file(path: Path, entries: list[Entry]) -> Path:
    path.write_bytes(b"".join(entry.line() + b"\n" for entry in entries))
    return path


@pytest.fixture
def register(tmp_path):
    path = tmp_path / "register.jsonl"
    for i, digest in enumerate(DIGESTS[:3]):
        append(path, upcoming(path, digest, 1_000 + i))
    return path


def test_entries_come_back_in_order(register):
    entries = read(register)
    assert [entry.digest for entry in entries] == DIGESTS[:3]
    assert entries[0].before == FIRST
    assert entries[2].before == sha256(register.read_bytes().splitlines()[1]).hexdigest()
    assert read(register.parent / "none.jsonl") == ()


def test_the_first_line_is_these_bytes_on_every_machine(register):
    line = b'{"at":1000,"before":"%s","digest":"%s","opening":null,"stamps":[]}' % (b"0" * 64, DIGESTS[0].encode())
    assert register.read_bytes().splitlines()[0] == line


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_before_the_last_line_is_noticed(tmp_path_factory, place, change):
    path = as_file(tmp_path_factory.mktemp("r") / "register.jsonl", chain(3))
    data = bytearray(path.read_bytes())
    data[place % (len(data) - len(chain(3)[2].line()) - 1)] ^= change
    path.write_bytes(data)
    with pytest.raises(BadClaim):
        read(path)


@pytest.mark.parametrize("order", [order for n in (1, 2, 3, 4) for order in itertools.permutations(range(4), n)])
def test_any_removal_or_reordering_is_noticed(tmp_path, order):
    entries = chain(4)
    path = as_file(tmp_path / "register.jsonl", [entries[i] for i in order])
    head = entries[-1].hash()
    if order == (0, 1, 2, 3):
        assert read(path, head) == tuple(entries)
        return
    with pytest.raises(BadClaim):
        read(path, head)
    if order == tuple(range(len(order))):  # cut off at the end: only who noted the head can know
        assert len(read(path)) == len(order)


def test_a_register_that_was_rewritten_whole_is_noticed_by_its_head(tmp_path):
    """An owner moves a claim to the front and computes the chain anew."""
    entries = chain(3)
    forged = [replace(entries[2], before=FIRST, at=1_000)]
    for entry in entries[:2]:
        forged.append(replace(entry, before=forged[-1].hash(), at=1_001))
    path = as_file(tmp_path / "register.jsonl", forged)
    assert len(read(path)) == 3
    for entry in entries:
        with pytest.raises(BadClaim, match="noted as its head"):
            read(path, entry.hash())


def test_a_grown_register_still_holds_its_earlier_heads(register):
    heads = [entry.hash() for entry in read(register)]
    append(register, upcoming(register, DIGESTS[3], 2_000))
    for head in [FIRST, *heads]:
        assert len(read(register, head)) == 4


@pytest.mark.parametrize("torn", range(1, 60, 7))
def test_a_torn_last_line_is_no_entry_and_gives_way(register, torn):
    whole = register.read_bytes()
    line = upcoming(register, DIGESTS[3], 1_003).line()
    register.write_bytes(whole + line[:torn])
    assert len(read(register)) == 3
    append(register, upcoming(register, DIGESTS[4], 1_004))
    assert [entry.digest for entry in read(register)] == [*DIGESTS[:3], DIGESTS[4]]
    assert register.read_bytes().startswith(whole)


def test_a_last_line_without_its_end_is_an_entry(register):
    """Torn after the last byte of the entry. Removing the line's end must not make an entry vanish."""
    register.write_bytes(register.read_bytes()[:-1])
    assert len(read(register)) == 3
    append(register, upcoming(register, DIGESTS[3], 1_003))
    assert len(read(register)) == 4


def test_an_entry_is_one_write_and_then_on_disk(register, monkeypatch):
    synced = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (synced.append(register.read_bytes()), sync(number)))
    entry = upcoming(register, DIGESTS[3], 1_003)
    append(register, entry)
    assert synced[0].endswith(entry.line() + b"\n")


def test_an_opening_must_be_of_a_committed_claim_and_comes_once(register):
    with pytest.raises(BadClaim, match="must commit to a new claim, or open one"):
        append(register, upcoming(register, DIGESTS[4], 1_100, OPENING))
    with pytest.raises(BadClaim, match="must commit to a new claim"):
        append(register, upcoming(register, DIGESTS[0], 1_100))
    append(register, upcoming(register, DIGESTS[0], 1_100, OPENING))
    with pytest.raises(BadClaim, match="not opened before"):
        append(register, upcoming(register, DIGESTS[0], 1_101, OPENING))
    assert [entry.opening for entry in read(register)] == [None, None, None, OPENING]


def test_nothing_is_written_when_an_entry_is_refused(register):
    before = register.read_bytes()
    stale = upcoming(register, DIGESTS[3], 1_003)
    for entry, reason in [
        (replace(stale, at=999), "before the one it follows"),
        (replace(stale, before=FIRST), "was edited, added, removed or moved"),
        (replace(stale, digest="xyz"), "canonical form"),
        (replace(stale, digest=DIGESTS[3].upper()), "canonical form"),
        (replace(stale, opening=b"x"), "canonical form"),
    ]:
        with pytest.raises(BadClaim, match=reason):
            append(register, entry)
        assert register.read_bytes() == before
    append(register, stale)
    with pytest.raises(BadClaim, match="was edited, added"):  # another came first: its stamps would be of another place
        append(register, replace(stale, digest=DIGESTS[4]))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[]", "JSON object"),
        (b'{"at":1}', "canonical form"),
        (chain(1)[0].line().replace(b",", b", ", 1), "canonical form"),
        (chain(1)[0].line().replace(b'"at":1000', b'"at":1000.0'), "float"),
        (chain(1)[0].line().replace(b'"at":1000', b'"at":true'), "canonical form"),
        (chain(1)[0].line().replace(b'"at":1000', b'"at":1000,"at":1000'), "comes twice"),
        (chain(1)[0].line().replace(b'"stamps":[', b'"stamps":[7,'), "canonical form"),
        (chain(1)[0].line().replace(b'"opening":null', b'"opening":""'), "canonical form"),
        (Entry(DIGESTS[0], FIRST, 1, None, (b"",) * 9).line(), "canonical form"),
        (b"\xff", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_a_line_that_is_not_canonical_is_refused(tmp_path, line, reason):
    (tmp_path / "register.jsonl").write_bytes(line + b"\n" + chain(1)[0].line() + b"\n")
    with pytest.raises(BadClaim, match=reason):
        read(tmp_path / "register.jsonl")


def test_a_chain_needs_no_file():
    checked(chain(4), "a bundle")
    with pytest.raises(BadClaim, match="entry 2 of a bundle"):
        checked([chain(4)[0], chain(4)[2]], "a bundle")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
def test_a_stamp_dates_an_entry_and_all_before_it(register, tmp_path):
    local = authority(tmp_path)
    entry = upcoming(register, commitment(DIGESTS[3], OPENING), 1_003)
    append(register, replace(entry, stamps=(local.stamp(request(stamped(entry)).body),)))
    last = read(register)[-1]
    verified(last.stamps[0], stamped(last), [local.root])
    for moved in (replace(last, before=FIRST), replace(last, digest=DIGESTS[4])):
        with pytest.raises(BadClaim, match="Mismatch"):
            verified(last.stamps[0], stamped(moved), [local.root])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda v: st.lists(v, max_size=3)
)


@given(st.sampled_from(["at", "before", "digest", "opening", "stamps"]), values)
def test_no_other_error_is_raised_by_a_line(tmp_path_factory, field, value):
    fields = json.loads(chain(1)[0].line())
    path = tmp_path_factory.mktemp("r") / "register.jsonl"
    path.write_bytes(compact(fields | {field: value}) + b"\n")
    try:
        entries = read(path)
    except BadClaim:
        return
    assert entries[0].line() + b"\n" == path.read_bytes()


def compact(fields) -> bytes:
    return json.dumps(fields, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode(errors="replace")

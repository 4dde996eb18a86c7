"""Bundles: the same verdict for everybody, to the bit, and none after a byte was changed."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from examples.local_authority import authority

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.bundle import (
    BUNDLE,
    RECORD,
    SIGNER,
    STATEMENT,
    VERDICT,
    listing,
    private_key,
    public_key,
    read_bundle,
    write_bundle,
)
from gamekeeper.ownership.nulls import OfPanel
from gamekeeper.ownership.opinion import least_hits, opinion
from gamekeeper.ownership.record import Answered, Beacon, Record, input_digests, judged, record_of
from tests.ownership.trials import CLASSES, MARKS, drawn_claim, registered, triggers

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUTH = tuple(i % CLASSES for i in range(100))
RIGHT = tuple(label if i >= 5 else (label + 1) % CLASSES for i, label in enumerate(TRUTH))
"""Right in 95 of 100."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return registered(authority(folder), folder, drawn_claim(triggers()))


def guesses(seed: int) -> tuple[int, ...]:
    """Of a model that copied nothing: labels at random, more like the claim for some models than for others."""
    return tuple(torch.randint(CLASSES, (MARKS,), generator=torch.Generator().manual_seed(seed)).tolist())


def trial_of(world, suspect: tuple[int, ...], seed: int = 0) -> Record:
    claim = world.papers.claim
    copied = tuple(claim.tensors["y"].tolist())
    panel = tuple(Answered(f"model {i}", "", guesses(1_000 * seed + i), RIGHT) for i in range(10))
    return Record(
        "1", claim.digest(), CLASSES, input_digests(claim), Answered("suspect", "ab" * 32, suspect, RIGHT),
        Answered("own", "cd" * 32, copied, ()), panel, TRUTH, "ef" * 32, MARKS + 100, ("points", "01" * 32), world.terms,
    )  # fmt: skip


@pytest.fixture(scope="module")
def record(world):
    return trial_of(world, tuple(world.papers.claim.tensors["y"].tolist()))


@pytest.fixture
def bundle(world, record, tmp_path):
    write_bundle(tmp_path / "bundle", world.papers, record, KEY)
    return tmp_path / "bundle"


def test_whoever_verifies_again_reaches_the_same_verdict_without_any_model(world, record, bundle):
    again = read_bundle(bundle, [KEY.public_key()])
    assert again.verdict == judged(record, world.papers)
    assert again.verdict.decision == "supports"
    assert again.record == record
    assert again.signed is True
    assert read_bundle(bundle).signed is None  # nobody said whose word they take
    assert read_bundle(bundle, [], world.papers.roots).digest == again.digest


def test_a_bundle_is_the_same_to_the_bit_however_often_it_is_written(world, record, bundle, tmp_path):
    again = read_bundle(bundle)
    write_bundle(tmp_path / "second", again.papers, again.record, KEY)
    names = sorted(path.name for path in bundle.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "second").iterdir())
    for name in names:
        assert (bundle / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_one_changed_byte_of_any_file_is_refused(bundle):
    """Of each file, a dozen bytes, each changed in its lowest bit and once more in its case bit."""
    for path in sorted(bundle.iterdir()):
        whole = path.read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 12)):
            for bit in (1, 32):
                changed = bytearray(whole)
                changed[place] ^= bit
                path.write_bytes(bytes(changed))
                with pytest.raises(BadClaim):
                    read_bundle(bundle)
        for other in (whole[:-1], whole + b"\n", b""):
            path.write_bytes(other)
            with pytest.raises(BadClaim):
                read_bundle(bundle)
        path.write_bytes(whole)
    assert read_bundle(bundle).verdict.decision == "supports"


def test_a_missing_file_is_named(bundle):
    (bundle / RECORD).unlink()
    with pytest.raises(BadClaim, match=r"record\.json cannot be read"):
        read_bundle(bundle)
    (bundle / BUNDLE).unlink()
    with pytest.raises(BadClaim, match="holds no bundle"):
        read_bundle(bundle)


def rewritten(bundle, **files: bytes) -> None:
    """As by somebody who makes the listing fit, and who has no key."""
    whole = {name: (bundle / name).read_bytes() for name in json.loads((bundle / BUNDLE).read_bytes())}
    whole |= {f"{name}.json": data for name, data in files.items()}
    whole.pop(SIGNER, None)
    (bundle / SIGNER).unlink(missing_ok=True)
    (bundle / STATEMENT).unlink(missing_ok=True)
    for name, data in whole.items():
        (bundle / name).write_bytes(data)
    (bundle / BUNDLE).write_bytes(listing(whole))


def test_a_verdict_that_does_not_follow_is_refused_even_if_the_listing_fits(world, bundle):
    """A judge that always says yes fails here: its verdict is in the bundle, and the record says otherwise."""
    innocent = trial_of(world, guesses(77))
    rewritten(bundle, record=innocent.bytes())
    with pytest.raises(BadClaim, match="not the one that follows"):
        read_bundle(bundle)
    yes = (bundle / VERDICT).read_bytes()
    assert b'"decision":"supports"' in yes


def test_somebody_elses_bundle_is_refused_by_whoever_names_the_judge(world, record, bundle):
    with pytest.raises(BadClaim, match="signed by another key"):
        read_bundle(bundle, [Ed25519PrivateKey.generate().public_key()])
    rewritten(bundle)
    assert read_bundle(bundle).signed is None
    with pytest.raises(BadClaim, match="nobody signed this bundle"):
        read_bundle(bundle, [KEY.public_key()])


def test_a_statement_of_another_verdict_is_refused(world, record, bundle, tmp_path):
    write_bundle(tmp_path / "other", world.papers, trial_of(world, guesses(5)), KEY)
    shutil.copy(tmp_path / "other" / STATEMENT, bundle / STATEMENT)
    with pytest.raises(BadClaim, match="not the statement of this bundle's verdict"):
        read_bundle(bundle, [KEY.public_key()])


def test_authorities_of_the_readers_own_must_agree(bundle, tmp_path):
    with pytest.raises(BadClaim, match="its stamps are by others"):
        read_bundle(bundle, [], [authority(tmp_path).root])


def test_independent_models_are_never_supported_in_simulated_trials(world):
    """And a copy of each trial's marks is, in every one: neither a judge that always says yes passes, nor one that never does."""
    copied = tuple(world.papers.claim.tensors["y"].tolist())
    for seed in range(8):
        found = [judged(trial_of(world, guesses(50_000 + seed * 20 + i), seed), world.papers) for i in range(20)]
        assert {each.decision for each in found} == {"not shown"}
        assert judged(trial_of(world, copied, seed), world.papers).decision == "supports"


HOSTILE = [
    (b"", "not one that a judge writes"),
    (b"{}", "not one that a judge writes"),
    (b"[" * 100_000, "not one that a judge writes"),
    (b"\xff\xfe", "not one that a judge writes"),
    (b'{"classes":' + b"9" * 5_000 + b"}", "not one that a judge writes"),
]


@pytest.mark.parametrize(("data", "reason"), HOSTILE)
def test_a_record_that_is_none_ends_in_a_sentence(data, reason):
    with pytest.raises(BadClaim, match=reason):
        record_of(data)


def test_a_record_in_another_spelling_is_refused(record):
    assert record_of(record.bytes()) == record
    fields = json.loads(record.bytes())
    for other in ({**fields, "note": 1}, {**fields, "classes": 10.0}, {**fields, "queries": "140"}):
        with pytest.raises(BadClaim):
            record_of(json.dumps(other).encode())
    with pytest.raises(BadClaim, match="canonical form"):
        record_of(json.dumps(fields).encode())


def altered(record: Record):
    suspect = record.suspect
    yield replace(record, suspect=replace(suspect, claimed=suspect.claimed[:-1]))
    yield replace(record, suspect=replace(suspect, checked=suspect.checked[1:]))
    yield replace(record, suspect=replace(suspect, claimed=(CLASSES, *suspect.claimed[1:])))
    yield replace(record, inputs=record.inputs[::-1])
    yield replace(record, claim="00" * 32)
    yield replace(record, queries=1)
    yield replace(record, classes=3)
    yield replace(record, terms=replace(record.terms, level="no number"))
    yield replace(record, terms=replace(record.terms, level="nan"))
    yield replace(record, terms=replace(record.terms, head="11" * 32))
    yield replace(record, terms=replace(record.terms, null="drawn labels"))
    yield replace(record, terms=replace(record.terms, null="drawn labels", beacon=Beacon("xy", 2)))


def test_records_that_do_not_fit_their_papers_are_refused(world, record):
    for other in altered(record):
        with pytest.raises(BadClaim):
            judged(other, world.papers)


def test_an_opinion_says_what_the_verdict_rests_on_and_never_more(world, record, tmp_path):
    trials = [record, trial_of(world, guesses(77)), replace(record, terms=replace(record.terms, public_since=1))]
    for number, (each, decision) in enumerate(zip(trials, ("supports", "not shown", "void"), strict=True)):
        said = opinion(write_bundle(tmp_path / str(number), world.papers, each))
        assert said.decision == decision
        assert [model.hits for model in said.panel] == list(judged(each, world.papers).panel)
        assert all(model.accuracy == 0.95 for model in (said.suspect, *said.panel))
        assert [name for name, _, reason in said.gates if reason] == (["committed first"] if decision == "void" else [])
        assert said.interval[0] <= said.log10_p <= said.interval[1] <= 0
        text = " ".join([said.sentence, said.counts, said.chance, *said.change, *said.unchecked]).lower()
        assert not {"proved", "innocent", "stolen", "guilty", "thief"} & set(text.replace(".", " ").split())
        assert any("points" in line for line in said.unchecked)


def test_the_least_hits_that_would_do_are_exact(world, record, tmp_path):
    """One hit fewer is not enough, under Holm over nine further claims too."""
    said = opinion(write_bundle(tmp_path / "b", world.papers, record))
    copied = record.suspect.claimed
    assert said.needed is not None
    for hits, decision in ((said.needed, "supports"), (said.needed - 1, "not shown")):
        partly = copied[:hits] + tuple((label + 1) % CLASSES for label in copied[hits:])
        assert (
            judged(replace(record, suspect=replace(record.suspect, claimed=partly)), world.papers).decision == decision
        )
    null = OfPanel()
    panel = judged(record, world.papers).panel
    more = least_hits(null, MARKS, panel, {str(i): 0.0 for i in range(9)}, 0.001)
    assert more is not None
    assert more > said.needed
    assert least_hits(null, MARKS, panel, {str(i): 0.0 for i in range(9)}, 1e-30) is None


def test_keys_are_ed25519_in_pem():
    for data in (b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", bytes(100)):
        with pytest.raises(BadClaim, match="ed25519 public key"):
            public_key(data, "judge.pub")
        with pytest.raises(BadClaim, match="ed25519 private key"):
            private_key(data, "judge.pem")

"""Envelopes that any DSSE reader verifies, and none that says two things, or says it in somebody else's name."""

import base64
import json
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.statement import PAYLOAD, STATEMENT, Statement, key_id, pae, signed, statement_of, verified

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key()
OURS = Statement({"mnist-lenet": "ab" * 32}, "urn:gamekeeper:claim:v1", {"commitment": "cd" * 32, "entry": 3})
ENVELOPE = signed(OURS, KEY)
PLAIN = json.loads(ENVELOPE)


def sealed(payload: bytes, kind: str = PAYLOAD, key: Ed25519PrivateKey = KEY) -> bytes:
    """An envelope around any bytes, rightly signed."""
    text = base64.b64encode(payload).decode()
    signature = base64.b64encode(key.sign(pae(kind, payload))).decode()
    return json.dumps({"payload": text, "payloadType": kind, "signatures": [{"keyid": "x", "sig": signature}]}).encode()


def without(*names, **changed) -> bytes:
    """A statement rightly signed, without some of its fields or with others."""
    fields = json.loads(OURS.payload()) | changed
    return sealed(json.dumps({name: value for name, value in fields.items() if name not in names}).encode())


def test_the_encoding_is_that_of_the_specification():
    assert (
        pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "  # lengths count bytes


def test_a_statement_comes_back_from_its_envelope():
    assert verified(ENVELOPE, [PUBLIC]) == OURS
    assert verified(ENVELOPE, [OTHER.public_key(), PUBLIC]) == OURS
    assert signed(OURS, KEY) == ENVELOPE


def test_the_payload_is_an_in_toto_statement():
    payload = json.loads(base64.b64decode(PLAIN["payload"]))
    assert payload == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "mnist-lenet", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "urn:gamekeeper:claim:v1",
        "predicate": {"commitment": "cd" * 32, "entry": 3},
    }
    assert PLAIN["payloadType"] == "application/vnd.in-toto+json"
    assert PLAIN["signatures"][0]["keyid"] == key_id(PUBLIC)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
def test_openssl_verifies_the_signature(tmp_path):
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "key.pem").write_bytes(PUBLIC.public_bytes(encoding, form))
    (tmp_path / "sig").write_bytes(base64.b64decode(PLAIN["signatures"][0]["sig"]))
    (tmp_path / "message").write_bytes(pae(PLAIN["payloadType"], base64.b64decode(PLAIN["payload"])))
    command = "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in message -sigfile sig"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0


def test_nobody_else_can_sign():
    with pytest.raises(BadClaim, match="somebody else"):
        verified(ENVELOPE, [OTHER.public_key()])
    with pytest.raises(BadClaim, match="one of 0 keys"):
        verified(ENVELOPE, [])
    claimed = json.dumps(PLAIN | {"signatures": [{"keyid": key_id(PUBLIC), "sig": "AAAA"}]}).encode()
    with pytest.raises(BadClaim, match="somebody else"):  # a key's name is not its signature
        verified(claimed, [PUBLIC])


def test_signatures_by_unknown_keys_are_passed_over():
    theirs = json.loads(signed(OURS, OTHER))["signatures"]
    both = json.dumps(PLAIN | {"signatures": theirs + PLAIN["signatures"]}).encode()
    assert verified(both, [PUBLIC]) == OURS


def test_the_other_alphabet_of_base64_is_read_too():
    statement = Statement(OURS.subjects, OURS.kind, {"text": "~~~???ÿÿÿ" * 9})
    plain = json.loads(signed(statement, KEY))
    assert "/" in plain["payload"] or "+" in plain["payload"]
    safe = plain | {"payload": plain["payload"].replace("+", "-").replace("/", "_")}
    assert verified(json.dumps(safe).encode(), [PUBLIC]) == statement


@given(st.integers(0, 8 * len(ENVELOPE) - 1))
def test_a_flipped_bit_is_refused_or_changes_nothing_that_was_signed(bit):
    flipped = bytearray(ENVELOPE)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        assert verified(bytes(flipped), [PUBLIC]) == OURS
    except BadClaim:
        return
    changed = json.loads(flipped)
    assert base64.b64decode(changed["payload"].translate(str.maketrans("-_", "+/"))) == OURS.payload()


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        (sealed(OURS.payload(), "text/plain"), "must be of type application/vnd.in-toto"),
        (ENVELOPE.replace(PAYLOAD.encode(), b"application/json"), "must be of type application/vnd.in-toto"),
        (ENVELOPE[:-1] + b',"payload":"e30="}', "comes twice"),
        (ENVELOPE[:-1], "cannot be read"),
        (b"null", "must be a JSON object"),
        (b"{}", "must be of type"),
        (json.dumps(PLAIN | {"payload": 5}).encode(), "must be base64"),
        (json.dumps(PLAIN | {"payload": "a b"}).encode(), "must be base64"),
        (json.dumps(PLAIN | {"signatures": []}).encode(), "1 to 16 signatures"),
        (json.dumps(PLAIN | {"signatures": PLAIN["signatures"] * 17}).encode(), "1 to 16 signatures"),
        (json.dumps(PLAIN | {"signatures": ["x"]}).encode(), "must be base64"),
        (sealed(OURS.payload()[:-1] + b',"predicate":{}}'), "comes twice"),
        (sealed(OURS.payload().replace(b'"entry":3', b'"entry":3.5')), "is a float"),
        (without("_type"), "must be of type https://in-toto"),
        (without(_type="https://in-toto.io/Statement/v0.1"), "must be of type https://in-toto"),
        (without(predicateType="https://slsa.dev/provenance/v1"), "must be an object of type urn"),
        (without("predicate"), "must be an object of type urn"),
        (without("subject"), "must have a name and a digest"),
        (without(subject=[]), "must name one or more models"),
        (without(subject=[{"name": "m", "digest": {"md5": "ab"}}]), "must have a name and a digest"),
        (without(subject=[{"name": "m", "digest": {"sha256": "AB" * 32}}]), "64 lower-case"),
        (without(subject=[{"name": "m", "digest": {"sha256": "ab" * 32}}] * 2), "different names"),
        (bytes(2**24 + 1), "at most"),
    ],
)
def test_an_envelope_that_says_something_else_is_refused(envelope, reason):
    with pytest.raises(BadClaim, match=reason):
        verified(envelope, [PUBLIC])


def test_what_is_stated_holds_no_floats():
    with pytest.raises(BadClaim, match="floats"):
        signed(Statement(OURS.subjects, OURS.kind, {"p": 0.01}), KEY)
    assert statement_of(OURS.payload()) == OURS
    assert json.loads(OURS.payload())["_type"] == STATEMENT


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(["name", "digest", "sha256", "sig"]), v),
)


@given(st.sampled_from(["_type", "subject", "predicateType"]), st.sampled_from(list(PLAIN)), values)
def test_no_other_error_is_raised(inside, outside, value):
    """Every field of the statement and of its envelope in turn is something else."""
    with pytest.raises(BadClaim):
        verified(without(**{inside: value}), [PUBLIC])
    with pytest.raises(BadClaim):
        verified(json.dumps(PLAIN | {outside: value}).encode(), [PUBLIC])

"""Subjects of model signatures: taken over as they are, and refused where they contradict themselves."""

import base64
import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.model_signing import PREDICATE, signed_subject
from gamekeeper.ownership.statement import PAYLOAD, STATEMENT, Statement

FILES = [sha256(text).digest() for text in (b"weights", b"tokenizer")]
ROOT = sha256(FILES[0] + FILES[1]).hexdigest()
FIELDS = {
    "_type": STATEMENT,
    "subject": [{"name": "lenet", "digest": {"sha256": ROOT}}],
    "predicateType": PREDICATE,
    "predicate": {
        "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
        "resources": [
            {"name": f"f{i}", "algorithm": "sha256", "digest": digest.hex()} for i, digest in enumerate(FILES)
        ],
    },
}


def bundle(kind=PAYLOAD, **changed) -> bytes:
    payload = base64.b64encode(json.dumps(FIELDS | changed).encode()).decode()
    envelope = {"payload": payload, "payloadType": kind, "signatures": [{"sig": "AA=="}]}
    return json.dumps({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": envelope}).encode()


def test_the_subject_is_taken_over():
    assert signed_subject(bundle()) == {"lenet": ROOT}
    assert Statement(signed_subject(bundle()), "urn:gamekeeper:claim:v1", {}).subjects["lenet"] == ROOT


SUBJECT = FIELDS["subject"]
RESOURCES = FIELDS["predicate"]["resources"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bundle(predicate={"resources": RESOURCES[::-1]}), "is not that of the files"),
        (bundle(predicate={"resources": RESOURCES[:1]}), "is not that of the files"),
        (bundle(subject=[{"name": "lenet", "digest": {"sha256": "0" * 64}}]), "is not that of the files"),
        (bundle(subject=[{"name": "lenet", "digest": {"sha256": ROOT.upper()}}]), "64 lower-case"),
        (bundle(subject=SUBJECT * 2), "one subject"),
        (bundle(subject=[]), "one subject"),
        (bundle(subject=[{"name": "lenet"}]), "one subject"),
        (bundle(predicate={"resources": []}), "list its files"),
        (bundle(predicate={"resources": [{"digest": "xy"}]}), "list its files"),
        (bundle(predicate=None), "list its files"),
        (bundle(predicateType="https://model_signing/Digests/v0.1"), "must be of type"),
        (bundle(_type="https://in-toto.io/Statement/v0.1"), "must be of type"),
        (bundle("text/plain"), "Sigstore bundle"),
        (b"{}", "Sigstore bundle"),
        (b"[]", "JSON object"),
        (bytes(2**24 + 1), "at most"),
    ],
)
def test_what_contradicts_itself_is_refused(data, reason):
    with pytest.raises(BadClaim, match=reason):
        signed_subject(data)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda v: st.lists(v, max_size=3)
)


@given(st.sampled_from(["subject", "predicate", "predicateType", "_type"]), values)
def test_no_other_error_is_raised(field, value):
    with pytest.raises(BadClaim):
        signed_subject(bundle(**{field: value}))

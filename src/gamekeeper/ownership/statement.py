"""Signed statements that other supply-chain tools can read: in-toto Statement v1 in a DSSE envelope, signed with ed25519.

A statement says something about models, which it names by the SHA-256 of their parameters. What it says is a predicate of
a type of ours: a claim that was registered, or a verdict. The envelope's payload and its type are signed together, as the
bytes PAE(type, payload) = "DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload, with lengths in decimal.

Source      in-toto Attestation Framework, Statement v1; Dead Simple Signing Envelope (DSSE) v1.0.2
Deviations  our statements hold no floats and no key twice; when verified, signatures by unknown keys are passed over, as
            DSSE asks, and one by a known key is enough
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.canonical import HEX, json_bytes, read_json

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD = "application/vnd.in-toto+json"
Predicate = Literal["urn:gamekeeper:claim:v1", "urn:gamekeeper:verdict:v1"]
PREDICATES: tuple[Predicate, ...] = ("urn:gamekeeper:claim:v1", "urn:gamekeeper:verdict:v1")
MOST_BYTES, MOST_SIGNATURES = 2**24, 16


@dataclass(frozen=True)
class Statement:
    """subjects   models by name -> SHA-256, 64 hexadecimal digits (`model_digest`, or one from a model-signing bundle)
    predicate  what is said of them: JSON without floats
    """

    subjects: Mapping[str, str]
    kind: Predicate
    predicate: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.subjects or not all(name and HEX.fullmatch(digest) for name, digest in self.subjects.items()):
            raise BadClaim(
                "a statement must name one or more models, each with its SHA-256 in 64 lower-case hexadecimal digits. Got"
                f" {str(dict(self.subjects))[:200]}."
            )

    def payload(self) -> bytes:
        """As canonical JSON. Raises BadClaim if the predicate holds floats."""
        subjects = [{"name": name, "digest": {"sha256": self.subjects[name]}} for name in sorted(self.subjects)]
        whole = {"_type": STATEMENT, "subject": subjects, "predicateType": self.kind, "predicate": dict(self.predicate)}
        return json_bytes(whole)


def pae(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed of a payload of this type."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the 32 bytes of a public key. A hint for readers; nothing is trusted because of it."""
    return sha256(key.public_bytes_raw()).hexdigest()


def signed(statement: Statement, key: Ed25519PrivateKey) -> bytes:
    """The envelope as canonical JSON; the same for the same statement and key."""
    payload = statement.payload()
    return enveloped(payload, key.public_key(), key.sign(pae(PAYLOAD, payload)))


def enveloped(payload: bytes, key: Ed25519PublicKey, signature: bytes) -> bytes:
    signatures = [{"keyid": key_id(key), "sig": base64.b64encode(signature).decode()}]
    envelope = {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD, "signatures": signatures}
    return json_bytes(envelope)


def canonical(envelope: bytes, statement: Statement, key: Ed25519PublicKey) -> bool:
    """Whether an envelope is byte for byte what `signed` writes. Base64 has several spellings of one signature, and a key's
    id is signed by nobody."""
    (signature,) = signatures_of(read_json(envelope, "the signed statement").get("signatures"))[:1]
    return envelope == enveloped(statement.payload(), key, signature)


def verified(envelope: bytes, keys: Sequence[Ed25519PublicKey]) -> Statement:
    """The statement in an envelope that one of the keys signed.

    Raises BadClaim for anything else. The payload is decoded once, and read only after its signature holds.

    keys  the public keys of those whose word the verifier takes; the envelope cannot add to them
    """
    if len(envelope) > MOST_BYTES:
        raise BadClaim(f"a signed statement is {MOST_BYTES:,} bytes at most. Got {len(envelope):,}.")
    fields = read_json(envelope, "the signed statement")
    if fields.get("payloadType") != PAYLOAD:
        raise BadClaim(
            f"the payload of a statement must be of type {PAYLOAD}. Got {str(fields.get('payloadType'))[:80]}."
        )
    payload = decoded(fields.get("payload"), "payload")
    message = pae(PAYLOAD, payload)
    if not any(holds(signature, message, keys) for signature in signatures_of(fields.get("signatures"))):
        raise BadClaim(
            f"the statement must be signed by one of {len(keys)} keys that you trust; none of its signatures is. It was"
            " changed, or somebody else signed it."
        )
    return statement_of(payload)


def signatures_of(value: object) -> list[bytes]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_SIGNATURES:
        raise BadClaim(f"a signed statement must have 1 to {MOST_SIGNATURES} signatures. Got {str(value)[:80]}.")
    return [decoded(each.get("sig") if isinstance(each, dict) else None, "signature") for each in value]


def decoded(text: object, what: str) -> bytes:
    """Base64 of the standard or the URL-safe alphabet, as DSSE has it."""
    try:
        if not isinstance(text, str):
            raise ValueError
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except ValueError:
        raise BadClaim(f"the {what} of a signed statement must be base64. Got {str(text)[:80]}.") from None


def holds(signature: bytes, message: bytes, keys: Sequence[Ed25519PublicKey]) -> bool:
    for key in keys:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            continue
        return True
    return False


def statement_of(payload: bytes) -> Statement:
    """The statement in a payload whose signature holds. Raises BadClaim if it is not one of ours."""
    fields = read_json(payload, "the statement")
    if fields.get("_type") != STATEMENT:
        raise BadClaim(f"a statement must be of type {STATEMENT}. Got {str(fields.get('_type'))[:80]}.")
    kind: Predicate | None = next((kind for kind in PREDICATES if kind == fields.get("predicateType")), None)
    if kind is None or not isinstance(fields.get("predicate"), dict):
        raise BadClaim(
            f"the predicate of a statement must be an object of type {' or '.join(PREDICATES)}. Got type"
            f" {str(fields.get('predicateType'))[:80]}."
        )
    try:
        pairs = [(str(subject["name"]), str(subject["digest"]["sha256"])) for subject in fields["subject"]]
    except (KeyError, TypeError):
        raise BadClaim("every subject of a statement must have a name and a digest of type sha256.") from None
    if len(dict(pairs)) < len(pairs):
        raise BadClaim("the subjects of a statement must have different names.")
    return Statement(dict(pairs), kind, fields["predicate"])

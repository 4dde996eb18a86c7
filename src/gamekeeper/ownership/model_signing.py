"""The digest that a model already has: the subject of an OpenSSF model-signing file (`model.sig`).

Such a file is a Sigstore bundle around an in-toto statement, which lists the model's files with their digests. Its subject is
the model's name and one SHA-256 over these digests, in the order listed. An owner who signs releases that way can name
the same subject in a claim.

Source      OpenSSF model-signing, predicate https://model_signing/signature/v1.0
Assumes     somebody verified the bundle (`model_signing verify`): here its signature is not, only that the subject is the
            digest of what is listed
Deviations  the experimental predicate of release 0.2 is refused, as it has no digest of the whole model
"""

from hashlib import sha256
from typing import Any

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.canonical import hash_bytes, read_json
from gamekeeper.ownership.statement import MOST_BYTES, PAYLOAD, STATEMENT, decoded

PREDICATE = "https://model_signing/signature/v1.0"


def signed_subject(bundle: bytes) -> dict[str, str]:
    """The model's name -> SHA-256, as a subject for `Statement`. Raises BadClaim unless the file is consistent."""
    if len(bundle) > MOST_BYTES:
        raise BadClaim(f"a model's signature is {MOST_BYTES:,} bytes at most. Got {len(bundle):,}.")
    envelope = read_json(bundle, "the model's signature").get("dsseEnvelope")
    if not isinstance(envelope, dict) or envelope.get("payloadType") != PAYLOAD:
        raise BadClaim(f"a model's signature must be a Sigstore bundle with a payload of type {PAYLOAD}.")
    fields = read_json(decoded(envelope.get("payload"), "payload"), "the signed statement")
    if fields.get("_type") != STATEMENT or fields.get("predicateType") != PREDICATE:
        raise BadClaim(f"a model's signature must be of type {PREDICATE}. Got {str(fields.get('predicateType'))[:80]}.")
    try:
        name, digest, files = described(fields)
    except (KeyError, TypeError, ValueError):
        raise BadClaim(
            "a model's signature must have one subject with a name and a SHA-256, and list its files."
        ) from None
    if sha256(b"".join(files)).digest() != hash_bytes(digest):
        raise BadClaim(
            f"the digest of '{name[:80]}' is not that of the files its signature lists: one of them was changed."
        )
    return {name: digest}


def described(fields: dict[str, Any]) -> tuple[str, str, list[bytes]]:
    """(name, digest, digests of the files). Raises KeyError, TypeError or ValueError where something is missing."""
    (subject,) = fields["subject"]
    files = [bytes.fromhex(each["digest"]) for each in fields["predicate"]["resources"]]
    if not (
        isinstance(subject["name"], str) and subject["name"] and isinstance(subject["digest"]["sha256"], str) and files
    ):
        raise ValueError
    return subject["name"], subject["digest"]["sha256"], files

"""Time stamps: a third party's signature that certain bytes existed at a certain time (RFC 3161).

A request holds the bytes' SHA-256 and a nonce, nothing else; it is sent to an authority by whatever means, and the
response is stored. Verification is offline, for as long as somebody trusts the authority's root certificate. It does not
need the authority's certificate to be valid today, only at the time it states.

A stamp dates a claim. It says nothing about the claim's honesty.

Source      RFC 3161, "Internet X.509 Public Key Infrastructure Time-Stamp Protocol"
Deviations  only SHA-256; only responses that carry the authority's certificate; a status of "granted with modifications"
            is refused
Keeps       no bit of the imprint or the time can be changed. Bits that the authority did not sign (a status text, certificates
            that are not used) can be, so a response is no fingerprint of itself
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampTokenInfo,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from gamekeeper.errors import BadClaim

SHA256 = "2.16.840.1.101.3.4.2.1"
MOST_BYTES = 2**16


@dataclass(frozen=True)
class Request:
    """What an authority is sent (HTTP: POST, application/timestamp-query), and the nonce that its response must repeat."""

    body: bytes
    nonce: int


@dataclass(frozen=True)
class Stamp:
    """A verified stamp.

    at      the latest time it can have been made, in seconds since 1970: the stated time plus the stated inaccuracy
    serial  the authority's number for it
    """

    at: int
    serial: int


def request(message: bytes) -> Request:
    """A request to stamp a message. Its nonce keeps anybody from answering with an old stamp of the same message."""
    built = TimestampRequestBuilder(message, HashAlgorithm.SHA256, nonce=True, cert_req=True).build()
    assert built.nonce is not None
    return Request(built.as_bytes(), built.nonce)


def verified(response: bytes, message: bytes, roots: Sequence[Certificate], nonce: int | None = None) -> Stamp:
    """The stamp in an authority's response. Raises BadClaim unless it is one of this message that a root vouches for.

    roots  certificates of authorities that the verifier trusts, one or more
    nonce  that of the request, when the response has just come; None for a stored response
    """
    if not roots:
        raise BadClaim("a time stamp needs a root certificate that you trust. Got none; ask the authority for theirs.")
    if len(response) > MOST_BYTES:
        raise BadClaim(f"a time stamp is {MOST_BYTES:,} bytes at most. Got {len(response):,}.")
    verifier = VerifierBuilder(roots=list(roots), nonce=nonce).build()
    try:
        answer = decode_timestamp_response(response)
        verifier.verify(answer, hashlib.sha256(message).digest())
        info = answer.tst_info
        algorithm = info.message_imprint.hash_algorithm.dotted_string
    except (VerificationError, ValueError) as error:
        raise BadClaim(f"this time stamp does not hold: {str(error).rstrip('.')[:200]}. Get a new one.") from None
    if algorithm != SHA256:
        raise BadClaim(f"a time stamp must be over a SHA-256 ({SHA256}). Got one over {algorithm}.")
    return Stamp(latest(info), info.serial_number)


def latest(info: TimeStampTokenInfo) -> int:
    """The stated time plus the inaccuracy, rounded up to seconds."""
    accuracy = info.accuracy  # None where the authority states none
    parts = ((accuracy.seconds, 1), (accuracy.millis, 1_000), (accuracy.micros, 1_000_000)) if accuracy else ()
    return math.ceil(info.gen_time.timestamp() + sum((amount or 0) / unit for amount, unit in parts))


def read_roots(path: Path) -> list[Certificate]:
    """The certificates in a PEM file. Raises BadClaim if there is none."""
    try:
        return load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise BadClaim(f"the root certificates {path} cannot be read: {error.strerror}.") from error
    except ValueError:
        raise BadClaim(f"{path} must hold certificates in PEM (-----BEGIN CERTIFICATE-----). It holds none.") from None


def day(at: int) -> str:
    """Seconds since 1970 as a date and time for a sentence, UTC."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{at} seconds after 1970"

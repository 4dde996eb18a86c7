"""A bundle: a folder from which a third party reaches the same verdict, without the suspect and to the last bit.

    bundle.json        SHA-256 of each file below; its own SHA-256 is the bundle's digest
    claim.safetensors  the claim
    register.jsonl     the owner's register
    trust.pem          certificates of the authorities that the judge trusts
    record.json        what every model answered, and the judge's terms (`record.py`)
    verdict.json       what follows
    signer.pem         the judge's public key, if they signed
    statement.json     the verdict and the bundle's digest, signed: in-toto in DSSE (`statement.py`)

One changed byte in any file is noticed. Somebody who changes several files to agree with each other makes another bundle, with
another digest: that is what the signature, or a digest that was noted, is for.

Source      none; formats are those of the files' own modules
Assumes     nothing about who wrote a folder. Whoever re-verifies says whose signature they take, and may name authorities of
            their own
Keeps       no clock, no random numbers: the same trial gives the same bytes
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509 import Certificate, load_pem_x509_certificates

from gamekeeper.aside import replaced
from gamekeeper.errors import BadClaim
from gamekeeper.ownership import register, statement
from gamekeeper.ownership.canonical import json_bytes, read_json
from gamekeeper.ownership.claim import MOST_BYTES as MOST_CLAIM
from gamekeeper.ownership.claim import MOST_HEADER, claim_bytes, claim_of
from gamekeeper.ownership.judge import Verdict
from gamekeeper.ownership.record import Papers, Record, judged, record_of
from gamekeeper.ownership.statement import Statement
from gamekeeper.version import __version__

BUNDLE, CLAIM, REGISTER, TRUST, RECORD, VERDICT, SIGNER, STATEMENT = (
    "bundle.json",
    "claim.safetensors",
    "register.jsonl",
    "trust.pem",
    "record.json",
    "verdict.json",
    "signer.pem",
    "statement.json",
)
LISTED = (CLAIM, REGISTER, TRUST, RECORD, VERDICT)
MOST_BYTES = MOST_CLAIM + MOST_HEADER + 8


@dataclass(frozen=True, eq=False)
class Trial:
    """A bundle's content: the papers, the record, the verdict that follows, and the digest of it all.

    signed  whether a key that the reader takes signed it; None: it is signed, and the reader named no key, or it is not
    """

    papers: Papers
    record: Record
    verdict: Verdict
    digest: str
    signed: bool | None = None


def files_of(papers: Papers, record: Record, verdict: Verdict) -> dict[str, bytes]:
    """What is listed in a bundle, by name."""
    return {
        CLAIM: claim_bytes(papers.claim),
        REGISTER: b"".join(entry.line() + b"\n" for entry in papers.entries),
        TRUST: b"".join(root.public_bytes(Encoding.PEM) for root in papers.roots),
        RECORD: record.bytes(),
        VERDICT: json_bytes(verdict.predicate()),
    }


def listing(files: Mapping[str, bytes]) -> bytes:
    """bundle.json."""
    return json_bytes({name: sha256(data).hexdigest() for name, data in files.items()})


def write_bundle(folder: Path, papers: Papers, record: Record, key: Ed25519PrivateKey | None = None) -> Trial:
    """Judges and writes a bundle, bundle.json last. Raises BadClaim as `judged` does.

    key  the judge's, if they sign
    """
    verdict = judged(record, papers)
    files = files_of(papers, record, verdict)
    if key is not None:
        files[SIGNER] = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    whole = listing(files)
    digest = sha256(whole).hexdigest()
    if key is not None:
        files[STATEMENT] = statement.signed(signed_words(record, verdict, digest), key)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BUNDLE).unlink(missing_ok=True)
    for name in (SIGNER, STATEMENT):
        (folder / name).unlink(missing_ok=True)
    for name, data in {**files, BUNDLE: whole}.items():
        replaced(folder / name, [data])
    return Trial(papers, record, verdict, digest, None if key is None else True)


def signed_words(record: Record, verdict: Verdict, digest: str) -> Statement:
    """What a judge signs: of the suspect and the owner's model, the verdict, by the bundle of this digest."""
    subjects = {"suspect": record.suspect.digest, "own": record.own.digest}
    predicate = {**verdict.predicate(), "bundle": digest, "claim": record.claim}
    return Statement(subjects, "urn:gamekeeper:verdict:v1", predicate)


def read_bundle(
    folder: Path, keys: Sequence[Ed25519PublicKey] = (), roots: Sequence[Certificate] | None = None
) -> Trial:
    """Verifies a bundle again, from its files alone. Raises BadClaim unless every byte of them is as the judge wrote it.

    keys   of judges whose signature the reader takes; empty: a signature is checked against the key in the bundle, which
           shows that nothing was changed, and not who signed
    roots  authorities that the reader trusts instead of those in the bundle; the verdict must be the same
    """
    if not (folder / BUNDLE).exists():
        raise BadClaim(f"{folder} holds no bundle ({BUNDLE}). Name the folder that `gamekeeper verify` wrote.")
    whole = data_of(folder, BUNDLE)
    digests = read_json(whole, BUNDLE)
    names = (*LISTED, *([SIGNER] if SIGNER in digests else []))
    if set(digests) != set(names):
        raise BadClaim(f"{BUNDLE} must list {', '.join(names)}, and nothing else. It was edited; take the original.")
    files = {name: data_of(folder, name) for name in names}
    changed = [name for name in names if sha256(files[name]).hexdigest() != digests[name]]
    if changed or listing(files) != whole:
        raise BadClaim(
            f"{changed[0] if changed else BUNDLE} was changed since the bundle was written. Take the original."
        )
    papers = papers_of(files, roots)
    record = record_of(files[RECORD])
    verdict = judged(record, papers)
    if files_of(papers, record, verdict)[VERDICT] != files[VERDICT]:
        raise BadClaim(disagreeing(record, roots))
    digest = sha256(whole).hexdigest()
    signed = check_signature(folder, files.get(SIGNER), signed_words(record, verdict, digest), keys)
    return Trial(papers, record, verdict, digest, signed)


def disagreeing(record: Record, roots: Sequence[Certificate] | None) -> str:
    if roots is not None:
        return (
            "with the authorities that you trust, the verdict is another than the bundle's: its stamps are by others."
        )
    release = "" if record.version == __version__ else f" It was written by release {record.version}; try that one."
    return f"the verdict in the bundle is not the one that follows from its record.{release}"


def papers_of(files: Mapping[str, bytes], roots: Sequence[Certificate] | None) -> Papers:
    entries = tuple(
        register.entry_of(line, f"entry {number} of {REGISTER}")
        for number, line in enumerate(files[REGISTER].split(b"\n")[:-1], 1)
    )
    register.checked(entries, REGISTER)
    return Papers(claim_of(files[CLAIM]), entries, certificates(files[TRUST]) if roots is None else tuple(roots))


def certificates(data: bytes) -> tuple[Certificate, ...]:
    """Those in PEM; none in an empty file. Raises BadClaim."""
    if not data:
        return ()
    try:
        return tuple(load_pem_x509_certificates(data))
    except ValueError:
        raise BadClaim(f"{TRUST} must hold certificates in PEM (-----BEGIN CERTIFICATE-----).") from None


def data_of(folder: Path, name: str) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadClaim(f"{folder / name} cannot be read: {error.strerror}. A bundle needs it.") from error
    if len(data) > MOST_BYTES:
        raise BadClaim(f"{folder / name} is larger than any file of a bundle.")
    return data


def check_signature(
    folder: Path, signer: bytes | None, wanted: Statement, keys: Sequence[Ed25519PublicKey]
) -> bool | None:
    """True if one of the keys signed, None if there are no keys to compare with. Raises BadClaim for any other signature."""
    if signer is None:
        if keys:
            raise BadClaim("nobody signed this bundle, so it is not by the judge whose key you gave.")
        if (folder / STATEMENT).exists():
            raise BadClaim(f"{STATEMENT} is no part of a bundle that names no {SIGNER}. It was put there afterwards.")
        return None
    envelope = data_of(folder, STATEMENT)
    named = public_key(signer, SIGNER)
    read = statement.verified(envelope, [named])
    if read.payload() != wanted.payload() or not statement.canonical(envelope, wanted, named):
        raise BadClaim(f"{STATEMENT} is not the statement of this bundle's verdict. It was changed; take the original.")
    if not keys:
        return None
    if named.public_bytes_raw() not in [key.public_bytes_raw() for key in keys]:
        raise BadClaim("this bundle was signed by another key than those you gave.")
    return True


def public_key(data: bytes, name: str) -> Ed25519PublicKey:
    """An ed25519 public key in PEM. Raises BadClaim."""
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise BadClaim(f"{name} must be an ed25519 public key in PEM (openssl pkey -in judge.pem -pubout).")
    return key


def private_key(data: bytes, name: str) -> Ed25519PrivateKey:
    """An ed25519 private key in PEM, without a password. Raises BadClaim."""
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadClaim(
            f"{name} must be an ed25519 private key in PEM without a password (openssl genpkey -algorithm ed25519)."
        )
    return key

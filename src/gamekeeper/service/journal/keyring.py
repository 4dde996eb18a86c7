"""API keys: made here and shown once; the journal has their hashes only.

    gk_0123456789abcdef_<64 hexadecimal digits>
       id               secret, 256 bits

SHA-256 without salt or stretching is enough for a secret that cannot be guessed; it would not be for a password.
"""

import hashlib
import hmac
import math
import re
import secrets
from dataclasses import dataclass

KEY = re.compile(r"gk_([0-9a-f]{16})_([0-9a-f]{64})")


@dataclass(frozen=True)
class KeyRecord:
    """What is stored of an API key.

    id       its public part, by which it is looked up, listed and revoked
    hashed   SHA-256 of its secret part, 32 bytes
    tenant   whose model it opens
    account  who holds it: keys of one account, such as an old one and the one that replaces it, are one client
    since    when it was issued, in seconds since 1970; until: when it ends
    """

    id: str
    hashed: bytes
    tenant: str
    account: str
    since: float
    until: float = math.inf


def new_key(tenant: str, account: str, at: float) -> tuple[str, KeyRecord]:
    """A key's text, which is nowhere else, and its record."""
    public, secret = secrets.token_hex(8), secrets.token_hex(32)
    return f"gk_{public}_{secret}", KeyRecord(public, hashlib.sha256(secret.encode()).digest(), tenant, account, at)


def key_id(text: str) -> str | None:
    """The id in a key's text; None if it is not a key's text."""
    match = KEY.fullmatch(text)
    return match[1] if match else None


def opens(text: str, record: KeyRecord, at: float) -> bool:
    """Whether the text is the record's key and the key has not ended."""
    match = KEY.fullmatch(text)
    if match is None:
        return False
    same = hmac.compare_digest(hashlib.sha256(match[2].encode()).digest(), record.hashed)
    return same and match[1] == record.id and at < record.until

"""Who is asking: API keys, and the names under which clients are known everywhere else.

A principal is a tenant, an account of it and a network. Journal, quotas and memories hold HMACs under a key of the tenant,
never a name or an address: two tenants' files do not show that they share a client, and without the secret nobody can test
a guess.
"""

import hmac
import ipaddress
import threading
import time
from dataclasses import dataclass, field, replace

from gamekeeper.errors import BadConfig, Denied
from gamekeeper.keys import derived
from gamekeeper.service.journal.event import Event, checked_name
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.journal.keyring import KeyRecord, key_id, new_key, opens

HEX = 32
"""Hexadecimal digits of a pseudonym: 128 bits, so that no two names meet."""
NETWORK_V4, NETWORK_V6 = 24, 48
"""Leading bits of an address that one network shares: what one customer is usually given."""
ELSEWHERE = "elsewhere"
"""Network of those without an address, as on a Unix socket."""
FRESH = 1.0
"""Seconds for which a key's record is believed: so long another replica may let in a key that was revoked."""
MOST = 10_000
"""Records that are remembered."""
REFUSED = "no valid API key. Send one that was issued for this service and has not been revoked."


@dataclass(frozen=True)
class Principal:
    """Who pays and who is watched: `client` and `network` are pseudonyms within the tenant."""

    tenant: str
    client: str
    network: str


@dataclass(frozen=True)
class Pseudonyms:
    """HMAC-SHA256 of names, under a key for each tenant and use."""

    secret: bytes = field(repr=False)

    def client(self, tenant: str, account: str) -> str:
        return self._mac("client", tenant, account.encode()).hex()[:HEX]

    def network(self, tenant: str, address: str) -> str:
        """Of the network that an IP address is in; an IPv4 address in IPv6's clothes is an IPv4 address."""
        return self._mac("network", tenant, network(address).encode()).hex()[:HEX]

    def hashed(self, tenant: str, data: bytes) -> bytes:
        """Of an input's bytes, 16 bytes."""
        return self._mac("input", tenant, data)[: HEX // 2]

    def _mac(self, use: str, tenant: str, data: bytes) -> bytes:
        return hmac.digest(derived(self.secret, f"{use} of {tenant}"), data, "sha256")


def network(address: str) -> str:
    """The network of an address, as text."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ELSEWHERE
    ip = getattr(ip, "ipv4_mapped", None) or ip
    bits = NETWORK_V4 if ip.version == 4 else NETWORK_V6
    return str(ipaddress.ip_network((ip, bits), strict=False))


class Principals:
    """Issues API keys, and says who sends one. Threads may share it."""

    def __init__(self, journal: Journal, pseudonyms: Pseudonyms, fresh: float = FRESH) -> None:
        self.journal, self.pseudonyms, self.fresh = journal, pseudonyms, fresh
        self._known: dict[str, tuple[KeyRecord | None, float]] = {}
        self._lock = threading.Lock()

    def issue(self, tenant: str, account: str, at: float) -> str:
        """A new key for an account: its text, which nobody can show again."""
        checked_name("tenant", tenant)
        checked_name("account", account)
        text, record = new_key(tenant, account, at)
        self._store(record, at, f"key {record.id} was issued")
        return text

    def rotate(self, public: str, at: float, overlap: float = 86_400.0) -> str:
        """Another key for the same account, who stays the same client. The old one ends after `overlap` seconds.

        Raises BadConfig if there is no such key, or if it has ended.
        """
        old = self._record(public)
        if at >= old.until:
            raise BadConfig(f"key {public} has ended. Issue a new one for its account.")
        text, record = new_key(old.tenant, old.account, at)
        self._store(record, at, f"key {record.id} was issued in place of {public}")
        self._store(replace(old, until=min(old.until, at + overlap)), at, f"key {public} ends in {overlap:g} seconds")
        return text

    def revoke(self, public: str, at: float) -> None:
        """Ends a key: here at once, at other replicas within `fresh` seconds. Raises BadConfig if there is none."""
        old = self._record(public)
        self._store(replace(old, until=min(old.until, at)), at, f"key {public} was revoked")

    def principal(self, text: str, address: str, at: float) -> Principal:
        """Who sends a key from an address. Raises Denied, in the same words whatever is wrong with the key."""
        public = key_id(text)
        record = None if public is None else self._cached(public)
        if record is None or not opens(text, record, at):
            raise Denied(REFUSED)
        return Principal(
            record.tenant,
            self.pseudonyms.client(record.tenant, record.account),
            self.pseudonyms.network(record.tenant, address),
        )

    def _record(self, public: str) -> KeyRecord:
        record = self.journal.key(public)
        if record is None:
            raise BadConfig(f"there is no key {public[:80]!r}. Give the id of one, the part between its underscores.")
        return record

    def _store(self, record: KeyRecord, at: float, reason: str) -> None:
        self.journal.put_key(record, Event(record.tenant, "", "key", at, reason=reason))
        with self._lock:
            self._known.pop(record.id, None)

    def _cached(self, public: str) -> KeyRecord | None:
        now = time.monotonic()
        with self._lock:
            record, read = self._known.get(public, (None, -self.fresh))
        if now - read < self.fresh:
            return record
        record = self.journal.key(public)
        with self._lock:
            if len(self._known) >= MOST:  # strangers may send any number of ids
                self._known.clear()
            self._known[public] = (record, now)
        return record

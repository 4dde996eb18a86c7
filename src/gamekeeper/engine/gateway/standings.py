"""Clients of a gateway as its journal has them: who they are, how they stand, and their release. Needs no model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gamekeeper.engine.gateway.client_memory import RELEASED, STEP, WATCHES
from gamekeeper.errors import BadConfig, Busy, JournalError, Malformed
from gamekeeper.policy import Standing, packed, release, unpacked
from gamekeeper.service.journal.event import Event, Remembered, Stale
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.journal.tables import STANDING

TRIES = 50
"""How often a release is begun again because the client was answered meanwhile."""


@dataclass
class ClientSummary:
    """One client, in sums over the events that the journal still has.

    client       their pseudonym
    queries      inputs that were answered
    denied       inputs that were not
    alarms       events of detectors that raised one
    first, last  when they were first and last answered or denied, in seconds since 1970
    standing     as it is now; it outlives the events
    """

    client: str
    queries: int = 0
    denied: int = 0
    alarms: int = 0
    first: float = float("inf")
    last: float = float("-inf")
    standing: Standing = field(default_factory=Standing)

    def add(self, event: Event) -> None:
        self.queries += event.n if event.kind == "answer" else 0
        self.denied += event.n if event.kind == "denied" else 0
        self.alarms += event.kind == "alarm"
        if event.kind in ("answer", "denied"):
            self.first, self.last = min(self.first, event.at), max(self.last, event.at)


def standing_of(journal: Journal, tenant: str, client: str) -> Standing:
    """How a client stands; one who never came as everybody begins."""
    return _standing(journal.remembered(tenant, client, (STANDING,)))


def clients_of(journal: Journal, tenant: str) -> Mapping[str, ClientSummary]:
    """Every client of a tenant of whom there are events, by their pseudonym, in the order in which they came."""
    clients: dict[str, ClientSummary] = {}
    for _, event in journal.read(tenant):
        if event.client and event.kind in ("answer", "denied", "alarm"):
            clients.setdefault(event.client, ClientSummary(event.client)).add(event)
    for client, summary in clients.items():
        summary.standing = standing_of(journal, tenant, client)
    return clients


def released(journal: Journal, tenant: str, client: str, at: float, reason: str) -> Standing:
    """Releases a client: the lowest level, alarms so far set aside, detectors free to raise theirs again.

    Gateways that are at work follow: within a second, or with the client's next request that they answer.

    at      now, in seconds since 1970
    reason  who releases them, and why

    Raises BadConfig if nothing is known of such a client.
    """
    for _ in range(TRIES):
        remembered = journal.remembered(tenant, client)
        if not remembered.version:
            raise BadConfig(f"nothing is known of a client {client[:80]!r} of {tenant}. See: gamekeeper clients.")
        standing = release(_standing(remembered))
        parts = {STANDING: packed(standing)}
        if WATCHES in remembered.parts:
            parts[f"{STEP}{sum(name.startswith(STEP) for name in remembered.parts)}"] = RELEASED
        event = Event(tenant, client, "release", at, level=str(standing.level), reason=reason)
        try:
            journal.append(event, Remembered(remembered.version, parts))
        except Stale:
            continue
        return standing
    raise Busy("the client is being answered all the time. Release them again.")


def _standing(remembered: Remembered) -> Standing:
    try:
        return unpacked(remembered.parts[STANDING]) if STANDING in remembered.parts else Standing()
    except Malformed as error:
        raise JournalError(str(error)) from None

"""A gateway's clients, as its journal knows them."""

from dataclasses import dataclass, field

from gamekeeper.engine.gateway.reviews import review_of
from gamekeeper.policy import Level
from gamekeeper.service.journal.event import Event, Seen
from gamekeeper.service.journal.journal import Journal


@dataclass(frozen=True)
class ClientSummary:
    """One client; counts are over the events that are not yet erased.

    level    of the policy; in shadow, the one at which they would be
    queries  inputs that were answered; denied: that were refused, for whatever reason
    alarms   raised; open: those of them that nobody has decided about
    last     when they came last, in seconds since 1970
    """

    tenant: str
    client: str
    level: str
    queries: int
    denied: int
    alarms: int
    open: int
    last: float

    @property
    def concern(self) -> tuple[int, int, int, int]:
        """Larger for a client whom somebody should look at sooner."""
        return (Level[self.level.upper()], self.open, self.alarms, self.queries)


@dataclass
class Tally:
    """What is counted of one client while their events are read."""

    queries: int = 0
    denied: int = 0
    alarms: set[str] = field(default_factory=set[str])
    decided: set[str] = field(default_factory=set[str])
    last: float | None = None

    def add(self, event: Event) -> None:
        if event.kind == "alarm":
            self.alarms.add(event.id.hex())
        elif event.kind == "review":
            self.decided.add(review_of(event).alarm)
        elif event.kind in ("answer", "denied"):
            self.queries += event.n if event.kind == "answer" else 0
            self.denied += event.n if event.kind == "denied" else 0
            self.last = event.at if self.last is None else max(self.last, event.at)

    def summary(self, tenant: str, seen: Seen) -> ClientSummary:
        counts = (self.queries, self.denied, len(self.alarms), len(self.alarms - self.decided))
        return ClientSummary(
            tenant, seen.client, seen.level or str(Level.LOG), *counts, seen.at if self.last is None else self.last
        )


def client_summaries(journal: Journal, tenant: str) -> list[ClientSummary]:
    """All clients of a tenant, those of most concern first. Reads every event of theirs."""
    known = journal.clients(tenant)
    tallies = {seen.client: Tally() for seen in known}
    for _, event in journal.read(tenant):
        if event.client in tallies:
            tallies[event.client].add(event)
    rows = [tallies[seen.client].summary(tenant, seen) for seen in known]
    return sorted(rows, key=lambda row: row.concern, reverse=True)

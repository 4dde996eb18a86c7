"""A person releases a client: the lowest level, today's alarms set aside, and detectors may raise them again."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from gamekeeper.engine.gateway.client_memory import RELEASED, STEP, WATCHES
from gamekeeper.policy import Level, Standing, packed, release, unpacked
from gamekeeper.service.journal.event import Event, Remembered, Stale
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.journal.tables import STANDING

TRIES = 100
"""How often a release begins anew, because the client asks at the same time."""


@dataclass(frozen=True)
class Release:
    """Whom, who decided, and why."""

    tenant: str
    client: str
    by: str
    reason: str

    def carry_out(self, journal: Journal, clock: Callable[[], float] = time.time) -> Standing:
        """Writes it down. Returns the standing before. Raises Stale if the client asks without a pause."""
        for _ in range(TRIES - 1):
            try:
                return self._once(journal, clock())
            except Stale:
                continue
        return self._once(journal, clock())

    def _once(self, journal: Journal, at: float) -> Standing:
        known = journal.remembered(self.tenant, self.client)
        before = unpacked(known.parts[STANDING]) if STANDING in known.parts else Standing()
        reason = f"{before.level} -> {Level.LOG} by {self.by}: {self.reason}"
        event = Event(self.tenant, self.client, "release", at, level=str(Level.LOG), reason=reason)
        journal.append(event, Remembered(known.version, after(known, before)))
        return before


def after(known: Remembered, before: Standing) -> dict[str, bytes]:
    """The parts that change: without a snapshot, detectors begin anew anyhow."""
    parts = {STANDING: packed(release(before))}
    if WATCHES in known.parts:
        parts[f"{STEP}{sum(name.startswith(STEP) for name in known.parts)}"] = RELEASED
    return parts

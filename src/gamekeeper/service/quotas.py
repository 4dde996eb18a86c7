"""Quotas at work: what a request may cost is reserved before it is answered, and given back if it is not answered.

A replica takes queries from the journal in shares, ahead of need, and spends them without asking again. So most requests
cost no transaction, and no number of replicas together grants more than the quota. The price is on the other side: what a
replica holds and does not spend is nobody else's until it closes or the window ends. A process that is killed takes its
shares, and the requests under way, to the end of the window.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from gamekeeper.service.journal.accounts import Account, Charge, Quota
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.principals import Principal

SHARE, PART = 64, 16
"""Queries taken at a time, and into how many such shares a quota is divided at least."""
MOST = 100_000
"""Accounts that are held before those whose window has ended are dropped."""


@dataclass(frozen=True)
class Quotas:
    """What one key, one tenant and one network may spend; None: no limit at that level.

    own  what holds instead for these tenants
    """

    key: Quota | None = None
    tenant: Quota | None = None
    network: Quota | None = None
    own: Mapping[str, "Quotas"] = field(default_factory=dict[str, "Quotas"])

    def accounts(self, who: Principal, at: float) -> tuple[Account, ...]:
        """The accounts that pay for a principal's request at a time."""
        limits = self.own.get(who.tenant, self)
        levels = (
            (f"key {who.client}", limits.key),
            (f"network {who.network}", limits.network),
            ("tenant", limits.tenant),
        )
        return tuple(Account(who.tenant, holder, *quota.window(at), quota.queries) for holder, quota in levels if quota)


@dataclass
class Lease:
    """Queries reserved for one request: spent, unless they are given back. As a context, an error gives them back."""

    n: int
    accounts: tuple[Account, ...]
    owner: "Reservations" = field(repr=False)
    returned: bool = False

    def give_back(self) -> None:
        """The request was not answered. A second call does nothing."""
        if not self.returned:
            self.returned = True
            self.owner.restore(self)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.give_back()


class Reservations:
    """Reserves queries at every level of a principal. Threads may share it.

    share  queries taken from an account at a time, if that is no more than a sixteenth of its quota
    """

    def __init__(self, journal: Journal, quotas: Quotas, share: int = SHARE) -> None:
        self.journal, self.quotas, self.share = journal, quotas, share
        self._held: dict[Account, int] = {}
        self._lock = threading.Lock()

    def reserve(self, who: Principal, n: int, at: float) -> Lease:
        """Reserves n queries at all levels. Raises Denied, and takes nothing, if one of them has too few left."""
        accounts = self.quotas.accounts(who, at)
        while lacking := self._spend(accounts, n):
            charges = [
                Charge(account, missing, max(missing, min(self.share, account.limit // PART)))
                for account, missing in lacking.items()
            ]
            self._add(dict(zip(lacking, self.journal.take(charges), strict=True)), at)
        return Lease(n, accounts, self)

    def restore(self, lease: Lease) -> None:
        with self._lock:
            for account in lease.accounts:
                self._held[account] = self._held.get(account, 0) + lease.n

    def close(self) -> None:
        """Gives back all that is held and not spent."""
        with self._lock:
            held, self._held = self._held, {}
        for account, n in held.items():
            if n:
                self.journal.give(account, n)

    def _spend(self, accounts: tuple[Account, ...], n: int) -> dict[Account, int]:
        """Spends what is held; if that is too little, nothing, and returns what each account lacks."""
        with self._lock:
            lacking = {each: n - self._held.get(each, 0) for each in accounts if self._held.get(each, 0) < n}
            if not lacking and n:
                for account in accounts:
                    self._held[account] -= n
            return lacking

    def _add(self, amounts: dict[Account, int], at: float) -> None:
        with self._lock:
            if len(self._held) > MOST:
                self._held = {account: n for account, n in self._held.items() if account.until > at}
            for account, n in amounts.items():
                self._held[account] = self._held.get(account, 0) + n

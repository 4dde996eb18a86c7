"""Quotas: how many queries a key, a tenant or a network may spend in a window of time, and the accounts that count them.

Windows are fixed: they begin at multiples of their length since 1970. So a quota holds in every window, and at most twice
the quota is spent in any other stretch of that length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gamekeeper.errors import BadConfig
from gamekeeper.service.journal.event import checked_name


@dataclass(frozen=True)
class Quota:
    """At most so many queries in so many seconds; `math.inf` seconds: ever."""

    queries: int
    seconds: float

    def __post_init__(self) -> None:
        if self.queries < 0 or not self.seconds > 0:
            raise BadConfig(
                f"a quota is 0 or more queries in more than 0 seconds. Got {self.queries} in {self.seconds:g}."
            )

    def window(self, at: float) -> tuple[int, float]:
        """The number of the window at a time, and when it ends, both counted from 1970."""
        if math.isinf(self.seconds):
            return 0, math.inf
        number = math.floor(at / self.seconds)
        return number, (number + 1) * self.seconds


@dataclass(frozen=True)
class Account:
    """What one holder spends in one window.

    holder  `key HMAC`, `tenant` or `network HMAC`
    window  number of the window; until: when it ends, in seconds since 1970
    limit   queries in it
    """

    tenant: str
    holder: str
    window: int
    until: float
    limit: int

    def __post_init__(self) -> None:
        checked_name("tenant", self.tenant)
        checked_name("holder", self.holder)


@dataclass(frozen=True)
class Charge:
    """At least so many queries, and up to so many, to be taken from an account."""

    account: Account
    least: int
    most: int


def granted(charges: Sequence[Charge], used: Sequence[int]) -> tuple[int, ...] | Account:
    """What is taken from each account, all of which give their least; else the first account that cannot."""
    left = [max(0, charge.account.limit - spent) for charge, spent in zip(charges, used, strict=True)]
    for charge, rest in zip(charges, left, strict=True):
        if rest < charge.least:
            return charge.account
    return tuple(min(charge.most, rest) for charge, rest in zip(charges, left, strict=True))

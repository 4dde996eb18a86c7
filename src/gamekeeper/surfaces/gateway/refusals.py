"""What a client hears of an error: HTTP's word for it, a sentence, and when it is worth trying again.

Messages about the request are the client's business and pass as they are. What goes wrong behind the server is not: an
upstream's address or a journal's file are in the log of their own lane, never in an answer.
"""

import math
import time
from dataclasses import dataclass

from gamekeeper.errors import BadQuery, BadRequest, Busy, Denied, JournalError, OracleError

RETRY = 1
"""Seconds after which an upstream or a journal that failed may be back."""
UPSTREAM = "the model gave no answer that can be passed on. Nothing was charged; try again."
JOURNAL = "the answer could not be written down, so it is not given. Nothing was charged; try again."
LATE = "the answer took too long. Nothing was charged; try again, or send fewer inputs."
OURS = "the server failed over this request. Nothing more is known about it here; its operator finds it in the log."
CLOSED = "the server is being stopped. Send the request again: another one will take it."


@dataclass(frozen=True)
class Refusal:
    """An error as it is answered.

    outcome  its name in metrics and logs
    retry    seconds for Retry-After; None: trying again does not help
    """

    status: int
    outcome: str
    message: str
    retry: int | None = None


def refusal(error: Exception) -> Refusal:
    """What a client hears of an error."""
    match error:
        case BadRequest():
            names = {401: "no key", 404: "no address", 405: "no address", 408: "slow client", 413: "too long"}
            return Refusal(error.status, names.get(error.status, "bad request"), str(error))
        case BadQuery():
            return Refusal(400, "bad request", str(error))
        case Denied(until=None):
            return Refusal(403, "refused", str(error))
        case Denied(until=until):
            return Refusal(429, "too fast", str(error), seconds((until or 0.0) - time.time()))
        case Busy():
            return Refusal(503, "busy", str(error), seconds(error.wait))
        case TimeoutError():
            return Refusal(504, "late", LATE, RETRY)
        case OracleError():
            return Refusal(502, "no answer", UPSTREAM, RETRY)
        case JournalError():
            return Refusal(503, "no journal", JOURNAL, RETRY)
        case _:
            return Refusal(500, "failed", OURS)


OUTCOMES = (
    *("answered", "gone", "bad request", "no key", "no address", "slow client", "too long", "refused", "too fast"),
    *("busy", "late", "no answer", "no journal", "failed", "stopping"),
)
"""All values of `outcome`."""


def seconds(wait: float) -> int:
    """A wait for Retry-After: whole seconds, one at least, a day at most."""
    return min(86_400, max(1, math.ceil(wait))) if math.isfinite(wait) else 86_400

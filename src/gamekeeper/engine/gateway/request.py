"""A request at the gateway, after its bytes were read and before anything was charged for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gamekeeper.service.principals import Principal
from gamekeeper.types import Batch, Model, Reply


@dataclass(frozen=True, eq=False)
class Request:
    """Who asks what.

    x         inputs in the domain of the model, (n, *shape)
    at        when it arrived, in seconds since 1970
    trace     id of the distributed trace, 32 hexadecimal digits; "" without one
    deadline  until when an answer is of use, by `time.monotonic`; past it nothing is charged and nothing is written
    gone      whether the client has hung up, so that nobody waits any more; may be called at any time, from any thread
    """

    who: Principal
    x: Batch
    at: float
    trace: str = ""
    deadline: float = math.inf
    gone: Callable[[], bool] = lambda: False


@runtime_checkable
class ForRequests(Protocol):
    """A model that heeds what is known of a request beside its inputs: an upstream ends at the deadline and passes the trace on."""

    def answer_request(self, request: Request, /) -> Reply: ...


def clean_answer(victim: Model, request: Request) -> Reply:
    """What the model answers before any defense."""
    return victim.answer_request(request) if isinstance(victim, ForRequests) else victim(request.x)


Answering = Callable[[Request], Reply]
"""The gateway as its server sees it. Blocks, and may be called by many threads. When it returns, the answer is in the journal.

Raises Denied (no quota, too fast, refused), Busy (too much to do, or past the deadline), OracleError (an upstream did not
answer), JournalError; then nothing was charged."""

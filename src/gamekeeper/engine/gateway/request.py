"""A request at the gateway, after its bytes were read and before anything was charged for it."""

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from gamekeeper.service.principals import Principal
from gamekeeper.types import Batch, Reply


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


UNDER_WAY: ContextVar[Request | None] = ContextVar("under way", default=None)


@contextmanager
def under_way(request: Request) -> Generator[None]:
    """Within the block, this thread answers that request: a model that waits knows for how long, and for whom."""
    token = UNDER_WAY.set(request)
    try:
        yield
    finally:
        UNDER_WAY.reset(token)


def seconds_left() -> float:
    """How long this thread may still wait; 0 or less: not at all, or nobody waits for it any more."""
    request = UNDER_WAY.get()
    if request is None:
        return math.inf
    return 0.0 if request.gone() else request.deadline - time.monotonic()


Answering = Callable[[Request], Reply]
"""The gateway as its server sees it. Blocks, and may be called by many threads. When it returns, the answer is in the journal.

Raises Denied (no quota, too fast, refused), Busy (too much to do, or past the deadline), OracleError (an upstream did not
answer), JournalError; then nothing was charged."""

"""A request at the gateway, after its bytes were read and before anything was charged for it."""

import math
from collections.abc import Callable
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
    """

    who: Principal
    x: Batch
    at: float
    trace: str = ""
    deadline: float = math.inf


Answering = Callable[[Request], Reply]
"""The gateway as its server sees it. Blocks, and may be called by many threads. When it returns, the answer is in the journal.

Raises Denied (no quota, too fast, refused), Busy (too much to do, or past the deadline), OracleError (an upstream did not
answer), JournalError; then nothing was charged."""
